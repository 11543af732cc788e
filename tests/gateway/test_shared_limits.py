"""The limits that all workers of a fleet share, on a real PostgreSQL."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Sequence

import pytest

from aigenflow.core.clock import SystemClock
from aigenflow.core.db import DatabaseAwayError, PostgresDatabase, Row, Value
from aigenflow.core.errors import RateLimitedError
from aigenflow.gateway.limits import Limits
from aigenflow.gateway.shared_limits import SLACK_S, SharedLimiter, free_slots, prepare
from tests.support.postgres import NO_SERVER, POSTGRES, own_database

pytestmark = pytest.mark.skipif(not POSTGRES, reason=NO_SERVER)


class NoWaiting(SystemClock):
    """Writes down the waits; only short looks for a free slot really wait."""

    def __init__(self) -> None:
        self.waits: list[float] = []

    async def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        await asyncio.sleep(min(seconds, 0.02))


@pytest.fixture
def url() -> Iterator[str]:
    with own_database() as address:
        yield address


@pytest.fixture
def database(url: str) -> Iterator[PostgresDatabase]:
    opened = PostgresDatabase(url)
    prepare(opened)
    yield opened
    opened.close()


def limiter(
    database: PostgresDatabase, worker: str = "one", clock: SystemClock | None = None, **limits: int
) -> SharedLimiter:
    return SharedLimiter(
        database,
        "compatible http://127.0.0.1 KEY",
        Limits(**{"concurrency": 50, **limits}),
        worker=worker,
        clock=clock or SystemClock(),
        longest_pause_s=5,
    )


def held(database: PostgresDatabase) -> int:
    [(count,)] = database.query("SELECT COUNT(*) FROM fleet_slots WHERE worker <> ''")
    return int(count)


async def test_no_more_calls_than_slots_run_at_once(url: str, database: PostgresDatabase):
    """Three workers with thirty calls each never have more than four under way together."""
    databases = [PostgresDatabase(url) for _ in range(3)]
    workers = [limiter(each, f"w{n}", concurrency=4) for n, each in enumerate(databases)]
    under_way = most = 0

    async def call(worker: SharedLimiter) -> None:
        nonlocal under_way, most
        async with worker.admit(1):
            under_way += 1
            most = max(most, under_way)
            await asyncio.sleep(0.005)
            under_way -= 1

    await asyncio.gather(*(call(worker) for worker in workers for _ in range(30)))
    for each in databases:
        each.close()
    assert 1 < most <= 4
    assert held(database) == 0


async def test_requests_of_all_workers_keep_one_pace(url: str, database: PostgresDatabase):
    """A quarter of a minute's requests go at once; each next one waits a step longer."""
    clock = NoWaiting()
    other = PostgresDatabase(url)
    first = limiter(database, "one", clock, requests_per_minute=40)
    second = limiter(other, "two", clock, requests_per_minute=40)
    for n in range(16):
        async with (first if n % 2 else second).admit(1):
            pass
    other.close()
    step_s = 60 / 30 * (1 + SLACK_S / 60)
    waits = [wait for wait in clock.waits if wait > 0.1]
    assert len(waits) == 6, "ten of forty went at once"
    for number, wait in enumerate(waits, start=1):
        assert number * step_s - 2 < wait <= number * step_s


async def test_tokens_of_all_workers_come_from_one_bucket(database: PostgresDatabase):
    """A minute's tokens may be spent at once; what goes beyond waits until it has refilled."""
    clock = NoWaiting()
    shared = limiter(database, clock=clock, tokens_per_minute=6_000)
    async with shared.admit(6_000):
        pass
    assert not clock.waits
    async with shared.admit(1_000):
        pass
    assert 8 < clock.waits[0] <= 10


async def test_tokens_used_beyond_the_reservation_are_added_to_the_next(
    database: PostgresDatabase,
):
    """An overdraft makes the next call wait longer."""
    clock = NoWaiting()
    shared = limiter(database, clock=clock, tokens_per_minute=6_000)
    async with shared.admit(5_000):
        shared.settle(reserved_tokens=5_000, used_tokens=7_000)
    async with shared.admit(0):
        pass
    assert 8 < clock.waits[0] <= 10


async def test_a_pause_holds_for_every_worker(url: str, database: PostgresDatabase):
    """A provider's pause, asked of one worker, holds another back; a long one is an error."""
    other = PostgresDatabase(url)
    clock = NoWaiting()
    first, second = limiter(database, "one"), limiter(other, "two", clock)
    async with first.admit(1), second.admit(1):
        pass
    first.pause(3)
    await asyncio.sleep(0.3)
    waiting = asyncio.create_task(_pass(second))
    await asyncio.sleep(0.2)
    assert not waiting.done()
    assert 2 < max(clock.waits) <= 3
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    first.pause(60)
    await asyncio.sleep(0.3)
    with pytest.raises(RateLimitedError, match="compatible asks for a pause of"):
        await _pass(second)
    other.close()
    assert held(database) == 0


async def test_a_worker_that_was_given_up_takes_no_slot(database: PostgresDatabase):
    """Should it wake up once more, nobody would give that slot back."""
    free_slots(database, "one")
    waiting = asyncio.create_task(_pass(limiter(database, "one")))
    async with limiter(database, "two", concurrency=50).admit(1):
        await asyncio.sleep(0.2)
        assert held(database) == 1
    assert not waiting.done()
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    assert held(database) == 0


async def _pass(worker: SharedLimiter) -> None:
    async with worker.admit(1):
        pass


async def test_a_dead_workers_slots_are_freed(database: PostgresDatabase):
    """What a dead worker held is free for the others."""
    dead = limiter(database, "dead", concurrency=1)
    calling = dead.admit(1)
    await calling.__aenter__()
    waiting = asyncio.create_task(_pass(limiter(database, "alive", concurrency=1)))
    await asyncio.sleep(0.1)
    assert not waiting.done()
    free_slots(database, "dead")
    await asyncio.wait_for(waiting, 5)


async def test_a_cancelled_wait_leaves_no_slot_behind(database: PostgresDatabase):
    """Cancelled at any moment of its admission, a call holds nothing."""
    shared = limiter(database, concurrency=50)
    for n in range(20):
        task = asyncio.create_task(_pass(shared))
        await asyncio.sleep(n / 4_000)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    deadline = time.monotonic() + 30
    while held(database):
        assert time.monotonic() < deadline
        await asyncio.sleep(0.05)
    async with shared.admit(1):
        assert held(database) == 1


class GoneWhileGivingBack(PostgresDatabase):
    """Cannot be reached when a slot is given back, for longer than anybody waits."""

    is_away = False

    def query(self, sql: str, values: Sequence[Value] = ()) -> list[Row]:
        if self.is_away and sql.startswith("UPDATE fleet_slots"):
            raise DatabaseAwayError("no server")
        return super().query(sql, values)


async def test_an_answer_is_not_lost_with_the_slot_that_cannot_be_given_back(
    url: str, database: PostgresDatabase
):
    """What was paid for is kept, and the slot is free once the database is there again."""
    gone = GoneWhileGivingBack(url)
    shared = limiter(gone, concurrency=1)
    gone.is_away = True
    async with shared.admit(1):
        answer = "paid for"
    assert (answer, held(database)) == ("paid for", 1)
    gone.is_away = False
    async with asyncio.timeout(10), shared.admit(1):
        assert held(database) == 1
    assert held(database) == 0
    gone.close()
