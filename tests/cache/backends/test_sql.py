from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from aigenflow.cache.backends.sql import SqlStorage
from aigenflow.cache.models import Usage
from aigenflow.cache.storage import StorageError
from aigenflow.core.db import open_database
from tests.cache.questions import stored
from tests.contracts.cache_storage_contract import CacheStorageContract, OpenStorage

POSTGRES = os.environ.get("AIGENFLOW_TEST_POSTGRES", "")


class TestSqliteStorage(CacheStorageContract):
    """The store in one SQLite file keeps the contract."""

    @pytest.fixture
    def open_storage(self, tmp_path: Path) -> OpenStorage:
        return lambda: SqlStorage(f"sqlite:///{tmp_path}/cache.db")

    def test_wrong_totals_are_found_and_put_right(
        self, open_storage: OpenStorage, tmp_path: Path
    ) -> None:
        """``check`` compares the totals with the rows."""
        storage = open_storage()
        meta, data = stored()
        storage.put(meta, data, 1)
        with sqlite3.connect(tmp_path / "cache.db") as connection:
            connection.execute("UPDATE cache_totals SET entries = 7, size_bytes = 1")
        connection.close()
        assert [finding.fixed for finding in storage.check(fix=False)] == [False]
        assert [finding.fixed for finding in storage.check(fix=True)] == [True]
        assert storage.check(fix=False) == []
        assert storage.usage() == Usage(entries=1, size_bytes=len(data))
        storage.close()

    def test_what_is_no_database_is_set_aside(self, tmp_path: Path) -> None:
        """A file that is no database (any more) makes way for an empty store."""
        path = tmp_path / "cache.db"
        path.write_bytes(b"not a database" * 100)
        storage = SqlStorage(f"sqlite:///{path}")
        storage.put(*stored(), 1)
        assert storage.usage().entries == 1
        storage.close()
        assert (tmp_path / "cache.db.damaged").read_bytes().startswith(b"not a database")

    def test_a_path_that_cannot_be_used_is_an_error(self, tmp_path: Path) -> None:
        """A folder in the place of the file is reported, and left alone."""
        (tmp_path / "cache.db").mkdir()
        with pytest.raises(StorageError):
            SqlStorage(f"sqlite:///{tmp_path}/cache.db")


@pytest.mark.skipif(not POSTGRES, reason="AIGENFLOW_TEST_POSTGRES names no server")
class TestPostgresStorage(CacheStorageContract):
    """The store in PostgreSQL keeps the contract."""

    @pytest.fixture
    def open_storage(self) -> Iterator[OpenStorage]:
        yield lambda: SqlStorage(POSTGRES)
        database = open_database(POSTGRES)
        for table in ("cache_entries", "cache_totals", "cache_leases"):
            with database.transaction() as transaction:
                transaction.execute(f"DROP TABLE IF EXISTS {table}")
        database.close()
