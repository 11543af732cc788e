"""A worker whose database fails it here and there, on a real PostgreSQL."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager

import pytest

from aigenflow.core.db import DatabaseAwayError, DatabaseError, PostgresDatabase
from aigenflow.core.errors import ConfigError, JournalWriteError, RunStoppedError
from aigenflow.engine import fleet
from aigenflow.engine.fleet import FleetWorkerProcess, WorkerOptions
from aigenflow.engine.fleet_control import QUEUE, FleetControl, open_fleet_database, prepare
from aigenflow.engine.fleet_models import Claim, FleetStatus, FleetWorker, Publication
from aigenflow.engine.fleet_store import FleetStore
from aigenflow.engine.runner import Runner
from tests.engine.test_fleet import spec
from tests.support.postgres import NO_SERVER, POSTGRES, own_database

pytestmark = pytest.mark.skipif(not POSTGRES, reason=NO_SERVER)


class Faults:
    """What fails once: a place in the code, for a session."""

    def __init__(self) -> None:
        self.due: set[tuple[str, str]] = set()
        self.met: set[tuple[str, str]] = set()

    def meet(self, place: str, session: str, error: Exception | None = None) -> None:
        if (place, session) in self.due - self.met:
            self.met.add((place, session))
            raise error or DatabaseAwayError("no server")


class FailingStore(FleetStore):
    """Fails where it is told to, before it has done anything."""

    def __init__(self, database: PostgresDatabase, faults: Faults) -> None:
        super().__init__(database)
        self._faults = faults

    def claim(self, session: str, worker: str) -> Claim | None:
        self._faults.meet("claim", session)
        return super().claim(session, worker)

    def finish(self, claim: Claim, published: Publication) -> bool:
        self._faults.meet("finish", claim.session)
        return super().finish(claim, published)

    def stop(self, claim: Claim, message: str, hint: str) -> bool:
        self._faults.meet("stop", claim.session)
        return super().stop(claim, message, hint)

    def hand_back(self, claim: Claim) -> bool:
        self._faults.meet("hand back", claim.session)
        return super().hand_back(claim)


class FailingControl(FleetControl):
    """Cannot put a session back at once. Counts those it has."""

    faults: Faults
    put_back = 0

    def requeue(self, session: str, worker: str) -> bool:
        self.faults.meet("requeue", session)
        is_done = super().requeue(session, worker)
        self.put_back += is_done
        return is_done


@pytest.fixture
def faults() -> Faults:
    return Faults()


@pytest.fixture
def url() -> Iterator[str]:
    with own_database() as address:
        yield address


@pytest.fixture
def control(url: str, faults: Faults) -> Iterator[FailingControl]:
    database = open_fleet_database(url)
    prepare(url, database)
    hands = FailingControl(url, FailingStore(database, faults), "1")
    hands.faults = faults
    yield hands
    hands.close()
    database.close()


@asynccontextmanager
async def working(
    url: str,
    control: FleetControl,
    write: Callable[[Runner], Awaitable[object]],
    on_finished: Callable[[str], Awaitable[None]] | None = None,
    on_death: Callable[[FleetWorker], None] = lambda _worker: None,
) -> AsyncIterator[asyncio.Task[None]]:
    """A worker in this process, while the block lasts."""
    from dbos import DBOS

    options = WorkerOptions(
        url=url, version="1", steps=[], owner="{}", poll_s=0.05, dead_after_s=30
    )

    def on_lost() -> None:
        raise AssertionError("the lease was lost")

    worker = FleetWorkerProcess(
        "w1", options, control, write, on_death=on_death, on_lost=on_lost, on_finished=on_finished
    )
    task = asyncio.create_task(worker.run())
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.wait([task])
        DBOS.destroy(destroy_registry=True)


async def until(holds: Callable[[], bool], within_s: float = 60) -> None:
    deadline = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.05)


def statuses(control: FleetControl) -> dict[str, FleetStatus]:
    return {each.spec.session: each.status for each in control.store.sessions()}


async def test_no_session_is_lost_wherever_the_database_goes_away(
    url: str, control: FailingControl, faults: Faults, monkeypatch: pytest.MonkeyPatch
):
    """The worker that lives goes on with all of them; none is ended, none waits for its death."""
    monkeypatch.setattr(fleet, "RETRY_PAUSE_S", 0.05)
    faults.due = {
        ("claim", "a-claim"),
        ("write", "b-write"),
        ("journal", "c-journal"),
        ("finish", "d-finish"),
        ("stop", "e-stop"),
        ("write", "f-hand-back"),
        ("hand back", "f-hand-back"),
        ("write", "g-requeue"),
        ("requeue", "g-requeue"),
        ("finished", "h-told"),
    }
    names = sorted({session for _place, session in faults.due})

    async def write(runner: Runner) -> None:
        session = runner.spec.session
        faults.meet("write", session)
        faults.meet("journal", session, JournalWriteError("The ledger cannot be written."))
        if session == "e-stop":
            raise RunStoppedError("no key")
        runner.publish({"plan.md": session.encode()}, {})

    told: list[str] = []

    async def on_finished(session: str) -> None:
        faults.meet("finished", session)
        told.append(session)

    control.submit([spec(name) for name in names])
    wanted = dict.fromkeys(names, FleetStatus.COMPLETED) | {"e-stop": FleetStatus.STOPPED}
    async with working(url, control, write, on_finished):
        await until(lambda: statuses(control) == wanted and "h-told" in told)
        assert control.resume(["e-stop"]) == ["e-stop"]
        await until(lambda: statuses(control) == wanted)
    assert faults.met == faults.due
    assert sorted(told) == [name for name in names if name != "e-stop"]


@pytest.mark.parametrize("error", [ConfigError, JournalWriteError, DatabaseError])
async def test_a_worker_lives_on_where_it_cannot_clear_up_after_another(
    url: str, control: FailingControl, error: type[Exception], monkeypatch: pytest.MonkeyPatch
):
    """The database goes away while it takes over from a dead one: it is done a little later."""
    monkeypatch.setattr(fleet, "BEATS", 600)
    control.store.register(FleetWorker(id="dead", version="1", owner="{}"))
    database = PostgresDatabase(url)
    long_ago = "clock_timestamp() - INTERVAL '1 hour'"
    monkeypatch.setattr("aigenflow.engine.fleet_store._SILENCE", "EXTRACT(EPOCH FROM now() - seen)")
    database.query(f"UPDATE fleet_workers SET seen = {long_ago} WHERE id = 'dead'")
    asked: list[str] = []

    def on_death(worker: FleetWorker) -> None:
        asked.append(worker.id)
        if asked == ["dead"]:
            raise error("The ledger is away.")

    async def write(runner: Runner) -> None:
        """Nothing to do."""

    async with working(url, control, write, on_death=on_death) as worker:
        await until(lambda: asked == ["dead"])
        await asyncio.sleep(0.1)
        assert not worker.done()
        database.query(f"UPDATE fleet_workers SET buried = {long_ago} WHERE id = 'dead'")
        await until(lambda: asked == ["dead", "dead"])
        await until(lambda: "dead" not in control.store.worker_ids())
    database.close()


async def test_a_worker_that_was_given_up_takes_nothing_with_it(url: str, control: FailingControl):
    """A suspended machine wakes up: what it takes before it notices is back in the queue."""
    wrote: list[str] = []

    async def write(runner: Runner) -> None:
        wrote.append(runner.spec.session)

    control.submit([spec("before")])
    async with working(url, control, write):
        await until(lambda: wrote == ["before"])
        control.store.forget("w1")
        put_back = control.put_back
        control.submit([spec("a")])
        await until(lambda: control.put_back > put_back)
        assert wrote == ["before"]
        assert statuses(control)["a"] is FleetStatus.WAITING
        control.store.register(FleetWorker(id="w1", version="1", owner="{}"))
        await until(lambda: statuses(control)["a"] is FleetStatus.COMPLETED)


def test_what_a_worker_took_that_nobody_knows_is_queued_again(url: str, control: FailingControl):
    """By whoever starts next, or by ``fleet recover``; what others have is left to them."""
    control.submit([spec("lost"), spec("kept"), spec("waiting")])
    database = PostgresDatabase(url)
    for session, worker in (("lost", "gone"), ("kept", "w2")):
        control.store.register(FleetWorker(id=worker, version="1", owner="{}"))
        assert control.store.claim(session, worker)
        database.query(
            "UPDATE dbos.workflow_status SET status = 'PENDING', executor_id = ? "
            "WHERE workflow_uuid = ? AND queue_name = ?",
            (worker, session, QUEUE),
        )
    database.query("DELETE FROM fleet_workers WHERE id = 'gone'")
    database.close()
    assert control.adopt("another version") == 0
    assert control.adopt() == 1
    assert control.adopt() == 0
    assert statuses(control) == {
        "lost": FleetStatus.WAITING,
        "kept": FleetStatus.RUNNING,
        "waiting": FleetStatus.WAITING,
    }
