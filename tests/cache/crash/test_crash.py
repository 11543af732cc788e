"""Sudden death of the process, and of the machine.

``AIGENFLOW_TEST_CRASH_TRIALS`` sets the number of kills at random moments (1,000 to release).
"""

from __future__ import annotations

import itertools
import multiprocessing
import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from aigenflow.cache.manager import CacheManager
from aigenflow.cache.storage import open_storage
from tests.cache.faults import WatchedOps, killing, use
from tests.cache.questions import ROUTE, ask, reply

FORK = multiprocessing.get_context("fork")
TRIALS = int(os.environ.get("AIGENFLOW_TEST_CRASH_TRIALS", "40"))
LIMIT = 40_000


def manager(home: Path) -> CacheManager:
    return CacheManager(open_storage("file:", home=home), max_size_bytes=LIMIT)


def change_everything(home: Path) -> None:
    """Puts, a replacement, an eviction, a removal, a damaged entry, a closing."""
    cache = manager(home)
    for number in range(12):
        cache.put(ask(number), ROUTE, reply(f"answer {number} ", 3_000))
    cache.put(ask(11), ROUTE, reply("answer 11 ", 2_000))
    cache.invalidate(cache.list(limit=1)[0].meta.key)
    next((home / "cache" / "entries").iterdir()).write_bytes(b"damage")
    for number in range(12):
        cache.get(ask(number), ROUTE)
    cache.close()


def check_survivor(home: Path) -> None:
    """What is left is right, can be put right, and works."""
    cache = manager(home)
    assert list((home / "cache" / "staging").glob("*")) == []
    there = sum(path.stat().st_size for path in (home / "cache" / "entries").iterdir())
    assert cache.stats().size_bytes >= there, "a size too small would let the store outgrow"
    for number in range(12):
        found = cache.get(ask(number), ROUTE)
        assert found is None or found.response.content.startswith(f"answer {number} ")
    cache.put(ask(99), ROUTE, reply())
    assert cache.get(ask(99), ROUTE) is not None
    cache.doctor(fix=True)
    assert cache.doctor() == ()
    there = sum(path.stat().st_size for path in (home / "cache" / "entries").iterdir())
    assert there <= LIMIT + 4_096
    assert cache.stats().size_bytes == there
    cache.close()


def test_killed_at_every_disk_operation(tmp_path: Path) -> None:
    """A process killed before any of its disk operations leaves a store that works."""
    counted = WatchedOps(lambda _number: None)
    with pytest.MonkeyPatch.context() as patch:
        use(patch, counted)
        change_everything(tmp_path / "counted")

    def die(home: Path, at: int) -> None:
        patch = pytest.MonkeyPatch()
        use(patch, killing(at))
        change_everything(home)

    assert counted.count > 150
    for at in range(counted.count):
        home = tmp_path / str(at)
        process = FORK.Process(target=die, args=(home, at))
        process.start()
        process.join()
        assert process.exitcode == -signal.SIGKILL, at
        if (home / "cache" / "entries").is_dir():
            check_survivor(home)


def write_for_ever(home: Path, acknowledged: int) -> None:
    """Writes entries of 1 KB to 2 MB and acknowledges each."""
    cache = CacheManager(open_storage("file:", home=home))
    for number in itertools.count():
        size = random.choice((1_000, 8_000, 64_000, 2_000_000))
        cache.put(ask(number), ROUTE, reply(f"answer {number} ", size))
        os.write(acknowledged, number.to_bytes(4, "big"))


@pytest.mark.timeout(1200)
def test_killed_at_random(tmp_path: Path) -> None:
    """Everything that was acknowledged is there and right; nothing half written is visible."""
    for trial in range(TRIALS):
        home = tmp_path / str(trial)
        reading, writing = os.pipe()
        process = FORK.Process(target=write_for_ever, args=(home, writing))
        process.start()
        os.close(writing)
        os.read(reading, 4)
        time.sleep(random.uniform(0, 0.02))
        process.kill()
        process.join()
        done = 1 + len(b"".join(iter(lambda fd=reading: os.read(fd, 4096), b""))) // 4
        os.close(reading)
        cache = CacheManager(open_storage("file:", home=home))
        assert list((home / "cache" / "staging").iterdir()) == []
        for number in range(done):
            found = cache.get(ask(number), ROUTE)
            assert found is not None
            assert found.response.content.startswith(f"answer {number} ")
        assert {finding.key for finding in cache.doctor(fix=True)} <= {""}
        assert cache.doctor() == ()
        cache.clear()
        cache.close()


def torn(data: bytes) -> dict[str, bytes]:
    """What a file that was never synced may hold after a power cut."""
    return {
        "all": data,
        "nothing": b"",
        "half": data[: len(data) // 2],
        "zeros": bytes(len(data)),
        "half and zeros": data[: len(data) // 2] + bytes(len(data) - len(data) // 2),
        "first page": data[:4096],
    }


def test_power_loss(tmp_path: Path) -> None:
    """After a power cut during a replacement the old or the new answer is served, or none.

    Nothing is synced, so that every combination of effects can have reached the disk: the rename
    or not, any part of the new entry, of ``stats.json`` and of ``index.json``, the staged file.
    """
    first = manager(tmp_path / "first")
    first.put(ask(1), ROUTE, reply("answer 1 old", 6_000))
    first.close()
    root = tmp_path / "first" / "cache"
    (old,) = (root / "entries").iterdir()
    before = {path: (root / path).read_bytes() for path in ("stats.json", "index.json")}
    old_entry = old.read_bytes()
    second = manager(tmp_path / "first")
    second.put(ask(1), ROUTE, reply("answer 1 new", 6_000))
    second.close()
    after = {path: (root / path).read_bytes() for path in before}
    new_entry = old.read_bytes()

    states: list[tuple[bytes, bytes, bytes, bytes | None]] = [
        (entry, stats, index, staged)
        for entry in (old_entry, *torn(new_entry).values())
        for stats in (before["stats.json"], *torn(after["stats.json"]).values())
        for index in (before["index.json"], *torn(after["index.json"]).values())
        for staged in (None, new_entry[:100])
    ]
    home = tmp_path / "after"
    for folder in ("entries", "staging"):
        (home / "cache" / folder).mkdir(parents=True, mode=0o700)
    home_root = home / "cache"
    home_root.chmod(0o700)
    for entry, stats, index, staged in states:
        (home_root / "entries" / old.name).write_bytes(entry)
        (home_root / "stats.json").write_bytes(stats)
        (home_root / "index.json").write_bytes(index)
        if staged is not None:
            (home_root / "staging" / "0123456789abcdef.tmp").write_bytes(staged)
        cache = manager(home)
        found = cache.get(ask(1), ROUTE)
        whole = entry in (old_entry, new_entry)
        assert (found is not None) is whole
        if found is not None:
            expected = "answer 1 old" if entry == old_entry else "answer 1 new"
            assert found.response.content.startswith(expected)
        cache.put(ask(1), ROUTE, reply("answer 1 again"))
        assert cache.stats().total_entries == 1
        cache.doctor(fix=True)
        assert cache.doctor() == ()
        cache.close()


def in_child(function: Callable[..., None], *arguments: object) -> int | None:
    process = FORK.Process(target=function, args=arguments)
    process.start()
    process.join()
    return process.exitcode


def count_and_die(home: Path) -> None:
    cache = manager(home)
    for _ in range(10):
        cache.put(ask(1), ROUTE, reply())
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_killed_process_loses_no_entry_and_no_size(tmp_path: Path) -> None:
    """Size and stores are written with each put; only counts of look-ups can be lost."""
    assert in_child(count_and_die, tmp_path) == -signal.SIGKILL
    cache = manager(tmp_path)
    stats = cache.stats()
    assert (stats.total_entries, stats.stores) == (1, 10)
    assert cache.doctor() == ()
