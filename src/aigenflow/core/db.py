"""One small door to SQLite and PostgreSQL: exclusive transactions, plain rows, one kind of error.

SQL is written once, with ``?`` for values and the types both databases know (TEXT, BIGINT).
A transaction is the only writer while it lasts, across threads, processes and (PostgreSQL)
machines, so that what it reads is still true when it writes.

Open a database in the process that uses it: a connection does not survive ``fork``.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack
from gettext import gettext as _
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, TypeVar

from aigenflow.core.errors import ConfigError
from aigenflow.core.files import FILE_MODE, ensure_directory

if TYPE_CHECKING:
    import psycopg

Value: TypeAlias = str | int | bytes | None
Row: TypeAlias = tuple[Any, ...]
_T = TypeVar("_T")

BUSY_TIMEOUT_S = 60.0
"""How long a writer waits for the others, in seconds."""

AWAY_PATIENCE_S = 60.0
"""How long a database server may be away (a restart, say) before that is an error, in seconds."""

_AWAY_PAUSE_S = 0.2
_SQLITE = "sqlite:///"
_SQLITE_FAULTS = (sqlite3.Error, OSError, OverflowError)
_POSTGRES = ("postgresql://", "postgres://")
_WRITER_LOCK = 0x6169_6765_6E66_6C77
"""The advisory lock that makes PostgreSQL writers queue as SQLite's do ("aigenflw" in ASCII)."""


class DatabaseError(Exception):
    """The database did not do what it was asked; the transaction, if any, left nothing behind."""


class DatabaseAwayError(DatabaseError):
    """The connection to the server broke. What was under way may or may not have taken effect."""


def patiently(run: Callable[[], _T], patience_s: float = AWAY_PATIENCE_S) -> _T:
    """``run()``, repeated while the server is away: only for what may be done twice.

    Raises :class:`DatabaseError`; :class:`DatabaseAwayError` once ``patience_s`` is over.
    """
    deadline = time.monotonic() + patience_s
    while True:
        try:
            return run()
        except DatabaseAwayError:
            if time.monotonic() > deadline:
                raise
            time.sleep(_AWAY_PAUSE_S)


class Query(Protocol):
    """Runs one statement: a transaction's ``execute``, or a database's ``query``."""

    def __call__(self, sql: str, values: Sequence[Value] = ()) -> list[Row]: ...


class Transaction(Protocol):
    """Statements that take effect together or not at all."""

    def execute(self, sql: str, values: Sequence[Value] = ()) -> list[Row]:
        """Run one statement and return its rows. Raises :class:`DatabaseError`."""
        ...


class Database(Protocol):
    """One open database. Safe to use from several threads."""

    def transaction(self, *, durable: bool = True) -> AbstractContextManager[Transaction]:
        """An exclusive transaction: committed at the end of the block, undone by an exception.

        With ``durable`` it survives a power cut once the block has ended; without, only the death
        of the process. Raises :class:`DatabaseError`.
        """
        ...

    def query(self, sql: str, values: Sequence[Value] = ()) -> list[Row]:
        """Read rows without waiting for writers. Raises :class:`DatabaseError`."""
        ...

    def close(self) -> None:
        """Close the connection."""
        ...


def open_database(url: str) -> Database:
    """Open ``sqlite:///relative/path``, ``sqlite:////absolute/path`` or ``postgresql://...``.

    Raises :class:`~aigenflow.core.errors.ConfigError` where the URL or a driver is no good and
    :class:`DatabaseError` where the database cannot be opened.
    """
    if url.startswith(_SQLITE) and url != _SQLITE:
        return SqliteDatabase(Path(url.removeprefix(_SQLITE)).expanduser())
    if url.startswith(_POSTGRES):
        return PostgresDatabase(url)
    raise ConfigError(
        _("{url} is not the address of a database.").format(url=url.rsplit("@", maxsplit=1)[-1]),
        hint=_("Use sqlite:///PATH or postgresql://USER@HOST/NAME."),
    )


class SqliteDatabase:
    """A SQLite file in WAL mode, readable by its owner only."""

    def __init__(self, path: Path) -> None:
        self._lock = threading.RLock()
        self._is_durable: bool | None = None
        with _sqlite_errors():
            ensure_directory(path.parent)
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, FILE_MODE))
            self._connection = sqlite3.connect(
                path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False
            )
            _use_wal(self._connection)

    @contextlib.contextmanager
    def transaction(self, *, durable: bool = True) -> Iterator[Transaction]:
        with self._lock:
            if durable is not self._is_durable:
                self.execute(f"PRAGMA synchronous={'FULL' if durable else 'NORMAL'}")
                self._is_durable = durable
            self.execute("BEGIN IMMEDIATE")
            try:
                yield self
                self.execute("COMMIT")
            except BaseException:  # whatever ends it, a transaction is whole or not there
                if self._connection.in_transaction:
                    self.execute("ROLLBACK")
                raise

    def execute(self, sql: str, values: Sequence[Value] = ()) -> list[Row]:
        with self._lock:
            try:
                return self._connection.execute(sql, values).fetchall()
            except _SQLITE_FAULTS as error:
                raise DatabaseError(str(error)) from error

    query = execute

    def close(self) -> None:
        with self._lock, _sqlite_errors():
            self._connection.close()


class PostgresDatabase:
    """A PostgreSQL database, reconnected when its connection has broken.

    A transaction that has not begun and a query wait for a server that is away; a transaction
    that is under way when the server goes is lost.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._lock = threading.RLock()
        self._connection = _connect_postgres(url)

    @contextlib.contextmanager
    def transaction(self, *, durable: bool = True) -> Iterator[Transaction]:
        with self._lock, _postgres_errors(), ExitStack() as ended:
            patiently(lambda: self._begin(ended))
            if not durable:
                self.execute("SET LOCAL synchronous_commit TO OFF")
            yield self

    def execute(self, sql: str, values: Sequence[Value] = ()) -> list[Row]:
        with self._lock, _postgres_errors():
            cursor = self._connection.execute(sql.replace("?", "%s").encode(), values)
            return cursor.fetchall() if cursor.description else []

    def query(self, sql: str, values: Sequence[Value] = ()) -> list[Row]:
        with self._lock:
            return patiently(lambda: self.execute_once(sql, values))

    def execute_once(self, sql: str, values: Sequence[Value] = ()) -> list[Row]:
        """One statement in a transaction of its own, in turn with nobody. Not repeated.

        Raises :class:`DatabaseAwayError` where nobody knows whether it took effect.
        """
        with self._lock, _postgres_errors():
            self._alive()
            return self.execute(sql, values)

    def close(self) -> None:
        with self._lock:
            self._connection.close()

    def _begin(self, ended: ExitStack) -> None:
        with _postgres_errors(), ExitStack() as attempt:
            attempt.enter_context(self._alive().transaction())
            self.execute("SELECT pg_advisory_xact_lock(?)", (_WRITER_LOCK,))
            ended.push(attempt.pop_all())

    def _alive(self) -> psycopg.Connection[Row]:
        if self._connection.closed:
            self._connection = _connect_postgres(self._url)
        return self._connection


def _use_wal(connection: sqlite3.Connection) -> None:
    """Switch to WAL, which SQLite refuses at once, without waiting, while others have it open."""
    deadline = time.monotonic() + BUSY_TIMEOUT_S
    while connection.execute("PRAGMA journal_mode").fetchone() != ("wal",):
        try:
            connection.execute("PRAGMA journal_mode=WAL").fetchone()
        except sqlite3.OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.01)


def _connect_postgres(url: str) -> psycopg.Connection[Row]:
    try:
        import psycopg
    except ImportError as error:
        raise ConfigError(
            _("PostgreSQL needs the package psycopg, which is not installed."),
            hint=_('Install it with: pip install "aigenflow[postgres]"'),
        ) from error
    with _postgres_errors():
        # An SQL_ASCII database would otherwise hand out bytes for text.
        return psycopg.connect(url, autocommit=True, connect_timeout=10, client_encoding="utf8")


@contextlib.contextmanager
def _sqlite_errors() -> Iterator[None]:
    try:
        yield
    except _SQLITE_FAULTS as error:
        raise DatabaseError(str(error)) from error


@contextlib.contextmanager
def _postgres_errors() -> Iterator[None]:
    import psycopg

    try:
        yield
    except psycopg.Error as error:
        away = isinstance(error, psycopg.OperationalError | psycopg.InterfaceError)
        kind = DatabaseAwayError if away else DatabaseError
        raise kind(" ".join(str(error).split())) from error
