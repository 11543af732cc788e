"""The default store: one file per answer, in a folder that many processes share.

::

    entries/{name}.json   one immutable entry each: the truth; its date is when it was last used
    stats.json            size and counters, changed in place under a lock
    index.json            derived from the entries, see :mod:`aigenflow.cache.index`
    staging/              entries being written
    leases/               answers being bought
    quarantine/           damaged entries, the last few

A hit opens one file. A put writes one file and then, under the lock of ``stats.json``, adds its
size there and renames it into ``entries/``: the size is exact while nobody dies in between, and
too large by that entry if somebody does, until the next count. Counts of hits are written with
the next put or flush; a killed process loses those since then, never an entry.

Nothing is synced: after a power cut an entry may be torn, which its checksum finds.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import stat
from collections.abc import Iterable, Iterator, Sequence
from gettext import gettext as _
from pathlib import Path
from typing import Final, TypeVar

from aigenflow.cache.backends.totals import SharedTotals, Totals
from aigenflow.cache.index import Index
from aigenflow.cache.models import (
    MAX_ENTRY_BYTES,
    Counters,
    DamagedEntryError,
    EntryMeta,
    Finding,
    Usage,
    decode_meta,
)
from aigenflow.cache.policy import Use, in_order_of_eviction
from aigenflow.cache.storage import LEASE_S, Selection, check_name
from aigenflow.core.files import (
    DIRECTORY_MODE,
    FILE_MODE,
    OPS,
    LockedFile,
    ensure_directory,
    read_bounded,
    read_marking_use,
    staged,
    sweep_orphans,
)

_T = TypeVar("_T")
_SUFFIX: Final = ".json"
_ENTRY_FILE: Final = re.compile(r"[0-9a-f]{32}\.json\Z")
_INDEX_BYTES: Final = 1 << 30
_KEPT_IN_QUARANTINE: Final = 20
_REMOVED_AT_ONCE: Final = 64
_TRIM_TIMEOUT_S: Final = 60.0
_LEASE_FLAGS: Final = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
_NOT_AN_ENTRY: Final = frozenset(
    {errno.ELOOP, errno.EINVAL, errno.EISDIR, errno.EACCES, errno.EPERM, errno.ENXIO}
)
"""What opening something else than a readable file answers: that entry is bad, not the store."""


class FileLease:
    """A locked file: the kernel gives it back when its holder dies."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self._path = path
        self._descriptor = descriptor

    def renew(self, now: float) -> None:
        OPS.utime(self._descriptor, int(now * 1e9))

    def release(self) -> None:
        try:
            if os.fstat(self._descriptor).st_nlink:
                OPS.unlink(self._path)
        finally:
            OPS.close(self._descriptor)


class FileStorage:
    """Entries as files under ``root``. Nothing is made before the first entry is written."""

    remote = False

    def __init__(self, root: Path) -> None:
        self.root = root
        self._entries = root / "entries"
        self._entry_prefix = f"{self._entries}{os.sep}"
        self._staging = root / "staging"
        self._leases = root / "leases"
        self._quarantine = root / "quarantine"
        self._totals = SharedTotals(root / "stats.json", lambda: _sum(list(self._uses())))
        self._trimming = LockedFile(root / "trim.lock")
        self._index: Index | None = None
        self._changed = 0
        sweep_orphans(self._staging)

    def get(self, name: str, used_ns: int) -> bytes | None:
        try:
            return read_marking_use(self._path(name), MAX_ENTRY_BYTES, used_ns)
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            _raise_if_damaged(error)
            raise

    def peek(self, name: str) -> bytes | None:
        try:
            return read_bounded(Path(self._path(name)), MAX_ENTRY_BYTES)
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            _raise_if_damaged(error)
            raise

    def put(self, meta: EntryMeta, data: bytes, used_ns: int) -> Usage:
        try:
            return self._put(meta.key, data, used_ns)
        except FileNotFoundError:
            self._make_folders()
            return self._put(meta.key, data, used_ns)

    def delete(self, names: Iterable[str]) -> int:
        removed = 0
        paths = [Path(self._path(name)) for name in names]
        if not self._entries.is_dir():
            return 0
        for batch in _batches(paths):
            with self._totals.exclusive() as totals:
                removed += sum(self._remove(path, totals) for path in batch)
        self._changed += removed
        return removed

    def clear(self) -> int:
        for path in self._quarantine.glob("*"):
            OPS.unlink(path)
        return self.delete(self.names())

    def set_aside(self, name: str) -> None:
        path = Path(self._path(name))
        if not os.path.lexists(path):
            return
        with self._totals.exclusive() as totals, contextlib.suppress(FileNotFoundError):
            size = _regular_size(path)
            self._to_quarantine(path)
            totals.grow(entries=-1, size_bytes=-(size or 0))
            totals.doubtful = True
        self._changed += 1
        self._empty_quarantine()

    def trim(self, limit_bytes: int, target_bytes: int) -> int:
        if self.usage().size_bytes <= limit_bytes:
            return 0
        evicted = 0
        with self._trimming.exclusive(_TRIM_TIMEOUT_S):
            while self.usage().size_bytes > limit_bytes:
                # A second round means that the first one went by wrong figures.
                uses = self._recount(certain=evicted > 0)
                for batch in _batches(in_order_of_eviction(uses)):
                    evicted += self._evict(batch, min(limit_bytes, target_bytes))
                if not uses:
                    break
        self._changed += evicted
        return evicted

    def usage(self) -> Usage:
        totals = self._totals.read()
        if totals is None or totals.doubtful:
            return _sum(self._recount(certain=True))
        return totals.usage

    def names(self) -> Iterator[str]:
        return (entry.name.removesuffix(_SUFFIX) for entry in self._scan())

    def select(self, selection: Selection) -> list[tuple[str, int]]:
        return self._current_index().select(selection)

    def count(self, happened: Counters) -> None:
        ensure_directory(self.root)
        with self._totals.exclusive() as totals:
            totals.count(happened)

    def counters(self) -> Counters:
        return (self._totals.read() or Totals()).counters

    def lease(self, name: str, now: float) -> FileLease | None:
        path = ensure_directory(self._leases) / f"{check_name(name)}.lock"
        for _attempt in range(3):
            descriptor = OPS.open(path, _LEASE_FLAGS, FILE_MODE)
            try:
                OPS.lock(descriptor)
                if os.fstat(descriptor).st_nlink:
                    OPS.utime(descriptor, int(now * 1e9))
                    return FileLease(path, descriptor)
            except BlockingIOError:
                if now - os.fstat(descriptor).st_mtime <= LEASE_S:
                    OPS.close(descriptor)
                    return None
                # Its holder is alive for the kernel, and frozen for everybody else.
                OPS.unlink(path)
            except BaseException:  # no descriptor is left open, Ctrl-C included
                OPS.close(descriptor)
                raise
            OPS.close(descriptor)
        return None

    def check(self, *, fix: bool) -> list[Finding]:
        if not self._entries.is_dir():
            return []
        sweep_orphans(self._staging)
        return [
            *self._check_files(fix=fix),
            *self._check_folders(fix=fix),
            *self._check_totals(fix=fix),
            *self._check_index(fix=fix),
        ]

    def close(self) -> None:
        with contextlib.suppress(OSError):
            totals = self._totals.read()
            if totals is not None and self._changed * 100 > totals.entries:
                self._current_index()
        with contextlib.suppress(OSError):
            self._totals.close()
            self._trimming.close()

    def _path(self, name: str) -> str:
        return f"{self._entry_prefix}{check_name(name)}{_SUFFIX}"

    def _make_folders(self) -> None:
        for folder in (self._entries, self._staging):
            ensure_directory(folder)

    def _put(self, name: str, data: bytes, used_ns: int) -> Usage:
        target = self._entries / f"{check_name(name)}{_SUFFIX}"
        with (
            staged(self._staging, data, used_ns) as temporary,
            self._totals.exclusive() as totals,
        ):
            before = _status(target)
            if before is not None and not stat.S_ISREG(before.st_mode):
                self._to_quarantine(target)
                totals.doubtful, before = True, None
            entries = int(before is None)
            size = len(data) - (before.st_size if before else 0)
            totals.grow(entries=entries, size_bytes=size)
            totals.stores += 1
            if size > 0:
                # Whoever dies here must leave a size that is too large, never too small.
                self._totals.save(totals)
            try:
                OPS.replace(temporary, target)
            except BaseException:  # not published, so not counted
                totals.grow(entries=-entries, size_bytes=-size)
                totals.stores -= 1
                raise
            usage = totals.usage
        self._changed += 1
        return usage

    def _remove(self, path: Path, totals: Totals) -> bool:
        size = _regular_size(path)
        if size is not None:
            OPS.unlink(path)
            totals.grow(entries=-1, size_bytes=-size)
        elif os.path.lexists(path):
            self._to_quarantine(path)
        else:
            return False
        return True

    def _evict(self, batch: Sequence[Use], target_bytes: int) -> int:
        evicted = 0
        with self._totals.exclusive() as totals:
            for use in batch:
                if totals.size_bytes <= target_bytes:
                    break
                if self._is_unused_since(use) and self._remove(Path(self._path(use.key)), totals):
                    evicted += 1
            totals.count(Counters(evictions=evicted))
        return evicted

    def _is_unused_since(self, use: Use) -> bool:
        with contextlib.suppress(FileNotFoundError):
            return os.lstat(self._path(use.key)).st_mtime_ns == use.used_ns
        return False

    def _scan(self) -> Iterator[os.DirEntry[str]]:
        with contextlib.suppress(FileNotFoundError), os.scandir(self._entries) as found:
            for entry in found:
                if _ENTRY_FILE.match(entry.name):
                    yield entry

    def _uses(self) -> Iterator[Use]:
        for entry in self._scan():
            with contextlib.suppress(FileNotFoundError):
                status = entry.stat(follow_symlinks=False)
                if stat.S_ISREG(status.st_mode):
                    yield Use(
                        key=entry.name.removesuffix(_SUFFIX),
                        used_ns=status.st_mtime_ns,
                        size_bytes=status.st_size,
                    )

    def _recount(self, *, certain: bool) -> list[Use]:
        """Measure what is there and correct the totals.

        Unless ``certain``, they stay as they are where somebody changed the store meanwhile.
        """
        if not self._entries.is_dir():
            return []
        before = self._totals.read()
        uses = list(self._uses())
        with self._totals.exclusive() as totals:
            unchanged = before is not None and totals.changes == before.changes
            if certain and not unchanged:
                uses = list(self._uses())
            if certain or unchanged:
                totals.set_measured(_sum(uses))
        return uses

    def _to_quarantine(self, path: Path) -> None:
        folder = ensure_directory(self._quarantine)
        OPS.replace(path, folder / f"{path.name}.{os.urandom(4).hex()}")

    def _empty_quarantine(self) -> None:
        paths = sorted(self._quarantine.glob("*"), key=lambda path: path.lstat().st_ctime_ns)
        for path in paths[:-_KEPT_IN_QUARANTINE]:
            with contextlib.suppress(OSError):
                OPS.unlink(path)

    def _current_index(self) -> Index:
        index = self._index = self._index or self._load_index()
        with contextlib.suppress(FileNotFoundError):
            date = self._entries.stat().st_mtime_ns
            if index.entries_mtime_ns != date:
                present = {
                    entry.name.removesuffix(_SUFFIX): entry.inode() for entry in self._scan()
                }
                index.update(present, date, self._describe)
                if index.changes * 100 > len(index):
                    self._save_index(index)
        return index

    def _load_index(self) -> Index:
        with contextlib.suppress(OSError, ValueError):
            return Index.decode(read_bounded(self.root / "index.json", _INDEX_BYTES))
        return Index()

    def _save_index(self, index: Index) -> None:
        with (
            contextlib.suppress(OSError),
            staged(self._staging, index.encode()) as temporary,
        ):
            OPS.replace(temporary, self.root / "index.json")
            index.changes = 0

    def _describe(self, name: str) -> tuple[EntryMeta, int] | None:
        with contextlib.suppress(DamagedEntryError):
            data = self.peek(name)
            if data is not None and (meta := decode_meta(data)).key == name:
                return meta, len(data)
        return None

    def _check_files(self, *, fix: bool) -> list[Finding]:
        bad = [
            path
            for path in self._entries.iterdir()
            if not _ENTRY_FILE.match(path.name) or _regular_size(path) is None
        ]
        if fix:
            for path in bad:
                self._to_quarantine(path)
            self._empty_quarantine()
        return [
            Finding(problem=_("{name} is not an entry").format(name=path.name), fixed=fix)
            for path in bad
        ]

    def _check_folders(self, *, fix: bool) -> list[Finding]:
        too_open = [
            folder for folder in (self.root, self._entries) if folder.stat().st_mode & 0o077
        ]
        if fix:
            for folder in too_open:
                OPS.chmod(folder, DIRECTORY_MODE)
        return [
            Finding(problem=_("others can read {folder}").format(folder=folder), fixed=fix)
            for folder in too_open
        ]

    def _check_totals(self, *, fix: bool) -> list[Finding]:
        noted = self._totals.read()
        there = _sum(list(self._uses()))
        if noted is not None and (noted.doubtful or noted.usage == there):
            return []  # doubtful figures are measured again before anybody goes by them
        if fix:
            self._recount(certain=True)
        return [Finding(problem=_("stats.json does not fit the entries"), fixed=fix)]

    def _check_index(self, *, fix: bool) -> list[Finding]:
        try:
            Index.decode(read_bounded(self.root / "index.json", _INDEX_BYTES))
        except FileNotFoundError:
            return []
        except (OSError, ValueError):
            if fix:
                self._index = Index()
                self._save_index(self._current_index())
            return [Finding(problem=_("index.json is damaged"), fixed=fix)]
        return []


def _regular_size(path: Path) -> int | None:
    """The size of a regular file in bytes; ``None`` for anything else and for nothing."""
    status = _status(path)
    return status.st_size if status and stat.S_ISREG(status.st_mode) else None


def _status(path: Path) -> os.stat_result | None:
    try:
        return os.lstat(path)
    except FileNotFoundError:
        return None


def _sum(uses: Sequence[Use]) -> Usage:
    return Usage(entries=len(uses), size_bytes=sum(use.size_bytes for use in uses))


def _batches(items: Sequence[_T]) -> Iterator[Sequence[_T]]:
    return (items[at : at + _REMOVED_AT_ONCE] for at in range(0, len(items), _REMOVED_AT_ONCE))


def _raise_if_damaged(error: OSError | ValueError) -> None:
    if isinstance(error, ValueError) or error.errno in _NOT_AN_ENTRY:
        raise DamagedEntryError(str(error)) from error
