"""``aigenflow plan``: what a run would ask, buy and cost, before it does."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from gettext import gettext as _
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from aigenflow.cli import options
from aigenflow.cli.console import escaped, printable, read_settings, report_error, run_async
from aigenflow.cli.figures import Sheet, draw
from aigenflow.core import words

if TYPE_CHECKING:
    from decimal import Decimal

    from rich.table import Table

    from aigenflow.core.models import ServedFrom
    from aigenflow.pipeline.planner import BudgetOutlook, Cliff, Plan, TaskPlan
    from aigenflow.pipeline.quotation import Quotation


@click.command(
    "plan",
    help=_(
        "Say what `aigenflow run` would ask, buy and cost, without asking anybody. The exit code "
        "is 3 if the expected cost does not fit into a budget, and 2 if a price is not known."
    ),
)
@click.option("--topic", help=_("What the document is about."))
@click.option(
    "--topics",
    "topics_file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help=_("File with many topics (lines, CSV or YAML): what they cost together."),
)
@options.document()
@options.processing()
@options.output_dir()
@options.as_json()
@options.caching()
@options.allow_unpriced()
@options.trust_base_url()
def command(
    topic: str | None,
    topics_file: Path | None,
    document_type: str | None,
    template: str,
    lang: str | None,
    brief: Path | None,
    from_phase: int,
    parent: str,
    processing: str | None,
    deadline: str | None,
    output_dir: Path | None,
    as_json: bool,
    no_cache: bool,
    refresh: bool,
    allow_unpriced: bool,
    trusted_hosts: tuple[str, ...],
) -> int:
    options.check_topics(topic, topics_file, from_phase, parent)
    from aigenflow.app import App
    from aigenflow.cli.topics import make_assignment, read_topics
    from aigenflow.cli.writing import at_once

    settings, home = read_settings(
        output_dir=output_dir, trusted_hosts=trusted_hosts, no_cache=no_cache, keeps_books=True
    )
    choice, wanted_by = options.read_processing(processing, deadline, settings)
    app = App(settings, home=home, refresh=refresh, processing=choice, deadline=wanted_by)

    async def work_out() -> Plan | Quotation:
        async with app:
            if topics_file is None:
                assignment = make_assignment(
                    topic or "", document_type, template, lang, brief, templates=home / "templates"
                )
                return await app.plan(assignment, from_phase, parent)
            defaults = options.defaults(document_type, template, lang, brief)
            assignments = read_topics(topics_file, defaults, home / "templates")
            return await app.plan_all(assignments, at_once=at_once(choice, settings))

    plan = run_async(work_out())
    _show(plan, as_json=as_json)
    return _exit_code(plan, allow_unpriced=allow_unpriced, quiet=as_json)


def _show(plan: Plan | Quotation, *, as_json: bool) -> None:
    from aigenflow.pipeline.planner import Plan

    if as_json:
        value = as_value(plan) if isinstance(plan, Plan) else quotation_as_value(plan)
        click.echo(escaped(json.dumps(value, ensure_ascii=False, indent=2, default=_plain_amount)))
    elif isinstance(plan, Plan):
        _print_plan(plan)
    else:
        _print_quotation(plan)


def _exit_code(plan: Plan | Quotation, *, allow_unpriced: bool, quiet: bool) -> int:
    from aigenflow.core.errors import BudgetExceededError, ConfigError
    from aigenflow.monitoring.price_book import unknown_price

    unpriced = plan.unpriced_models
    if unpriced and not allow_unpriced:
        if not quiet:
            error = ConfigError(
                _("`aigenflow run` would stop: the price of {models} is not known.").format(
                    models=", ".join(unpriced)
                ),
                hint=unknown_price(unpriced[0]).hint,
            )
            report_error(error, as_json=False)
        return ConfigError.exit_code
    return BudgetExceededError.exit_code if plan.is_over_budget else 0


def as_value(plan: Plan) -> dict[str, Any]:
    """The whole plan for programs."""
    import dataclasses

    from aigenflow.pipeline import planner, scheduling
    from aigenflow.pipeline.planner import Supply

    deadline = plan.chosen.deadline
    return {
        **dataclasses.asdict(plan),
        "chosen": {
            **dataclasses.asdict(plan.chosen),
            "deadline": deadline.isoformat() if deadline else None,
        },
        "answers": {supply.value: plan.count(supply) for supply in Supply},
        "unpriced_models": plan.unpriced_models,
        "over_budget": plan.is_over_budget,
        "over_budget_in_worst_case": any(budget.worst_exceeded for budget in plan.budgets),
        "assumptions": {
            "start_seconds": scheduling.START_S,
            "search_seconds": scheduling.SEARCH_S,
            "tokens_per_second": scheduling.TOKENS_PER_SECOND,
            "flex_wait_seconds": planner.FLEX_WAIT_S,
            "batch_seconds": planner.BATCH_S,
        },
    }


def quotation_as_value(quotation: Quotation) -> dict[str, Any]:
    """The plans of many documents and their sum, for programs."""
    import dataclasses

    from aigenflow.pipeline.planner import Supply

    plans = [as_value(plan) for plan in quotation.plans]
    return {
        "documents": plans,
        "totals": [dataclasses.asdict(total) for total in quotation.totals],
        "budgets": [dataclasses.asdict(budget) for budget in quotation.budgets],
        "expected": quotation.expected,
        "worst": quotation.worst,
        "saved": quotation.saved,
        "answers": {supply.value: quotation.count(supply) for supply in Supply},
        "unpriced_models": quotation.unpriced_models,
        "over_budget": quotation.is_over_budget,
    }


def _plain_amount(amount: Decimal) -> str:
    """Money is text, so that no digit is lost."""
    return f"{amount.normalize():f}"


def _print_quotation(quotation: Quotation) -> None:
    for notice in quotation.plans[0].notices:
        click.echo(printable(notice))
    click.echo()
    draw(_table_of_documents(quotation))
    click.echo()
    if quotation.live.calls:
        draw(_table_of_modes(quotation))
        click.echo()
    for line in _remarks_on_all(quotation):
        click.echo(printable(line))


def _table_of_documents(quotation: Quotation) -> Table:
    from aigenflow.pipeline.planner import Supply

    table = _table(
        _("Document"), _("Calls"), _("Cached"), _("Expected cost"), _("Worst case"), numbers_from=1
    )
    for plan in quotation.plans:
        remembered = plan.count(Supply.CACHED) + plan.count(Supply.SHARED)
        calls = sum(plan.chosen.calls.values())
        amounts = (_money(plan.chosen.expected), _money(plan.chosen.worst))
        topic = " ".join(plan.topic.split())
        table.add_row(*map(printable, (topic, str(calls), str(remembered), *amounts)))
    table.add_row(_("Together"), "", "", _money(quotation.expected), _money(quotation.worst))
    return table


def _remarks_on_all(quotation: Quotation) -> Iterator[str]:
    from aigenflow.pipeline.planner import Supply

    yield _("{documents} documents, {all} answers: {cached} cached, {bought} to be bought.").format(
        documents=len(quotation.plans),
        all=sum(len(plan.tasks) for plan in quotation.plans),
        cached=quotation.count(Supply.CACHED),
        bought=quotation.count(Supply.BOUGHT),
    )
    if quotation.count(Supply.SHARED):
        yield _("{count} answers are bought once for several documents.").format(
            count=quotation.count(Supply.SHARED)
        )
    if quotation.saved:
        yield _("The cache saves {saved}.").format(saved=_money(quotation.saved))
    for budget in quotation.budgets:
        yield from _remarks_on_budget(budget)
    for plan in quotation.plans:
        for budget in plan.budgets:
            if budget.exceeded and budget.kind in ("session", "phase"):
                topic = " ".join(plan.topic.split())
                yield from (f"{topic}: {line}" for line in _remarks_on_budget(budget))
    yield _("Documents are written side by side; `plan --topic` shows one of them in full.")


def _print_plan(plan: Plan) -> None:
    topic = " ".join(plan.topic.split())
    click.echo(printable(f"{topic} ({plan.document_type}, {plan.template}, {plan.language})"))
    for notice in plan.notices:
        click.echo(printable(notice))
    click.echo()
    draw(Sheet(_table_of_tasks(plan), keys=2))
    click.echo()
    if any(task.offers for task in plan.tasks):
        draw(_table_of_modes(plan))
        click.echo()
    for line in _remarks(plan):
        click.echo(printable(line))


def _table(*titles: str, numbers_from: int) -> Table:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="")
    for index, title in enumerate(titles):
        table.add_column(
            title,
            justify="right" if index >= numbers_from else "left",
            overflow="ellipsis" if index else "fold",
        )
    return table


def _table_of_tasks(plan: Plan) -> Table:
    from aigenflow.core.models import ServedFrom

    discounts = [mode for mode in (ServedFrom.FLEX, ServedFrom.BATCH) if _has(plan, mode)]
    table = _table(
        _("Phase"),
        _("Task"),
        _("Played by"),
        _("Answer"),
        _("Input tokens"),
        _("Output tokens"),
        _("Live"),
        *(words.processing(mode) for mode in discounts),
        _("Time"),
        numbers_from=4,
    )
    for task in plan.tasks:
        cells = [str(task.phase), task.task, _player(task), _supply(task)]
        cells += _figures(task, discounts) or ["-"] * (4 + len(discounts))
        table.add_row(*map(printable, cells))
    return table


def _figures(task: TaskPlan, discounts: Sequence[ServedFrom]) -> list[str]:
    """Tokens, dollars and time of a task; nothing where nothing is bought."""
    if not task.offers:
        return []
    live, offered = task.offers[0], {offer.mode: offer for offer in task.offers}
    return [
        _range(f"{task.input_tokens:,}", f"{task.worst_input_tokens:,}"),
        _range(f"{task.output_tokens:,}", f"{task.max_output_tokens:,}"),
        _range(_money(live.expected), _money(live.worst)),
        *(_money(offered[mode].expected) if mode in offered else "-" for mode in discounts),
        words.duration((task.chosen or live).expected_seconds),
    ]


def _table_of_modes(plan: Plan | Quotation) -> Table:
    table = _table(
        _("Bought"),
        _("Calls"),
        _("Expected cost"),
        _("Worst case"),
        _("Expected time"),
        _("At most"),
        numbers_from=1,
    )
    for total in plan.totals:
        table.add_row(
            words.processing(total.mode),
            str(total.calls),
            _money(total.expected),
            _money(total.worst),
            words.duration(total.expected_seconds),
            words.duration(total.worst_seconds),
        )
    return table


def _remarks(plan: Plan) -> Iterator[str]:
    from aigenflow.pipeline.planner import Supply

    yield _("{all} answers: {cached} cached, {bought} to be bought.").format(
        all=len(plan.tasks), cached=plan.count(Supply.CACHED), bought=plan.count(Supply.BOUGHT)
    )
    yield from _remarks_on_choice(plan)
    if plan.count(Supply.KEPT):
        yield _("{count} results are kept from the earlier session.").format(
            count=plan.count(Supply.KEPT)
        )
    unknown = sum(not task.key_known for task in plan.tasks if task.supply is Supply.BOUGHT)
    if unknown:
        yield _(
            "{count} questions depend on answers that nobody has given yet, so it cannot be known "
            "whether the cache answers them; they count as bought."
        ).format(count=unknown)
    if plan.revisions:
        yield _(
            "A document that fails its quality gates is revised up to {count} times: up to {worst} "
            "more, in no total above."
        ).format(count=plan.revisions, worst=_money(plan.revisions_worst))
    if plan.saved:
        yield _("The cache saves {saved}.").format(saved=_money(plan.saved))
    if any(total.calls < plan.live.calls for total in plan.totals):
        yield _("Calls without a published flex or batch rate count there at the live price.")
    for task in plan.tasks:
        yield from _remarks_on(task)
    yield from _remarks_on_cliffs(plan)
    for budget in plan.budgets:
        yield from _remarks_on_budget(budget)
    if any(task.offers for task in plan.tasks):
        yield _(
            "Expected: answers as long as usual, else half of their limit. Worst case: every limit "
            "reached, each call made once; retries, and going on with a cut answer, come on top."
        )


def _remarks_on_choice(plan: Plan) -> Iterator[str]:
    chosen = plan.chosen
    if chosen.choice == "live" or not chosen.calls:
        return
    yield _("As chosen ({choice}): {calls}. Expected {cost} in {time}, at worst {most}.").format(
        choice=chosen.choice,
        calls=", ".join(
            _("{count} {what}").format(count=count, what=words.processing(way))
            for way, count in chosen.calls.items()
        ),
        cost=_money(chosen.expected),
        time=words.duration(chosen.expected_seconds),
        most=_money(chosen.worst),
    )
    if chosen.choice == "auto" and chosen.deadline is None:
        yield _("Without a deadline, auto buys everything live.")
    if chosen.deadline is not None:
        told = _("Deadline: {when}. What no discounted way has brought in time is bought live.")
        yield told.format(when=chosen.deadline.isoformat(timespec="minutes"))


def _remarks_on(task: TaskPlan) -> Iterator[str]:
    for omission in task.omissions:
        yield _("{task} hears a shortened context: {what}").format(task=task.task, what=omission)
    if task.price_is_estimate:
        yield _("{task}: the price of {model} is an estimate, the usual one of {agent}.").format(
            task=task.task, model=task.model, agent=task.actor
        )


def _remarks_on_cliffs(plan: Plan) -> Iterator[str]:
    tasks: dict[tuple[str, Cliff], list[str]] = {}
    for task in plan.tasks:
        for cliff in task.cliffs:
            tasks.setdefault((task.model, cliff), []).append(task.task)
    for (model, cliff), names in tasks.items():
        text = (
            _(
                "Price cliff: above {limit} input tokens, all input of a call to {model} costs "
                "{factor} times as much. Expected there: {tasks}."
            )
            if cliff.expected
            else _(
                "Price cliff: above {limit} input tokens, all input of a call to {model} costs "
                "{factor} times as much. There in the worst case: {tasks}."
            )
        )
        yield text.format(
            limit=f"{cliff.above_input_tokens:,}",
            factor=f"{cliff.factor:.3g}",
            model=model,
            tasks=", ".join(names),
        )


def _remarks_on_budget(budget: BudgetOutlook) -> Iterator[str]:
    facts = {"name": _budget_name(budget), "left": _money(budget.left), "cap": _money(budget.cap)}
    if budget.exceeded:
        yield _("Over budget: {name} has {left} of {cap} left.").format(**facts)
    elif budget.worst_exceeded:
        yield _(
            "{name} has {left} of {cap} left: enough as expected, not in the worst case."
        ).format(**facts)
    else:
        yield _("{name} has {left} of {cap} left: enough, also in the worst case.").format(**facts)
    if budget.cut_short:
        yield _(
            "  From {task} on, research would be asked for less, so that money is left for writing "
            "and review."
        ).format(task=budget.cut_short)
    if budget.refused:
        yield _(
            "  A call is made only where its worst case still fits: the run would stop at {task}."
        ).format(task=budget.refused)


def _budget_name(budget: BudgetOutlook) -> str:
    from aigenflow.monitoring.models import BudgetKind

    names = {
        BudgetKind.DAY: _("The daily budget ({name})"),
        BudgetKind.WEEK: _("The weekly budget ({name})"),
        BudgetKind.MONTH: _("The monthly budget ({name})"),
        BudgetKind.SESSION: _("The budget of the session"),
        BudgetKind.PHASE: _("The budget of phase {name}"),
    }
    name = budget.name.rpartition(" ")[2] if budget.kind is BudgetKind.PHASE else budget.name
    return names[budget.kind].format(name=name)


def _has(plan: Plan, mode: str) -> bool:
    return any(total.mode == mode for total in plan.totals)


def _player(task: TaskPlan) -> str:
    return f"{task.actor} · {task.model}" if task.model else task.actor.value


def _supply(task: TaskPlan) -> str:
    word = words.supply(task.supply.value)
    way = {"live": "", "flex": _("flex"), "batch": _("batch")}[task.processing]
    return f"{word} ({way})" if way else word


def _range(expected: str, most: str) -> str:
    return expected if expected == most else f"{expected} - {most}"


def _money(amount: Decimal | None) -> str:
    if amount is None:
        return _("unknown")
    return f"${amount:,.4f}" if amount else "$0"
