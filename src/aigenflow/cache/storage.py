"""The contract of a store, and how a store is chosen by its URL.

A store keeps bytes under names of 32 hex digits and knows what is needed to list, count and evict
them. It decides nothing about answers: that is the manager's part. Every method may raise
:class:`StorageError` or ``OSError`` where the store cannot be used.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from gettext import gettext as _
from pathlib import Path
from typing import Literal, Protocol, TypeAlias

from aigenflow.cache.models import Counters, EntryMeta, Finding, Usage
from aigenflow.core.errors import ConfigError, InputError

LEASE_S = 15.0
"""A lease that was not renewed for this long, in seconds, belongs to nobody."""

Sort: TypeAlias = Literal["created", "size", "cost"]
"""Newest, largest or dearest first."""

_NAME = re.compile(r"[0-9a-f]{32}\Z")


class StorageError(Exception):
    """The store cannot be read or written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Which entries, in which order, how many of them.

    ``provider`` is the agent that answered or its back-end. ``expired`` compares the date of an
    entry with ``expired_from[phase]``, or ``expired_from[""]`` for all other phases: entries of
    that date or older are expired.
    """

    provider: str | None = None
    agent: str | None = None
    phase: str | None = None
    task: str | None = None
    session: str | None = None
    created_before: datetime | None = None
    expired: bool | None = None
    expired_from: Mapping[str, datetime] = field(default_factory=dict)
    sort: Sort = "created"
    limit: int | None = None


class Lease(Protocol):
    """The right to buy one answer while others wait for it."""

    def renew(self, now: float) -> None:
        """Show that the holder is alive. ``now``: seconds since 1970."""
        ...

    def release(self) -> None:
        """Give it back."""
        ...


class CacheStorage(Protocol):
    """Where entries are kept. Safe to use from several threads and processes."""

    remote: bool
    """Whether a call may wait for a network, and so belongs into a thread of its own."""

    def get(self, name: str, used_ns: int) -> bytes | None:
        """The entry, marked as used at ``used_ns`` (nanoseconds since 1970).

        Raises ``DamagedEntryError`` where something is there that is not an entry.
        """
        ...

    def peek(self, name: str) -> bytes | None:
        """The entry, without counting as a use. Raises ``DamagedEntryError``."""
        ...

    def put(self, meta: EntryMeta, data: bytes, used_ns: int) -> Usage:
        """Keep ``data`` under ``meta.key``, in place of what is there; how much there is then."""
        ...

    def delete(self, names: Iterable[str]) -> int:
        """Remove entries; return how many were there."""
        ...

    def clear(self) -> int:
        """Remove every entry, damaged ones included; return how many were in use."""
        ...

    def set_aside(self, name: str) -> None:
        """Take a damaged entry out of use."""
        ...

    def trim(self, limit_bytes: int, target_bytes: int) -> int:
        """If there is more than ``limit_bytes``, evict down to ``target_bytes``, least recently
        used first; return how many went. They are counted as evictions."""
        ...

    def usage(self) -> Usage:
        """How much is kept."""
        ...

    def names(self) -> Iterator[str]:
        """Every entry, in no order."""
        ...

    def select(self, selection: Selection) -> list[tuple[str, int]]:
        """Name and size in bytes of the entries that fit, in order."""
        ...

    def count(self, happened: Counters) -> None:
        """Add to the counters."""
        ...

    def counters(self) -> Counters:
        """What every process has counted."""
        ...

    def lease(self, name: str, now: float) -> Lease | None:
        """The lease on ``name``, unless somebody alive has it. ``now``: seconds since 1970."""
        ...

    def check(self, *, fix: bool) -> list[Finding]:
        """What is wrong with the store itself, as distinct from the entries in it."""
        ...

    def close(self) -> None:
        """Write down what is not yet, and let go. Raises nothing."""
        ...


def check_name(name: str) -> str:
    """``name``, which is safe as part of a path. Raises ``InputError``."""
    if _NAME.match(name) is None:
        raise InputError(
            _("{key} is not the key of a cache entry.").format(key=repr(name[:80])),
            hint=_("Keys are 32 hex digits; `aigenflow cache list` shows them."),
        )
    return name


def open_storage(url: str, *, home: Path) -> CacheStorage:
    """The store at ``url``: ``file:[PATH]``, ``sqlite:///PATH``, ``postgresql://…``, ``memory:``.

    ``home`` holds the default folder, ``home/cache``. Nothing is made before the first entry is
    written. Raises ``ConfigError`` where the URL is none of these, :class:`StorageError` where a
    database cannot be opened.
    """
    scheme, _colon, rest = url.partition(":")
    if scheme == "file":
        from aigenflow.cache.backends.filesystem import FileStorage

        path = rest.removeprefix("//")
        return FileStorage(Path(path).expanduser() if path else home / "cache")
    if scheme == "memory":
        from aigenflow.cache.backends.memory import MemoryStorage

        return MemoryStorage()
    if scheme in {"sqlite", "postgresql", "postgres"}:
        from aigenflow.cache.backends.sql import SqlStorage

        return SqlStorage(url)
    raise ConfigError(
        _("{url} is not the address of a cache.").format(url=url.rsplit("@", maxsplit=1)[-1]),
        hint=_("Use file:, file:PATH, sqlite:///PATH, postgresql://USER@HOST/NAME or memory:."),
    )
