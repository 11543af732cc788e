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
import os
import re
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path

DIRECTORY_MODE = 0o700
FILE_MODE = 0o600
TEMPORARY_SUFFIX = ".tmp"

_SAFE_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}\Z")
_DEVICE_NAMES = frozenset(
    {"con", "nul", "aux", "prn"} | {f"{kind}{n}" for kind in ("com", "lpt") for n in range(1, 10)}
)


class FileOps:
    """The operating-system calls that this module makes, as methods that a test can replace."""

    def open(self, path: Path, flags: int, mode: int) -> int:
        return os.open(path, flags, mode)

    def write(self, descriptor: int, data: memoryview) -> int:
        return os.write(descriptor, data)

    def fsync(self, descriptor: int) -> None:
        os.fsync(descriptor)

    def close(self, descriptor: int) -> None:
        os.close(descriptor)

    def replace(self, source: Path, target: Path) -> None:
        source.replace(target)

    def unlink(self, path: Path) -> None:
        path.unlink(missing_ok=True)

    def mkdir(self, path: Path) -> None:
        path.mkdir(mode=DIRECTORY_MODE, parents=True, exist_ok=True)


OPS = FileOps()


def is_safe_name(name: str) -> bool:
    """Whether ``name`` can be one component of a path on every system, and nothing more."""
    return _SAFE_NAME.match(name) is not None and name not in _DEVICE_NAMES


def ensure_directory(path: Path) -> Path:
    """Make ``path`` and its missing parents, readable by the owner only, and return it."""
    OPS.mkdir(path)
    return path


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


def read_bounded(path: Path, limit_bytes: int) -> bytes:
    """Read a regular file of at most ``limit_bytes``; links, pipes and folders are refused.

    Raises ``OSError`` where it cannot be read and ``ValueError`` where it is larger.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "not a regular file", str(path))
        data = file.read(limit_bytes + 1)
    if len(data) > limit_bytes:
        raise ValueError(f"{path.name} is larger than {limit_bytes} bytes")
    return data


def sweep_temporaries(directory: Path) -> int:
    """Remove what killed writers left in ``directory``; return how many files went."""
    count = 0
    for path in directory.glob(f".*{TEMPORARY_SUFFIX}"):
        with contextlib.suppress(OSError):
            OPS.unlink(path)
            count += 1
    return count


def _publish(path: Path, data: bytes, *, durable: bool) -> None:
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}{TEMPORARY_SUFFIX}")
    try:
        with _descriptor(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL) as descriptor:
            _write_all(descriptor, data)
            if durable:
                OPS.fsync(descriptor)
        OPS.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            OPS.unlink(temporary)
        raise
    if durable:
        with _descriptor(path.parent, os.O_RDONLY | os.O_DIRECTORY) as descriptor:
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
