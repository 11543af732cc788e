"""Of identical tasks at the same time one runs, and the others wait for its result."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Generic, TypeVar

_T = TypeVar("_T")


class _Flight(Generic[_T]):
    def __init__(self, task: asyncio.Task[_T]) -> None:
        self.task = task
        self._waiting = 0

    async def wait(self) -> None:
        """Until the task is done. It is cancelled when nobody waits for it any more."""
        self._waiting += 1
        try:
            await asyncio.wait({self.task})
        finally:
            self._waiting -= 1
            if not self._waiting and not self.task.done():
                self.task.cancel()
                await asyncio.wait({self.task})

    def has_result(self) -> bool:
        """Whether the task ended with a result; asking also marks its error as seen."""
        return not self.task.cancelled() and self.task.exception() is None


class SingleFlight(Generic[_T]):
    """Tasks by key, within one event loop.

    The work runs in a task of its own: it goes on as long as one caller waits for it, whoever
    started it. An error belongs to the caller that started the work; of the others one starts it
    again, then the next.
    """

    def __init__(self) -> None:
        self._flights: dict[str, _Flight[_T]] = {}

    async def run(
        self,
        key: str,
        work: Callable[[], Coroutine[Any, Any, _T]],
        can_share: Callable[[_T], bool],
    ) -> tuple[_T, bool]:
        """The result of ``work``, and whether it was run for this caller.

        A result for which ``can_share`` is false is treated like an error by those who waited.
        """
        while (flight := self._flights.get(key)) is not None:
            await flight.wait()
            if flight.has_result() and can_share(flight.task.result()):
                return flight.task.result(), False
        flight = self._flights[key] = _Flight(asyncio.create_task(work()))
        flight.task.add_done_callback(lambda _task: self._flights.pop(key))
        await flight.wait()
        return flight.task.result(), True
