"""``aigenflow plan``: what a run would ask, buy and cost, before it does."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from gettext import gettext as _
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from aigenflow.cli import options
from aigenflow.cli.console import escaped, printable, read_settings, report_error, run_async

if TYPE_CHECKING:
    from decimal import Decimal

    from rich.table import Table

    from aigenflow.core.models import ServedFrom
    from aigenflow.pipeline.planner import BudgetOutlook, Cliff, Plan, TaskPlan

WIDTH_OF_A_PIPE = 200


@click.command(
    "plan",
    help=_(
        "Say what `aigenflow run` would ask, buy and cost, without asking anybody. The exit code "
        "is 3 if the expected cost does not fit into a budget, and 2 if a price is not known."
    ),
)
@click.option("--topic", required=True, help=_("What the document is about."))
@options.document()
@options.output_dir()
@options.as_json()
@options.caching()
@options.allow_unpriced()
@options.trust_base_url()
def command(
    topic: str,
    document_type: str | None,
    template: str,
    lang: str | None,
    brief: Path | None,
    from_phase: int,
    parent: str,
    output_dir: Path | None,
    as_json: bool,
    no_cache: bool,
    refresh: bool,
    allow_unpriced: bool,
    trusted_hosts: tuple[str, ...],
) -> int:
    options.check_branch(from_phase, parent)
    from aigenflow.app import App
    from aigenflow.cli.topics import make_assignment

    settings, home = read_settings(
        output_dir=output_dir, trusted_hosts=trusted_hosts, no_cache=no_cache, keeps_books=True
    )
    assignment = make_assignment(topic, document_type, template, lang, brief)

    async def work_out() -> Plan:
        async with App(settings, home=home, refresh=refresh) as app:
            return await app.plan(assignment, from_phase, parent)

    plan = run_async(work_out())
    if as_json:
        click.echo(as_value(plan))
    else:
        _print_plan(plan)
    return _exit_code(plan, allow_unpriced=allow_unpriced, quiet=as_json)


def _exit_code(plan: Plan, *, allow_unpriced: bool, quiet: bool) -> int:
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


def as_value(plan: Plan) -> str:
    """The whole plan as JSON; money is text, so that no digit is lost."""
    import dataclasses

    from aigenflow.pipeline import planner
    from aigenflow.pipeline.planner import Supply

    value: dict[str, Any] = {
        **dataclasses.asdict(plan),
        "answers": {supply.value: plan.count(supply) for supply in Supply},
        "unpriced_models": plan.unpriced_models,
        "over_budget": plan.is_over_budget,
        "over_budget_in_worst_case": any(budget.worst_exceeded for budget in plan.budgets),
        "assumptions": {
            "start_seconds": planner.START_S,
            "search_seconds": planner.SEARCH_S,
            "tokens_per_second": planner.TOKENS_PER_SECOND,
            "flex_wait_seconds": planner.FLEX_WAIT_S,
            "batch_seconds": planner.BATCH_S,
        },
    }
    return escaped(json.dumps(value, ensure_ascii=False, indent=2, default=_plain_amount))


def _plain_amount(amount: Decimal) -> str:
    return f"{amount.normalize():f}"


def _print_plan(plan: Plan) -> None:
    from rich.console import Console

    width = None if sys.stdout.isatty() else WIDTH_OF_A_PIPE
    console = Console(markup=False, highlight=False, width=width)
    topic = " ".join(plan.topic.split())
    console.print(
        printable(f"{topic} ({plan.document_type}, {plan.template}, {plan.language})"),
        *(printable(notice) for notice in plan.notices),
        sep="\n",
    )
    console.print()
    console.print(_table_of_tasks(plan))
    console.print()
    if any(task.offers for task in plan.tasks):
        console.print(_table_of_modes(plan))
        console.print()
    for line in _remarks(plan):
        console.print(printable(line), soft_wrap=True)


def _table(*titles: str, numbers_from: int) -> Table:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="")
    for index, title in enumerate(titles):
        table.add_column(title, justify="right" if index >= numbers_from else "left")
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
        *(_mode_name(mode) for mode in discounts),
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
        _duration(live.expected_seconds),
    ]


def _table_of_modes(plan: Plan) -> Table:
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
            _mode_name(total.mode),
            str(total.calls),
            _money(total.expected),
            _money(total.worst),
            _duration(total.expected_seconds),
            _duration(total.worst_seconds),
        )
    return table


def _remarks(plan: Plan) -> Iterator[str]:
    from aigenflow.pipeline.planner import Supply

    yield _("{all} answers: {cached} cached, {bought} to be bought.").format(
        all=len(plan.tasks), cached=plan.count(Supply.CACHED), bought=plan.count(Supply.BOUGHT)
    )
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


def _mode_name(mode: str) -> str:
    return {"live": _("Live"), "flex": _("Flex"), "batch": _("Batch")}[mode]


def _player(task: TaskPlan) -> str:
    return f"{task.actor} · {task.model}" if task.model else task.actor.value


def _supply(task: TaskPlan) -> str:
    words = {
        "kept": _("kept"),
        "cached": _("cached"),
        "bought": _("to be bought"),
        "offline": _("drafted offline"),
    }
    return words[task.supply.value]


def _range(expected: str, most: str) -> str:
    return expected if expected == most else f"{expected} - {most}"


def _money(amount: Decimal | None) -> str:
    if amount is None:
        return _("unknown")
    return f"${amount:,.4f}" if amount else "$0"


def _duration(seconds: float) -> str:
    if seconds < 90:
        return _("{count} s").format(count=round(seconds))
    if seconds < 90 * 60:
        return _("{count} min").format(count=round(seconds / 60))
    return _("{count} h").format(count=round(seconds / 3600, 1))
