"""Decisions about budgets, with no clock and no database: what counts, what fits, what to tell.

A call is refused where ``spent + reserved + worst case > cap``. The sum of what is spent and what
may still be spent therefore never passes a cap, however many calls are on their way, as long as no
call costs more than its worst case.

Days, weeks (from Monday) and months are those of the user's calendar. A call belongs to the day on
which its money was reserved, also where it ends after midnight.
"""

from __future__ import annotations

from calendar import monthrange
from collections.abc import Collection, Iterator, Sequence
from datetime import date, datetime, timedelta, tzinfo
from decimal import Decimal
from gettext import gettext as _

from aigenflow.core.errors import BudgetExceededError
from aigenflow.monitoring.models import (
    Account,
    Alert,
    BudgetKind,
    BudgetLimits,
    Shortfall,
    Window,
)

RESEARCH_PHASES = frozenset({1, 2, 3})
"""The phases that a ring-fence holds back from the money of writing and review."""


class RingFencedError(BudgetExceededError):
    """What is left of the budget is kept for writing and review: ask for less."""


def calendar_day(at: datetime, zone: tzinfo) -> date:
    """The day that clocks in ``zone`` show at that moment."""
    return at.astimezone(zone).date()


def days_of(kind: BudgetKind, day: date) -> tuple[date, date]:
    """The first and last day of the day, week or month that contains ``day``."""
    if kind is BudgetKind.WEEK:
        monday = day - timedelta(days=day.weekday())
        return monday, monday + timedelta(days=6)
    if kind is BudgetKind.MONTH:
        return day.replace(day=1), day.replace(day=monthrange(day.year, day.month)[1])
    return day, day


def windows(limits: BudgetLimits, day: date, session: str, phase: int) -> tuple[Window, ...]:
    """The budgets that a call of that day, session and phase counts against."""
    return (*_calendar_windows(limits, day), *_session_windows(limits, session, phase))


def _calendar_windows(limits: BudgetLimits, day: date) -> Iterator[Window]:
    iso = day.isocalendar()
    for kind, cap, name in (
        (BudgetKind.DAY, limits.daily_usd, day.isoformat()),
        (BudgetKind.WEEK, limits.weekly_usd, f"{iso.year}-W{iso.week:02}"),
        (BudgetKind.MONTH, limits.monthly_usd, day.strftime("%Y-%m")),
    ):
        if cap is not None:
            first, last = days_of(kind, day)
            yield Window(kind=kind, name=name, cap=cap, first_day=first, last_day=last)


def _session_windows(limits: BudgetLimits, session: str, phase: int) -> Iterator[Window]:
    if not session:
        return
    if limits.session_usd is not None:
        yield Window(kind=BudgetKind.SESSION, name=session, cap=limits.session_usd, session=session)
    if (cap := limits.phase_usd.get(phase)) is not None:
        name = f"{session}/phase {phase}"
        yield Window(kind=BudgetKind.PHASE, name=name, cap=cap, session=session, phase=phase)


def shortfalls(
    accounts: Sequence[Account], asked: Decimal, phase: int, ring_fence: Decimal
) -> tuple[Shortfall, ...]:
    """The budgets without room for a call that may cost ``asked`` dollars.

    A call that costs nothing always fits.
    """
    return tuple(
        Shortfall(account=account, asked=asked, limit=limit, ring_fenced=limit < account.window.cap)
        for account in accounts
        if asked > 0
        and account.spent + account.reserved + asked
        > (limit := _limit(account.window, phase, ring_fence))
    )


def refusal(shortfall: Shortfall) -> BudgetExceededError:
    """The error for a call that was not made."""
    account = shortfall.account
    message = _(
        "The {budget} budget ({name}) allows ${limit}: ${spent} is spent, ${reserved} is reserved "
        "for calls under way, and this call could cost up to ${asked}."
    ).format(
        budget=_kind_name(account.window.kind),
        name=account.window.name,
        limit=dollars(shortfall.limit),
        spent=dollars(account.spent),
        reserved=dollars(account.reserved),
        asked=dollars(shortfall.asked),
    )
    if shortfall.ring_fenced:
        kept = dollars(account.window.cap - shortfall.limit)
        return RingFencedError(
            message,
            hint=_(
                "${kept} of the budget is kept for writing and review. Raise the budget, or lower "
                "budget.ring_fence_percent, and resume the session."
            ).format(kept=kept),
        )
    return BudgetExceededError(message, hint=_hint(account.window))


def due_alerts(
    accounts: Sequence[Account],
    thresholds: Sequence[int],
    told: Collection[tuple[BudgetKind, str, int]],
) -> tuple[Alert, ...]:
    """Thresholds that are reached and were not told before in their window, lowest first.

    ``told`` holds (kind, window name, threshold).
    """
    return tuple(
        Alert(threshold=threshold, account=account)
        for account in accounts
        for threshold in sorted(set(thresholds))
        if account.spent > 0
        and account.used_percent >= threshold
        and (account.window.kind, account.window.name, threshold) not in told
    )


def describe_alert(alert: Alert) -> str:
    """What to tell the user once a threshold is reached."""
    account = alert.account
    return _("{percent} % of the {budget} budget ({name}) is spent: ${spent} of ${cap}.").format(
        percent=alert.threshold,
        budget=_kind_name(account.window.kind),
        name=account.window.name,
        spent=dollars(account.spent),
        cap=dollars(account.window.cap),
    )


def dollars(amount: Decimal) -> str:
    """An amount for people: cents, or as many digits as a smaller amount needs to show."""
    if amount == 0 or abs(amount) >= Decimal("0.01"):
        return f"{amount:,.2f}" if amount == amount.quantize(Decimal("0.01")) else f"{amount:,.4f}"
    return f"{amount:.9f}".rstrip("0")


def _limit(window: Window, phase: int, ring_fence: Decimal) -> Decimal:
    if phase in RESEARCH_PHASES and window.kind is not BudgetKind.PHASE:
        return window.cap * (1 - ring_fence)
    return window.cap


def _kind_name(kind: BudgetKind) -> str:
    return {
        BudgetKind.DAY: _("daily"),
        BudgetKind.WEEK: _("weekly"),
        BudgetKind.MONTH: _("monthly"),
        BudgetKind.SESSION: _("session"),
        BudgetKind.PHASE: _("phase"),
    }[kind]


def _hint(window: Window) -> str:
    if window.last_day is None:
        return _("Raise the session's budget and resume, or set budget.on_exceed to warn.")
    return _(
        "Wait until {day}, raise the budget, or set budget.on_exceed to warn; "
        "then resume the session."
    ).format(day=(window.last_day + timedelta(days=1)).isoformat())
