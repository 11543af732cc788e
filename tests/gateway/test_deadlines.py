"""Limits on waiting: silence is told from slowness, and every stream is closed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing

import pytest

from aigenflow.core.errors import StalledError
from aigenflow.core.models import AgentRequest, AgentType
from aigenflow.gateway.base import Timeouts
from aigenflow.gateway.deadlines import (
    FLEX_WAIT_S,
    for_flex,
    plain_limit,
    should_stream,
    watched,
    within,
)

PATIENT = Timeouts(first_event_s=30, idle_s=30, total_s=30)


class Source:
    """Yields numbers; before number ``stall_at`` it waits for ever. Knows whether it was closed."""

    def __init__(self, count: int, *, stall_at: int | None = None) -> None:
        self.count = count
        self.stall_at = stall_at
        self.closed = False

    async def events(self) -> AsyncIterator[int]:
        try:
            for number in range(self.count):
                if number == self.stall_at:
                    await asyncio.Event().wait()
                await asyncio.sleep(0)
                yield number
        finally:
            self.closed = True


async def collect(source: Source, timeouts: Timeouts) -> list[int]:
    return [event async for event in watched(source.events(), timeouts, provider="openai")]


async def test_events_pass_through() -> None:
    """Events that keep coming arrive unchanged, and the source is closed after the last."""
    source = Source(100)
    assert await collect(source, PATIENT) == list(range(100))
    assert source.closed


@pytest.mark.parametrize(
    ("stall_at", "timeouts"),
    [
        (0, Timeouts(first_event_s=0.02, idle_s=30, total_s=30)),
        (3, Timeouts(first_event_s=30, idle_s=0.02, total_s=30)),
        (0, Timeouts(first_event_s=30, idle_s=30, total_s=0.02)),
        (3, Timeouts(first_event_s=30, idle_s=30, total_s=0.02)),
    ],
    ids=["first", "idle", "total-first", "total-later"],
)
async def test_silence(stall_at: int, timeouts: Timeouts) -> None:
    """Each limit ends a silent stream, says how long it waited, and closes the source."""
    source = Source(10, stall_at=stall_at)
    with pytest.raises(StalledError) as caught:
        await collect(source, timeouts)
    assert caught.value.possibly_billed
    assert caught.value.provider == "openai"
    assert "0.02" in caught.value.message
    assert source.closed


async def test_the_total_limits_a_busy_stream() -> None:
    """A stream that never ends is ended by the total, however busy it is."""
    source = Source(10**9)
    with pytest.raises(StalledError):
        await collect(source, Timeouts(first_event_s=30, idle_s=30, total_s=0.05))
    assert source.closed


async def test_slow_consumers_are_not_silence() -> None:
    """Time spent on an event does not count as idle."""
    timeouts = Timeouts(first_event_s=30, idle_s=0.05, total_s=30)
    seen = []
    async for event in watched(Source(3).events(), timeouts, provider="openai"):
        await asyncio.sleep(0.06)
        seen.append(event)
    assert seen == [0, 1, 2]


async def test_leaving_early_closes_the_source() -> None:
    """A consumer that has what it wants leaves nothing open."""
    source = Source(10)
    async with aclosing(watched(source.events(), PATIENT, provider="openai")) as events:
        async for _event in events:
            break
    assert source.closed


async def test_errors_of_the_source_pass_through() -> None:
    """A fault of the source, also a timeout of its own, is not called a stall."""

    async def failing() -> AsyncIterator[int]:
        yield 1
        raise TimeoutError("not ours")

    with pytest.raises(TimeoutError, match="not ours"):
        async for _event in watched(failing(), PATIENT, provider="openai"):
            pass


async def test_cancelling_the_caller() -> None:
    """A cancelled caller is cancelled, not stalled."""
    source = Source(10, stall_at=1)
    task = asyncio.ensure_future(collect(source, PATIENT))
    for _ in range(5):
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert source.closed


async def test_within() -> None:
    """A plain call has one limit; its own faults pass through."""

    async def answer() -> str:
        return "ok"

    async def fail() -> str:
        raise TimeoutError("not ours")

    assert await within(answer(), 1, provider="openai") == "ok"
    with pytest.raises(StalledError) as caught:
        await within(asyncio.Event().wait(), 0.01, provider="openai")
    assert caught.value.possibly_billed
    with pytest.raises(TimeoutError, match="not ours"):
        await within(fail(), 1, provider="openai")


@pytest.mark.parametrize(
    ("tokens", "search", "stream"),
    [(2048, False, False), (2049, False, True), (16, True, True)],
)
def test_should_stream(tokens: int, search: bool, stream: bool) -> None:
    """Long answers and searches are streamed, short answers are not."""
    request = AgentRequest(
        agent=AgentType.CLAUDE,
        phase=1,
        task="t",
        prompt="p",
        max_output_tokens=tokens,
        web_search=search,
    )
    assert should_stream(request) is stream


def test_plain_limit() -> None:
    """A plain call waits as for a first event, within the total."""
    assert plain_limit(Timeouts(first_event_s=5, total_s=9)) == 5
    assert plain_limit(Timeouts(first_event_s=9, total_s=5)) == 5


def test_flex_is_given_more_time_and_never_less() -> None:
    """It may stand in a queue before its first event; signs of life are as frequent after it."""
    short = for_flex(Timeouts(first_event_s=1, idle_s=2, total_s=3))
    assert (short.first_event_s, short.idle_s, short.total_s) == (FLEX_WAIT_S, 2, FLEX_WAIT_S)
    long = Timeouts(first_event_s=2 * FLEX_WAIT_S, total_s=3 * FLEX_WAIT_S)
    assert for_flex(long) == long
