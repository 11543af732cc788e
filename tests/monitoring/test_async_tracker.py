"""The tracker for coroutines."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest

from aigenflow.core.errors import BudgetExceededError, ConfigError, JournalWriteError
from aigenflow.monitoring.async_tracker import AsyncTracker
from aigenflow.monitoring.models import BudgetLimits, Dimension, Purpose, Waste
from aigenflow.monitoring.tracker import TokenTracker
from tests.contracts.ledger_contract import usage, worst

CLAUDE = Purpose(provider="claude", session="s1", phase=4)


@pytest.fixture
def tracker(tmp_path: Path) -> Iterator[TokenTracker]:
    limits = BudgetLimits(session_usd=Decimal(1))
    tracker = TokenTracker.open(f"sqlite:///{tmp_path}/ledger.db", limits)
    yield tracker
    tracker.close()


def count_transactions(tracker: TokenTracker, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The size of every transaction to come."""
    sizes: list[int] = []
    commit = tracker.commit_together

    def counting(operations):
        sizes.append(len(operations))
        return commit(operations)

    monkeypatch.setattr(tracker, "commit_together", counting)
    return sizes


async def test_calls_at_once_share_transactions(
    tracker: TokenTracker, monkeypatch: pytest.MonkeyPatch
):
    """A thousand coroutines keep the cap, in far fewer transactions than steps."""
    sizes = count_transactions(tracker, monkeypatch)
    both = AsyncTracker(tracker)

    async def call() -> bool:
        try:
            held = await both.reserve(worst("0.01"), CLAUDE)
        except BudgetExceededError:
            return False
        await both.settle(held, usage("0.01"))
        return True

    made = await asyncio.gather(*(call() for _ in range(1000)))
    assert sum(made) == 100
    assert sum(sizes) == 1100
    assert len(sizes) <= 10
    assert tracker.totals()[0].billed == 1
    assert tracker.open_reservations() == []


async def test_every_way_of_the_tracker_works(tracker: TokenTracker):
    """Track, reserve, settle and release do what they do in the tracker, alerts included."""
    both = AsyncTracker(tracker)
    await both.track(usage("0.10"), call_id="one")
    await both.track(usage("0.10"), call_id="one")
    await both.release(await both.reserve(worst("0.90"), CLAUDE))
    held = await both.reserve(worst("0.90"), CLAUDE)
    alerts = await both.settle(held, usage("0.65"))
    assert [alert.threshold for alert in alerts] == [50, 75]
    assert tracker.totals()[0].billed == Decimal("0.75")


async def test_an_unknown_price_is_refused_before_anything(tracker: TokenTracker):
    """Without a price nothing is asked of the ledger."""
    with pytest.raises(ConfigError, match="price"):
        await AsyncTracker(tracker).reserve(worst(None), CLAUDE)


async def test_one_bad_row_does_not_harm_the_others(tracker: TokenTracker):
    """A call that the database will not take fails alone."""
    both = AsyncTracker(tracker)
    calls = [usage("0.01"), replace(usage("0.01"), input_tokens=2**70), usage("0.02")]
    outcomes = await asyncio.gather(*map(both.track, calls), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [tuple, JournalWriteError, tuple]
    assert tracker.totals()[0].billed == Decimal("0.03")


async def test_a_cancelled_reservation_is_given_back(tracker: TokenTracker):
    """A caller that is gone before its money is set aside leaves none behind."""
    both = AsyncTracker(tracker)
    asking = asyncio.create_task(both.reserve(worst("1"), CLAUDE))
    await asyncio.sleep(0)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    await both.aclose()
    assert tracker.open_reservations() == []
    await both.reserve(worst("1"), CLAUDE)


async def test_a_cancelled_settlement_is_made_all_the_same(tracker: TokenTracker):
    """A paid call reaches the ledger although nobody waits any more."""
    both = AsyncTracker(tracker)
    held = await both.reserve(worst("1"), CLAUDE)
    settling = asyncio.create_task(both.settle(held, usage("0.40")))
    await asyncio.sleep(0)
    settling.cancel()
    with pytest.raises(asyncio.CancelledError):
        await settling
    await both.aclose()
    assert tracker.totals()[0].billed == Decimal("0.40")
    assert tracker.open_reservations() == []


async def test_a_fault_reaches_everybody_who_waits(
    tracker: TokenTracker, monkeypatch: pytest.MonkeyPatch
):
    """Whatever breaks, callers hear of it, and later calls are served again."""
    both = AsyncTracker(tracker)
    with monkeypatch.context() as broken:
        broken.setattr(tracker, "commit_together", lambda operations: 1 / 0)
        calls = [both.track(usage()) for _ in range(3)]
        outcomes = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [ZeroDivisionError] * 3
    await both.track(usage())
    assert tracker.totals()[0].calls == 1


async def test_waste_is_written_also_by_those_who_do_not_wait(tracker: TokenTracker):
    """A better reason may be left to be written before the ledger is closed."""
    both = AsyncTracker(tracker)
    for n in range(3):
        await both.track(usage("0.1"), call_id=str(n))
    await both.mark_wasted(["0", "1"], Waste.DISCARDED)
    both.mark_wasted_soon(["1"], Waste.RETRY)
    await both.aclose()
    wasted = {row.key: row.calls for row in tracker.totals(Dimension.WASTE)}
    assert wasted == {"": 1, "discarded": 1, "retry": 1}


async def test_a_ledger_that_cannot_say_why_disturbs_nobody(tracker: TokenTracker):
    """The row is marked as waste already; whoever waits for the ledger next hears of it."""
    both = AsyncTracker(tracker)
    tracker.close()
    both.mark_wasted_soon(["1"], Waste.RETRY)
    await both.aclose()
    with pytest.raises(JournalWriteError):
        await both.mark_wasted(["1"], Waste.RETRY)
