"""The fleet's tables and the hands on it, on a real PostgreSQL."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from aigenflow.core.clock import SystemClock
from aigenflow.core.db import DatabaseAwayError, PostgresDatabase
from aigenflow.core.errors import ConfigError, InputError, SessionNotFoundError
from aigenflow.core.models import DocumentType, Language
from aigenflow.engine.fleet_control import (
    FleetControl,
    engine_url,
    open_fleet_database,
    prepare,
    reaching_database,
)
from aigenflow.engine.fleet_models import Claim, FleetStatus, FleetWorker, Overview, Publication
from aigenflow.engine.fleet_store import FleetStore
from aigenflow.engine.local import LocalEngine
from aigenflow.engine.models import SessionSpec
from tests.support.postgres import NO_SERVER, POSTGRES, own_database

on_postgres = pytest.mark.skipif(not POSTGRES, reason=NO_SERVER)


def spec(name: str) -> SessionSpec:
    return SessionSpec(
        session=name,
        topic="Meal kits for people with diabetes",
        document_type=DocumentType.BIZPLAN,
        template="default",
        language=Language.EN,
        created=datetime(2026, 1, 2, tzinfo=UTC),
    )


def worker(name: str, version: str = "1") -> FleetWorker:
    return FleetWorker(id=name, version=version, owner="{}")


@pytest.fixture
def url() -> Iterator[str]:
    with own_database() as address:
        yield address


@pytest.fixture
def store(url: str) -> Iterator[FleetStore]:
    opened = FleetStore(PostgresDatabase(url))
    opened.prepare()
    yield opened
    opened.close()


@pytest.fixture
def control(url: str) -> Iterator[FleetControl]:
    database = open_fleet_database(url)
    hands = FleetControl(url, prepare(url, database), "1")
    yield hands
    hands.close()
    database.close()


def claimed(store: FleetStore, name: str, by: str = "w1") -> Claim:
    store.register(worker(by))
    claim = store.claim(name, by)
    assert claim is not None
    return claim


def session_status(store: FleetStore, name: str) -> FleetStatus:
    return next(store.sessions([name])).status


@on_postgres
class TestStore:
    """The right to a session, and what it allows."""

    def test_only_the_last_to_claim_a_session_may_write(self, store: FleetStore):
        """A worker whose session was taken over changes nothing any more."""
        store.add([spec("a")], "1")
        slow = claimed(store, "a", "slow")
        quick = claimed(store, "a", "quick")
        assert not store.advance(slow, 3)
        assert not store.stop(slow, "gave up", "")
        assert not store.finish(slow, Publication(documents={"plan.md": b"slow"}))
        assert not store.hand_back(slow)
        assert store.advance(quick, 2)
        assert store.finish(quick, Publication(documents={"plan.md": b"quick"}))
        assert store.publication("a").documents == {"plan.md": b"quick"}

    def test_a_publication_comes_back_as_it_was(self, store: FleetStore):
        """Documents, side files and metadata, Korean and binary alike."""
        store.add([spec("a")], "1")
        published = Publication(
            documents={"plan.md": "사업계획서".encode(), "plan.docx": bytes(range(256))},
            side_files={"model.json": b"{}"},
            metadata={"topic": "당뇨", "totals": {"cost_usd": None}},
        )
        assert store.finish(claimed(store, "a"), published)
        assert store.publication("a") == published

    def test_a_cancelled_session_is_nobodys(self, store: FleetStore):
        """Its worker may not write, nobody can claim it, and a finished one stays finished."""
        store.add([spec("a"), spec("b")], "1")
        claim = claimed(store, "a")
        assert store.finish(claimed(store, "b"), Publication())
        assert store.cancel(["a", "b"]) == ["a"]
        assert not store.advance(claim, 2)
        assert store.claim("a", "w1") is None
        assert session_status(store, "b") is FleetStatus.COMPLETED

    def test_a_session_waits_again_only_where_it_had_ended(self, store: FleetStore):
        """Stopped and cancelled ones of the version do; their tries count from zero."""
        store.add([spec("a"), spec("b")], "1")
        store.add([spec("c")], "2")
        assert store.stop(claimed(store, "a"), "no key", "set one")
        store.cancel(["c"])
        assert store.wait_again(["a", "b", "c"], "1") == ["a"]
        assert claimed(store, "a").tries == 1

    def test_a_session_that_is_handed_back_has_not_been_tried(self, store: FleetStore):
        """A worker that ends in order is not counted against its sessions."""
        store.add([spec("a")], "1")
        assert store.hand_back(claimed(store, "a"))
        again = claimed(store, "a")
        assert (again.tries, again.run) == (1, 2)

    def test_only_tries_without_a_finished_step_count(self, store: FleetStore):
        """A session that gets on may be taken over as often as workers die."""
        store.add([spec("a")], "1")
        claimed(store, "a")
        assert store.advance(claimed(store, "a"), 1)
        third = claimed(store, "a")
        assert third.tries == 3
        assert store.advance(third, 2, has_finished_a_step=True)
        assert claimed(store, "a").tries == 2

    def test_the_latest_are_those_that_matter(self, store: FleetStore):
        """Running ones first, then stopped ones, then the others; no more than asked for."""
        store.add([spec(name) for name in "abcd"], "1")
        assert store.finish(claimed(store, "a"), Publication())
        assert store.stop(claimed(store, "b"), "no key", "")
        claimed(store, "c")
        assert [each.spec.session for each in store.latest(3)] == ["c", "b", "a"]
        assert [each.spec.session for each in store.latest(9)] == ["c", "b", "a", "d"]

    def test_a_silent_worker_is_given_to_one_caller(self, store: FleetStore):
        """It is buried once, may beat no more, and its sessions wait."""
        store.add([spec("a")], "1")
        claimed(store, "a", "w1")
        assert store.beat("w1")
        assert store.bury(60) == []
        time.sleep(0.05)
        assert [each.id for each in store.bury(0.01, "1")] == ["w1"]
        assert store.bury(60) == []
        assert not store.beat("w1")
        store.forget("w1")
        assert session_status(store, "a") is FleetStatus.WAITING

    def test_a_worker_nobody_cleared_up_is_given_to_the_next(self, store: FleetStore):
        """Who buries and dies leaves the work to another."""
        store.register(worker("w1"))
        time.sleep(0.05)
        assert store.bury(0.01)
        time.sleep(0.05)
        assert [each.id for each in store.bury(0.01)] == ["w1"]

    def test_workers_of_another_version_are_left_alone(self, store: FleetStore):
        """Whoever names a version buries only its own."""
        store.register(worker("old", "1"))
        time.sleep(0.05)
        assert store.bury(0.01, "2") == []

    def test_a_session_submitted_twice_is_one(self, store: FleetStore):
        """What is there stays as it is."""
        store.add([spec("a")], "1")
        assert store.finish(claimed(store, "a"), Publication())
        store.add([spec("a")], "1")
        assert session_status(store, "a") is FleetStatus.COMPLETED


@on_postgres
class TestControl:
    """Submitting, cancelling, resuming and fetching without any worker."""

    def test_what_was_lost_on_its_way_is_queued_by_recover(self, control: FleetControl):
        """A session that was written down and never queued is queued once."""
        control.store.add([spec("a")], "1")
        assert control.recover(60, lambda _worker: None) == (0, 1)
        assert control.recover(60, lambda _worker: None) == (0, 0)

    def test_a_cancelled_session_can_be_resumed(self, control: FleetControl):
        """It waits again, and is in the queue."""
        control.submit([spec("a")])
        assert control.cancel(["a"]) == ["a"]
        assert control.resume(["a"]) == ["a"]
        assert control.resume(["a"]) == []
        assert control.recover(60, lambda _worker: None) == (0, 0)
        assert session_status(control.store, "a") is FleetStatus.WAITING

    def test_a_session_of_another_version_is_refused(self, url: str, control: FleetControl):
        """The error names both versions and what to do."""
        control.submit([spec("a")])
        control.cancel(["a"])
        newer = FleetControl(url, control.store, "2")
        with pytest.raises(InputError, match="belongs to version 1; this is 2") as refused:
            newer.resume(["a"])
        newer.close()
        assert "cost nothing" in refused.value.hint

    async def test_an_unfinished_session_is_fetched_as_far_as_it_is(
        self, control: FleetControl, tmp_path: Path
    ):
        """It can be looked at, and resumed on one machine."""
        control.submit([spec("a")])
        engine = LocalEngine(tmp_path, SystemClock())
        assert await control.fetch("a", engine) == tmp_path / "a"
        assert engine.read("a").status.value == "stopped"

    def test_a_database_that_goes_away_under_the_engine_is_no_bug(self, control: FleetControl):
        """Whatever its driver says: a restart in the midst of a start is told in plain words."""
        nowhere = "postgresql://nobody@127.0.0.1:9/none"
        with pytest.raises(DatabaseAwayError):
            prepare(nowhere, control.store._database)
        with pytest.raises(DatabaseAwayError):
            FleetControl(nowhere, control.store, "1")
        with pytest.raises(ConfigError, match="cannot be reached") as told, reaching_database():
            prepare(nowhere, control.store._database)
        assert "Is the server running" in told.value.hint

    def test_an_unknown_session_is_an_error(self, control: FleetControl):
        """It names the command that lists them."""
        with pytest.raises(SessionNotFoundError, match="no session zzz"):
            control.session("zzz")


def test_sessions_of_a_version_without_workers_are_unserved():
    """Only those that wait or run, and only of versions that no worker has."""
    overview = Overview(
        counts={
            ("1", FleetStatus.WAITING): 3,
            ("1", FleetStatus.RUNNING): 1,
            ("1", FleetStatus.COMPLETED): 9,
            ("2", FleetStatus.WAITING): 5,
        },
        workers=(worker("w", "2"),),
    )
    assert overview.unserved == {"1": 4}
    assert overview.count(FleetStatus.WAITING) == 8


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ("postgresql://h/d", "postgresql://h/d?client_encoding=utf8"),
        ("postgresql://h/d?a=b", "postgresql://h/d?a=b&client_encoding=utf8"),
        ("postgresql://h/d?client_encoding=utf8", "postgresql://h/d?client_encoding=utf8"),
    ],
)
def test_the_engine_reads_text_as_text(given: str, wanted: str):
    """Its address says so, also for a server without a locale."""
    assert engine_url(given) == wanted


@pytest.mark.parametrize(
    ("url", "problem"),
    [("", "No database is named"), ("mysql://x", "not the address"), ("sqlite:///x", "PostgreSQL")],
)
def test_a_database_that_cannot_serve_a_fleet_is_refused(
    url: str, problem: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Before anything is done, with a hint."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=problem) as refused:
        open_fleet_database(url)
    assert "postgresql://" in refused.value.hint
