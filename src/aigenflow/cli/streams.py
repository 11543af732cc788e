"""Standard output and error as the program needs them: one tells of failure, one never fails."""

from __future__ import annotations

import codecs
import contextlib
import os
import sys
from io import TextIOWrapper
from typing import TextIO


class OutputError(Exception):
    """What was asked for cannot be printed: a full disk, or a reader of the pipe that left.

    No ``OSError``, which libraries take for one of their own and end the process.
    """

    def __init__(self, cause: OSError) -> None:
        super().__init__(str(cause))
        self.cause = cause


class Output(TextIOWrapper):
    """Standard output. Raises :class:`OutputError` where it cannot be written."""

    def write(self, text: str, /) -> int:
        try:
            return super().write(text)
        except OSError as error:
            raise OutputError(error) from error

    def flush(self) -> None:
        try:
            super().flush()
        except OSError as error:
            raise OutputError(error) from error


class Watching(TextIOWrapper):
    """Standard error, for whoever watches: where nobody can, it is silent and work goes on."""

    def write(self, text: str, /) -> int:
        with contextlib.suppress(OSError):
            return super().write(text)
        return len(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError):
            super().flush()


def prepare_streams() -> None:
    """Make the standard streams of this process safe to print to.

    What the terminal's encoding lacks is printed as an escape. Streams that the caller closed lead
    nowhere: otherwise the next file opened would take their place.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            nowhere = os.fdopen(os.open(os.devnull, os.O_RDWR), mode, encoding="utf-8")
            setattr(sys, name, nowhere)
            setattr(sys, f"__{name}__", nowhere)  # or it is closed with its last reference
    sys.stdout = _replaced(sys.stdout, Output)
    sys.stderr = _replaced(sys.stderr, Watching)


def _replaced(stream: TextIO, kind: type[Output | Watching]) -> TextIO:
    """The interpreter's own stream as ``kind``; a stand-in that somebody put there stays."""
    if type(stream) is not TextIOWrapper:
        return stream
    # ASCII is a locale that nobody has set up: like click, take it for UTF-8.
    is_ascii = codecs.lookup(stream.encoding).name == "ascii"
    return kind(
        stream.buffer,
        encoding="utf-8" if is_ascii else stream.encoding,
        errors="backslashreplace",
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )
