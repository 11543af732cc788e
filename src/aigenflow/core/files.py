"""The only module that writes to disk.

Two ways to publish a file, after the two promises of the program. :func:`write_durably` is for
what must never be lost (the session journal): once it returns, a power cut cannot undo it.
:func:`write_atomically` is for what can be bought again (the cache): readers see the old or the
new file, never half of one, but the last writes before a power cut may be gone.

Every call to the operating system goes through :data:`OPS`, so that tests can make any of them
fail.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import secrets
import stat
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Self

DIRECTORY_MODE = 0o700
FILE_MODE = 0o600
TEMPORARY_SUFFIX = ".tmp"

_SAFE_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}\Z")
_DEVICE_NAMES = frozenset(
    {"con", "nul", "aux", "prn"} | {f"{kind}{n}" for kind in ("com", "lpt") for n in range(1, 10)}
)


class FileOps:
    """The operating-system calls that this module makes, as methods that a test can replace."""

    def open(self, path: Path | str, flags: int, mode: int) -> int:
        return os.open(path, flags, mode)

    def read(self, descriptor: int, count: int) -> bytes:
        return os.read(descriptor, count)

    def write(self, descriptor: int, data: memoryview) -> int:
        return os.write(descriptor, data)

    def pread(self, descriptor: int, count: int) -> bytes:
        return os.pread(descriptor, count, 0)

    def pwrite(self, descriptor: int, data: bytes) -> int:
        return os.pwrite(descriptor, data, 0)

    def lock(self, descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def unlock(self, descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_UN)

    def utime(self, descriptor: int, nanoseconds: int) -> None:
        os.utime(descriptor, ns=(nanoseconds, nanoseconds))

    def fsync(self, descriptor: int) -> None:
        os.fsync(descriptor)

    def close(self, descriptor: int) -> None:
        os.close(descriptor)

    def replace(self, source: Path, target: Path) -> None:
        source.replace(target)

    def unlink(self, path: Path) -> None:
        path.unlink(missing_ok=True)

    def rmdir(self, path: Path) -> None:
        path.rmdir()

    def chmod(self, path: Path, mode: int) -> None:
        path.chmod(mode)

    def mkdir(self, path: Path) -> None:
        path.mkdir(mode=DIRECTORY_MODE, parents=True, exist_ok=True)

    def create(self, path: Path) -> None:
        path.mkdir(mode=DIRECTORY_MODE)


OPS = FileOps()

_READ_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_NEW_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_UPDATE_FLAGS = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC


def is_safe_name(name: str) -> bool:
    """Whether ``name`` can be one component of a path on every system, and nothing more."""
    return _SAFE_NAME.match(name) is not None and name not in _DEVICE_NAMES


def ensure_directory(path: Path) -> Path:
    """Make ``path`` and its missing parents, readable by the owner only, and return it."""
    if not path.is_dir():
        if path.parent != path:
            ensure_directory(path.parent)
        OPS.mkdir(path)
    return path


def create_directory(path: Path) -> None:
    """Make ``path``, readable by the owner only, so that it survives a power cut.

    Raises ``OSError``, also where it is there already.
    """
    OPS.create(path)
    _sync_directory(path.parent)


def write_durably(path: Path, data: bytes) -> None:
    """Publish ``data`` at ``path`` so that it survives a power cut. About 7 ms.

    Raises ``OSError``; the old file, if any, is then still there.
    """
    _publish(path, data, durable=True)


def write_atomically(path: Path, data: bytes) -> None:
    """Publish ``data`` at ``path`` so that no reader sees a part of it. About 0.1 ms.

    Raises ``OSError``; the old file, if any, is then still there.
    """
    _publish(path, data, durable=False)


def remove(path: Path) -> None:
    """Remove ``path`` if it is there. Raises ``OSError``."""
    OPS.unlink(path)


def remove_directory(path: Path) -> None:
    """Remove the folder ``path`` and the files in it. Raises ``OSError``, also for a subfolder."""
    for file in path.iterdir():
        OPS.unlink(file)
    OPS.rmdir(path)


def remove_durably(path: Path) -> None:
    """Remove ``path`` if it is there, so that no power cut brings it back. Raises ``OSError``."""
    if os.path.lexists(path):
        OPS.unlink(path)
        _sync_directory(path.parent)


def read_bounded(path: Path, limit_bytes: int) -> bytes:
    """Read a regular file of at most ``limit_bytes``; links, pipes and folders are refused.

    Raises ``OSError`` where it cannot be read and ``ValueError`` where it is larger.
    """
    return _read(os.fspath(path), limit_bytes, None)


def reserve_space(path: Path, size_bytes: int) -> None:
    """Claim disk space that can be given back when the disk is full. Best effort.

    File systems that cannot reserve get an empty file.
    """
    with (
        _descriptor(path, os.O_WRONLY | os.O_CREAT) as descriptor,
        contextlib.suppress(OSError, AttributeError),
    ):
        os.posix_fallocate(descriptor, 0, size_bytes)


def sweep_temporaries(directory: Path) -> int:
    """Remove what killed writers left in ``directory``; return how many files went."""
    count = 0
    for path in directory.glob(f".*{TEMPORARY_SUFFIX}"):
        with contextlib.suppress(OSError):
            OPS.unlink(path)
            count += 1
    return count


def read_marking_use(path: str, limit_bytes: int, used_ns: int) -> bytes:
    """Like :func:`read_bounded`, and record in the file's date that it was used. About 6 us.

    ``used_ns`` is in nanoseconds since 1970. A date that cannot be set (a read-only file system)
    does not keep the file from being read.
    """
    return _read(path, limit_bytes, used_ns)


@contextlib.contextmanager
def staged(directory: Path, data: bytes, dated_ns: int | None = None) -> Iterator[Path]:
    """Write ``data`` to a new file, for the block to put in its place with ``OPS.replace``.

    The file is locked while the block lasts: :func:`sweep_orphans` of another process leaves it
    alone. ``dated_ns`` is its date, nanoseconds since 1970. Raises ``OSError``.
    """
    temporary, descriptor = _new_locked(directory)
    try:
        _write_all(descriptor, data)
        if dated_ns is not None:
            OPS.utime(descriptor, dated_ns)
        yield temporary
    except BaseException:  # no temporary file stays behind, Ctrl-C included
        with contextlib.suppress(OSError):
            OPS.unlink(temporary)
        raise
    finally:
        OPS.close(descriptor)


def _new_locked(directory: Path) -> tuple[Path, int]:
    """A new file and its descriptor; again, where a sweep came between making and locking it."""
    while True:
        path = directory / f"{secrets.token_hex(8)}{TEMPORARY_SUFFIX}"
        descriptor = OPS.open(path, _NEW_FLAGS, FILE_MODE)
        try:
            OPS.lock(descriptor)
            if os.fstat(descriptor).st_nlink:
                return path, descriptor
        except BlockingIOError:
            pass
        except BaseException:  # no lock file stays behind, Ctrl-C included
            OPS.close(descriptor)
            with contextlib.suppress(OSError):
                OPS.unlink(path)
            raise
        OPS.close(descriptor)


def sweep_orphans(directory: Path) -> int:
    """Remove the staged files of writers that are gone; return how many."""
    count = 0
    for path in directory.glob(f"*{TEMPORARY_SUFFIX}"):
        with contextlib.suppress(OSError), _descriptor(path, os.O_RDONLY) as descriptor:
            OPS.lock(descriptor)
            OPS.unlink(path)
            count += 1
    return count


def create_secret(path: Path, data: bytes) -> None:
    """Make ``path`` with ``data`` unless it is there already. Raises ``OSError``."""
    try:
        with _descriptor(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL) as descriptor:
            _write_all(descriptor, data)
    except FileExistsError:
        return


class LockedFile:
    """A small file that processes read and change in place, one of them at a time.

    Kept open between uses. Works on after a ``fork`` and after the file was removed or replaced.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None
        self._process = 0
        self._threads = threading.Lock()

    @contextlib.contextmanager
    def exclusive(self, timeout_s: float = 10.0) -> Iterator[Self]:
        """Keep every other process and thread out. Raises ``TimeoutError`` and ``OSError``."""
        if not self._threads.acquire(timeout=timeout_s):
            raise TimeoutError(errno.ETIMEDOUT, "in use by another thread", str(self._path))
        try:
            descriptor = self._acquire(time.monotonic() + timeout_s)
            try:
                yield self
            finally:
                OPS.unlock(descriptor)
        finally:
            self._threads.release()

    def read(self, limit_bytes: int) -> bytes:
        """The first ``limit_bytes`` of the file; only inside :meth:`exclusive`."""
        return OPS.pread(self._opened(), limit_bytes)

    def write(self, data: bytes) -> None:
        """Overwrite the beginning of the file; only inside :meth:`exclusive`."""
        if OPS.pwrite(self._opened(), data) != len(data):
            raise OSError(errno.ENOSPC, "written in part", str(self._path))

    def close(self) -> None:
        """Close the file, if it is open."""
        if self._descriptor is not None:
            descriptor, self._descriptor = self._descriptor, None
            OPS.close(descriptor)

    def _acquire(self, deadline: float) -> int:
        pause_s = 0.0002
        while True:
            descriptor = self._opened()
            try:
                OPS.lock(descriptor)
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise TimeoutError(errno.ETIMEDOUT, "in use", str(self._path)) from None
                time.sleep(pause_s)
                pause_s = min(pause_s * 2, 0.01)
                continue
            if os.fstat(descriptor).st_nlink:
                return descriptor
            self.close()

    def _opened(self) -> int:
        # A lock belongs to the open file, which a child of fork shares with its parent.
        if self._descriptor is None or self._process != os.getpid():
            self.close()
            self._descriptor = OPS.open(self._path, _UPDATE_FLAGS, FILE_MODE)
            self._process = os.getpid()
        return self._descriptor


def _read(path: str, limit_bytes: int, used_ns: int | None) -> bytes:
    descriptor = OPS.open(path, _READ_FLAGS, 0)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, "not a regular file", path)
        data = OPS.read(descriptor, min(status.st_size, limit_bytes) + 1)
        if len(data) > limit_bytes:
            raise ValueError(f"{Path(path).name} is larger than {limit_bytes} bytes")
        if used_ns is not None:
            try:
                OPS.utime(descriptor, used_ns)
            except OSError:
                return data
        return data
    finally:
        OPS.close(descriptor)


def _publish(path: Path, data: bytes, *, durable: bool) -> None:
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}{TEMPORARY_SUFFIX}")
    try:
        with _descriptor(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL) as descriptor:
            _write_all(descriptor, data)
            if durable:
                OPS.fsync(descriptor)
        OPS.replace(temporary, path)
    except BaseException:  # no temporary file stays behind, Ctrl-C included
        with contextlib.suppress(OSError):
            OPS.unlink(temporary)
        raise
    if durable:
        _sync_directory(path.parent)


def _sync_directory(path: Path) -> None:
    with _descriptor(path, os.O_RDONLY | os.O_DIRECTORY) as descriptor:
        OPS.fsync(descriptor)


@contextlib.contextmanager
def _descriptor(path: Path, flags: int) -> Iterator[int]:
    descriptor = OPS.open(path, flags | os.O_CLOEXEC | os.O_NOFOLLOW, FILE_MODE)
    try:
        yield descriptor
    finally:
        OPS.close(descriptor)


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[OPS.write(descriptor, view) :]
