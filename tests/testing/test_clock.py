"""The shipped manual clock."""

import asyncio
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aigenflow.core.clock import Clock
from aigenflow.testing.clock import START, ManualClock


async def settle() -> None:
    """Let every task that can run, run."""
    for _ in range(5):
        await asyncio.sleep(0)


def test_is_a_clock() -> None:
    """It can stand wherever a clock is asked for."""
    clock: Clock = ManualClock()
    assert clock.now() == START
    assert clock.monotonic() == 0.0


def test_time_stands_still_until_it_is_advanced() -> None:
    """Wall and monotonic time move together, and only by what was asked."""
    clock = ManualClock(datetime(2026, 5, 1, 9, tzinfo=timezone(timedelta(hours=9))))
    clock.advance(90)
    assert clock.now() == datetime(2026, 5, 1, 0, 1, 30, tzinfo=UTC)
    assert clock.now().tzinfo is UTC
    assert clock.monotonic() == 90.0


def test_a_naive_start_is_refused() -> None:
    """A start without a time zone would be read differently on every machine."""
    with pytest.raises(ValueError, match="timezone-aware"):
        ManualClock(datetime(2026, 1, 1))  # noqa: DTZ001


def test_time_does_not_run_backwards() -> None:
    """Advancing by a negative number is a mistake of the test."""
    with pytest.raises(ValueError, match="backwards"):
        ManualClock().advance(-1)


async def test_a_sleeper_wakes_when_its_time_has_come_and_not_before() -> None:
    """Sleep ends at its deadline, which several advances may reach together."""
    clock = ManualClock()
    sleeper = asyncio.create_task(clock.sleep(10))
    await settle()
    clock.advance(9.5)
    await settle()
    assert not sleeper.done()
    clock.advance(0.5)
    await settle()
    assert sleeper.done()
    assert clock.sleeps == [10]


async def test_sleepers_wake_in_the_order_of_their_deadlines() -> None:
    """One long advance wakes everybody who is due, earliest first, and nobody else."""
    clock = ManualClock()
    woken: list[int] = []

    async def sleep(seconds: int) -> None:
        await clock.sleep(seconds)
        woken.append(seconds)

    tasks = [asyncio.create_task(sleep(seconds)) for seconds in (3, 1, 2, 99)]
    await settle()
    clock.advance(5)
    await settle()
    assert woken == [1, 2, 3]
    tasks[-1].cancel()


async def test_a_cancelled_sleeper_is_left_alone() -> None:
    """Advancing past the deadline of a sleeper that was cancelled does nothing."""
    clock = ManualClock()
    sleeper = asyncio.create_task(clock.sleep(1))
    await settle()
    sleeper.cancel()
    await settle()
    clock.advance(2)
    assert sleeper.cancelled()


@pytest.mark.parametrize("auto_advance", [False, True])
@pytest.mark.parametrize("seconds", [0, -5])
async def test_sleeping_for_no_time_returns_by_itself(auto_advance: bool, seconds: float) -> None:
    """A sleep of zero or less only gives way to others."""
    clock = ManualClock(auto_advance=auto_advance)
    await clock.sleep(seconds)
    assert clock.monotonic() == 0.0


async def test_with_auto_advance_sleeping_moves_the_time() -> None:
    """Nobody has to advance by hand."""
    clock = ManualClock(auto_advance=True)
    await clock.sleep(3600)
    await clock.sleep(60)
    assert clock.monotonic() == 3660.0


@given(st.lists(st.integers(0, 1000), min_size=1, max_size=8))
def test_with_auto_advance_sleepers_wait_side_by_side(seconds: list[int]) -> None:
    """Sleeping together takes as long as the longest sleep, and each wakes on time."""
    clock = ManualClock(auto_advance=True)

    async def sleep(each: int) -> None:
        await clock.sleep(each)
        assert clock.monotonic() == each

    async def together() -> None:
        await asyncio.gather(*(sleep(each) for each in seconds))

    asyncio.run(together())
    assert clock.monotonic() == max(seconds)


async def test_with_auto_advance_a_cancelled_sleep_moves_nothing() -> None:
    """Time goes to the next living sleeper."""
    clock = ManualClock(auto_advance=True)
    cancelled = asyncio.create_task(clock.sleep(5))
    await asyncio.sleep(0)
    cancelled.cancel()
    await clock.sleep(7)
    assert clock.monotonic() == 7.0


async def test_with_auto_advance_those_who_are_busy_catch_up_first() -> None:
    """Someone who wakes and soon sleeps again is not overtaken by a later sleeper."""
    clock = ManualClock(auto_advance=True)
    ticks: list[float] = []

    async def tick() -> None:
        for _ in range(3):
            await clock.sleep(1)
            await settle()
            ticks.append(clock.monotonic())

    await asyncio.gather(tick(), clock.sleep(10))
    assert ticks == [1.0, 2.0, 3.0]


def test_a_clock_can_be_used_by_one_loop_after_another() -> None:
    """A loop that ended in the middle of a sleep leaves the clock usable."""
    clock = ManualClock(auto_advance=True)

    async def give_up() -> None:
        sleeper = asyncio.create_task(clock.sleep(1))
        await asyncio.sleep(0)
        sleeper.cancel()

    asyncio.run(give_up())
    asyncio.run(clock.sleep(2))
    assert clock.monotonic() == 2.0
