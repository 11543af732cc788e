"""Entries as rows of SQLite or PostgreSQL: the store of a fleet, or of one large file.

Uses are written down together (at the latest after a second, and before anything is evicted), so
that a hit only reads; the order of use is exact within a process and to about a second between
processes.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from functools import wraps
from gettext import gettext as _
from pathlib import Path
from typing import Concatenate, Final, ParamSpec, TypeVar

from aigenflow.cache.models import Counters, EntryMeta, Finding, Usage
from aigenflow.cache.storage import LEASE_S, Selection, StorageError, check_name
from aigenflow.core.db import (
    Database,
    DatabaseError,
    Transaction,
    Value,
    open_database,
    patiently,
)
from aigenflow.core.files import OPS

_SQLITE: Final = "sqlite:///"
_BEYOND_REPAIR: Final = ("not a database", "malformed")
"""How SQLite calls a file that it cannot use."""

_FLUSH_AFTER_S: Final = 1.0
_FLUSH_AFTER_USES: Final = 256
_AT_ONCE: Final = 200

_SCHEMA: Final = (
    """CREATE TABLE IF NOT EXISTS cache_entries (
        name TEXT PRIMARY KEY,
        agent TEXT NOT NULL, actor TEXT NOT NULL, provider TEXT NOT NULL, model TEXT NOT NULL,
        phase TEXT NOT NULL, task TEXT NOT NULL, session TEXT NOT NULL,
        created_us BIGINT NOT NULL, used_ns BIGINT NOT NULL, size_bytes BIGINT NOT NULL,
        cost_nano_usd BIGINT NOT NULL, data BYTEA NOT NULL)""",
    "CREATE INDEX IF NOT EXISTS cache_entries_used ON cache_entries (used_ns, name, size_bytes)",
    "CREATE INDEX IF NOT EXISTS cache_entries_created ON cache_entries (created_us)",
    "CREATE INDEX IF NOT EXISTS cache_entries_size ON cache_entries (size_bytes)",
    "CREATE INDEX IF NOT EXISTS cache_entries_cost ON cache_entries (cost_nano_usd)",
    """CREATE TABLE IF NOT EXISTS cache_totals (
        id BIGINT PRIMARY KEY,
        entries BIGINT NOT NULL, size_bytes BIGINT NOT NULL,
        hits BIGINT NOT NULL, misses BIGINT NOT NULL, stores BIGINT NOT NULL,
        evictions BIGINT NOT NULL, hit_ns BIGINT NOT NULL)""",
    "INSERT INTO cache_totals VALUES (1, 0, 0, 0, 0, 0, 0, 0) ON CONFLICT (id) DO NOTHING",
    """CREATE TABLE IF NOT EXISTS cache_leases (
        name TEXT PRIMARY KEY, holder TEXT NOT NULL, renewed_us BIGINT NOT NULL)""",
)
_COLUMNS: Final = (
    "name, agent, actor, provider, model, phase, task, session, created_us, used_ns, size_bytes, "
    "cost_nano_usd, data"
)
_SORTED_BY: Final = {"created": "created_us", "size": "size_bytes", "cost": "cost_nano_usd"}


_P = ParamSpec("_P")
_T = TypeVar("_T")


def _patient(
    method: Callable[Concatenate[SqlStorage, _P], _T],
) -> Callable[Concatenate[SqlStorage, _P], _T]:
    """``method``, which leaves the same behind when it runs twice, done again after a restart."""

    @wraps(method)
    def patient(self: SqlStorage, /, *args: _P.args, **kwargs: _P.kwargs) -> _T:
        with _translated():
            return patiently(lambda: method(self, *args, **kwargs))

    return patient


class SqlStorage:
    """Entries in the database at ``url``. Raises ``StorageError`` where it cannot be opened."""

    def __init__(self, url: str) -> None:
        self.remote = not url.startswith("sqlite:")
        self._lock = threading.Lock()
        self._used: dict[str, int] = {}
        self._flushed_at = time.monotonic()
        with _translated():
            self._database = _open_or_replace(url)

    def get(self, name: str, used_ns: int) -> bytes | None:
        data = self.peek(name)
        if data is not None:
            with self._lock:
                self._used[name] = used_ns
                is_due = (
                    len(self._used) >= _FLUSH_AFTER_USES
                    or time.monotonic() - self._flushed_at > _FLUSH_AFTER_S
                )
            if is_due:
                self.count(Counters())
        return data

    def peek(self, name: str) -> bytes | None:
        with _translated():
            rows = self._database.query(
                "SELECT data FROM cache_entries WHERE name = ?", (check_name(name),)
            )
        return bytes(rows[0][0]) if rows else None

    @_patient
    def put(self, meta: EntryMeta, data: bytes, used_ns: int) -> Usage:
        row = _row(meta, data, used_ns)
        with self._transaction() as transaction:
            _remove(transaction, [meta.key])
            transaction.execute(
                f"INSERT INTO cache_entries ({_COLUMNS}) VALUES ({_marks(row)})",  # noqa: S608
                row,
            )
            transaction.execute(
                "UPDATE cache_totals SET entries = entries + 1, size_bytes = size_bytes + ?, "
                "stores = stores + 1",
                (len(data),),
            )
            return _usage(transaction)

    def delete(self, names: Iterable[str]) -> int:
        return self._delete([check_name(name) for name in names])

    @_patient
    def clear(self) -> int:
        with self._transaction() as transaction:
            removed = len(transaction.execute("DELETE FROM cache_entries RETURNING name"))
            transaction.execute("UPDATE cache_totals SET entries = 0, size_bytes = 0")
            return removed

    def set_aside(self, name: str) -> None:
        self.delete([name])

    @_patient
    def trim(self, limit_bytes: int, target_bytes: int) -> int:
        with self._transaction() as transaction:
            self._write_uses(transaction)
            usage = _measured(transaction)
            if usage.size_bytes <= limit_bytes:
                return 0
            names, size = [], usage.size_bytes
            for name, size_bytes in transaction.execute(
                "SELECT name, size_bytes FROM cache_entries ORDER BY used_ns, name"
            ):
                if size <= target_bytes:
                    break
                names.append(name)
                size -= size_bytes
            evicted = _remove(transaction, names)
            _count(transaction, Counters(evictions=evicted))
            return evicted

    def usage(self) -> Usage:
        with _translated():
            rows = self._database.query("SELECT entries, size_bytes FROM cache_totals")
        return Usage(entries=rows[0][0], size_bytes=rows[0][1])

    def names(self) -> Iterator[str]:
        with _translated():
            return iter([row[0] for row in self._database.query("SELECT name FROM cache_entries")])

    def select(self, selection: Selection) -> list[tuple[str, int]]:
        conditions, values = _conditions(selection)
        sql = (
            f"SELECT name, size_bytes FROM cache_entries WHERE {conditions} "  # noqa: S608
            f"ORDER BY {_SORTED_BY[selection.sort]} DESC"
        )
        if selection.limit is not None:
            sql += " LIMIT ?"
            values = [*values, selection.limit]
        with _translated():
            return [(name, size) for name, size in self._database.query(sql, values)]

    @_patient
    def count(self, happened: Counters) -> None:
        with self._transaction() as transaction:
            _count(transaction, happened)
            self._write_uses(transaction)

    def counters(self) -> Counters:
        with _translated():
            ((hits, misses, stores, evictions, hit_ns),) = self._database.query(
                "SELECT hits, misses, stores, evictions, hit_ns FROM cache_totals"
            )
        return Counters(hits=hits, misses=misses, stores=stores, evictions=evictions, hit_ns=hit_ns)

    @_patient
    def lease(self, name: str, now: float) -> SqlLease | None:
        holder, moment = os.urandom(8).hex(), _microseconds(now)
        lease_us = int(LEASE_S * 1e6)
        with self._transaction() as transaction:
            # A lease from the future was taken by a clock that has been set back since.
            transaction.execute(
                "DELETE FROM cache_leases WHERE renewed_us < ? OR renewed_us > ?",
                (moment - lease_us, moment + lease_us),
            )
            transaction.execute(
                "INSERT INTO cache_leases (name, holder, renewed_us) VALUES (?, ?, ?) "
                "ON CONFLICT (name) DO NOTHING",
                (check_name(name), holder, moment),
            )
            rows = transaction.execute("SELECT holder FROM cache_leases WHERE name = ?", (name,))
        return SqlLease(self, name, holder) if rows == [(holder,)] else None

    @_patient
    def check(self, *, fix: bool) -> list[Finding]:
        with self._transaction() as transaction:
            noted, there = _usage(transaction), _measured(transaction)
            if noted == there:
                return []
            if fix:
                transaction.execute(
                    "UPDATE cache_totals SET entries = ?, size_bytes = ?",
                    (there.entries, there.size_bytes),
                )
        return [Finding(problem=_("the totals do not fit the entries"), fixed=fix)]

    def close(self) -> None:
        with contextlib.suppress(StorageError):
            if self._used:
                self.count(Counters())
        with contextlib.suppress(StorageError), _translated():
            self._database.close()

    @_patient
    def change_lease(self, sql: str, values: Sequence[Value]) -> None:
        """Renew or release a lease."""
        with self._transaction() as transaction:
            transaction.execute(sql, values)

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[Transaction]:
        with self._database.transaction(durable=False) as transaction:
            yield transaction

    @_patient
    def _delete(self, names: Sequence[str]) -> int:
        with self._transaction() as transaction:
            return _remove(transaction, names)

    def _write_uses(self, transaction: Transaction) -> None:
        with self._lock:
            used, self._used = self._used, {}
            self._flushed_at = time.monotonic()
        for name, used_ns in used.items():
            transaction.execute(
                "UPDATE cache_entries SET used_ns = ? WHERE name = ? AND used_ns < ?",
                (used_ns, name, used_ns),
            )


class SqlLease:
    """A row that its holder keeps young."""

    def __init__(self, storage: SqlStorage, name: str, holder: str) -> None:
        self._storage = storage
        self._name = name
        self._holder = holder

    def renew(self, now: float) -> None:
        self._storage.change_lease(
            "UPDATE cache_leases SET renewed_us = ? WHERE name = ? AND holder = ?",
            (_microseconds(now), self._name, self._holder),
        )

    def release(self) -> None:
        self._storage.change_lease(
            "DELETE FROM cache_leases WHERE name = ? AND holder = ?", (self._name, self._holder)
        )


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except DatabaseError as error:
        raise StorageError(str(error)) from error


def _open_or_replace(url: str) -> Database:
    """The database with its tables. A file that is none (any more) is set aside."""
    try:
        return _opened(url)
    except DatabaseError as error:
        path = Path(url.removeprefix(_SQLITE)).expanduser()
        if not url.startswith(_SQLITE) or not any(word in str(error) for word in _BEYOND_REPAIR):
            raise
        for suffix in ("", "-wal", "-shm"):
            with contextlib.suppress(FileNotFoundError):
                OPS.replace(Path(f"{path}{suffix}"), Path(f"{path}{suffix}.damaged"))
        return _opened(url)


def _opened(url: str) -> Database:
    database = open_database(url)
    if not _is_there(database):
        with database.transaction(durable=False) as transaction:
            for statement in _SCHEMA:
                transaction.execute(statement)
    return database


def _is_there(database: Database) -> bool:
    try:
        return bool(database.query("SELECT 1 FROM cache_totals"))
    except DatabaseError:
        return False


def _row(meta: EntryMeta, data: bytes, used_ns: int) -> tuple[Value, ...]:
    return (
        check_name(meta.key),
        meta.agent,
        meta.actor,
        meta.provider,
        meta.model,
        meta.phase,
        meta.task,
        meta.session,
        _date(min(meta.created, meta.seen)),
        used_ns,
        len(data),
        -1 if meta.cost is None else int(meta.cost * 1_000_000_000),
        data,
    )


def _remove(transaction: Transaction, names: Sequence[str]) -> int:
    removed = 0
    for at in range(0, len(names), _AT_ONCE):
        some = names[at : at + _AT_ONCE]
        gone = transaction.execute(
            f"DELETE FROM cache_entries WHERE name IN ({_marks(some)}) RETURNING size_bytes",  # noqa: S608
            some,
        )
        transaction.execute(
            "UPDATE cache_totals SET entries = entries - ?, size_bytes = size_bytes - ?",
            (len(gone), sum(size for (size,) in gone)),
        )
        removed += len(gone)
    return removed


def _count(transaction: Transaction, happened: Counters) -> None:
    transaction.execute(
        "UPDATE cache_totals SET hits = hits + ?, misses = misses + ?, stores = stores + ?, "
        "evictions = evictions + ?, hit_ns = hit_ns + ?",
        (
            happened.hits,
            happened.misses,
            happened.stores,
            happened.evictions,
            happened.hit_ns,
        ),
    )


def _usage(transaction: Transaction) -> Usage:
    ((entries, size_bytes),) = transaction.execute("SELECT entries, size_bytes FROM cache_totals")
    return Usage(entries=entries, size_bytes=size_bytes)


def _measured(transaction: Transaction) -> Usage:
    ((entries, size_bytes),) = transaction.execute(
        "SELECT COUNT(*), CAST(COALESCE(SUM(size_bytes), 0) AS BIGINT) FROM cache_entries"
    )
    return Usage(entries=entries, size_bytes=size_bytes)


def _conditions(wanted: Selection) -> tuple[str, list[Value]]:
    parts: list[str] = ["1 = 1"]
    values: list[Value] = []
    for column, value in (
        ("agent", wanted.agent),
        ("phase", wanted.phase),
        ("task", wanted.task),
        ("session", wanted.session),
    ):
        if value is not None:
            parts.append(f"{column} = ?")
            values.append(value)
    if wanted.provider is not None:
        parts.append("(actor = ? OR provider = ?)")
        values += [wanted.provider, wanted.provider]
    if wanted.created_before is not None:
        parts.append("created_us < ?")
        values.append(_date(wanted.created_before))
    if wanted.expired is not None:
        limit, limits = _expiry(wanted)
        parts.append(f"created_us {'<=' if wanted.expired else '>'} {limit}")
        values += limits
    return " AND ".join(parts), values


def _expiry(wanted: Selection) -> tuple[str, list[Value]]:
    """The date, by phase, from which backwards entries are expired, as an expression."""
    exceptions = [(phase, date) for phase, date in wanted.expired_from.items() if phase]
    default = _date(wanted.expired_from[""])
    if not exceptions:
        return "?", [default]
    values: list[Value] = []
    for phase, date in exceptions:
        values += [phase, _date(date)]
    cases = "WHEN ? THEN CAST(? AS BIGINT) " * len(exceptions)
    return f"CASE phase {cases}ELSE CAST(? AS BIGINT) END", [*values, default]


def _marks(values: Sequence[object]) -> str:
    return ", ".join("?" * len(values))


def _date(moment: datetime) -> int:
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


def _microseconds(seconds: float) -> int:
    return int(seconds * 1e6)
