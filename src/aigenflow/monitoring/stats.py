"""Summaries of the ledger, without a clock or a database: exact sums, periods, trends, savings."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from datetime import date, timedelta
from decimal import Decimal
from gettext import gettext as _

from aigenflow.core.errors import InputError
from aigenflow.monitoring.budget import days_of
from aigenflow.monitoring.models import ZERO, BudgetKind, Totals

_BLOCKS = " ▏▎▍▌▋▊▉█"
_SUMMED = tuple(field.name for field in fields(Totals) if field.name != "key")
_KINDS = {
    "today": BudgetKind.DAY,
    "week": BudgetKind.WEEK,
    "weekly": BudgetKind.WEEK,
    "month": BudgetKind.MONTH,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Period:
    """Days of the user's calendar, both included; ``None`` is open."""

    first: date | None = None
    last: date | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """One day of a trend. ``billed`` in dollars; ``bar`` is drawn to the scale of the trend."""

    day: date
    billed: Decimal
    bar: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Savings:
    """Where the money did not go, in dollars, against the same work at live full price.

    ``live_price`` = ``billed`` + ``saved``. ``wasted`` is the part of ``billed`` that bought
    nothing that was used. ``saved_percent`` is of ``live_price``; ``None`` where that is zero.
    """

    live_price: Decimal
    billed: Decimal
    response_cache: Decimal
    prompt_cache: Decimal
    batch: Decimal
    flex: Decimal
    wasted: Decimal

    @property
    def saved(self) -> Decimal:
        """All savings together."""
        return self.response_cache + self.prompt_cache + self.batch + self.flex

    @property
    def saved_percent(self) -> Decimal | None:
        """Share of the live price that was saved."""
        return self.saved * 100 / self.live_price if self.live_price else None


def parse_period(text: str, today: date) -> Period:
    """``today``, ``week`` (or ``weekly``), ``month``, ``all``, or ``FROM..TO`` as ISO dates.

    A week begins on Monday; it and a month end today.

    Raises :class:`~aigenflow.core.errors.InputError`.
    """
    if text == "all":
        return Period()
    if kind := _KINDS.get(text):
        return Period(first=days_of(kind, today)[0], last=today)
    begin, _dots, end = text.partition("..")
    try:
        first, last = date.fromisoformat(begin), date.fromisoformat(end)
    except ValueError:
        raise _not_a_period(text) from None
    if first > last:
        raise _not_a_period(text)
    return Period(first=first, last=last)


def _not_a_period(text: str) -> InputError:
    return InputError(
        _("{text} is not a period.").format(text=text),
        hint=_("Use today, week, month, all, or two dates: 2026-11-01..2026-11-15"),
    )


def grand_total(rows: Sequence[Totals], key: str = "") -> Totals:
    """The exact sum of rows, under a name."""
    nothing = Totals()
    return Totals(
        key=key,
        **{
            name: sum((getattr(row, name) for row in rows), start=getattr(nothing, name))
            for name in _SUMMED
        },
    )


def savings(total: Totals) -> Savings:
    """What caches and discounts saved, and what was wasted."""
    saved = (
        total.response_cache_saving
        + total.prompt_cache_saving
        + total.batch_saving
        + total.flex_saving
    )
    return Savings(
        live_price=total.billed + saved,
        billed=total.billed,
        response_cache=total.response_cache_saving,
        prompt_cache=total.prompt_cache_saving,
        batch=total.batch_saving,
        flex=total.flex_saving,
        wasted=total.wasted,
    )


def trend(by_day: Sequence[Totals], period: Period, width: int = 40) -> list[Bar]:
    """One bar per day, also for days without calls, at most ``width`` characters long.

    ``by_day`` are totals whose key is an ISO date. An open period runs from the first such day to
    the last.
    """
    billed = {date.fromisoformat(row.key): row.billed for row in by_day}
    if not billed:
        return []
    highest = max(billed.values())
    first = period.first or min(billed)
    last = period.last or max(billed)
    return [
        Bar(
            day=day,
            billed=billed.get(day, ZERO),
            bar=_draw(billed.get(day, ZERO), highest, width),
        )
        for day in _days(first, last)
    ]


def _days(first: date, last: date) -> Iterator[date]:
    return (first + timedelta(days=n) for n in range((last - first).days + 1))


def _draw(amount: Decimal, highest: Decimal, width: int) -> str:
    """A bar in eighths of a character; any amount above zero shows."""
    if amount <= 0:
        return ""
    eighths = max(1, int(amount * width * 8 / highest))
    return (_BLOCKS[-1] * (eighths // 8) + _BLOCKS[eighths % 8]).rstrip()
