"""A clock that moves only when it is told to."""

from __future__ import annotations

import asyncio
import heapq
from datetime import UTC, datetime, timedelta
from itertools import count

START = datetime(2026, 1, 1, tzinfo=UTC)
GRACE_TURNS = 20
"""Turns of the event loop that others get before time moves by itself."""


class ManualClock:
    """A :class:`~aigenflow.core.clock.Clock` in which waiting takes no time.

    :meth:`advance` moves wall and monotonic time together and wakes whoever has slept enough.
    With ``auto_advance`` time moves by itself to the earliest moment anyone sleeps until, once
    everybody else has had :data:`GRACE_TURNS` turns, so that those who sleep at the same time
    still sleep side by side. ``sleeps`` lists every wait that was asked for, in seconds.
    ``start`` must be timezone-aware.
    """

    def __init__(self, start: datetime = START, *, auto_advance: bool = False) -> None:
        if start.tzinfo is None:
            raise ValueError("start must be timezone-aware")
        self.sleeps: list[float] = []
        self._start = start.astimezone(UTC)
        self._elapsed_s = 0.0
        self._auto_advance = auto_advance
        self._moved_by: asyncio.AbstractEventLoop | None = None
        self._order = count()
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []

    def now(self) -> datetime:
        return self._start + timedelta(seconds=self._elapsed_s)

    def monotonic(self) -> float:
        return self._elapsed_s

    async def sleep(self, seconds: float) -> None:
        self.sleeps.append(seconds)
        loop = asyncio.get_running_loop()
        woken = loop.create_future()
        deadline = self._elapsed_s + max(0.0, seconds)
        heapq.heappush(self._sleepers, (deadline, next(self._order), woken))
        if self._auto_advance:
            self._move_on(loop)
        elif seconds <= 0:
            loop.call_soon(self.advance, 0)
        await woken

    def advance(self, seconds: float) -> None:
        """Move on by ``seconds`` and wake the sleepers that are due; they run when you await.

        Raises ``ValueError`` where that would be backwards.
        """
        if seconds < 0:
            raise ValueError("time does not run backwards")
        self._move_to(self._elapsed_s + seconds)

    def _move_on(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._moved_by is not loop:
            self._moved_by = loop
            loop.call_soon(self._after_grace, loop, GRACE_TURNS)

    def _after_grace(self, loop: asyncio.AbstractEventLoop, turns_left: int) -> None:
        if turns_left:
            loop.call_soon(self._after_grace, loop, turns_left - 1)
            return
        self._moved_by = None
        while self._sleepers and self._sleepers[0][-1].done():
            heapq.heappop(self._sleepers)
        if self._sleepers:
            self._move_to(self._sleepers[0][0])
            self._move_on(loop)

    def _move_to(self, elapsed_s: float) -> None:
        self._elapsed_s = elapsed_s
        while self._sleepers and self._sleepers[0][0] <= elapsed_s:
            _, _, woken = heapq.heappop(self._sleepers)
            if not woken.done():
                woken.set_result(None)
