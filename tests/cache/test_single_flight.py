from __future__ import annotations

import asyncio

import pytest

from aigenflow.cache.single_flight import SingleFlight
from tests.cache.buying import settle


class Work:
    """Work that waits to be finished, and counts its starts and cancellations."""

    def __init__(self) -> None:
        self.starts = 0
        self.cancellations = 0
        self.results: list[asyncio.Future[int]] = []

    async def __call__(self) -> int:
        self.starts += 1
        future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self.results.append(future)
        try:
            return await future
        except asyncio.CancelledError:
            self.cancellations += 1
            raise


def everything(_result: int) -> bool:
    return True


async def test_one_runs_and_the_others_wait() -> None:
    """Fifty callers of one key cost one piece of work; exactly one of them has led."""
    flights, work = SingleFlight[int](), Work()
    callers = [asyncio.create_task(flights.run("k", work, everything)) for _ in range(50)]
    await settle()
    assert work.starts == 1
    work.results[0].set_result(7)
    results = await asyncio.gather(*callers)
    assert {result for result, _led in results} == {7}
    assert sum(led for _result, led in results) == 1


async def test_keys_do_not_wait_for_each_other() -> None:
    """Different keys run side by side."""
    flights, work = SingleFlight[int](), Work()
    callers = [asyncio.create_task(flights.run(key, work, everything)) for key in "abc"]
    await settle()
    assert work.starts == 3
    for number, result in enumerate(work.results):
        result.set_result(number)
    assert [result for result, _led in await asyncio.gather(*callers)] == [0, 1, 2]


async def test_later_callers_start_again() -> None:
    """Nothing is remembered once the work is done."""
    flights, work = SingleFlight[int](), Work()
    for number in range(2):
        caller = asyncio.create_task(flights.run("k", work, everything))
        await settle()
        work.results[number].set_result(number)
        assert await caller == (number, True)


async def test_the_error_goes_to_the_leader_and_another_takes_over() -> None:
    """One caller gets the error; of the rest one tries again while the others wait."""
    flights, work = SingleFlight[int](), Work()
    callers = [asyncio.create_task(flights.run("k", work, everything)) for _ in range(5)]
    await settle()
    work.results[0].set_exception(OSError("down"))
    await settle()
    assert work.starts == 2
    work.results[1].set_result(3)
    results = await asyncio.gather(*callers, return_exceptions=True)
    assert sum(isinstance(result, OSError) for result in results) == 1
    assert sum(result == (3, False) for result in results) == 3
    assert sum(result == (3, True) for result in results) == 1


async def test_results_that_cannot_be_shared_are_not() -> None:
    """Each caller has to get its own, one after the other."""
    flights, work = SingleFlight[int](), Work()
    callers = [asyncio.create_task(flights.run("k", work, lambda _: False)) for _ in range(3)]
    for number in range(3):
        await settle()
        assert work.starts == number + 1
        work.results[number].set_result(number)
    assert sorted(result for result, _led in await asyncio.gather(*callers)) == [0, 1, 2]


@pytest.mark.parametrize("position", [0, 1])
async def test_cancelling_one_does_not_touch_the_others(position: int) -> None:
    """Also when the one who goes is the one who began."""
    flights, work = SingleFlight[int](), Work()
    callers = [asyncio.create_task(flights.run("k", work, everything)) for _ in range(3)]
    await settle()
    callers[position].cancel()
    await settle()
    assert callers[position].cancelled()
    work.results[0].set_result(1)
    left = [caller for caller in callers if caller is not callers[position]]
    assert {result for result, _led in await asyncio.gather(*left)} == {1}
    assert (work.starts, work.cancellations) == (1, 0)


async def test_when_all_have_gone_the_work_stops() -> None:
    """Nobody pays for what nobody waits for; who comes next starts anew."""
    flights, work = SingleFlight[int](), Work()
    callers = [asyncio.create_task(flights.run("k", work, everything)) for _ in range(3)]
    await settle()
    for caller in callers:
        caller.cancel()
    await asyncio.gather(*callers, return_exceptions=True)
    assert work.cancellations == 1
    again = asyncio.create_task(flights.run("k", work, everything))
    await settle()
    work.results[1].set_result(2)
    assert await again == (2, True)
