"""The tracker on both databases, and what only real processes show."""

from __future__ import annotations

import os
import secrets
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest

from aigenflow.core.db import DatabaseError, SqliteDatabase, open_database
from aigenflow.core.errors import ConfigError, JournalWriteError
from aigenflow.monitoring.models import BudgetLimits, ReservationState
from aigenflow.monitoring.tracker import TokenTracker
from tests.contracts.ledger_contract import LedgerContract, reserve, usage

POSTGRES = os.environ.get("AIGENFLOW_TEST_POSTGRES")
SPENDER = Path(__file__).with_name("spender.py")


class TestSqliteLedger(LedgerContract):
    """The ledger in a file."""

    @pytest.fixture
    def url(self, tmp_path: Path) -> str:
        return f"sqlite:///{tmp_path}/home/ledger.db"


@pytest.mark.skipif(not POSTGRES, reason="AIGENFLOW_TEST_POSTGRES names no server")
class TestPostgresLedger(LedgerContract):
    """The ledger on a server."""

    @pytest.fixture
    def url(self) -> Iterator[str]:
        assert POSTGRES
        schema = f"test_{secrets.token_hex(6)}"
        server = open_database(POSTGRES)
        with server.transaction() as tx:
            tx.execute(f"CREATE SCHEMA {schema}")
        joint = "&" if "?" in POSTGRES else "?"
        yield f"{POSTGRES}{joint}options=-csearch_path%3D{schema}"
        with server.transaction() as tx:
            tx.execute(f"DROP SCHEMA {schema} CASCADE")
        server.close()


def spend(url: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run the spending program to its end."""
    return subprocess.run(
        [sys.executable, SPENDER, url, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=110,
    )


def test_processes_share_one_cap(tmp_path: Path):
    """64 processes of 40 calls never pass a cap, use at least 95 % of it, and leave nothing."""
    url = f"sqlite:///{tmp_path}/ledger.db"
    done = spend(url, "compete", 64, 40, "5.00")
    assert done.returncode == 0, done.stderr
    tracker = TokenTracker.open(url)
    [total] = tracker.totals()
    assert Decimal("4.75") <= total.billed <= Decimal("5.00")
    assert tracker.open_reservations() == []
    assert total.calls == int(done.stdout)
    tracker.close()


def test_a_killed_process_leaves_its_reservation(tmp_path: Path):
    """What a process reserved before kill -9 stays reserved, listed as orphaned, until told."""
    url = f"sqlite:///{tmp_path}/ledger.db"
    done = spend(url, "die")
    assert done.returncode == -signal.SIGKILL
    tracker = TokenTracker.open(url, BudgetLimits(daily_usd=Decimal(1)))
    [left] = tracker.open_reservations()
    assert (left.amount, left.state) == (Decimal("0.75"), ReservationState.ORPHANED)
    assert left.owner.pid != os.getpid()
    tracker.reconcile(left.id, Decimal("0.5"))
    assert tracker.totals()[0].wasted == Decimal("0.5")
    tracker.close()


def test_the_ledger_is_for_its_owner_only(tmp_path: Path):
    """The file, its companions and its folder are closed to everybody else, whatever the umask."""
    before = os.umask(0)
    try:
        tracker = TokenTracker.open(f"sqlite:///{tmp_path}/home/ledger.db")
        tracker.track(usage())
        paths = [tmp_path / "home", *(tmp_path / "home").iterdir()]
    finally:
        os.umask(before)
    assert len(paths) == 4
    assert [path for path in paths if stat.S_IMODE(path.stat().st_mode) & 0o077] == []
    tracker.close()


def test_the_ledger_is_durable(tmp_path: Path):
    """Paid rows are written with a full sync; rows that move no money are not."""
    database = SqliteDatabase(tmp_path / "ledger.db")
    with database.transaction() as tx:
        assert tx.execute("PRAGMA synchronous") == [(2,)]
    with database.transaction(durable=False) as tx:
        assert tx.execute("PRAGMA synchronous") == [(1,)]
    assert database.query("PRAGMA journal_mode") == [("wal",)]
    database.close()


def test_a_ledger_that_cannot_be_written_stops_spending(tmp_path: Path):
    """A failing write is an error before the call, not a call without a row."""
    url = f"sqlite:///{tmp_path}/ledger.db"
    tracker = TokenTracker.open(url)
    database = open_database(url)
    with database.transaction() as tx:
        tx.execute("DROP TABLE reservations")
    with pytest.raises(JournalWriteError, match="cannot be written"):
        reserve(tracker, "1")
    with pytest.raises(ConfigError, match="cannot be read"):
        tracker.open_reservations()
    tracker.close()
    database.close()


def test_a_huge_count_is_an_error_and_not_a_wrong_row(tmp_path: Path):
    """A token count that no column can hold leaves the ledger as it was."""
    tracker = TokenTracker.open(f"sqlite:///{tmp_path}/ledger.db")
    with pytest.raises(JournalWriteError):
        tracker.track(usage("1", input_tokens=2**70))
    assert tracker.totals() == []
    tracker.close()


@pytest.mark.parametrize("url", ["ledger.db", "mysql://user:secret@host/db", "sqlite:///"])
def test_an_address_that_is_none_is_refused(url: str):
    """Only SQLite and PostgreSQL addresses open, and a password is not repeated."""
    with pytest.raises(ConfigError, match="not the address") as caught:
        TokenTracker.open(url)
    assert "secret" not in caught.value.message


def test_a_folder_in_the_way_is_named(tmp_path: Path):
    """A ledger that cannot be opened is an error of the configuration."""
    with pytest.raises(ConfigError, match="cannot be read"):
        TokenTracker.open(f"sqlite:///{tmp_path}")


def test_an_exception_undoes_the_transaction(tmp_path: Path):
    """Nothing of a block that raised is kept."""
    database = SqliteDatabase(tmp_path / "x.db")
    database.query("CREATE TABLE t (n BIGINT)")

    def fail_half_way() -> None:
        with database.transaction() as tx:
            tx.execute("INSERT INTO t VALUES (?)", (1,))
            tx.execute("INSERT INTO nowhere VALUES (1)")

    with pytest.raises(DatabaseError, match="nowhere"):
        fail_half_way()
    assert database.query("SELECT * FROM t") == []
    database.close()
