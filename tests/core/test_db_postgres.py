"""A PostgreSQL that goes away for a moment."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from aigenflow.core.db import DatabaseAwayError, DatabaseError, PostgresDatabase, patiently
from tests.support.postgres import NO_SERVER, POSTGRES, own_database

pytestmark = pytest.mark.skipif(not POSTGRES, reason=NO_SERVER)


@pytest.fixture
def databases() -> Iterator[tuple[PostgresDatabase, PostgresDatabase]]:
    """One to use, and one to break it with."""
    with own_database() as url:
        both = PostgresDatabase(url), PostgresDatabase(url)
        yield both
        for each in both:
            each.close()


def cut(ours: PostgresDatabase, other: PostgresDatabase) -> None:
    """End the connection from the server's side, as a restart does."""
    [(pid,)] = ours.execute("SELECT pg_backend_pid()")
    other.query("SELECT pg_terminate_backend(?)", (pid,))


def test_a_query_survives_a_cut_connection(databases: tuple[PostgresDatabase, PostgresDatabase]):
    """It is asked again on a new connection."""
    ours, other = databases
    cut(ours, other)
    assert ours.query("SELECT 1") == [(1,)]


def test_a_transaction_that_has_not_begun_survives_a_cut_connection(
    databases: tuple[PostgresDatabase, PostgresDatabase],
):
    """It begins on a new connection, and takes effect."""
    ours, other = databases
    with ours.transaction() as tx:
        tx.execute("CREATE TABLE notes (text TEXT)")
    cut(ours, other)
    with ours.transaction() as tx:
        tx.execute("INSERT INTO notes VALUES ('kept')")
    assert other.query("SELECT text FROM notes") == [("kept",)]


def test_a_transaction_under_way_is_lost_with_the_connection(
    databases: tuple[PostgresDatabase, PostgresDatabase],
):
    """What it did is undone, its caller is told, and the next one works."""
    ours, other = databases
    with ours.transaction() as tx:
        tx.execute("CREATE TABLE notes (text TEXT)")

    def write_while_it_is_cut() -> None:
        with ours.transaction() as tx:
            tx.execute("INSERT INTO notes VALUES ('lost')")
            cut(ours, other)
            tx.execute("SELECT 1")

    with pytest.raises(DatabaseAwayError):
        write_while_it_is_cut()
    assert ours.query("SELECT text FROM notes") == []


def test_a_statement_that_may_have_worked_is_not_repeated(
    databases: tuple[PostgresDatabase, PostgresDatabase],
):
    """Once is once: the caller decides."""
    ours, other = databases
    cut(ours, other)
    with pytest.raises(DatabaseAwayError):
        ours.execute_once("SELECT 1")


def test_a_wrong_statement_is_wrong_at_once(
    databases: tuple[PostgresDatabase, PostgresDatabase],
):
    """Patience is for servers that are away."""
    ours, _other = databases
    with pytest.raises(DatabaseError, match="nowhere"):
        ours.query("SELECT * FROM nowhere")


def test_patience_ends():
    """The error is passed on once the time is over."""
    tries = 0

    def fail() -> None:
        nonlocal tries
        tries += 1
        raise DatabaseAwayError("gone")

    with pytest.raises(DatabaseAwayError):
        patiently(fail, patience_s=0.3)
    assert tries > 1
