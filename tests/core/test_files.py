from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import pytest

from aigenflow.core import files
from aigenflow.core.files import (
    FileOps,
    is_safe_name,
    read_bounded,
    sweep_temporaries,
    write_atomically,
    write_durably,
)


class FaultyOps(FileOps):
    """Fails at its ``n``-th call with ``code``, and remembers every call."""

    def __init__(self, n: int = -1, code: int = errno.ENOSPC) -> None:
        self.calls: list[str] = []
        self._n = n
        self._code = code

    def _count(self, name: str) -> None:
        self.calls.append(name)
        if len(self.calls) - 1 == self._n:
            raise OSError(self._code, os.strerror(self._code))

    def open(self, path: Path, flags: int, mode: int) -> int:
        self._count("open_folder" if flags & os.O_DIRECTORY else "open")
        return super().open(path, flags, mode)

    def write(self, descriptor: int, data: memoryview) -> int:
        self._count("write")
        return super().write(descriptor, data)

    def fsync(self, descriptor: int) -> None:
        self._count("fsync")
        super().fsync(descriptor)

    def replace(self, source: Path, target: Path) -> None:
        self._count("replace")
        super().replace(source, target)


@pytest.fixture
def faulty(monkeypatch: pytest.MonkeyPatch) -> FaultyOps:
    ops = FaultyOps()
    monkeypatch.setattr(files, "OPS", ops)
    return ops


def test_a_durable_write_syncs_the_file_before_and_the_folder_after_the_rename(
    tmp_path: Path, faulty: FaultyOps
) -> None:
    """The one order that a power cut at any point cannot defeat."""
    write_durably(tmp_path / "a", b"x")
    assert faulty.calls == ["open", "write", "fsync", "replace", "open_folder", "fsync"]


def test_an_atomic_write_does_not_wait_for_the_disk(tmp_path: Path, faulty: FaultyOps) -> None:
    """What can be bought again is not worth a sync."""
    write_atomically(tmp_path / "a", b"x")
    assert "fsync" not in faulty.calls


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO, errno.EROFS, errno.EDQUOT])
@pytest.mark.parametrize("n", range(6))
def test_a_fault_at_any_call_leaves_the_old_file_or_the_new(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, n: int, code: int
) -> None:
    """Readers see before or after, and no temporary file stays behind."""
    path = tmp_path / "a"
    write_durably(path, b"old")
    monkeypatch.setattr(files, "OPS", FaultyOps(n, code))
    with pytest.raises(OSError, match=r"."):
        write_durably(path, b"new")
    assert path.read_bytes() in (b"old", b"new")
    assert list(tmp_path.iterdir()) == [path]


def test_files_are_private_whatever_the_umask(tmp_path: Path) -> None:
    """0600, also where the user's umask would allow more."""
    before = os.umask(0)
    try:
        write_durably(tmp_path / "a", b"x")
        files.ensure_directory(tmp_path / "b")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "b").stat().st_mode) == 0o700


def test_reading_refuses_what_is_not_a_small_regular_file(tmp_path: Path) -> None:
    """A pipe would hang, a link could lead anywhere, a huge file would fill the memory."""
    (tmp_path / "big").write_bytes(b"x" * 11)
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to(tmp_path / "big")
    with pytest.raises(ValueError, match="larger"):
        read_bounded(tmp_path / "big", 10)
    for name in ("pipe", "link", "missing", "."):
        with pytest.raises(OSError, match=r"."):
            read_bounded(tmp_path / name, 10)
    assert read_bounded(tmp_path / "big", 11) == b"x" * 11


def test_what_killed_writers_left_is_swept(tmp_path: Path) -> None:
    """Temporary files go, everything else stays."""
    (tmp_path / ".a.json.0123.tmp").touch()
    (tmp_path / "a.json").touch()
    assert sweep_temporaries(tmp_path) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]


@pytest.mark.parametrize(
    "name",
    [
        "",
        "..",
        "../x",
        "a/b",
        "A",
        "-a",
        "a.b",
        "con",
        "nul",
        "com1",
        "lpt9",
        "a\n",
        "가",
        "a" * 65,
        "\x00",
        "a b",
        "a\\b",
        "~",
        "$HOME",
        ".hidden",
        "a%2f",
        "prn",
        "_x",
    ],
)
def test_names_that_are_more_than_a_name_are_refused(name: str) -> None:
    """Nothing that could leave a folder, or means a device, passes."""
    assert not is_safe_name(name)


def test_plain_names_pass() -> None:
    """Session ids and template names of the usual form are safe."""
    assert all(is_safe_name(name) for name in ("20261122-101500-3f9a2c", "rd", "my_plan-2"))
