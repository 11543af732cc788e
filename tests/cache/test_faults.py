"""Disk faults and damaged entries: no wrong answer, no exception, one warning."""

from __future__ import annotations

import asyncio
import errno
import os
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from aigenflow.cache.manager import CacheManager
from aigenflow.cache.storage import open_storage
from tests.cache.buying import Shop, never
from tests.cache.faults import WatchedOps, failing, use
from tests.cache.questions import ROUTE, ask, reply

CODES = [errno.ENOSPC, errno.EIO, errno.EDQUOT, errno.EMFILE, errno.EROFS]
LIMIT = 9_000
ENTRIES = int(os.environ.get("AIGENFLOW_TEST_DAMAGED_ENTRIES", "200"))


def run(home: Path) -> list[str]:
    """Miss, hit, refresh, eviction, a damaged entry, a closing; return the warnings."""
    warnings: list[str] = []
    cache = CacheManager(
        open_storage("file:", home=home), max_size_bytes=LIMIT, on_warning=warnings.append
    )

    async def questions() -> None:
        for number in (1, 1, 2, 3, 1):
            answer = await cache.get_or_buy(
                ask(number), ROUTE, Shop(reply(f"answer {number} ", 2_000))
            )
            assert answer.response.content.startswith(f"answer {number} ")
        for path in (home / "cache" / "entries").glob("*"):
            path.write_bytes(b"damage")
        await cache.get_or_buy(ask(1), ROUTE, Shop(), refresh=True)
        for number in (2, 3, 4):
            answer = await cache.get_or_buy(ask(number), ROUTE, Shop(reply(f"later {number} ")))
            assert answer.response.content.startswith(f"later {number} ")

    asyncio.run(questions())
    cache.close()
    return warnings


def operations(home: Path) -> int:
    """How many disk operations :func:`run` makes."""
    counted = WatchedOps(lambda _number: None)
    with pytest.MonkeyPatch.context() as patch:
        use(patch, counted)
        assert run(home) == []
    return counted.count


@pytest.mark.parametrize("from_here_on", [False, True], ids=["once", "from here on"])
@pytest.mark.parametrize("code", CODES, ids=errno.errorcode.get)
def test_every_disk_operation_may_fail(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, from_here_on: bool
) -> None:
    """Whichever operation fails, every question is answered rightly, with one warning at most.

    Afterwards the store can be put right and works.
    """
    total = operations(tmp_path / "counted")
    assert total > 80
    for at in range(total):
        home = tmp_path / str(at)
        with monkeypatch.context() as patch:
            use(patch, failing(at, code, from_here_on=from_here_on))
            assert len(run(home)) <= 1
        cache = CacheManager(open_storage("file:", home=home), max_size_bytes=LIMIT)
        cache.doctor(fix=True)
        assert cache.doctor() == ()
        assert cache.put(ask(9), ROUTE, reply())
        assert cache.get(ask(9), ROUTE) is not None
        cache.close()


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is forbidden to root")
def test_a_folder_that_cannot_be_written_still_serves(tmp_path: Path) -> None:
    """A read-only folder gives its hits; what is bought is not kept, with one warning."""
    writer = CacheManager(open_storage("file:", home=tmp_path))
    writer.put(ask(1), ROUTE, reply("kept"))
    writer.close()
    folders = [tmp_path / "cache", *(p for p in (tmp_path / "cache").rglob("*") if p.is_dir())]
    for folder in folders:
        folder.chmod(0o500)
    warnings: list[str] = []
    cache = CacheManager(open_storage("file:", home=tmp_path), on_warning=warnings.append)

    async def questions() -> None:
        assert (await cache.get_or_buy(ask(1), ROUTE, never())).hit
        for _ in range(3):
            assert not (await cache.get_or_buy(ask(2), ROUTE, Shop())).stored
        assert (await cache.get_or_buy(ask(1), ROUTE, never())).hit

    asyncio.run(questions())
    cache.close()
    assert len(warnings) == 1
    for folder in folders:
        folder.chmod(0o700)


async def test_the_folder_may_be_a_file(tmp_path: Path) -> None:
    """Where the cache should be lies something else: the run goes on."""
    (tmp_path / "cache").write_text("mine")
    warnings: list[str] = []
    cache = CacheManager(open_storage("file:", home=tmp_path), on_warning=warnings.append)
    for _ in range(2):
        assert not (await cache.get_or_buy(ask(1), ROUTE, Shop())).hit
    cache.close()
    assert len(warnings) == 1
    assert (tmp_path / "cache").read_text() == "mine"


def replaced(change: Callable[[bytes], bytes]) -> Callable[[Path, bytes], None]:
    """Damage that rewrites the contents."""

    def damage(path: Path, _other: bytes) -> None:
        path.write_bytes(change(path.read_bytes()))

    return damage


def flipped(data: bytes) -> bytes:
    at = random.randrange(len(data))
    return data[:at] + bytes([data[at] ^ 1 << random.randrange(8)]) + data[at + 1 :]


def as_symlink(path: Path, _other: bytes) -> None:
    path.rename(path.with_suffix(".elsewhere"))
    path.symlink_to(path.with_suffix(".elsewhere"))


def as_fifo(path: Path, _other: bytes) -> None:
    path.unlink()
    os.mkfifo(path)


def as_folder(path: Path, _other: bytes) -> None:
    path.unlink()
    path.mkdir()


DAMAGE: dict[str, Callable[[Path, bytes], None]] = {
    "bit flip": replaced(flipped),
    "empty": replaced(lambda _data: b""),
    "one byte": replaced(lambda data: data[:1]),
    "half": replaced(lambda data: data[: len(data) // 2]),
    "last byte missing": replaced(lambda data: data[:-1]),
    "junk behind": replaced(lambda data: data + b"junk"),
    "zeros": replaced(lambda _data: bytes(4096)),
    "another entry": lambda path, other: path.write_bytes(other) and None,
    "another version": replaced(
        lambda data: data.replace(b'"aigenflow_cache":1', b'"aigenflow_cache":2')
    ),
    "wrong checksum": replaced(
        lambda data: data[:33] + (b"00000000" if data[33:34] != b"0" else b"f0000000") + data[41:]
    ),
    "not UTF-8": replaced(lambda data: data.replace(b"answer", b"\xff\xfe\xff\xff\xff\xff")),
    "byte order mark": replaced(lambda data: b"\xef\xbb\xbf" + data),
    "NaN": replaced(lambda data: data.replace(b'"latency_s":1.25', b'"latency_s":NaN')),
    "deep": replaced(lambda _data: b'{"a":' * 200_000),
    "doubled key": replaced(lambda data: data.replace(b'"raw":', b'"raw":null,"raw":')),
    "symlink": as_symlink,
    "fifo": as_fifo,
    "folder": as_folder,
}


@pytest.mark.parametrize("kind", DAMAGE)
async def test_a_damaged_entry_is_bought_again(tmp_path: Path, kind: str) -> None:
    """However an entry is damaged: a miss, set aside, bought again, and then a hit."""
    random.seed(kind)
    writer = CacheManager(open_storage("file:", home=tmp_path))
    for number in range(ENTRIES):
        writer.put(ask(number), ROUTE, reply(f"answer {number}"))
    writer.close()
    paths = sorted((tmp_path / "cache" / "entries").iterdir())
    contents = [path.read_bytes() for path in paths]
    for at, path in enumerate(paths):
        DAMAGE[kind](path, contents[at - 1])
    warnings: list[str] = []
    cache = CacheManager(open_storage("file:", home=tmp_path), on_warning=warnings.append)
    for number in range(ENTRIES):
        answer = await cache.get_or_buy(ask(number), ROUTE, Shop(reply(f"again {number}")))
        assert (answer.hit, answer.response.content) == (False, f"again {number}")
    for number in range(ENTRIES):
        assert (await cache.get_or_buy(ask(number), ROUTE, never())).hit
    assert warnings == []
    assert cache.stats().total_entries == ENTRIES
    if kind != "symlink":
        assert cache.doctor() == ()
    cache.close()
