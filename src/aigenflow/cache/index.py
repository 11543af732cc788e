"""The index of a file store: what lists need, derived from the entries and never the truth.

Columns rather than rows: 100,000 entries load in about 40 ms and fit into a few megabytes. An
entry file never changes, so that its name and inode say whether the index still describes it.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Literal, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import to_json

from aigenflow.cache.models import EntryMeta
from aigenflow.cache.storage import Selection, Sort

_T = TypeVar("_T")
_NAME_LENGTH = 32
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class _Columns(BaseModel):
    """The stored form. ``entries_mtime_ns`` is the date of the folder that was described.

    ``names`` are joined without separator. ``created_us`` are microseconds since 1970,
    ``cost_nano_usd`` is -1 where unknown. ``kinds`` and ``sessions`` are positions in the tables.
    """

    model_config = ConfigDict(extra="forbid", strict=True)

    version: Literal[1] = 1
    entries_mtime_ns: int = 0
    kind_table: list[tuple[str, str, str, str, str, str]] = []
    session_table: list[str] = []
    names: str = ""
    inodes: list[int] = []
    kinds: list[int] = []
    sessions: list[int] = []
    created_us: list[int] = []
    sizes: list[int] = []
    cost_nano_usd: list[int] = []


class Index:
    """Which entries there are, and what they can be chosen and ordered by."""

    def __init__(self, stored: _Columns | None = None) -> None:
        self._columns = stored or _Columns()
        joined = self._columns.names
        self._names = [joined[at : at + _NAME_LENGTH] for at in range(0, len(joined), _NAME_LENGTH)]
        self._kind_at = {kind: at for at, kind in enumerate(self._columns.kind_table)}
        self._session_at = {text: at for at, text in enumerate(self._columns.session_table)}
        self.changes = 0

    @classmethod
    def decode(cls, data: bytes) -> Index:
        """Read the stored form. Raises ``ValueError`` where it is damaged or of another version."""
        try:
            stored = _Columns.model_validate_json(data)
        except ValidationError as error:
            raise ValueError("not an index of this version") from error
        if not _is_consistent(stored):
            raise ValueError("the columns of the index do not fit together")
        return cls(stored)

    def encode(self) -> bytes:
        """The stored form."""
        self._columns.names = "".join(self._names)
        return to_json(self._columns)

    def __len__(self) -> int:
        return len(self._names)

    @property
    def entries_mtime_ns(self) -> int:
        """The date of the folder this index describes, nanoseconds since 1970."""
        return self._columns.entries_mtime_ns

    def update(
        self,
        present: Mapping[str, int],
        entries_mtime_ns: int,
        read: Callable[[str], tuple[EntryMeta, int] | None],
    ) -> None:
        """Describe ``present`` (name to inode); ``read`` gives what is new, ``None`` to leave out.

        ``changes`` counts what was added or dropped since the index was loaded.
        """
        known = dict(zip(self._names, self._columns.inodes, strict=True))
        if known != present:
            self._keep(
                [at for at, item in enumerate(known.items()) if present.get(item[0]) == item[1]]
            )
            kept = set(self._names)
            for name, inode in present.items():
                if name not in kept and (found := read(name)) is not None:
                    self._add(found[0], inode, found[1])
        self._columns.entries_mtime_ns = entries_mtime_ns

    def select(self, selection: Selection) -> list[tuple[str, int]]:
        """Name and size in bytes of the entries that fit, in order."""
        columns = self._columns
        kinds = {at for at, kind in enumerate(columns.kind_table) if _kind_fits(kind, selection)}
        sessions = {
            at
            for at, session in enumerate(columns.session_table)
            if selection.session in (None, session)
        }
        before = _ceiling(selection.created_before)
        chosen = [
            at
            for at, (kind, session, created) in enumerate(
                zip(columns.kinds, columns.sessions, columns.created_us, strict=True)
            )
            if kind in kinds and session in sessions and created < before
        ]
        if selection.expired is not None:
            chosen = self._by_expiry(chosen, selection)
        return [(self._names[at], columns.sizes[at]) for at in self._ordered(chosen, selection)]

    def _by_expiry(self, chosen: Iterable[int], selection: Selection) -> list[int]:
        default = selection.expired_from[""]
        limits = [
            _microseconds(selection.expired_from.get(kind[4], default))
            for kind in self._columns.kind_table
        ]
        kinds, created = self._columns.kinds, self._columns.created_us
        return [at for at in chosen if (created[at] <= limits[kinds[at]]) is selection.expired]

    def _ordered(self, chosen: list[int], selection: Selection) -> list[int]:
        column = self._column(selection.sort)
        if selection.limit is None:
            return sorted(chosen, key=column.__getitem__, reverse=True)
        return heapq.nlargest(selection.limit, chosen, key=column.__getitem__)

    def _column(self, sort: Sort) -> list[int]:
        return {
            "created": self._columns.created_us,
            "size": self._columns.sizes,
            "cost": self._columns.cost_nano_usd,
        }[sort]

    def _keep(self, positions: list[int]) -> None:
        columns = self._columns
        self.changes += len(self._names) - len(positions)
        self._names = [self._names[at] for at in positions]
        for column in _per_entry(columns):
            column[:] = [column[at] for at in positions]

    def _add(self, meta: EntryMeta, inode: int, size: int) -> None:
        columns = self._columns
        kind = (meta.agent, meta.actor, meta.provider, meta.model, meta.phase, meta.task)
        self._names.append(meta.key)
        columns.inodes.append(inode)
        columns.kinds.append(_position(columns.kind_table, self._kind_at, kind))
        columns.sessions.append(_position(columns.session_table, self._session_at, meta.session))
        columns.created_us.append(_microseconds(min(meta.created, meta.seen)))
        columns.sizes.append(size)
        columns.cost_nano_usd.append(-1 if meta.cost is None else int(meta.cost * 1_000_000_000))
        self.changes += 1


def _per_entry(columns: _Columns) -> tuple[list[int], ...]:
    return (
        columns.inodes,
        columns.kinds,
        columns.sessions,
        columns.created_us,
        columns.sizes,
        columns.cost_nano_usd,
    )


def _is_consistent(columns: _Columns) -> bool:
    count, rest = divmod(len(columns.names), _NAME_LENGTH)
    return (
        rest == 0
        and all(len(column) == count for column in _per_entry(columns))
        and all(0 <= at < len(columns.kind_table) for at in set(columns.kinds))
        and all(0 <= at < len(columns.session_table) for at in set(columns.sessions))
    )


def _kind_fits(kind: tuple[str, str, str, str, str, str], wanted: Selection) -> bool:
    agent, actor, provider, _model, phase, task = kind
    return (
        wanted.provider in (None, actor, provider)
        and wanted.agent in (None, agent)
        and wanted.phase in (None, phase)
        and wanted.task in (None, task)
    )


def _position(table: list[_T], known: dict[_T, int], value: _T) -> int:
    if value not in known:
        known[value] = len(table)
        table.append(value)
    return known[value]


def _microseconds(moment: datetime) -> int:
    return (moment - _EPOCH) // _MICROSECOND


def _ceiling(moment: datetime | None) -> float:
    return float("inf") if moment is None else _microseconds(moment)
