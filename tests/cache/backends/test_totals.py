from __future__ import annotations

import contextlib
import errno
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aigenflow.cache.backends.totals import SharedTotals
from aigenflow.cache.models import Counters, Usage
from aigenflow.core import files
from tests.cache.faults import failing

MEASURED = Usage(entries=7, size_bytes=700)


def opened(path: Path) -> SharedTotals:
    return SharedTotals(path, lambda: MEASURED)


@settings(max_examples=60, deadline=None)
@given(turns=st.lists(st.tuples(st.integers(0, 2), st.integers(0, 3)), max_size=12))
def test_the_sum_of_several_openers_is_exact(
    tmp_path_factory: pytest.TempPathFactory, turns: list[tuple[int, int]]
) -> None:
    """Whoever takes the next turn starts from what the last one has left."""
    path = tmp_path_factory.mktemp("totals") / "stats.json"
    openers = [opened(path) for _ in range(3)]
    for number, hits in turns:
        with openers[number].exclusive() as totals:
            totals.count(Counters(hits=hits))
            totals.grow(entries=1, size_bytes=10)
    with opened(path).exclusive() as totals:
        assert totals.hits == sum(hits for _number, hits in turns)
        assert totals.usage == Usage(entries=7 + len(turns), size_bytes=700 + 10 * len(turns))
    for opener in openers:
        opener.close()


def test_a_change_that_was_not_written_is_forgotten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a failed write the next turn starts from the file, not from memory."""
    shared = opened(tmp_path / "stats.json")
    with shared.exclusive() as totals:
        totals.count(Counters(hits=1))
    with monkeypatch.context() as patch:
        # Of lock, read and write the third fails.
        patch.setattr(files, "OPS", failing(2, errno.ENOSPC, from_here_on=False))
        with pytest.raises(OSError, match="No space"), shared.exclusive() as totals:
            totals.count(Counters(hits=10))
    with shared.exclusive() as totals:
        assert totals.hits == 1
    shared.close()


def test_a_change_before_an_exception_is_written(tmp_path: Path) -> None:
    """What was noted before the block failed has happened."""
    shared = opened(tmp_path / "stats.json")
    with contextlib.suppress(ValueError), shared.exclusive() as totals:
        totals.count(Counters(hits=1))
        raise ValueError
    with shared.exclusive() as totals:
        assert totals.hits == 1
    shared.close()


@pytest.mark.parametrize("content", [b"", b"{", b"\0" * 512])
def test_a_file_damaged_between_two_turns_is_measured(tmp_path: Path, content: bytes) -> None:
    """What was saved here before says nothing about a file that somebody has changed."""
    path = tmp_path / "stats.json"
    shared = opened(path)
    with shared.exclusive() as totals:
        totals.grow(entries=5, size_bytes=5)
    path.write_bytes(content)
    with shared.exclusive() as totals:
        assert totals.usage == MEASURED
    shared.close()


def test_a_measurement_that_fails_leaves_no_figures(tmp_path: Path) -> None:
    """Where the entries cannot be counted, the next turn tries again."""
    faults = [OSError(errno.EIO, "unreadable")]

    def measure() -> Usage:
        if faults:
            raise faults.pop()
        return MEASURED

    shared = SharedTotals(tmp_path / "stats.json", measure)
    with pytest.raises(OSError, match="unreadable"), shared.exclusive():
        pytest.fail("not reached")
    with shared.exclusive() as totals:
        assert totals.usage == MEASURED
    shared.close()
