"""What was spent, what was saved, and how much of each budget is used."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from decimal import Decimal

from starlette.requests import Request
from starlette.responses import Response

from aigenflow.app import App
from aigenflow.dashboard import books
from aigenflow.dashboard.site import site_of
from aigenflow.monitoring.models import Dimension, EstimateReview, Totals
from aigenflow.monitoring.report import Report, known_cost, read_report
from aigenflow.monitoring.stats import Bar, Savings, savings, trend

PERIODS = ("today", "week", "month", "all")
DIMENSIONS = ("day", "provider", "model", "phase", "task", "session")
MOST_SESSIONS = 50
MOST_REVIEWS = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line of the table; ``cost`` is ``None`` where no price is known."""

    total: Totals
    cost: Decimal | None
    saved: Savings


@dataclass(frozen=True, slots=True, kw_only=True)
class Books:
    """Everything on the page. ``reviews`` are of the dearest sessions of the period."""

    report: Report
    rows: tuple[Row, ...]
    total: Row
    days: tuple[Bar, ...]
    reviews: tuple[tuple[str, EstimateReview], ...]


async def show(request: Request) -> Response:
    """The page."""
    site, query = site_of(request), request.query_params
    period, by = query.get("period", "month"), query.get("by", "provider")
    dimension = Dimension(by) if by in DIMENSIONS else Dimension.PROVIDER
    found = await asyncio.to_thread(_read, site.app, period, dimension)
    return site.page(
        request,
        "cost",
        view=found,
        period=period,
        by=dimension.value,
        periods=PERIODS,
        dimensions=DIMENSIONS,
        thresholds=books.thresholds(site.app),
    )


def _read(app: App, period: str, by: Dimension) -> Books | None:
    """The books; ``None`` where nobody keeps any. Raises ``InputError`` for a strange period."""
    tracker = app.tracker
    if tracker is None:
        return None
    report = read_report(tracker, period=period, by=by, most_sessions=MOST_SESSIONS)
    span = report.period
    by_day = tracker.totals(Dimension.DAY, first=span.first, last=span.last)
    dearest = tracker.totals(
        Dimension.SESSION, first=span.first, last=span.last, dearest=MOST_REVIEWS
    )
    names = [row.key for row in sorted(dearest, key=lambda row: -row.billed) if row.key]
    reviews = ((name, tracker.review(name)) for name in names)
    return Books(
        report=report,
        rows=tuple(map(_row, report.rows)),
        total=_row(report.total),
        days=tuple(trend(by_day, span)),
        reviews=tuple((name, review) for name, review in reviews if review.calls),
    )


def _row(total: Totals) -> Row:
    return Row(total=total, cost=known_cost(total), saved=savings(total))
