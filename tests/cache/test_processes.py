"""Many processes, one store."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import random
import signal
import time
from collections.abc import Callable, Iterator
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest

from aigenflow.cache.manager import CacheManager
from aigenflow.cache.storage import open_storage
from aigenflow.core.models import GatewayResponse
from tests.cache.buying import never
from tests.cache.questions import ROUTE, ask, reply

PROCESSES = 32
FORK = multiprocessing.get_context("fork")


@pytest.fixture(params=["file:", "sqlite:///{home}/cache.db"], ids=["file", "sqlite"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    template: str = request.param
    return template.format(home=tmp_path)


@pytest.fixture
def start() -> Iterator[Callable[..., BaseProcess]]:
    """Starts processes; none outlives the test."""
    running: list[BaseProcess] = []

    def starter(function: Callable[..., None], *arguments: object) -> BaseProcess:
        process = FORK.Process(target=function, args=arguments)
        process.start()
        running.append(process)
        return process

    yield starter
    for process in running:
        if process.is_alive():
            process.kill()
        process.join()
        process.close()


def finish(processes: list[BaseProcess]) -> list[int | None]:
    """The exit codes."""
    for process in processes:
        process.join(100)
    return [process.exitcode for process in processes]


def ask_once(url: str, home: Path, delay_s: float, dies: bool) -> None:
    """One process that asks the question everybody asks."""
    cache = CacheManager(open_storage(url, home=home))

    async def buy() -> GatewayResponse:
        with (home / "bill").open("a") as bill:
            bill.write(f"{os.getpid()}\n")
        if dies:
            os.kill(os.getpid(), signal.SIGKILL)
        await asyncio.sleep(delay_s)
        return reply("the answer")

    answer = asyncio.run(cache.get_or_buy(ask(1), ROUTE, buy))
    assert answer.response.content == "the answer"
    cache.close()


def bill(home: Path) -> list[str]:
    """Who bought."""
    return (home / "bill").read_text().split()


def test_a_cold_stampede_buys_once(
    tmp_path: Path, url: str, start: Callable[..., BaseProcess]
) -> None:
    """Of 64 processes with one question, one calls the provider and 63 hear its answer."""
    processes = [start(ask_once, url, tmp_path, 0.5, False) for _ in range(64)]
    assert finish(processes) == [0] * 64
    assert len(bill(tmp_path)) == 1
    stats = CacheManager(open_storage(url, home=tmp_path)).stats()
    assert (stats.hits, stats.misses, stats.stores) == (63, 1, 1)


def test_a_dead_leader_is_replaced(tmp_path: Path, start: Callable[..., BaseProcess]) -> None:
    """When the one who buys is killed, one other takes over: two calls, no more."""
    leader = start(ask_once, "file:", tmp_path, 0, True)
    while not (tmp_path / "bill").exists():
        time.sleep(0.001)
    processes = [start(ask_once, "file:", tmp_path, 0.2, False) for _ in range(30)]
    assert finish([leader]) == [-signal.SIGKILL]
    assert finish(processes) == [0] * 30
    assert len(bill(tmp_path)) == 2


def test_a_lease_of_the_dead_runs_out(
    tmp_path: Path, start: Callable[..., BaseProcess], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a database the lease of a killed leader is taken over when it runs out."""
    monkeypatch.setattr("aigenflow.cache.backends.sql.LEASE_S", 0.5)
    url = f"sqlite:///{tmp_path}/cache.db"
    leader = start(ask_once, url, tmp_path, 0, True)
    assert finish([leader]) == [-signal.SIGKILL]
    assert finish([start(ask_once, url, tmp_path, 0.1, False) for _ in range(8)]) == [0] * 8
    assert len(bill(tmp_path)) == 2


def work_at_random(url: str, home: Path, seed: int, steps: int) -> None:
    """One process that reads, writes and removes at random."""
    chance = random.Random(seed)
    warnings: list[str] = []
    cache = CacheManager(
        open_storage(url, home=home), on_warning=warnings.append, max_size_bytes=150_000
    )
    for _ in range(steps):
        number, dice = chance.randrange(100), chance.random()
        if dice < 0.75:
            found = cache.get(ask(number), ROUTE)
            assert found is None or found.response.content.startswith(f"answer {number} ")
        elif dice < 0.97:
            size = chance.choice((100, 1_000, 3_000))
            assert cache.put(ask(number), ROUTE, reply(f"answer {number} ", size))
        else:
            (row,) = cache.list(limit=1) or (None,)
            if row is not None:
                cache.invalidate(row.meta.key)
    cache.close()
    assert warnings == []
    with (home / "done").open("a") as done:
        done.write(f"{seed}\n")


def hammer(url: str, home: Path, start: Callable[..., BaseProcess], n: int, steps: int) -> None:
    processes = [start(work_at_random, url, home, seed, steps) for seed in range(n)]
    assert finish(processes) == [0] * n
    cache = CacheManager(open_storage(url, home=home), max_size_bytes=150_000)
    looked_up, stored = 0, 0
    for seed in range(n):
        chance = random.Random(seed)
        for _ in range(steps):
            chance.randrange(100)
            dice = chance.random()
            looked_up += dice < 0.75
            if 0.75 <= dice < 0.97:
                stored += 1
                chance.choice((100, 1_000, 3_000))
    stats = cache.stats()
    assert stats.hits + stats.misses == looked_up
    assert stats.stores == stored
    assert stats.evictions > 0
    assert stats.size_bytes <= 150_000
    assert stats.size_bytes == sum(row.size_bytes for row in cache.list())
    assert cache.doctor() == ()
    cache.close()


def test_many_processes_share_a_store(
    tmp_path: Path, url: str, start: Callable[..., BaseProcess]
) -> None:
    """Reading, writing, evicting and removing side by side tears nothing and loses no count."""
    hammer(url, tmp_path, start, 8, 250)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_many_processes_share_a_store_for_long(
    tmp_path: Path, url: str, start: Callable[..., BaseProcess]
) -> None:
    """The same with 32 processes; AIGENFLOW_TEST_HAMMER_STEPS sets how long (release: 10,000)."""
    hammer(
        url, tmp_path, start, PROCESSES, int(os.environ.get("AIGENFLOW_TEST_HAMMER_STEPS", "500"))
    )


def fill(home: Path, seed: int) -> None:
    """One process that writes more than its share."""
    cache = CacheManager(open_storage("file:", home=home), max_size_bytes=100_000)
    for number in range(40):
        cache.put(ask(seed * 1000 + number), ROUTE, reply("x", 3_000))
    os._exit(0)


def test_the_limit_holds_without_closing(tmp_path: Path, start: Callable[..., BaseProcess]) -> None:
    """Once all are quiet the store is within its limit, though nobody said good-bye."""
    assert finish([start(fill, tmp_path, seed) for seed in range(8)]) == [0] * 8
    size = sum(path.stat().st_size for path in (tmp_path / "cache" / "entries").iterdir())
    assert 50_000 < size <= 100_000


def open_fresh(home: Path) -> None:
    """One start of the program in a home that does not exist yet."""
    cache = CacheManager(open_storage("file:", home=home))
    assert cache.put(ask(os.getpid()), ROUTE, reply())
    cache.close()


def test_many_first_starts_make_one_home(tmp_path: Path, start: Callable[..., BaseProcess]) -> None:
    """Processes that all find nothing make the folders together."""
    home = tmp_path / "new" / "home"
    assert finish([start(open_fresh, home) for _ in range(40)]) == [0] * 40
    cache = CacheManager(open_storage("file:", home=home))
    assert cache.stats().total_entries == 40
    assert cache.doctor() == ()


async def test_clearing_during_a_run(tmp_path: Path) -> None:
    """A cleared entry is bought again; nothing breaks."""
    cache, other = (CacheManager(open_storage("file:", home=tmp_path)) for _ in range(2))
    cache.put(ask(1), ROUTE, reply("kept"))
    assert (await cache.get_or_buy(ask(1), ROUTE, never())).hit
    assert other.clear() == 1
    assert cache.get(ask(1), ROUTE) is None
