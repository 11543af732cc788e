from __future__ import annotations

import os
import subprocess
import sys
from io import BytesIO, RawIOBase

import pytest

from aigenflow.cli.progress import PlainProgress
from aigenflow.cli.streams import Output, OutputError, Watching
from aigenflow.core.events import Warned


class Broken(RawIOBase):
    """A pipe whose reader has left."""

    def writable(self) -> bool:
        return True

    def write(self, data: object) -> int:
        raise BrokenPipeError(32, "Broken pipe")


def test_what_cannot_be_printed_is_an_error_of_its_own() -> None:
    """Libraries take an ``OSError`` with EPIPE for theirs, and end the process."""
    output = Output(Broken(), encoding="utf-8", write_through=True)
    with pytest.raises(OutputError) as caught:
        output.write("hello")
    assert isinstance(caught.value.cause, BrokenPipeError)
    assert not isinstance(caught.value, OSError)


def test_watching_never_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    """Progress on a broken pipe says nothing more and raises nothing."""
    monkeypatch.setattr(sys, "stderr", Watching(Broken(), encoding="utf-8", write_through=True))
    progress = PlainProgress()
    for _attempt in range(3):
        progress(Warned(message="the wind is rising"))


def test_what_can_be_printed_is() -> None:
    """Both streams pass text on."""
    for kind in (Output, Watching):
        sink = BytesIO()
        stream = kind(sink, encoding="utf-8")
        stream.write("봄\n")
        stream.flush()
        assert sink.getvalue().decode() == "봄\n"


@pytest.mark.parametrize("redirection", [">&-", "2>&-", "<&-", ">&- 2>&- <&-", "2>/dev/full"])
def test_closed_streams_are_no_failure(redirection: str) -> None:
    """Who closes a stream does not want to read it; the command does its work."""
    done = _shell(f"aigenflow config list {redirection}")
    assert done.returncode == 0, done
    assert "bug" not in done.stderr


def test_a_full_device_is_one_plain_sentence() -> None:
    """Also where what could not be printed is an error for scripts, or drawn."""
    for arguments in ("config list", "stats", "run --topic abc --json"):
        done = _shell(f"aigenflow {arguments} >/dev/full")
        assert done.returncode == 1, done
        assert done.stderr == "Error: the output cannot be written: No space left on device\n"


def test_a_reader_that_leaves_is_no_failure() -> None:
    """`aigenflow stats | head -0` is quiet, whoever draws."""
    for arguments in ("config list", "stats"):
        done = _shell(f"(sleep 0.2; aigenflow {arguments}; echo $? >&2) | true")
        assert done.stderr == "0\n"


def _shell(command: str) -> subprocess.CompletedProcess[str]:
    script = command.replace("aigenflow", f"{sys.executable} -m aigenflow", 1)
    return subprocess.run(
        ["bash", "-c", script], capture_output=True, text=True, timeout=60, env=os.environ
    )
