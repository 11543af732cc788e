"""The sessions of a fleet as the pages read them: on PostgreSQL, without a worker."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest

from aigenflow.app import App
from aigenflow.core.config import Settings
from aigenflow.core.db import PostgresDatabase, Row, Value
from aigenflow.core.errors import InputError, SessionNotFoundError
from aigenflow.core.models import DocumentType, Language
from aigenflow.dashboard.sessions import FleetSessions
from aigenflow.engine.fleet_control import FleetControl, prepare
from aigenflow.engine.fleet_models import FleetWorker, Publication
from aigenflow.engine.models import SessionSpec
from tests.support.postgres import NO_SERVER, POSTGRES, own_database

pytestmark = pytest.mark.skipif(not POSTGRES, reason=NO_SERVER)


class CountingDatabase(PostgresDatabase):
    """Counts the rows and the bytes that come out of it."""

    rows = 0
    bytes = 0

    def query(self, sql: str, values: Sequence[Value] = ()) -> list[Row]:
        found = super().query(sql, values)
        self.rows += len(found)
        self.bytes += sum(len(cell) for row in found for cell in row if isinstance(cell, bytes))
        return found


def spec(name: str) -> SessionSpec:
    return SessionSpec(
        session=name,
        topic=f"Topic of {name}",
        document_type=DocumentType.BIZPLAN,
        template="default",
        language=Language.EN,
        created=datetime(2026, 1, 1, tzinfo=UTC),
    )


@pytest.fixture
def url() -> Iterator[str]:
    with own_database() as address:
        yield address


@pytest.fixture
def database(url: str) -> Iterator[CountingDatabase]:
    opened = CountingDatabase(url)
    yield opened
    opened.close()


@pytest.fixture
def control(url: str, database: CountingDatabase) -> Iterator[FleetControl]:
    hands = FleetControl(url, prepare(url, database), "1")
    hands.store.register(FleetWorker(id="w1", version="1", owner="{}"))
    yield hands
    hands.close()


@pytest.fixture
def sessions(settings: Settings, control: FleetControl, tmp_path: Path) -> FleetSessions:
    return FleetSessions(App(settings, home=tmp_path / "home"), control)


def _publish(control: FleetControl, name: str, documents: dict[str, bytes]) -> None:
    control.store.add([spec(name)], "1")
    claim = control.store.claim(name, "w1")
    assert claim is not None
    published = Publication(documents=documents, metadata={"topic": "당뇨"})
    assert control.store.finish(claim, published)


def test_a_page_reads_the_rows_that_it_shows(
    control: FleetControl, sessions: FleetSessions, database: CountingDatabase
) -> None:
    """However many sessions the fleet has, newest first, and their number is counted there."""
    names = [f"s{number:04}" for number in range(1200)]
    control.store.add([spec(name) for name in names], "1")
    database.rows = 0
    entries, total = sessions.page(50, 25)
    assert [entry.name for entry in entries] == names[::-1][50:75]
    assert total == len(names)
    assert database.rows == 25 + 1
    assert sessions.page(1200, 25) == ([], 1200)


def test_of_those_under_way_only_some_are_read(
    control: FleetControl, sessions: FleetSessions, database: CountingDatabase
) -> None:
    """A fleet may run thousands at the same time; it says how many, and who has them."""
    names = [f"s{number:02}" for number in range(30)]
    control.store.add([spec(name) for name in names], "1")
    for name in names[:20]:
        assert control.store.claim(name, "w1")
    database.rows = 0
    entries, running = sessions.under_way(12)
    assert [entry.name for entry in entries] == names[19:7:-1]
    assert {entry.where for entry in entries} == {"w1"}
    assert running == 20
    assert database.rows == 12 + 1


def test_a_file_is_read_alone(
    control: FleetControl, sessions: FleetSessions, database: CountingDatabase
) -> None:
    """Listing reads no document, and a download reads one."""
    documents = {"plan.md": b"# Plan", "plan.pdf": bytes(5000), "figures/cash.png": b"png"}
    _publish(control, "a", documents)
    database.bytes = 0
    assert sessions.files("a") == {name: len(data) for name, data in documents.items()}
    assert sessions.metadata("a") == {"topic": "당뇨"}
    assert database.bytes == 0
    assert sessions.file("a", "figures/cash.png") == b"png"
    assert database.bytes == len(b"png")
    for missing in ("other.md", "\0", "figures"):
        with pytest.raises(SessionNotFoundError, match="no file"):
            sessions.file("a", missing)


@pytest.mark.parametrize("name", ["nobody", "\0", "\ud800", "x" * 5000])
def test_what_is_no_session_is_not_found(sessions: FleetSessions, name: str) -> None:
    """Also names that the database could not hold; nothing is changed for them."""
    for look in (sessions.read, sessions.records, sessions.files, sessions.metadata):
        with pytest.raises(SessionNotFoundError):
            look(name)
    for order in (sessions.cancel, sessions.resume):
        with pytest.raises(SessionNotFoundError):
            asyncio.run(order(name))


def test_only_a_session_that_stands_still_can_be_resumed(
    control: FleetControl, sessions: FleetSessions
) -> None:
    """Waiting ones can be cancelled, cancelled ones resumed, and finished ones neither."""
    control.submit([spec("a")])
    assert sessions.read("a").can_cancel
    assert sessions.records("a") == []
    asyncio.run(sessions.cancel("a"))
    assert sessions.read("a").can_resume
    asyncio.run(sessions.resume("a"))
    assert sessions.read("a").status == "waiting"
    _publish(control, "b", {"plan.md": b""})
    finished = sessions.read("b")
    assert (finished.can_cancel, finished.can_resume, finished.phases_done) == (False, False, 5)
    assert finished.where == ""


def test_a_session_of_another_version_is_left_to_its_workers(
    control: FleetControl, sessions: FleetSessions
) -> None:
    """The page says that nobody serves it, and resuming says why it cannot."""
    control.store.add([spec("old")], "0")
    assert sessions.remarks() == ["1 sessions belong to version 0, which no worker has."]
    asyncio.run(sessions.cancel("old"))
    assert sessions.remarks() == []
    with pytest.raises(InputError, match="belongs to version 0"):
        asyncio.run(sessions.resume("old"))
