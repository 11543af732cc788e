"""Size and counters of a file store, shared by every process that uses it.

One small JSON file of fixed length, changed in place under its own lock.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, NonNegativeInt, ValidationError

from aigenflow.cache.models import Counters, Usage
from aigenflow.core.files import LockedFile, read_bounded

_BYTES: Final = 512
_READ_ATTEMPTS: Final = 3


class Totals(BaseModel):
    """The contents of the file.

    ``changes`` grows whenever entries come or go. ``doubtful`` says that the size must be measured
    again, because an entry was found damaged.
    """

    model_config = ConfigDict(extra="forbid", strict=True)

    version: Literal[1] = 1
    entries: NonNegativeInt = 0
    size_bytes: NonNegativeInt = 0
    hits: NonNegativeInt = 0
    misses: NonNegativeInt = 0
    stores: NonNegativeInt = 0
    evictions: NonNegativeInt = 0
    hit_ns: NonNegativeInt = 0
    changes: NonNegativeInt = 0
    doubtful: bool = False

    @property
    def usage(self) -> Usage:
        """How much is kept."""
        return Usage(entries=self.entries, size_bytes=self.size_bytes)

    @property
    def counters(self) -> Counters:
        """What happened."""
        return Counters(
            hits=self.hits,
            misses=self.misses,
            stores=self.stores,
            evictions=self.evictions,
            hit_ns=self.hit_ns,
        )

    def grow(self, *, entries: int, size_bytes: int) -> None:
        """Note that entries came, or went if negative."""
        self.entries = max(0, self.entries + entries)
        self.size_bytes = max(0, self.size_bytes + size_bytes)
        self.changes += 1

    def count(self, happened: Counters) -> None:
        """Add to the counters."""
        self.hits += happened.hits
        self.misses += happened.misses
        self.stores += happened.stores
        self.evictions += happened.evictions
        self.hit_ns += happened.hit_ns

    def set_measured(self, usage: Usage) -> None:
        """Replace the size by what was measured."""
        self.entries, self.size_bytes = usage.entries, usage.size_bytes
        self.doubtful = False


class SharedTotals:
    """The totals at ``path``; ``measure`` counts the entries where the file is missing or bad."""

    def __init__(self, path: Path, measure: Callable[[], Usage]) -> None:
        self._path = path
        self._file = LockedFile(path)
        self._measure = measure
        self._text = b""
        self._saved: Totals | None = None

    def read(self) -> Totals | None:
        """The totals as of now, without the lock; ``None`` where they must be measured."""
        for _attempt in range(_READ_ATTEMPTS):
            # A reader can meet a writer half way; the second look then succeeds.
            with contextlib.suppress(FileNotFoundError, ValueError):
                return Totals.model_validate_json(read_bounded(self._path, 1 << 20)[:_BYTES])
        return None

    @contextlib.contextmanager
    def exclusive(self) -> Iterator[Totals]:
        """The totals while nobody else changes them; saved at the end, also by an exception.

        Raises ``OSError``: a ``FileNotFoundError`` where there is no such folder.
        """
        with self._file.exclusive():
            totals, self._saved = self._load(), None
            try:
                yield totals
            finally:
                self.save(totals)
            self._saved = totals

    def save(self, totals: Totals) -> None:
        """Write ``totals`` before the block of :meth:`exclusive` ends."""
        text = totals.model_dump_json().encode().ljust(_BYTES - 1) + b"\n"
        if text != self._text:
            self._file.write(text)
            self._text = text

    def _load(self) -> Totals:
        """What is in the file; parsed only if it is not what was last saved from here."""
        text = self._file.read(_BYTES)
        if self._saved is not None and text == self._text:
            return self._saved
        self._text = text
        try:
            return Totals.model_validate_json(text)
        except ValidationError:
            totals = Totals()
            totals.set_measured(self._measure())
            return totals

    def close(self) -> None:
        """Close the file."""
        self._file.close()
