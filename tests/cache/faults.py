"""A disk that fails when it is told to."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from aigenflow.cache.backends import filesystem
from aigenflow.core import files
from aigenflow.core.files import FileOps


class WatchedOps(FileOps):
    """Calls ``before`` with the number of each disk operation, counted from 0."""

    def __init__(self, before: Callable[[int], None]) -> None:
        self.count = 0
        self._before = before

    def _step(self) -> None:
        number, self.count = self.count, self.count + 1
        self._before(number)

    def open(self, path: Path | str, flags: int, mode: int) -> int:
        self._step()
        return super().open(path, flags, mode)

    def read(self, descriptor: int, count: int) -> bytes:
        self._step()
        return super().read(descriptor, count)

    def write(self, descriptor: int, data: memoryview) -> int:
        self._step()
        return super().write(descriptor, data)

    def pread(self, descriptor: int, count: int) -> bytes:
        self._step()
        return super().pread(descriptor, count)

    def pwrite(self, descriptor: int, data: bytes) -> int:
        self._step()
        return super().pwrite(descriptor, data)

    def lock(self, descriptor: int) -> None:
        self._step()
        super().lock(descriptor)

    def utime(self, descriptor: int, nanoseconds: int) -> None:
        self._step()
        super().utime(descriptor, nanoseconds)

    def replace(self, source: Path, target: Path) -> None:
        self._step()
        super().replace(source, target)

    def unlink(self, path: Path) -> None:
        self._step()
        super().unlink(path)

    def mkdir(self, path: Path) -> None:
        self._step()
        super().mkdir(path)


def use(monkeypatch: pytest.MonkeyPatch, ops: FileOps) -> None:
    """Let the file store work through ``ops``."""
    monkeypatch.setattr(files, "OPS", ops)
    monkeypatch.setattr(filesystem, "OPS", ops)


def failing(at: int, code: int, *, from_here_on: bool) -> WatchedOps:
    """Operations of which number ``at``, and with ``from_here_on`` all later ones, fail."""

    def before(number: int) -> None:
        if number == at or (from_here_on and number > at):
            raise OSError(code, os.strerror(code))

    return WatchedOps(before)


def killing(at: int) -> WatchedOps:
    """Operations of which number ``at`` is not reached: the process is killed before it."""

    def before(number: int) -> None:
        if number == at:
            os.kill(os.getpid(), signal.SIGKILL)

    return WatchedOps(before)
