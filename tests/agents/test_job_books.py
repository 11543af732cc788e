"""The money of batch jobs, whether or not the run that settles them keeps books."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from aigenflow.agents.job_books import MeteredJobs, UnmeteredJobs
from aigenflow.agents.metering import Meter
from aigenflow.core.errors import JobItemNotRunError, ServerFaultError
from aigenflow.core.events import ignore_event
from aigenflow.core.jobs import ItemOutcome
from aigenflow.core.models import AgentRequest, AgentType, Backend, GatewayResponse, Route
from aigenflow.monitoring.async_tracker import AsyncTracker
from aigenflow.monitoring.models import BudgetLimits
from aigenflow.monitoring.price_book import PriceBook
from aigenflow.monitoring.tracker import TokenTracker
from aigenflow.testing.clock import ManualClock
from tests.support.jobs import a_request, answer_to

ROUTE = Route(
    agent=AgentType.CLAUDE,
    actor=AgentType.CLAUDE,
    backend=Backend.ANTHROPIC,
    model="claude-sonnet-5-5",
)
NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)


def answered(number: int, request: AgentRequest) -> ItemOutcome:
    return ItemOutcome(id=f"job-{number}", response=answer_to(request))


class Ledger:
    """A ledger in a file, and how often a meter was opened on it."""

    def __init__(self, path: Path) -> None:
        self.clock = ManualClock(NOW, auto_advance=True)
        self.tracker = TokenTracker.open(f"sqlite:///{path}", BudgetLimits(), self.clock)
        self.meters: list[Meter] = []

    def open(self) -> Meter:
        tracker = AsyncTracker(self.tracker)
        meter = Meter(tracker, PriceBook.load(), self.clock, on_event=ignore_event)
        self.meters.append(meter)
        return meter

    def calls(self) -> int:
        return sum(total.calls for total in self.tracker.totals())

    def reserved(self) -> int:
        return len(self.tracker.open_reservations())


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    made = Ledger(tmp_path / "ledger.db")
    yield made
    made.tracker.close()


async def test_items_that_were_bought_without_books_have_a_row_each(ledger: Ledger) -> None:
    """Under their own ids, so that settling again changes nothing."""
    books = MeteredJobs(ledger.open())
    request = a_request()
    for number in (1, 2, 2):
        settled = await books.settle("", request, ROUTE, answered(number, request))
        assert settled.response is not None
        assert settled.response.call_ids == (f"job-{number}",)
        assert settled.response.estimated_cost
    assert ledger.calls() == 2


async def test_without_books_nothing_is_set_aside_and_nothing_written(ledger: Ledger) -> None:
    """Not even the ledger is opened."""
    books = UnmeteredJobs(ledger.open)
    request = a_request()
    reservation = await books.reserve(request, ROUTE)
    await books.hand_over(reservation, "job")
    outcome = answered(1, request)
    assert await books.settle(reservation, request, ROUTE, outcome) is outcome
    await books.waste("job-1-again-1", request, ROUTE, answer_to(request))
    await books.release(reservation)
    await books.aclose()
    assert ledger.meters == []


@pytest.mark.parametrize(
    ("outcome", "calls"),
    [
        (ItemOutcome(id="job-1", response=GatewayResponse(content="yes", output_tokens=9)), 1),
        (ItemOutcome(id="job-1", error=ServerFaultError("lost", possibly_billed=True)), 1),
        (ItemOutcome(id="job-1", error=JobItemNotRunError("expired")), 0),
    ],
    ids=["answered", "lost", "not run"],
)
async def test_what_an_earlier_run_set_aside_is_settled_without_books(
    ledger: Ledger, outcome: ItemOutcome, calls: int
) -> None:
    """Its money is free again, and what was paid is in its ledger."""
    request = a_request()
    reservation = await MeteredJobs(ledger.open()).reserve(request, ROUTE)
    assert ledger.reserved() == 1
    books = UnmeteredJobs(ledger.open)
    await books.hand_over(reservation, "job")
    await books.settle(reservation, request, ROUTE, outcome)
    assert (ledger.reserved(), ledger.calls()) == (0, calls)


async def test_what_an_earlier_run_set_aside_for_nothing_is_freed_without_books(
    ledger: Ledger,
) -> None:
    """A job that never reached its provider holds no money."""
    reservation = await MeteredJobs(ledger.open()).reserve(a_request(), ROUTE)
    books = UnmeteredJobs(ledger.open)
    await books.release(reservation)
    assert ledger.reserved() == 0
