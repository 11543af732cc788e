"""A provider that counts what it sells."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from aigenflow.cache.manager import Buy
from aigenflow.core.models import GatewayResponse
from tests.cache.questions import reply


class Shop:
    """Sells answers, one after the other the ones it is given, then numbered ones."""

    def __init__(self, *goods: GatewayResponse | Exception, hold: bool = False) -> None:
        self.sold = 0
        self.cancelled = 0
        self._goods = list(goods)
        self._open = asyncio.Event()
        if not hold:
            self._open.set()

    def open(self) -> None:
        """Let the buyers go on."""
        self._open.set()

    async def __call__(self) -> GatewayResponse:
        self.sold += 1
        number = self.sold
        try:
            await self._open.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        good = self._goods.pop(0) if self._goods else reply(f"answer {number}")
        if isinstance(good, Exception):
            raise good
        return good


def never() -> Buy:
    """A purchase that must not happen."""

    async def buy() -> GatewayResponse:
        raise AssertionError("bought")

    return buy


async def settle(turns: int = 20) -> None:
    """Give everybody else a few turns of the loop."""
    for _ in range(turns):
        await asyncio.sleep(0)


async def until(condition: Callable[[], bool]) -> None:
    """Give everybody else turns of the loop until ``condition`` holds."""
    while not condition():
        await settle(1)


def contents(answers: Sequence[GatewayResponse]) -> list[str]:
    """The texts of the answers."""
    return [answer.content for answer in answers]
