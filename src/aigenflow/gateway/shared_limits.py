"""One provider's limits for every process that shares a PostgreSQL database.

Two kinds of rows. A slot per call that may run at the same time, held by a worker: whoever finds
none free looks again. And per place the moment at which its request bucket and its token bucket
will be full again (the generic cell rate algorithm): a call adds its share and learns how long to
wait, so that the calls of all machines go out one after the other without asking again.

Both are taken in one statement, on the database's own clock.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from gettext import gettext as _
from typing import TypeAlias

from aigenflow.core.clock import Clock
from aigenflow.core.db import DatabaseAwayError, DatabaseError, PostgresDatabase, patiently
from aigenflow.core.errors import RateLimitedError
from aigenflow.gateway.limits import Limits, request_bucket

SLACK_S = 1.0
"""Calls travel for different times: a minute's calls are spread over this much more, in seconds."""

_FIRST_LOOK_S = 0.02
_SLOWEST_LOOK_S = 0.5
_MINUTE_S = 60.0

_SCHEMA = (
    """CREATE TABLE IF NOT EXISTS fleet_rates (
        place TEXT PRIMARY KEY,
        requests_full_at DOUBLE PRECISION NOT NULL DEFAULT 0,
        tokens_full_at DOUBLE PRECISION NOT NULL DEFAULT 0,
        not_before DOUBLE PRECISION NOT NULL DEFAULT 0)""",
    """CREATE TABLE IF NOT EXISTS fleet_slots (
        place TEXT NOT NULL, slot BIGINT NOT NULL, worker TEXT NOT NULL DEFAULT '',
        PRIMARY KEY (place, slot))""",
    """CREATE TABLE IF NOT EXISTS fleet_barred (
        worker TEXT PRIMARY KEY, at TIMESTAMPTZ NOT NULL DEFAULT clock_timestamp())""",
)
_Taken: TypeAlias = tuple[int, float, float, float]
"""A slot, and the seconds until both buckets are full again and until a pause ends."""

_NOW = "CAST(EXTRACT(EPOCH FROM clock_timestamp()) AS DOUBLE PRECISION)"
_ADMIT = f"""
    WITH taken AS (
        UPDATE fleet_slots SET worker = ? WHERE place = ? AND slot = (
            SELECT slot FROM fleet_slots WHERE place = ? AND worker = '' AND slot <= ?
            ORDER BY slot LIMIT 1 FOR UPDATE SKIP LOCKED)
            AND NOT EXISTS (SELECT 1 FROM fleet_barred WHERE worker = ?)
        RETURNING slot)
    UPDATE fleet_rates SET
        requests_full_at =
            GREATEST(requests_full_at, {_NOW}) + CAST(? AS BIGINT) / 1000000.0,
        tokens_full_at = GREATEST(tokens_full_at, {_NOW}) + CAST(? AS BIGINT) / 1000000.0
    FROM taken WHERE place = ?
    RETURNING taken.slot, requests_full_at - {_NOW}, tokens_full_at - {_NOW}, not_before - {_NOW}
"""  # noqa: S608 - nobody's input


def prepare(database: PostgresDatabase) -> None:
    """Make the tables where there are none. Raises ``DatabaseError``."""
    with database.transaction() as tx:
        for statement in _SCHEMA:
            tx.execute(statement)


def free_slots(database: PostgresDatabase, worker: str) -> None:
    """Give back what a worker held that is gone. Raises ``DatabaseError``.

    Should it wake up once more, it takes none: nobody would give that one back.
    """
    database.query("INSERT INTO fleet_barred (worker) VALUES (?) ON CONFLICT DO NOTHING", (worker,))
    database.query("UPDATE fleet_slots SET worker = '' WHERE worker = ?", (worker,))
    database.query("DELETE FROM fleet_barred WHERE at < clock_timestamp() - INTERVAL '7 days'")


class SharedLimiter:
    """The limits of one ``place`` (an account at an address), shared by all workers.

    The :class:`~aigenflow.gateway.limits.Limiter` of a fleet. The database's waits happen in
    threads; a pause that one worker is asked for holds for all.
    """

    def __init__(
        self,
        database: PostgresDatabase,
        place: str,
        limits: Limits,
        *,
        worker: str,
        clock: Clock,
        longest_pause_s: float,
    ) -> None:
        self._database = database
        self._place = place
        self._worker = worker
        self._clock = clock
        self._longest_pause_s = longest_pause_s
        self._slots = limits.concurrency or 1
        burst, self._request_s = _request_pace(limits.requests_per_minute)
        self._request_bucket_s = burst * self._request_s
        self._tokens_per_minute = limits.tokens_per_minute
        self._overdraft_tokens = 0
        self._held: set[int] = set()
        self._lock = threading.Lock()
        self._is_known = False
        self._errands: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def admit(self, tokens: int) -> AsyncIterator[None]:
        """Wait until one call that may use ``tokens`` fits, and hold its slot while it runs.

        Raises ``RateLimitedError`` where the provider asked for a pause that is too long, and
        ``DatabaseError``.
        """
        slot, wait_s = await self._take(tokens)
        try:
            while wait_s > 0:
                await self._clock.sleep(wait_s)
                wait_s = await self._pause_left_s()
            yield
        finally:
            await asyncio.shield(asyncio.to_thread(self._give_back, slot))

    def settle(self, *, reserved_tokens: int, used_tokens: int) -> None:
        """What was used beyond the reservation is added to this worker's next one."""
        self._overdraft_tokens += max(0, used_tokens - reserved_tokens)

    def pause(self, seconds: float) -> None:
        """Let no further call out for ``seconds``, on any machine; soon, not at once."""
        self._run_errand(
            lambda: self._database.query(
                f"UPDATE fleet_rates SET not_before = GREATEST(not_before, {_NOW} + "  # noqa: S608
                "CAST(? AS BIGINT) / 1000000.0) WHERE place = ?",
                (_microseconds(seconds), self._place),
            )
        )

    async def _take(self, tokens: int) -> tuple[int, float]:
        """A slot, and the seconds to wait before the call goes out."""
        look_s = _FIRST_LOOK_S
        reserved, self._overdraft_tokens = tokens + self._overdraft_tokens, 0
        token_s = self._token_s(reserved)
        while True:
            row = await self._look(token_s)
            if row is not None:
                break
            await self._clock.sleep(look_s * random.uniform(0.8, 1.2))  # noqa: S311
            look_s = min(look_s * 1.5, _SLOWEST_LOOK_S)
        slot, requests_s, tokens_s, pause_s = row
        try:
            self._check_pause(pause_s)
        except RateLimitedError:
            await asyncio.to_thread(self._give_back, slot)
            raise
        return slot, max(0.0, requests_s - self._request_bucket_s, tokens_s - _MINUTE_S, pause_s)

    async def _look(self, token_s: float) -> _Taken | None:
        looking = asyncio.ensure_future(asyncio.to_thread(self._try_take, token_s))
        try:
            return await asyncio.shield(looking)
        except asyncio.CancelledError:
            looking.add_done_callback(self._undo)
            raise

    def _undo(self, looked: asyncio.Future[_Taken | None]) -> None:
        taken = None if looked.exception() else looked.result()
        if taken is not None:
            self._run_errand(lambda: self._give_back(taken[0]))

    def _token_s(self, tokens: int) -> float:
        """How long the token bucket takes to refill after ``tokens``, at most all of it."""
        if self._tokens_per_minute is None:
            return 0.0
        return min(tokens / self._tokens_per_minute, 1.0) * _MINUTE_S

    def _try_take(self, token_s: float) -> _Taken | None:
        with self._lock:
            return patiently(lambda: self._take_once(token_s))

    def _take_once(self, token_s: float) -> _Taken | None:
        self._know()
        worker, place = self._worker, self._place
        share = (_microseconds(self._request_s), _microseconds(token_s))
        try:
            rows = self._database.execute_once(
                _ADMIT, (worker, place, place, self._slots, worker, *share, place)
            )
        except DatabaseAwayError:
            self._is_known = False  # a slot may have been taken that nobody knows of
            raise
        if not rows:
            return None
        slot, requests_s, tokens_s, pause_s = rows[0]
        self._held.add(slot)
        return slot, float(requests_s), float(tokens_s), float(pause_s)

    def _know(self) -> None:
        """The rows of the place are there, and none is held for a call that is not ours."""
        if self._is_known:
            return
        self._database.query(
            "INSERT INTO fleet_rates (place) VALUES (?) ON CONFLICT DO NOTHING", (self._place,)
        )
        self._database.query(
            "INSERT INTO fleet_slots (place, slot) SELECT ?, generate_series(1, ?) "
            "ON CONFLICT DO NOTHING",
            (self._place, self._slots),
        )
        ours = self._database.query(
            "SELECT slot FROM fleet_slots WHERE place = ? AND worker = ?",
            (self._place, self._worker),
        )
        for (slot,) in ours:
            if slot not in self._held:
                self._free(slot)
        self._is_known = True

    def _give_back(self, slot: int) -> None:
        """Let others have a slot; where the database is away, as soon as the next is taken.

        Nothing is raised: an answer that was paid for must not be lost by it.
        """
        with self._lock:
            self._held.discard(slot)
            try:
                self._free(slot)
            except DatabaseError:
                self._is_known = False

    def _free(self, slot: int) -> None:
        self._database.query(
            "UPDATE fleet_slots SET worker = '' WHERE place = ? AND slot = ? AND worker = ?",
            (self._place, slot, self._worker),
        )

    async def _pause_left_s(self) -> float:
        rows = await asyncio.to_thread(
            self._database.query,
            f"SELECT not_before - {_NOW} FROM fleet_rates WHERE place = ?",  # noqa: S608
            (self._place,),
        )
        left_s = float(rows[0][0])
        self._check_pause(left_s)
        return left_s

    def _check_pause(self, seconds: float) -> None:
        if seconds <= self._longest_pause_s:
            return
        provider = self._place.split(" ", 1)[0]
        raise RateLimitedError(
            _("{provider} asks for a pause of {seconds:.0f} s").format(
                provider=provider, seconds=seconds
            ),
            hint=_("Resume later, or use another agent until then."),
            provider=provider,
            retry_after_s=seconds,
        )

    def _run_errand(self, work: Callable[[], object]) -> None:
        async def run() -> None:
            with contextlib.suppress(DatabaseError):  # nobody waits for it
                await asyncio.to_thread(work)

        task = asyncio.get_running_loop().create_task(run())
        self._errands.add(task)
        task.add_done_callback(self._errands.discard)


def _request_pace(per_minute: int | None) -> tuple[int, float]:
    """How many requests may go out at once, and the seconds from one to the next after them."""
    if per_minute is None:
        return 0, 0.0
    burst, refill_s = request_bucket(per_minute)
    return burst, refill_s / burst * (1 + SLACK_S / _MINUTE_S)


def _microseconds(seconds: float) -> int:
    return int(seconds * 1e6)
