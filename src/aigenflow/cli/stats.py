"""``aigenflow stats``: what was used, what it cost, and what was saved."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from decimal import Decimal
from gettext import gettext as _
from io import StringIO
from typing import TYPE_CHECKING

import click

from aigenflow.cli import options
from aigenflow.cli.budget import describe, looking
from aigenflow.cli.console import harmless, json_text, printable
from aigenflow.cli.figures import Sheet, dollars, draw, plain
from aigenflow.core import words

if TYPE_CHECKING:
    from rich.table import Table

    from aigenflow.monitoring.models import Account, EstimateReview, Totals
    from aigenflow.monitoring.report import Report
    from aigenflow.monitoring.stats import Bar, Savings

_DIMENSIONS = ("provider", "model", "phase", "task", "session", "day")
_COUNTS = (
    *("calls", "cache_hits", "unpriced_calls", "estimated_calls"),
    *("input_tokens", "output_tokens", "cached_input_tokens", "cache_write_tokens"),
    *("reasoning_tokens", "replayed_tokens"),
)
_SAVINGS = ("response_cache_saving", "prompt_cache_saving", "batch_saving", "flex_saving")
_SESSIONS_SHOWN = 20


@click.command("stats", help=_("Show what was used, what it cost, and how much of each budget."))
@click.option(
    "--period",
    metavar=_("PERIOD"),
    help=_(
        "today, week, weekly (with a trend per day), month, all, or FROM..TO as dates. "
        "Default: month; with --session: all."
    ),
)
@click.option(
    "--by",
    type=click.Choice(_DIMENSIONS),
    default="provider",
    show_default=True,
    help=_("One row for each of these."),
)
@click.option(
    "--session",
    type=options.TEXT,
    help=_("Only this session, with its estimate against what it cost."),
)
@click.option(
    "--limit",
    type=click.IntRange(min=1),
    help=_("With --by session: this many, the dearest. Default: 20; --json and --csv: all."),
)
@click.option("--savings", is_flag=True, help=_("Show what was saved against live full price."))
@options.as_json()
@click.option("--csv", "as_csv", is_flag=True, help=_("Print the rows as CSV, for a spreadsheet."))
def command(
    period: str | None,
    by: str,
    session: str | None,
    limit: int | None,
    savings: bool,
    as_json: bool,
    as_csv: bool,
) -> None:
    from aigenflow.monitoring.models import Dimension
    from aigenflow.monitoring.report import read_report

    if as_json and as_csv:
        raise click.UsageError(_("Give either --json or --csv."))
    for_programs = as_json or as_csv
    with looking() as tracker:
        report = read_report(
            tracker,
            period=period or ("month" if session is None else "all"),
            by=Dimension(by),
            session=session,
            most_sessions=limit or (None if for_programs else _SESSIONS_SHOWN),
        )
    if as_json:
        click.echo(json_text(_plain_report(report)))
    elif as_csv:
        click.echo(_csv(report), nl=False)
    elif savings:
        _print_savings(report)
    else:
        _print_summary(report)


# For programs


def _plain_report(report: Report) -> dict[str, object]:
    from aigenflow.monitoring.stats import savings

    first, last = report.period.first, report.period.last
    return {
        "period": {
            "name": report.period_name,
            "first": first.isoformat() if first else None,
            "last": last.isoformat() if last else None,
            "time_zone": str(report.zone),
        },
        "session": report.session,
        "by": report.by.value,
        "rows": [{report.by.value: row.key, **_record(row)} for row in report.rows],
        "rows_left_out": report.left_out,
        "total": _record(report.total),
        "savings": _plain_savings(savings(report.total)),
        "wasted": {row.key: plain(row.wasted) for row in report.wasted},
        "budgets": [describe(account, report.zone) for account in report.accounts],
        "trend": [
            {"day": bar.day.isoformat(), "billed_usd": plain(bar.billed)} for bar in report.trend
        ],
        "estimate": _plain_review(report.review) if report.review else None,
    }


def _record(total: Totals) -> dict[str, int | str | None]:
    """Every figure of a row; ``billed_usd`` is ``None`` where no price is known."""
    from aigenflow.monitoring.report import known_cost

    billed = known_cost(total)
    return {
        **{name: getattr(total, name) for name in _COUNTS},
        "billed_usd": None if billed is None else plain(billed),
        **{f"{name}_usd": plain(getattr(total, name)) for name in _SAVINGS},
        "wasted_usd": plain(total.wasted),
    }


def _plain_savings(saved: Savings) -> dict[str, str | None]:
    return {
        "live_price_usd": plain(saved.live_price),
        "billed_usd": plain(saved.billed),
        "saved_usd": plain(saved.saved),
        "saved_percent": None if saved.saved_percent is None else plain(saved.saved_percent),
        "response_cache_usd": plain(saved.response_cache),
        "prompt_cache_usd": plain(saved.prompt_cache),
        "batch_usd": plain(saved.batch),
        "flex_usd": plain(saved.flex),
        "wasted_usd": plain(saved.wasted),
    }


def _plain_review(review: EstimateReview) -> dict[str, int | str]:
    return {
        "calls": review.calls,
        "estimated_input_tokens": review.estimated_input_tokens,
        "input_tokens": review.input_tokens,
        "expected_usd": plain(review.expected),
        "worst_usd": plain(review.worst),
        "billed_usd": plain(review.billed),
    }


def _csv(report: Report) -> str:
    text = StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([report.by.value, *_record(report.total)])
    for row in report.rows:
        cells = _record(row).values()
        known = ("unknown" if cell is None else cell for cell in cells)
        writer.writerow([harmless(row.key), *known])
    return text.getvalue()


# For people


def _print_summary(report: Report) -> None:
    blocks = [
        _left_out(report),
        (*_notes(report.total), *_shares(report.accounts)),
        _trend_lines(report.trend),
    ]
    if report.review is not None and report.review.calls:
        blocks.append(_review_lines(report.review))
    _panel(_("Token Usage Summary"), report, _table(report), *blocks)


def _panel(name: str, report: Report, table: Table, *blocks: Iterable[str]) -> None:
    """Session and period, a table, and blocks of lines; an empty block leaves no gap."""
    from rich.console import Group
    from rich.panel import Panel
    from rich.text import Text

    below = ["\n".join(("", *lines)) for block in blocks if (lines := tuple(block))]
    heading = "\n".join((*_heading(report), ""))
    content = Group(Text(heading), Sheet(table), *map(Text, below))
    draw(Panel(content, title=name, expand=False))


def _heading(report: Report) -> Iterator[str]:
    session = printable(report.session) if report.session else _("all")
    yield _("Session: {session}").format(session=session)
    first, last = report.period.first, report.period.last
    days = f"{first} .. {last}" if first and last else _("all days")
    yield _("Period: {name} ({days}, {zone})").format(
        name=_period(report.period_name), days=days, zone=report.zone
    )


def _period(name: str) -> str:
    """A named period in words; two dates as they are."""
    words = {
        "today": _("today"),
        "week": _("week"),
        "weekly": _("weekly"),
        "month": _("month"),
        "all": _("all"),
    }
    return words.get(name, name)


def _table(report: Report) -> Table:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="", show_footer=True)
    total = report.total
    table.add_column(words.dimension(report.by.value), _("Total"), overflow="fold")
    for heading, footer in (
        (_("Calls"), f"{total.calls:,}"),
        (_("From cache"), f"{total.cache_hits:,}"),
        (_("Input"), f"{total.input_tokens:,}"),
        (_("Output"), f"{total.output_tokens:,}"),
        (_("Cost"), _cost(total)),
    ):
        table.add_column(heading, footer, justify="right", no_wrap=True)
    for row in report.rows:
        table.add_row(
            printable(row.key) or _("(none)"),
            f"{row.calls:,}",
            f"{row.cache_hits:,}",
            f"{row.input_tokens:,}",
            f"{row.output_tokens:,}",
            _cost(row),
        )
    return table


def _cost(total: Totals) -> str:
    """What is known, and how many calls are not part of it."""
    from aigenflow.monitoring.report import known_cost

    known = known_cost(total)
    if known is None:
        return _("unknown ({count})").format(count=total.unpriced_calls)
    if total.unpriced_calls:
        return _("{amount} + unknown ({count})").format(
            amount=dollars(known), count=total.unpriced_calls
        )
    return dollars(known)


def _left_out(report: Report) -> Iterator[str]:
    if report.left_out:
        yield _("The dearest sessions are shown; the total has {count} more (--limit).").format(
            count=f"{report.left_out:,}"
        )


def _notes(total: Totals) -> Iterator[str]:
    from aigenflow.monitoring.stats import savings

    if not total.calls:
        yield _("Nothing was used.")
    yield from _unpriced(total)
    if total.estimated_calls:
        yield _("Calls priced by an estimate: {count}").format(count=total.estimated_calls)
    saved = savings(total)
    if saved.saved and saved.saved_percent is not None:
        yield _("Saved: {amount}, {share} of the live full price").format(
            amount=dollars(saved.saved), share=words.percent(saved.saved_percent)
        )
    if total.wasted:
        yield _("Wasted: {amount}").format(amount=dollars(total.wasted))


def _unpriced(total: Totals) -> Iterator[str]:
    if total.unpriced_calls:
        yield _("Calls without a known price, which no sum contains: {count}").format(
            count=total.unpriced_calls
        )


def _shares(accounts: tuple[Account, ...]) -> Iterator[str]:
    if not accounts:
        yield _("No budget is set.")
    for account in accounts:
        yield _("{kind} budget ({window}): {share} used, {spent} of {limit}").format(
            kind=words.budget(account.window.kind.value),
            window=printable(account.window.name),
            share=words.percent(account.used_percent),
            spent=dollars(account.spent),
            limit=dollars(account.window.cap),
        ) + (
            _("; {amount} reserved").format(amount=dollars(account.reserved))
            if account.reserved
            else ""
        )


def _trend_lines(trend: tuple[Bar, ...]) -> Iterator[str]:
    amounts = [dollars(bar.billed) for bar in trend]
    width = max(map(len, amounts), default=0)
    for bar, amount in zip(trend, amounts, strict=True):
        yield f"{bar.day:%Y-%m-%d}  {amount:>{width}}  {bar.bar}".rstrip()


def _review_lines(review: EstimateReview) -> Iterator[str]:
    yield _("Estimate against actual, {count} calls:").format(count=review.calls)
    yield _("  input tokens: {expected} expected, {actual} used{error}").format(
        expected=f"{review.estimated_input_tokens:,}",
        actual=f"{review.input_tokens:,}",
        error=_deviation(Decimal(review.input_tokens), Decimal(review.estimated_input_tokens)),
    )
    yield _("  cost: {expected} expected, {worst} at worst, {actual} billed{error}").format(
        expected=dollars(review.expected),
        worst=dollars(review.worst),
        actual=dollars(review.billed),
        error=_deviation(review.billed, review.expected),
    )


def _deviation(actual: Decimal, expected: Decimal) -> str:
    if not expected:
        return ""
    return _(" ({share} %)").format(share=f"{(actual - expected) * 100 / expected:+.1f}")


def _print_savings(report: Report) -> None:
    from rich.table import Table

    from aigenflow.monitoring.stats import savings

    table = Table(box=None, pad_edge=False, header_style="", show_footer=True)
    total = savings(report.total)
    table.add_column(words.dimension(report.by.value), _("Total"), overflow="fold")
    for heading, amount in (
        (_("Live price"), total.live_price),
        (_("Saved"), total.saved),
        (_("Billed"), total.billed),
        (_("Wasted"), total.wasted),
    ):
        table.add_column(heading, dollars(amount), justify="right", no_wrap=True)
    for row in report.rows:
        saved = savings(row)
        amounts = (saved.live_price, saved.saved, saved.billed, saved.wasted)
        table.add_row(printable(row.key) or _("(none)"), *map(dollars, amounts))
    _panel(
        _("Savings"),
        report,
        table,
        _left_out(report),
        _savings_lines(total, report.wasted),
        _unpriced(report.total),
    )


def _savings_lines(saved: Savings, wasted: tuple[Totals, ...]) -> Iterator[str]:
    """Where the savings came from and where the waste went; what is nothing is left out."""
    figures = [
        (_("Saved by the response cache"), saved.response_cache),
        (_("Saved by prompt caching"), saved.prompt_cache),
        (_("Saved by batch"), saved.batch),
        (_("Saved by flex"), saved.flex),
        *((words.waste(row.key), row.wasted) for row in wasted),
    ]
    if saved.saved_percent is not None:
        yield _("Saved, of the live full price: {share}").format(
            share=words.percent(saved.saved_percent)
        )
    for label, amount in figures:
        if amount:
            yield f"{label}: {dollars(amount)}"
