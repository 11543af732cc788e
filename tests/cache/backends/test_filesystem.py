from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest

from aigenflow.cache.backends.filesystem import FileStorage
from aigenflow.cache.models import Counters, DamagedEntryError, Usage
from aigenflow.cache.storage import Selection
from tests.cache.questions import NOON, ask, reply, stored
from tests.contracts.cache_storage_contract import ABSENT, CacheStorageContract, OpenStorage


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "home" / "cache"


class TestFileStorage(CacheStorageContract):
    """The store of files keeps the contract."""

    @pytest.fixture
    def open_storage(self, root: Path) -> OpenStorage:
        return lambda: FileStorage(root)


def test_opening_and_reading_leave_no_trace(root: Path) -> None:
    """Nothing is made before the first entry is written."""
    storage = FileStorage(root)
    assert storage.get(ABSENT, 1) is None
    assert storage.usage() == Usage()
    assert storage.check(fix=True) == []
    storage.close()
    assert not root.exists()


def test_layout_and_rights(root: Path) -> None:
    """The folder is laid out as specified, for its owner only, whatever the umask."""
    before = os.umask(0)
    try:
        storage = FileStorage(root)
        meta, data = stored()
        storage.put(meta, data, 1)
        storage.close()
    finally:
        os.umask(before)
    assert (root / "entries" / f"{meta.key}.json").read_bytes() == data
    assert json.loads((root / "stats.json").read_bytes())["entries"] == 1
    assert json.loads((root / "index.json").read_bytes())["names"] == meta.key
    for path in (root.parent, root, *root.rglob("*")):
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path


def test_entries_are_json(root: Path) -> None:
    """An entry can be read by any program that reads JSON."""
    _meta, data = stored()
    entry = json.loads(data)
    assert entry["meta"]["model"] == "claude-sonnet-5-5"
    assert entry["body"]["response"]["content"].startswith("The strategy")


def test_a_put_writes_one_new_file(root: Path) -> None:
    """Neither the index nor anything else is written per entry."""
    storage = FileStorage(root)
    storage.put(*stored(ask(1)), 1)
    before = set(root.rglob("*"))
    meta, data = stored(ask(2))
    storage.put(meta, data, 2)
    assert set(root.rglob("*")) - before == {root / "entries" / f"{meta.key}.json"}
    assert not (root / "index.json").exists()


@pytest.mark.parametrize("content", [b"", b"{", b'{"version": 2}', b"\xff" * 600, b"[]" * 300])
def test_damaged_stats_are_measured_anew(root: Path, content: bytes) -> None:
    """Size and number of entries are facts that can be measured; ``stats.json`` is not needed."""
    storage = FileStorage(root)
    meta, data = stored()
    storage.put(meta, data, 1)
    (root / "stats.json").write_bytes(content)
    assert storage.usage() == Usage(entries=1, size_bytes=len(data))
    (root / "stats.json").unlink()
    other = FileStorage(root)
    assert other.put(*stored(ask(2)), 2).entries == 2
    assert storage.usage().entries == 2


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b'{"version":2}',
        b'{"version":1,"names":"0"}',
        b'{"version":1,"names":"' + b"0" * 32 + b'"}',
        b"[" * 200_000,
    ],
)
def test_a_damaged_index_is_built_anew(root: Path, content: bytes) -> None:
    """Lists come from the entries; ``index.json`` only saves reading them."""
    storage = FileStorage(root)
    meta, data = stored()
    storage.put(meta, data, 1)
    (root / "index.json").write_bytes(content)
    assert len(storage.check(fix=False)) == 1
    assert FileStorage(root).select(Selection()) == [(meta.key, len(data))]
    storage.check(fix=True)
    assert storage.check(fix=False) == []


def test_the_index_is_read_instead_of_the_entries(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An index that is up to date answers without opening an entry."""
    storage = FileStorage(root)
    storage.put(*stored(), 1)
    storage.close()
    monkeypatch.setattr(FileStorage, "peek", lambda *_: pytest.fail("an entry was opened"))
    assert len(FileStorage(root).select(Selection())) == 1


def test_files_removed_by_hand_leave_the_list(root: Path) -> None:
    """The index follows what somebody did to the folder."""
    storage = FileStorage(root)
    first, second = stored(ask(1)), stored(ask(2))
    storage.put(*first, 1)
    storage.put(*second, 2)
    storage.close()
    (root / "entries" / f"{first[0].key}.json").unlink()
    storage = FileStorage(root)
    assert storage.select(Selection()) == [(second[0].key, len(second[1]))]
    assert len(storage.check(fix=True)) == 1
    assert storage.usage() == Usage(entries=1, size_bytes=len(second[1]))


@pytest.mark.parametrize("kind", ["symlink", "fifo", "folder", "huge"])
def test_what_is_no_entry_file_is_damage(root: Path, kind: str, tmp_path: Path) -> None:
    """Links, pipes, folders and giants are refused without being read, and can be set aside."""
    storage = FileStorage(root)
    meta, data = stored()
    storage.put(meta, data, 1)
    path = root / "entries" / f"{meta.key}.json"
    path.unlink()
    if kind == "symlink":
        (tmp_path / "target").write_bytes(data)
        path.symlink_to(tmp_path / "target")
    elif kind == "fifo":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    else:
        with path.open("wb") as file:
            file.truncate(65 * 1024 * 1024)
    with pytest.raises(DamagedEntryError):
        storage.get(meta.key, 2)
    with pytest.raises(DamagedEntryError):
        storage.peek(meta.key)
    if kind == "huge":
        storage.set_aside(meta.key)
    storage.put(meta, data, 3)
    assert storage.get(meta.key, 4) == data
    assert storage.usage() == Usage(entries=1, size_bytes=len(data))
    assert storage.check(fix=False) == []


def test_the_quarantine_stays_small(root: Path) -> None:
    """Only the last damaged entries are kept for a look."""
    storage = FileStorage(root)
    for number in range(30):
        meta, data = stored(ask(number))
        storage.put(meta, data, number)
        storage.set_aside(meta.key)
    assert len(list((root / "quarantine").iterdir())) == 20
    storage.clear()
    assert list((root / "quarantine").iterdir()) == []


def test_orphans_are_swept_and_live_writers_left_alone(root: Path) -> None:
    """A file that a killed writer left goes at the next start; one being written stays."""
    from aigenflow.core.files import staged

    FileStorage(root).put(*stored(), 1)
    orphan = root / "staging" / "0123456789abcdef.tmp"
    orphan.write_bytes(b"half an ent")
    with staged(root / "staging", b"being written") as live:
        FileStorage(root)
        assert live.exists()
        assert not orphan.exists()


def test_the_folder_may_vanish_while_it_is_used(root: Path) -> None:
    """After `rm -rf` the next put makes everything anew and counts from nothing."""
    import shutil

    storage = FileStorage(root)
    storage.put(*stored(ask(1)), 1)
    shutil.rmtree(root)
    assert storage.get(stored(ask(1))[0].key, 2) is None
    meta, data = stored(ask(2))
    assert storage.put(meta, data, 3) == Usage(entries=1, size_bytes=len(data))
    storage.count(Counters(hits=1))
    assert storage.counters() == Counters(hits=1, stores=1)


def test_use_is_seen_by_other_openers_at_once(root: Path) -> None:
    """The order of eviction is the order of use across processes."""
    one, two = FileStorage(root), FileStorage(root)
    entries = [stored(ask(number), reply("x", 1_000)) for number in range(3)]
    for at, entry in enumerate(entries):
        one.put(*entry, at + 1)
    two.get(entries[0][0].key, 10)
    one.get(entries[1][0].key, 11)
    two.trim(len(entries[0][1]), len(entries[0][1]))
    assert list(two.names()) == [entries[1][0].key]


def test_an_entry_used_during_eviction_is_kept(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was used after the look around is not evicted by it."""
    storage = FileStorage(root)
    entries = [stored(ask(number), reply("x", 1_000)) for number in range(3)]
    for at, entry in enumerate(entries):
        storage.put(*entry, at + 1)
    evict = storage._evict

    def use_first(batch: object, target: int) -> int:
        FileStorage(root).get(entries[0][0].key, 99)
        return evict(batch, target)  # type: ignore[arg-type]

    monkeypatch.setattr(storage, "_evict", use_first)
    storage.trim(len(entries[0][1]), len(entries[0][1]))
    assert list(storage.names()) == [entries[0][0].key]


def test_folders_that_others_can_read_are_found(root: Path) -> None:
    """``check`` closes folders that were opened to others."""
    storage = FileStorage(root)
    storage.put(*stored(created=NOON), 1)
    root.chmod(0o755)
    assert len(storage.check(fix=True)) == 1
    assert stat.S_IMODE(root.stat().st_mode) == 0o700
    assert storage.check(fix=False) == []
