"""The tracker for coroutines: what many ask for at the same time becomes one transaction.

While one transaction waits for the disk, in a thread, the next is gathered. The event loop never
waits, and a hundred calls at once cost a few waits for the disk instead of two hundred.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, TypeAlias, TypeVar

from aigenflow.core.models import TokenUsage
from aigenflow.monitoring.models import (
    Alert,
    CallDetails,
    Estimate,
    Purpose,
    Reservation,
    Waste,
)
from aigenflow.monitoring.tracker import Operation, TokenTracker

T = TypeVar("T")

_NO_DETAILS = CallDetails()
_Asked: TypeAlias = tuple[Operation[Any], asyncio.Future[Any]]


class AsyncTracker:
    """A :class:`~aigenflow.monitoring.tracker.TokenTracker` for one event loop.

    Methods do and raise what those of the same name do there.
    """

    def __init__(self, tracker: TokenTracker) -> None:
        self.tracker = tracker
        self._waiting: list[_Asked] = []
        self._commit: asyncio.Future[list[object]] | None = None
        self._is_due = False

    async def track(
        self,
        usage: TokenUsage,
        *,
        call_id: str | None = None,
        details: CallDetails = _NO_DETAILS,
    ) -> tuple[Alert, ...]:
        """Write one call that needed no reservation."""
        operation = self.tracker.tracking(usage, call_id=call_id, details=details)
        return await asyncio.shield(self._submit(operation))

    async def reserve(
        self, estimate: Estimate, purpose: Purpose, *, allow_unpriced: bool = False
    ) -> Reservation:
        """Set the worst case of a call aside. Cancelled meanwhile, the money is set free again."""
        operation = self.tracker.reserving(estimate, purpose, allow_unpriced=allow_unpriced)
        reservation = self._submit(operation)
        try:
            return await asyncio.shield(reservation)
        except asyncio.CancelledError:
            reservation.add_done_callback(self._give_back)
            raise

    async def settle(
        self,
        reservation: Reservation | str,
        usage: TokenUsage,
        *,
        details: CallDetails = _NO_DETAILS,
    ) -> tuple[Alert, ...]:
        """Write a reserved call and set its money free; goes on also where it is cancelled."""
        operation = self.tracker.settling(reservation, usage, details=details)
        return await asyncio.shield(self._submit(operation))

    async def release(self, reservation: Reservation | str) -> None:
        """Set the money of a call free that bought nothing."""
        await asyncio.shield(self._submit(self.tracker.releasing(reservation)))

    async def hand_over(self, reservation: Reservation | str, job: str) -> None:
        """Let a batch job answer for a reservation from now on, whatever this process does."""
        await asyncio.shield(self._submit(self.tracker.handing_over(reservation, job)))

    async def mark_wasted(self, call_ids: Sequence[str], waste: Waste) -> None:
        """Say why these calls bought nothing that was used; the last reason counts."""
        await asyncio.shield(self._submit(self.tracker.marking_wasted(call_ids, waste)))

    def mark_wasted_soon(self, call_ids: Sequence[str], waste: Waste) -> None:
        """:meth:`mark_wasted` without waiting, for a better reason than a row has already.

        A ledger that cannot be written is told to the next one who waits for it.
        """
        marking = self._submit(self.tracker.marking_wasted(call_ids, waste))
        marking.add_done_callback(lambda done: done.exception())

    async def aclose(self) -> None:
        """Wait until everything asked for is in the ledger. The tracker stays open."""
        while self._waiting or self._commit is not None:
            await asyncio.wait([self._commit] if self._commit else [f for _, f in self._waiting])

    def _submit(self, operation: Operation[T]) -> asyncio.Future[T]:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        self._waiting.append((operation, future))
        if self._commit is None and not self._is_due:
            # Not at once: others who are ready to run may ask as well.
            loop.call_soon(self._begin)
            self._is_due = True
        return future

    def _begin(self) -> None:
        self._is_due = False
        gathered, self._waiting = self._waiting, []
        loop, operations = asyncio.get_running_loop(), [operation for operation, _ in gathered]
        self._commit = loop.run_in_executor(None, self.tracker.commit_together, operations)
        self._commit.add_done_callback(lambda done: self._tell(gathered, done))

    def _tell(self, gathered: list[_Asked], done: asyncio.Future[list[object]]) -> None:
        """Give everybody what their operation gave, or the error they are to see."""
        self._commit = None
        if self._waiting:
            self._begin()
        fault = done.exception()
        outcomes = [fault] * len(gathered) if fault is not None else done.result()
        for (_operation, future), outcome in zip(gathered, outcomes, strict=True):
            if isinstance(outcome, BaseException):
                future.set_exception(outcome)
            else:
                future.set_result(outcome)

    def _give_back(self, reservation: asyncio.Future[Reservation]) -> None:
        if reservation.exception() is None:
            self._submit(self.tracker.releasing(reservation.result()))
