"""Looking into the cache without a trace: what a plan is made of."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from aigenflow.cache.manager import CacheManager
from aigenflow.cache.policy import TtlPolicy
from aigenflow.cache.storage import CacheStorage, StorageError, open_storage
from aigenflow.testing.clock import ManualClock
from tests.cache.questions import ANSWER, NOON, REQUEST, ROUTE, ask, from_cache

URLS = ["file:", "sqlite:///{home}/cache.db", "memory:"]


def opened(home: Path, url: str, clock: ManualClock) -> CacheManager:
    storage = open_storage(url.format(home=home), home=home)
    return CacheManager(storage, ttl=TtlPolicy(hours=1), clock=clock)


@pytest.mark.parametrize("url", URLS)
def test_peeking_gives_what_get_would_give_and_counts_nothing(tmp_path: Path, url: str) -> None:
    """Fresh: the same answer and age. Unknown, changed or expired: none. No hit, no miss."""
    clock = ManualClock(NOON)
    cache = opened(tmp_path, url, clock)
    cache.put(REQUEST, ROUTE, ANSWER)
    clock.advance(60)
    found = cache.peek(REQUEST, ROUTE)
    assert found is not None
    assert (found.response, found.age) == (from_cache(ANSWER), timedelta(minutes=1))
    assert cache.peek(ask(2), ROUTE) is None
    assert cache.peek(REQUEST, replace(ROUTE, model="another")) is None
    clock.advance(3600)
    assert cache.peek(REQUEST, ROUTE) is None
    counted = cache.stats()
    assert (counted.hits, counted.misses, counted.total_entries) == (0, 0, 1)
    cache.close()


def test_peeking_is_no_use(tmp_path: Path) -> None:
    """The entry that was only looked at is still the first to be evicted."""
    clock = ManualClock(NOON)
    cache = opened(tmp_path, "file:", clock)
    cache.put(ask(1), ROUTE, ANSWER)
    [entry] = (tmp_path / "cache").glob("entries/**/*.json")
    before = entry.stat().st_mtime_ns, entry.read_bytes()
    clock.advance(60)
    assert cache.peek(ask(1), ROUTE)
    assert (entry.stat().st_mtime_ns, entry.read_bytes()) == before
    cache.close()


def test_a_damaged_entry_is_no_answer_and_stays_where_it_is(tmp_path: Path) -> None:
    """Peeking repairs nothing: that is for those who buy."""
    cache = opened(tmp_path, "file:", ManualClock(NOON))
    cache.put(REQUEST, ROUTE, ANSWER)
    [entry] = (tmp_path / "cache").glob("entries/**/*.json")
    entry.write_bytes(b"{}")
    assert cache.peek(REQUEST, ROUTE) is None
    assert entry.read_bytes() == b"{}"
    cache.close()


def test_a_store_that_cannot_be_read_has_no_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a run, which goes on without the cache."""
    storage: CacheStorage = open_storage("memory:", home=tmp_path)

    def broken(name: str) -> bytes:
        raise StorageError("gone")

    monkeypatch.setattr(storage, "peek", broken)
    assert CacheManager(storage, clock=ManualClock(NOON)).peek(REQUEST, ROUTE) is None
