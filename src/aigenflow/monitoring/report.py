"""What ``stats`` tells: one reading of the ledger, for a period, kept apart by one thing."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import tzinfo
from decimal import Decimal
from gettext import gettext as _

from aigenflow.core.errors import InputError
from aigenflow.monitoring.models import (
    Account,
    BudgetKind,
    Dimension,
    EstimateReview,
    Totals,
)
from aigenflow.monitoring.stats import Bar, Period, grand_total, parse_period, trend
from aigenflow.monitoring.tracker import TokenTracker

WITH_TREND = "weekly"
_IN_ORDER = frozenset({Dimension.DAY, Dimension.PHASE})
"""What is told in its own order; everything else dearest first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """Usage and money of a period, in the user's time zone.

    ``total`` is the sum of ``rows`` and of the ``left_out`` ones beside them; ``wasted`` has a row
    per reason that is not empty. ``review`` is there for one session only, ``trend`` for the
    period ``weekly`` only.
    """

    period_name: str
    period: Period
    zone: tzinfo
    session: str | None
    by: Dimension
    rows: tuple[Totals, ...]
    left_out: int
    total: Totals
    wasted: tuple[Totals, ...]
    accounts: tuple[Account, ...]
    trend: tuple[Bar, ...]
    review: EstimateReview | None


def read_report(
    tracker: TokenTracker,
    *,
    period: str,
    by: Dimension,
    session: str | None = None,
    most_sessions: int | None = None,
) -> Report:
    """Read the ledger. ``period`` is as in :func:`~aigenflow.monitoring.stats.parse_period`.

    Of sessions, ``most_sessions`` are read: the dearest.

    Raises :class:`~aigenflow.core.errors.InputError` for a period that is none, and for a session
    that the ledger does not know.
    """
    days = parse_period(period, tracker.today())

    def totals(dimension: Dimension) -> list[Totals]:
        return tracker.totals(dimension, first=days.first, last=days.last, session=session)

    limit = most_sessions if by is Dimension.SESSION and session is None else None
    rows = tracker.totals(by, first=days.first, last=days.last, session=session, dearest=limit)
    if session is not None and not rows and not tracker.totals(session=session):
        raise _no_such_session(session)
    if by not in _IN_ORDER:
        rows.sort(key=lambda row: (-row.billed, row.key))
    total = grand_total(rows if limit is None else totals(Dimension.PROVIDER))
    known = len(rows) if limit is None else tracker.count_sessions(days.first, days.last)
    return Report(
        period_name=period,
        period=days,
        zone=tracker.limits.zone,
        session=session,
        by=by,
        rows=tuple(rows),
        left_out=known - len(rows),
        total=total,
        wasted=tuple(row for row in totals(Dimension.WASTE) if row.key) if total.wasted else (),
        accounts=budget_accounts(tracker, session or ""),
        trend=tuple(trend(totals(Dimension.DAY), days)) if period == WITH_TREND else (),
        review=tracker.review(session) if session is not None else None,
    )


def budget_accounts(tracker: TokenTracker, session: str = "") -> tuple[Account, ...]:
    """Today's budgets, and those of a session and each of its phases that has a limit."""
    accounts = tracker.accounts(session)
    if not session:
        return accounts
    phases = [
        account
        for phase in sorted(tracker.limits.phase_usd)
        for account in tracker.accounts(session, phase)
        if account.window.kind is BudgetKind.PHASE
    ]
    return (*(one for one in accounts if one.window.kind is not BudgetKind.PHASE), *phases)


def known_cost(total: Totals) -> Decimal | None:
    """What is known to be billed, in dollars; ``None`` where calls were bought and no price is."""
    bought = total.calls - total.cache_hits
    return None if total.unpriced_calls and total.unpriced_calls == bought else total.billed


def _no_such_session(session: str) -> InputError:
    return InputError(
        _("The ledger has no calls of the session {session}.").format(session=session),
        hint=_("`aigenflow stats --by session --period all` lists those it has."),
    )
