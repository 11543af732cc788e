"""Many workers on one database: what is killed is finished elsewhere, and nothing is paid twice.

Small by default; ``AIGENFLOW_TEST_FLEET=200`` runs four workers on so many documents, kills one
every few seconds and restarts the database twice. ``AIGENFLOW_TEST_FLEET_SECONDS`` is how long a
busy machine may take for it.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence, Set
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from aigenflow.core.db import open_database
from tests.support.postgres import (
    NO_SERVER,
    POSTGRES,
    own_database,
    restart_server,
    server_away,
)
from tests.support.program import AGENTS, Program, Wire, clean_environment
from tests.support.visitor import CLOSED, Visitor, launch_address

LIMIT_S = int(os.environ.get("AIGENFLOW_TEST_FLEET_SECONDS", "1200"))
pytestmark = [
    pytest.mark.skipif(not POSTGRES, reason=NO_SERVER),
    pytest.mark.timeout(2 * LIMIT_S + 600),
]

DOCUMENTS = int(os.environ.get("AIGENFLOW_TEST_FLEET", "10"))
FULL = DOCUMENTS >= 50
WORKERS = 4 if FULL else 2
KILL_EVERY_S = 10.0 if FULL else 4.0
DEAD_AFTER_S = 10 if FULL else 6
CONCURRENCY = 6
"""Calls at the same time per provider, over all workers."""
DAILY_USD = Decimal(5) * DOCUMENTS
_OF_ONE_RUN = {"call_id", "at_us", "day", "session"}
"""The columns of the ledger that tell two runs of the same topic apart."""


@pytest.fixture
def database() -> Iterator[str]:
    with own_database() as url:
        yield url


@pytest.fixture
def fleet(program: Program, database: str) -> Program:
    """The program with the fleet's database; all four real adapters at the wire server."""
    program.environ |= {
        "AIGENFLOW_FLEET__DATABASE_URL": database,
        "AIGENFLOW_FLEET__POLL_SECONDS": "0.2",
        "AIGENFLOW_FLEET__DEAD_AFTER_SECONDS": str(DEAD_AFTER_S),
    }
    return program


class Impatient(Program):
    """The program that waits one second, not sixty, for a database server that is away."""

    _START = (
        "from aigenflow.core import db; db.patiently.__defaults__ = (1.0,); "
        "from aigenflow.main import main; main()"
    )

    @classmethod
    def _command(cls, arguments: Sequence[str]) -> list[str]:
        return [sys.executable, "-c", cls._START, *arguments]


class Workers:
    """The worker processes of a test."""

    def __init__(self, program: Program) -> None:
        self._program = program
        self.running: list[subprocess.Popen[str]] = []

    def start(self, *arguments: str, env: dict[str, str] | None = None) -> subprocess.Popen[str]:
        process = self._program.start("worker", *arguments, env=env)
        self.running.append(process)
        return process

    def kill_one(self, dice: random.Random) -> subprocess.Popen[str]:
        process = dice.choice([each for each in self.running if each.poll() is None])
        process.kill()
        process.communicate()
        self.running.remove(process)
        return process

    def stop(self) -> None:
        for process in self.running:
            process.send_signal(signal.SIGCONT)
            process.send_signal(signal.SIGTERM)
        for process in self.running:
            process.communicate(timeout=20)


@pytest.fixture
def workers(fleet: Program) -> Iterator[Workers]:
    started = Workers(fleet)
    yield started
    started.stop()


def submit(program: Program, topics: list[str], **env: str) -> list[str]:
    """Submit topics; return their sessions."""
    (program.folder / "topics.txt").write_text("\n".join(topics) + "\n")
    done = program("submit", "--topics", "topics.txt", "--json", env=env)
    assert done.returncode == 0, done.stderr
    names: list[str] = json.loads(done.stdout)
    return names


def status(program: Program, **env: str) -> dict[str, Any]:
    """``fleet status --json`` with all sessions."""
    done = program("fleet", "status", "--json", "--limit", "1000000", env=env)
    assert done.returncode == 0, done.stderr + done.stdout
    value: dict[str, Any] = json.loads(done.stdout)
    return value


def wait_until(program: Program, holds: Callable[[dict[str, Any]], bool], within_s: float) -> Any:
    """The first status for which it ``holds``."""
    deadline = time.monotonic() + within_s
    while True:
        seen = status(program)
        if holds(seen):
            return seen
        assert time.monotonic() < deadline, json.dumps(seen, indent=1)[-4000:]
        time.sleep(0.5)


def all_are(wanted: str) -> Callable[[dict[str, Any]], bool]:
    return lambda seen: all(each["status"] == wanted for each in seen["sessions"])


def states(seen: dict[str, Any]) -> set[str]:
    """The states that some session is in."""
    return {each["status"] for each in seen["sessions"]}


def published(folder: Path) -> dict[str, dict[str, bytes]]:
    """By topic, all that the sessions in ``folder`` published; times and costs are in metadata."""
    found = {}
    for state in folder.glob("*/pipeline_state.json"):
        topic = json.loads(state.read_text())["spec"]["topic"]
        files = [each for each in (state.parent / "final").rglob("*") if each.is_file()]
        found[topic] = {each.name: each.read_bytes() for each in files}
    return found


def one_machine(tmp_path: Path, wire: Wire) -> Program:
    """The program with stores of its own, and all four adapters at the same server."""
    alone = Program(tmp_path / "alone", clean_environment(tmp_path / "home-alone"))
    alone.folder.mkdir()
    for agent in AGENTS:
        alone.environ[f"AIGENFLOW_AGENTS__{agent}__BASE_URL"] = wire.url
    return alone


def ledger_rows(database: str, columns: Set[str]) -> list[tuple[Any, ...]]:
    """The calls in a ledger, in no order of time."""
    return sorted(ask(database, f"SELECT {', '.join(sorted(columns))} FROM usage"), key=repr)


def ask(database: str, sql: str) -> list[tuple[Any, ...]]:
    """Rows of a database: the fleet's, or another at that address."""
    opened = open_database(database)
    try:
        return opened.query(sql)
    finally:
        opened.close()


def lost_calls(database: str) -> tuple[int, Decimal]:
    """The calls that dead workers had under way, and what they are booked at, in dollars."""
    [(count, nano)] = ask(
        database,
        "SELECT COUNT(*), CAST(COALESCE(SUM(billed_nano), 0) AS BIGINT) FROM usage "
        "WHERE waste = 'lost'",
    )
    return count, Decimal(nano) / 10**9


def slots_of(database: str, process: subprocess.Popen[str]) -> int:
    """The calls that a worker has under way, or had when it was killed."""
    [(count,)] = ask(
        database, f"SELECT COUNT(*) FROM fleet_slots WHERE strpos(worker, '-{process.pid}-') > 0"
    )
    return int(count)


def is_asked_but_for_one(database: str, wire: Wire) -> bool:
    """Whether of all questions that arrived, one has no answer in the ledger yet."""
    [(answered,)] = ask(database, "SELECT COUNT(*) FROM usage")
    return 3 <= len(wire.requests()) == int(answered) + 1


def repeated(bill: list[dict[str, Any]]) -> int:
    """Calls for a question that had been asked already."""
    return len(bill) - len({line["question"] for line in bill})


def topics(count: int) -> list[str]:
    return [f"Meal kits for people with diabetes in district {n}" for n in range(1, count + 1)]


def most_at_once(bill: list[dict[str, Any]]) -> Counter[str]:
    """The largest number of calls that one provider had under way at the same time."""
    most: Counter[str] = Counter()
    for provider in {line["provider"] for line in bill}:
        moments = []
        for line in (each for each in bill if each["provider"] == provider):
            began = datetime.fromisoformat(line["at"])
            moments += [(began, 1), (began + timedelta(seconds=line["duration_s"]), -1)]
        under_way = 0
        for _moment, change in sorted(moments):
            under_way += change
            most[provider] = max(most[provider], under_way)
    return most


def test_documents_survive_killed_workers_and_a_restarted_database(
    fleet: Program, workers: Workers, wire: Wire, database: str, tmp_path: Path
):
    """Every document is finished and equal to a single machine's; only lost calls are repeated."""
    wire.script(defaults={"latency_s": [0.1, 0.4]})
    fleet.environ["AIGENFLOW_BUDGET__DAILY_USD"] = str(DAILY_USD)
    for agent in AGENTS:
        fleet.environ[f"AIGENFLOW_AGENTS__{agent}__CONCURRENCY"] = str(CONCURRENCY)
    dice = random.Random(7)
    names = submit(fleet, topics(DOCUMENTS))
    for _ in range(WORKERS):
        workers.start("--quiet", "--sessions", "8")
    kills = restarts = under_way = 0
    deadline = time.monotonic() + (LIMIT_S if FULL else 200)
    began = time.monotonic()
    wait_until(fleet, lambda seen: any(s["phase"] > 1 for s in seen["sessions"]), 120)
    while not all_are("completed")(seen := status(fleet)):
        assert time.monotonic() < deadline, json.dumps(seen, indent=1)[-6000:]
        if kills < (2 if not FULL else 10_000):
            under_way += slots_of(database, workers.kill_one(dice))
            workers.start("--quiet", "--sessions", "8")
            kills += 1
        if restarts < (2 if FULL else 1) and kills >= 2 * (restarts + 1):
            restart_server()
            restarts += 1
        for process in [each for each in workers.running if each.poll() is not None]:
            workers.running.remove(process)
            _out, problem = process.communicate()
            # What a supervisor starts again: a machine with too much to do, no database just now.
            assert process.returncode == 2 or "silent for so long" in problem, problem
            workers.start("--quiet", "--sessions", "8")
            under_way += slots_of(database, process)
            kills += 1
        time.sleep(KILL_EVERY_S)
    took_s = time.monotonic() - began
    workers.stop()
    workers.running.clear()
    assert restarts, "the work was done before the database was restarted"
    bill = wire.bill()

    fetched = fleet("fleet", "fetch", "--all", timeout=LIMIT_S / 2)
    assert fetched.returncode == 0, fetched.stderr
    assert len(fetched.stdout.split()) == len(names) == DOCUMENTS
    listed = json.loads(fleet("status", "--json").stdout)
    assert {each["status"] for each in listed} == {"completed"}

    time.sleep(DEAD_AFTER_S)  # until the last one who was killed counts as dead
    assert fleet("fleet", "recover").returncode == 0
    ledger = status(fleet)
    lost, lost_usd = lost_calls(database)
    spent, budget = Decimal(ledger["spent_usd"]), ledger["budgets"][0]
    print(
        f"{DOCUMENTS} documents, {WORKERS} workers, {kills} kills with {under_way} calls under "
        f"way, {restarts} restarts, {took_s:.0f} s, {len(bill)} calls, {repeated(bill)} repeated, "
        f"{lost} lost (${lost_usd}), most at once {dict(most_at_once(bill))}, ${spent} of "
        f"${DAILY_USD}, reserved {budget['reserved_usd']}"
    )
    alone = one_machine(tmp_path, wire)
    wire.reset()
    run = alone("run", "--topics", str(fleet.folder / "topics.txt"), "--quiet", timeout=LIMIT_S)
    assert run.returncode == 0, run.stderr
    written, wanted = published(fleet.folder / "output"), published(alone.folder / "output")
    differ = [
        (topic, name)
        for topic, files in wanted.items()
        for name, data in files.items()
        if name != "metadata.json" and written[topic].get(name) != data
    ]
    print(f"{len(written)} documents written, {len(wanted)} wanted, {len(differ)} files differ")
    assert written.keys() == wanted.keys()
    assert not differ

    assert repeated(bill) <= lost <= CONCURRENCY * len(AGENTS) * kills
    assert max(most_at_once(bill).values()) <= CONCURRENCY
    assert spent <= DAILY_USD
    assert Decimal(budget["reserved_usd"]) == 0
    assert ask(database, "SELECT COUNT(*) FROM fleet_slots WHERE worker <> ''") == [(0,)]
    once = {line["question"] for line in bill}
    assert once == {line["question"] for line in wire.bill()}, "other questions than on one machine"


def test_one_topic_leaves_what_it_leaves_on_one_machine(
    fleet: Program, workers: Workers, wire: Wire, database: str, tmp_path: Path
):
    """The same documents, cache keys and ledger rows; only when, by whom and for which session."""
    submit(fleet, topics(1))
    workers.start("--quiet")
    wait_until(fleet, all_are("completed"), 90)
    assert fleet("fleet", "fetch", "--all").returncode == 0

    wire.reset()
    alone = one_machine(tmp_path, wire)
    done = alone("run", "--topics", str(fleet.folder / "topics.txt"), "--quiet")
    assert done.returncode == 0, done.stderr
    home = Path(alone.environ["AIGENFLOW_HOME"])
    keys = {name for (name,) in ask(database, "SELECT name FROM cache_entries")}
    assert keys == {each.stem for each in (home / "cache/entries").iterdir()}
    assert len(keys) == len(wire.billed()) > 0
    ledger = f"sqlite:///{home / 'ledger.db'}"
    columns = {name for (name,) in ask(ledger, "SELECT name FROM pragma_table_info('usage')")}
    assert columns > _OF_ONE_RUN
    own = ledger_rows(ledger, columns - _OF_ONE_RUN)
    assert ledger_rows(database, columns - _OF_ONE_RUN) == own
    assert len(own) == len(wire.billed())
    (topic,), folders = topics(1), (fleet.folder, alone.folder)
    written, wanted = (published(each / "output")[topic] for each in folders)
    assert written.keys() == wanted.keys() >= {"business_plan.md"}
    assert [name for name in wanted if written[name] != wanted[name]] == []


def test_limits_hold_over_all_workers(fleet: Program, workers: Workers, wire: Wire):
    """Calls at the same time and calls per minute are those of the settings, for all together."""
    wire.script(defaults={"latency_s": 0.15})
    for agent in AGENTS:
        fleet.environ[f"AIGENFLOW_AGENTS__{agent}__CONCURRENCY"] = "2"
    fleet.environ["AIGENFLOW_AGENTS__CLAUDE__REQUESTS_PER_MINUTE"] = "120"
    submit(fleet, topics(6))
    for _ in range(2):
        workers.start("--quiet", "--sessions", "3")  # each has its half
    wait_until(fleet, all_are("completed"), 90)
    bill = wire.bill()
    assert max(most_at_once(bill).values()) <= 2
    times = sorted(
        datetime.fromisoformat(line["at"]) for line in bill if line["provider"] == "anthropic"
    )
    burst = 30  # a quarter of a minute's worth at once, then evenly
    for first in range(len(times)):
        for last in range(first, len(times)):
            seconds = (times[last] - times[first]).total_seconds()
            assert last - first + 1 <= burst + 90 / 60 * (seconds + 1) + 1


def test_versions_leave_each_other_alone(fleet: Program, workers: Workers):
    """A worker takes the sessions of its own version only, and says whose the others are."""
    old = submit(fleet, topics(1), AIGENFLOW_FLEET__VERSION="old")
    new = submit(fleet, topics(2)[1:], AIGENFLOW_FLEET__VERSION="new")
    worker = workers.start(env={"AIGENFLOW_FLEET__VERSION": "new"})
    seen = wait_until(
        fleet, lambda seen: any(s["status"] == "completed" for s in seen["sessions"]), 60
    )
    assert {s["session"]: s["status"] for s in seen["sessions"]} == {
        old[0]: "waiting",
        new[0]: "completed",
    }
    assert seen["unserved"] == {"old": 1}
    told = fleet("fleet", "status").stdout
    assert "1 sessions belong to version old, which no worker has." in told
    worker.send_signal(signal.SIGTERM)
    assert "1 sessions belong to version old" in worker.communicate(timeout=20)[0]
    cancelled = fleet("fleet", "cancel", old[0])
    assert cancelled.returncode == 0, cancelled.stderr
    refused = fleet("fleet", "resume", old[0])
    assert refused.returncode == 2
    assert "belongs to version old" in refused.stderr
    ours = submit(fleet, topics(1), AIGENFLOW_FLEET__VERSION="new")
    assert fleet("fleet", "cancel", *ours).returncode == 0
    resumed = fleet("fleet", "resume", "--all", env={"AIGENFLOW_FLEET__VERSION": "new"})
    assert resumed.stdout.splitlines() == [
        "1 sessions belong to version old and are left to workers of that version.",
        "Waiting again: 1",
    ]


def test_a_worker_that_is_asked_to_end_hands_its_sessions_on(
    fleet: Program, workers: Workers, wire: Wire
):
    """It ends within five seconds; another finishes its session without paying anything twice."""
    wire.script(defaults={"latency_s": 1.0})
    submit(fleet, topics(1))
    first = workers.start("--quiet")
    wait_until(fleet, lambda seen: seen["sessions"][0]["phase"] >= 2, 40)
    began = time.monotonic()
    first.send_signal(signal.SIGTERM)
    first.wait(timeout=20)
    assert time.monotonic() - began < 6
    seen = status(fleet)
    assert (seen["sessions"][0]["status"], seen["workers"]) == ("waiting", [])
    wire.script(defaults={"latency_s": 0})
    workers.start("--quiet")
    done = wait_until(fleet, all_are("completed"), 40)
    assert done["sessions"][0]["runs"] == 2
    questions = Counter(line["question"] for line in wire.bill())
    assert set(questions.values()) == {1}


def test_a_dead_workers_calls_are_waste(
    fleet: Program, workers: Workers, wire: Wire, database: str
):
    """What a killed worker had under way is paid again once, and in the ledger as lost."""
    wire.script(rules=[{"match": {"nth": 3}, "action": {"latency_s": 60}}])
    fleet.environ["AIGENFLOW_BUDGET__DAILY_USD"] = str(DAILY_USD)
    submit(fleet, topics(1))
    first = workers.start("--quiet")
    wait_until(fleet, lambda seen: seen["sessions"][0]["phase"] == 2, 90)
    deadline = time.monotonic() + 20
    while slots_of(database, first) != 1 or not is_asked_but_for_one(database, wire):
        assert time.monotonic() < deadline
        time.sleep(0.2)
    reserved = Decimal(status(fleet)["budgets"][0]["reserved_usd"])
    assert reserved > 0
    first.kill()
    workers.start("--quiet")
    wait_until(fleet, all_are("completed"), 60)
    assert repeated(wire.bill()) == 1
    assert lost_calls(database) == (1, reserved)
    stats = fleet("stats", "--json", env={"AIGENFLOW_LEDGER__URL": database})
    assert stats.returncode == 0, stats.stderr
    assert Decimal(json.loads(stats.stdout)["wasted"]["lost"]) == reserved


def test_a_worker_that_was_frozen_for_too_long_ends_with_its_calls(
    fleet: Program, workers: Workers, wire: Wire, database: str
):
    """The others have its session and slots by then: it wakes up, says so and is gone."""
    wire.script(rules=[{"match": {"nth": 3}, "action": {"latency_s": 60}}])
    fleet.environ["AIGENFLOW_FLEET__DEAD_AFTER_SECONDS"] = "4"
    submit(fleet, topics(1))
    first = workers.start("--quiet")
    wait_until(fleet, lambda seen: seen["sessions"][0]["phase"] == 2, 90)
    first.send_signal(signal.SIGSTOP)
    workers.start("--quiet")
    wait_until(fleet, all_are("completed"), 60)
    first.send_signal(signal.SIGCONT)
    _out, problem = first.communicate(timeout=10)
    assert (first.returncode, "silent for so long" in problem) == (6, True), problem
    workers.running.remove(first)
    assert slots_of(database, first) == 0
    assert repeated(wire.bill()) <= lost_calls(database)[0]


@contextlib.contextmanager
def dashboard(program: Program) -> Iterator[Visitor]:
    """The pages of the fleet, while the block lasts."""
    process = program.start("dashboard", "--fleet", "--no-browser")
    try:
        yield Visitor(launch_address(process))
    finally:
        process.terminate()
        process.communicate(timeout=20)


def test_a_worker_ends_when_the_database_stays_away_and_its_next_one_goes_on(
    fleet: Program, workers: Workers, wire: Wire, database: str
):
    """Everybody says what is wrong; a page that is open waits, and shows the end of its run."""
    fleet.environ["AIGENFLOW_FLEET__DEAD_AFTER_SECONDS"] = "4"
    wire.script(defaults={"latency_s": 0.5})
    (name,) = submit(fleet, topics(1))
    first = workers.start("--quiet")
    run = f"/runs/{name}"
    with dashboard(fleet) as visitor, visitor.following(f"{run}/events") as told:
        wait_until(fleet, lambda seen: seen["sessions"][0]["phase"] == 2, 90)
        with server_away():
            asked = fleet("fleet", "status")
            assert (asked.returncode, "cannot be reached" in asked.stderr) == (2, True)
            _out, problem = first.communicate(timeout=20)
            assert first.returncode == 6
            assert "silent for so long" in problem
            assert "the database away" in problem
            next_one = fleet("worker", "--quiet")
            assert (next_one.returncode, "cannot be reached" in next_one.stderr) == (2, True)
            waiting = threading.Thread(target=visitor.get, args=(run,))
            waiting.start()
            assert not told().endswith(CLOSED)
        workers.running.remove(first)
        workers.start("--quiet")
        wait_until(fleet, all_are("completed"), 60)
        visitor.until(run, lambda reply: "13 of 13 answers" in reply.words)
        deadline = time.monotonic() + 20
        while not told().endswith(CLOSED):
            assert time.monotonic() < deadline
            time.sleep(0.1)
        assert "event: ended" in told()
        waiting.join(20)
        assert not waiting.is_alive()
    assert repeated(wire.bill()) <= lost_calls(database)[0]


def test_a_worker_outlives_an_outage_that_is_longer_than_its_patience(
    fleet: Program, wire: Wire, database: str
):
    """It goes on with its session, and no answer is lost; pages say that the database is away."""
    fleet.environ["AIGENFLOW_FLEET__DEAD_AFTER_SECONDS"] = "60"
    impatient = Impatient(fleet.folder, fleet.environ)
    wire.script(defaults={"latency_s": 0.5})
    (name,) = submit(fleet, topics(1))
    workers = Workers(impatient)
    worker = workers.start("--quiet")
    run = f"/runs/{name}"
    with dashboard(impatient) as visitor, visitor.following(f"{run}/events") as told:
        wait_until(fleet, lambda seen: seen["sessions"][0]["phase"] == 2, 90)
        with server_away():
            away = visitor.get(run)
            assert (away.status, "The database cannot be read" in away.words) == (503, True)
            deadline = time.monotonic() + 20
            while not told().endswith(CLOSED):  # then the page asks again by itself
                assert time.monotonic() < deadline
                time.sleep(0.1)
            assert "event: ended" not in told()
        wait_until(fleet, all_are("completed"), 60)
        assert "13 of 13 answers" in visitor.get(run).words
    assert worker.poll() is None
    workers.stop()
    assert repeated(wire.bill()) == 0
    [(billed,)] = ask(database, "SELECT COUNT(*) FROM usage WHERE billed_nano > 0")
    assert billed == len(wire.billed()), "what could not be settled is booked in the end"
    assert ask(database, "SELECT COUNT(*) FROM reservations") == [(0,)]
    assert ask(database, "SELECT COUNT(*) FROM fleet_slots WHERE worker <> ''") == [(0,)]


def test_a_budget_holds_for_all_workers_together(
    fleet: Program, workers: Workers, wire: Wire, database: str
):
    """Sessions stop before it is exceeded, and go on when it has been raised."""
    cap = Decimal("0.9")
    fleet.environ["AIGENFLOW_BUDGET__DAILY_USD"] = str(cap)
    submit(fleet, topics(4))
    for _ in range(2):
        workers.start("--quiet")
    wait_until(fleet, lambda seen: not {"waiting", "running"} & states(seen), 60)
    seen = status(fleet)
    assert "stopped" in states(seen)
    assert 0 < Decimal(seen["spent_usd"]) <= cap
    assert "budget" in next(s for s in seen["sessions"] if s["message"])["message"].lower()
    workers.stop()
    workers.running.clear()
    fleet.environ["AIGENFLOW_BUDGET__DAILY_USD"] = "50"
    for _ in range(2):
        workers.start("--quiet")
    assert fleet("fleet", "resume", "--all").returncode == 0
    wait_until(fleet, all_are("completed"), 60)
    assert repeated(wire.bill()) == 0


def test_the_status_lists_the_sessions_that_matter_and_counts_all(fleet: Program):
    """With --limit, no more than that many; the counts are of all."""
    submit(fleet, topics(5))
    seen = json.loads(fleet("fleet", "status", "--json", "--limit", "2").stdout)
    assert len(seen["sessions"]) == 2
    assert [each["sessions"] for each in seen["counts"]] == [5]


def test_a_session_that_stops_is_shown_and_goes_on_when_resumed(
    fleet: Program, workers: Workers, wire: Wire
):
    """A refused key stops a session with its reason; put right and resumed, it is finished."""
    wire.script(rules=[{"match": {"contains": "diabetes"}, "action": {"status": 401}}])
    names = submit(fleet, topics(1))
    workers.start("--quiet")
    seen = wait_until(fleet, all_are("stopped"), 60)
    assert seen["sessions"][0]["message"]
    wire.script()
    assert fleet("fleet", "resume", "--all").stdout.strip() == "Waiting again: 1"
    wait_until(fleet, all_are("completed"), 60)
    fetched = fleet("fleet", "fetch", names[0])
    folder = Path(fetched.stdout.strip())
    assert (fleet.folder / folder / "final").is_dir()
    again = fleet("fleet", "fetch", names[0])
    assert again.returncode == 0, again.stderr


def test_a_shared_folder_gets_each_finished_session(fleet: Program, workers: Workers):
    """With --shared-dir, finished sessions stand in a folder as one machine would leave them."""
    submit(fleet, topics(1))
    workers.start("--quiet", "--shared-dir", "shared")
    wait_until(fleet, all_are("completed"), 60)
    deadline = time.monotonic() + 10
    while not list((fleet.folder / "shared").glob("*/final/*.md")):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    listed = fleet("status", "--json", "--output-dir", "shared")
    assert [each["status"] for each in json.loads(listed.stdout)] == ["completed"]


def test_a_fleet_without_a_database_says_so(offline: Program):
    """The error names the option and the setting."""
    (offline.folder / "topics.txt").write_text("Meal kits for people with diabetes\n")
    done = offline("submit", "--topics", "topics.txt")
    assert done.returncode == 2
    assert "--database postgresql://" in done.stderr
    nowhere = offline("fleet", "status", "--database", "postgresql://nobody@127.0.0.1:9/none")
    assert nowhere.returncode == 2
    assert "cannot be reached" in nowhere.stderr
