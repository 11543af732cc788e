from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from aigenflow.testing.bill import BillLine
from tests.support.bill import ledger_rows, nano, price_of
from tests.support.forked import ForkedProgram
from tests.support.program import Program, Wire, through_one_sdk

TOPIC = "Subscription meal kits for people with diabetes"
TRIALS = int(os.environ.get("AIGENFLOW_TEST_CRASH_TRIALS", "1"))
BACKENDS = {
    "anthropic": "claude-sonnet-5-5",
    "openai": "gpt-6.1-sol",
    "gemini": "gemini-3.8-flash",
}


def at(backend: str, program: Program, wire: Wire) -> Program:
    """The role of Gemini at a provider with jobs, the others at a server without.

    So a run has one job, that of the task `charts`; what Gemini searches is live. No cache, and
    nobody waits for company.
    """
    program.environ.update(
        {
            **through_one_sdk(wire.url),
            "AIGENFLOW_AGENTS__GEMINI__BACKEND": backend,
            "AIGENFLOW_AGENTS__GEMINI__BASE_URL": wire.url,
            "AIGENFLOW_AGENTS__GEMINI__MODEL": BACKENDS[backend],
            "AIGENFLOW_FEATURES__CACHING_ENABLED": "false",
            "AIGENFLOW_BATCH__MAX_WAIT_SECONDS": "0.05",
        }
    )
    return program


@pytest.fixture
def offline(offline: Program) -> Program:
    """For many trials, a program that need not be loaded anew each time."""
    return offline if TRIALS == 1 else ForkedProgram(offline.folder, offline.environ)


@pytest.fixture(params=BACKENDS)
def at_provider(request: pytest.FixtureRequest, offline: Program, wire: Wire) -> Program:
    """At each provider with jobs."""
    return at(str(request.param), offline, wire)


@pytest.fixture
def at_openai(offline: Program, wire: Wire) -> Program:
    """At the provider whose SDK starts fastest."""
    return at("openai", offline, wire)


CREATES = ("/batches", ":batchGenerateContent")


def created(wire: Wire) -> int:
    """How many jobs providers were asked to make, whether or not they told."""
    return sum(
        one["method"] == "POST" and one["path"].partition("?")[0].endswith(CREATES)
        for one in wire.requests()
    )


def jobs(**action: Any) -> dict[str, Any]:
    """The script of a server whose jobs behave like this; without anything they end at once."""
    return {"jobs": [{"action": {"polls": 0, **action}}]}


def bought(wire: Wire) -> Counter[str]:
    """How often each question was billed."""
    return Counter(entry["body_sha256"] for entry in wire.billed())


def served(program: Program) -> dict[str, str]:
    """How each task's answer was bought."""
    return {task["task"]: task["served_from"] for task in program.metadata()["tasks"]}


def rewind_listing(program: Program) -> None:
    """As if it were another day: the provider's list of jobs can be trusted."""
    database = Path(program.environ["AIGENFLOW_HOME"]) / "jobs.db"
    with sqlite3.connect(database) as connection:
        connection.execute("UPDATE jobs SET created_us = created_us - 3600000000")
    connection.close()


def listed(program: Program, *arguments: str) -> list[dict[str, Any]]:
    found = program("batch", "list", "--json", *arguments)
    assert found.returncode == 0, found.stderr
    value: list[dict[str, Any]] = json.loads(found.stdout)
    return value


def wait_for(condition: Callable[[], object], process: subprocess.Popen[str]) -> None:
    for _ in range(4500):
        if condition():
            return
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    process.kill()  # it would go on buying from the server of the tests that follow
    process.communicate(timeout=20)
    raise AssertionError("it did not happen in time")


def rows(program: Program) -> list[tuple[Any, ...]]:
    database = Path(program.environ["AIGENFLOW_HOME"]) / "jobs.db"
    if not database.exists():
        return []
    connection = sqlite3.connect(database)
    try:
        return connection.execute("SELECT stage FROM jobs").fetchall()
    except sqlite3.OperationalError:  # its tables are being made
        return []
    finally:
        connection.close()


def test_an_answer_from_a_batch_job_costs_half(at_provider: Program, wire: Wire) -> None:
    """Through the whole program: on the server's bill, in the ledger, and in the document."""
    wire.script(**jobs())
    done = at_provider("run", "--topic", TOPIC, "--processing", "batch")
    assert done.returncode == 0, done.stderr
    ways = served(at_provider)
    assert {task for task, way in ways.items() if way == "batch"} == {"charts"}
    assert max(bought(wire).values()) == 1
    (entry,) = [entry for entry in wire.billed() if entry["tier"] == "batch"]
    home = Path(at_provider.environ["AIGENFLOW_HOME"])
    (row,) = [row for row in ledger_rows(home) if row["served_from"] == "batch"]
    line = BillLine(**entry)
    full = nano(price_of(replace(line, tier="default")))
    assert row["billed_nano"] == nano(price_of(line)) == full // 2
    assert row["avoided_nano"] == full - row["billed_nano"]
    assert listed(at_provider) == []
    assert "Ctrl-C is safe" in done.stderr


POINTS: dict[str, tuple[dict[str, Any], Callable[[Program, Wire], bool]]] = {
    "after the intent, before the answer to the create": (
        {"lost": True},
        lambda program, wire: ("intended",) in rows(program),
    ),
    "while the job runs": (
        {"seconds": 3600},
        lambda program, wire: ("submitted",) in rows(program),
    ),
    "while results cannot be had": (
        {"unavailable": 4},
        lambda program, wire: ("submitted",) in rows(program),
    ),
}


@pytest.mark.parametrize("trial", range(TRIALS))
@pytest.mark.parametrize("point", POINTS)
def test_killed_at_any_point_of_a_job_nothing_is_bought_twice(
    at_provider: Program, wire: Wire, point: str, trial: int
) -> None:
    """kill -9, another day, resume: the job is found again and not made twice, nor billed twice."""
    action, is_reached = POINTS[point]
    wire.script(jobs=[{"match": {"times": 1}, "action": {"polls": 0, **action}}, *jobs()["jobs"]])
    process = at_provider.start("run", "--topic", TOPIC, "--processing", "batch")
    wait_for(lambda: is_reached(at_provider, wire), process)
    time.sleep(0.05 * (trial % 20))
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=20)
    rewind_listing(at_provider)
    session = at_provider.session().name
    is_cancelled = point == "while the job runs"
    if is_cancelled:
        tag = listed(at_provider)[0]["job"]
        assert at_provider("batch", "cancel", tag).returncode == 0
    done = at_provider("resume", session)
    assert done.returncode == 0, done.stderr
    assert served(at_provider)["charts"] == ("live" if is_cancelled else "batch")
    assert created(wire) == 1
    bill = wire.billed()
    assert [line["tier"] for line in bill].count("batch") == (0 if is_cancelled else 1)
    live = Counter(line["body_sha256"] for line in bill if line["tier"] != "batch")
    under_way = 1  # the live question beside the job; its answer may die with the process
    assert live.total() - len(live) <= under_way
    reservations = json.loads(at_provider("budget", "reservations", "--json").stdout)
    assert [row for row in reservations if row.get("state") == "job"] == []


def test_ctrl_c_says_that_the_job_goes_on_and_how(at_openai: Program, wire: Wire) -> None:
    """130, the ways to go on, and a list that shows the job; `batch wait` needs no session."""
    wire.script(**jobs(seconds=3600))
    process = at_openai.start("run", "--topic", TOPIC, "--processing", "batch")
    wait_for(lambda: ("submitted",) in rows(at_openai), process)
    process.send_signal(signal.SIGINT)
    _out, errors = process.communicate(timeout=20)
    assert process.returncode == 130
    session = at_openai.session().name
    assert "aigenflow batch list" in errors
    assert f"aigenflow resume {session}" in errors
    (job,) = listed(at_openai)
    assert job["sessions"] == [session]
    assert job["state"] in ("waiting", "running")
    assert at_openai("batch", "cancel", job["job"]).returncode == 0
    waited = at_openai("batch", "wait", "--json")
    assert waited.returncode == 0, waited.stderr
    assert json.loads(waited.stdout)[0]["endings"] == {"not_run": 1}
    assert listed(at_openai) == []
    wire.script(**jobs())
    done = at_openai("resume", session)
    assert done.returncode == 0, done.stderr
    assert "buying the rest live" in done.stderr


def test_what_did_not_run_stops_the_run_where_that_was_chosen(
    at_openai: Program, wire: Wire
) -> None:
    """batch.unfinished fail: exit 5, nothing at the full price, and resuming tries again."""
    wire.script(**jobs(end="expired"))
    environ = {"AIGENFLOW_BATCH__UNFINISHED": "fail"}
    stopped = at_openai("run", "--topic", TOPIC, "--processing", "batch", env=environ)
    assert stopped.returncode == 5, stopped.stderr
    assert "batch" not in {entry["tier"] for entry in wire.billed()}
    wire.script(**jobs())
    done = at_openai("resume", at_openai.session().name, env=environ)
    assert done.returncode == 0, done.stderr
    assert served(at_openai)["charts"] == "batch"


def test_flex_is_half_the_price_and_falls_back_to_live(at_openai: Program, wire: Wire) -> None:
    """Searches too can be flex."""
    done = at_openai("run", "--topic", TOPIC, "--processing", "flex")
    assert done.returncode == 0, done.stderr
    ways = served(at_openai)
    assert {task for task, way in ways.items() if way == "flex"} == {"charts", "deep_search"}


REFUSALS: dict[str, dict[str, Any]] = {
    "full": {"fault": "no_capacity"},
    "not for this model": {
        "status": 400,
        "body": {"error": {"message": "Unsupported service_tier: flex", "code": 400}},
    },
}


@pytest.mark.parametrize("backend", ["openai", "gemini"])
@pytest.mark.parametrize("why", REFUSALS)
def test_where_flex_is_refused_the_answer_is_bought_live(
    offline: Program, wire: Wire, backend: str, why: str
) -> None:
    """At the full price, said once; the next task does not ask again, and no agent stands in."""
    program = at(backend, offline, wire)
    wire.script(rules=[{"match": {"tier": "flex"}, "action": REFUSALS[why]}])
    done = program("run", "--topic", TOPIC, "--processing", "flex")
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("refuses the flex rate") == 1
    tiers = [entry["tier"] for entry in wire.bill()]
    assert tiers.count("flex") == 1
    assert "flex" not in {entry["tier"] for entry in wire.billed()}
    assert max(bought(wire).values()) == 1
    assert set(served(program).values()) == {"live"}


@pytest.mark.parametrize("choice", ["batch", "auto"])
def test_stragglers_of_a_deadline_are_bought_live(
    at_openai: Program, wire: Wire, choice: str
) -> None:
    """When a job does not end in time it is stopped, and what it left is bought live, once."""
    wire.script(**jobs(seconds=3600))
    process = at_openai.start("run", "--topic", TOPIC, "--processing", choice, "--deadline", "24h")
    wait_for(lambda: ("submitted",) in rows(at_openai), process)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=20)
    session = at_openai.session().name
    done = at_openai("resume", session, "--processing", choice, "--deadline", "2m")
    assert done.returncode == 0, done.stderr
    assert served(at_openai)["charts"] == "live"
    assert max(bought(wire).values()) == 1
    (job,) = listed(at_openai, "--all")
    assert job["stage"] == "closed"
    assert job["endings"] == {"not_run": 1}
    assert job["cancel_asked"]


def test_a_job_is_used_while_batch_processing_is_off(at_openai: Program, wire: Wire) -> None:
    """What it brought is not bought again, and no new job is made; `batch` still works."""
    off = {"AIGENFLOW_FEATURES__BATCH_PROCESSING_ENABLED": "false"}
    wire.script(**jobs(unavailable=4))
    process = at_openai.start("run", "--topic", TOPIC, "--processing", "batch")
    wait_for(lambda: ("submitted",) in rows(at_openai), process)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=20)
    waited = at_openai("batch", "wait", env=off)
    assert waited.returncode == 0, waited.stderr
    done = at_openai("resume", at_openai.session().name, env=off)
    assert done.returncode == 0, done.stderr
    assert served(at_openai)["charts"] == "batch"
    assert max(bought(wire).values()) == 1
    wire.reset()
    wire.script(**jobs())
    fresh = at_openai("run", "--topic", "Repair cafes", "--processing", "batch", env=off)
    assert fresh.returncode == 0, fresh.stderr
    assert "batch" not in {entry["tier"] for entry in wire.billed()}


KEYS = {f"{name}_API_KEY": "good" for name in ("ANTHROPIC", "OPENAI", "GEMINI", "PERPLEXITY")}


def test_a_key_that_is_refused_while_a_job_is_open_buys_nothing_twice(
    at_provider: Program, wire: Wire
) -> None:
    """Exit 5 with the job's name and what to do; with the right key its answer is used."""
    at_provider.environ |= {**KEYS, "AIGENFLOW_AGENTS__GEMINI__API_KEY_ENV": "GEMINI_API_KEY"}
    wire.script(accepted_keys=["good"], **jobs(seconds=3600, done=1.0))
    process = at_provider.start("run", "--topic", TOPIC, "--processing", "batch")
    wait_for(lambda: ("submitted",) in rows(at_provider), process)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=20)
    (job,) = listed(at_provider)
    before, session = len(wire.billed()), at_provider.session().name
    refused = at_provider("resume", session, env={"GEMINI_API_KEY": "revoked"})
    assert refused.returncode == 5, refused.stderr
    assert "Traceback" not in refused.stderr
    assert job["job"] in refused.stderr
    assert f"aigenflow batch cancel {job['job']}" in refused.stderr
    assert "revoked" not in refused.stderr
    assert len(wire.billed()) == before
    assert at_provider("batch", "cancel", job["job"]).returncode == 0
    done = at_provider("resume", session)
    assert done.returncode == 0, done.stderr
    assert served(at_provider)["charts"] == "batch"
    assert max(bought(wire).values()) == 1


def test_nobody_stands_in_for_an_agent_that_cannot_be_reached_while_its_job_is_open(
    at_openai: Program, wire: Wire
) -> None:
    """Resumed without the key in another terminal: exit 5, and nothing is bought."""
    wire.script(**jobs(seconds=3600, done=1.0))
    process = at_openai.start("run", "--topic", TOPIC, "--processing", "batch")
    wait_for(lambda: ("submitted",) in rows(at_openai), process)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=20)
    (job,) = listed(at_openai)
    before = len(wire.billed())
    base_url = at_openai.environ.pop("AIGENFLOW_AGENTS__GEMINI__BASE_URL")
    refused = at_openai("resume", at_openai.session().name)
    assert refused.returncode == 5, refused.stderr
    assert job["job"] in refused.stderr
    assert len(wire.billed()) == before
    at_openai.environ["AIGENFLOW_AGENTS__GEMINI__BASE_URL"] = base_url
    assert at_openai("batch", "cancel", job["job"]).returncode == 0
    done = at_openai("resume", at_openai.session().name)
    assert done.returncode == 0, done.stderr
    assert max(bought(wire).values()) == 1


def two_in_one_job(program: Program, wire: Wire, **action: Any) -> list[str]:
    """Two sessions, killed when their questions are in one job; their names."""
    (program.folder / "topics.txt").write_text("Repair cafes\nTool libraries\n")
    program.environ["AIGENFLOW_BATCH__MAX_WAIT_SECONDS"] = "2"
    wire.script(**jobs(**action))
    process = program.start("run", "--topics", "topics.txt", "--processing", "batch")
    wait_for(lambda: ("submitted",) in rows(program), process)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=20)
    (job,) = listed(program)
    assert job["items"] == 2
    names: list[str] = job["sessions"]
    return names


def sent(wire: Wire, method: str, within: str) -> int:
    """How often such a request arrived."""
    return sum(one["method"] == method and within in one["path"] for one in wire.requests())


def test_a_session_that_is_in_a_hurry_does_not_stop_the_job_of_another(
    at_openai: Program, wire: Wire
) -> None:
    """Resumed live while another waits for the job, it waits as well, and both get their answer."""
    patient, hasty = two_in_one_job(at_openai, wire, seconds=12)
    looks = sent(wire, "GET", "/batches/")
    waiting = at_openai.start("resume", patient)
    wait_for(lambda: sent(wire, "GET", "/batches/") > looks, waiting)
    hurried = at_openai("resume", hasty, "--processing", "live")
    assert hurried.returncode == 0, hurried.stderr
    assert "to pay twice" in hurried.stderr
    _out, errors = waiting.communicate(timeout=60)
    assert waiting.returncode == 0, errors
    assert sent(wire, "POST", "/cancel") == 0
    (job,) = listed(at_openai, "--all")
    assert job["endings"] == {"result": 2}
    assert max(bought(wire).values()) == 1


def test_a_session_that_is_alone_and_in_a_hurry_stops_the_job(
    at_openai: Program, wire: Wire
) -> None:
    """Nobody else is running: what the other session loses is said."""
    other, hasty = two_in_one_job(at_openai, wire, seconds=3600)
    hurried = at_openai("resume", hasty, "--processing", "live")
    assert hurried.returncode == 0, hurried.stderr
    assert f"was also for {other}" in hurried.stderr
    assert sent(wire, "POST", "/cancel") == 1
    assert max(bought(wire).values()) == 1


LEFT = {"anthropic": (1, 0), "openai": (2, 0), "gemini": (2, 1)}
"""How many things are deleted, and how many the provider does not delete (but loses by itself)."""


def test_what_a_job_left_at_its_provider_is_deleted(at_provider: Program, wire: Wire) -> None:
    """Requests and answers hold the user's text; they are deleted when they are kept here."""
    wire.script(**jobs())
    done = at_provider("run", "--topic", TOPIC, "--processing", "batch")
    assert done.returncode == 0, done.stderr
    assert "could not be deleted" not in done.stderr
    deleted, _left = LEFT[at_provider.environ["AIGENFLOW_AGENTS__GEMINI__BACKEND"]]
    log = [one["method"] for one in wire.requests()]
    assert log.count("DELETE") == deleted


def test_what_cannot_be_deleted_is_a_notice(at_provider: Program, wire: Wire) -> None:
    """The document is written, and everything is paid for once."""
    wire.script(**jobs(delete_status=500))
    done = at_provider("run", "--topic", TOPIC, "--processing", "batch")
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("could not be deleted") == 1
    assert served(at_provider)["charts"] == "batch"
    assert listed(at_provider) == []


@pytest.mark.parametrize("was_on", [True, False])
def test_a_job_is_settled_by_a_run_that_keeps_its_books_otherwise(
    at_openai: Program, wire: Wire, was_on: bool
) -> None:
    """Money that was set aside is settled without monitoring; money that was not, with it."""
    off = {"AIGENFLOW_FEATURES__MONITORING_ENABLED": "false"}
    wire.script(**jobs(unavailable=4))
    process = at_openai.start(
        "run", "--topic", TOPIC, "--processing", "batch", env={} if was_on else off
    )
    wait_for(lambda: ("submitted",) in rows(at_openai), process)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=20)
    done = at_openai("resume", at_openai.session().name, env=off if was_on else {})
    assert done.returncode == 0, done.stderr
    assert served(at_openai)["charts"] == "batch"
    (entry,) = [entry for entry in wire.billed() if entry["tier"] == "batch"]
    home = Path(at_openai.environ["AIGENFLOW_HOME"])
    (row,) = [row for row in ledger_rows(home) if row["served_from"] == "batch"]
    assert row["billed_nano"] == nano(price_of(BillLine(**entry)))
    reservations = json.loads(at_openai("budget", "reservations", "--json").stdout)
    assert [row for row in reservations if row.get("state") == "job"] == []


DYING = """
import os, signal
from aigenflow.agents import job_books
from aigenflow.batch import job_store
from aigenflow.gateway import jobs as job_gateway

def dying(*_arguments, **_named):
    os.kill(os.getpid(), signal.SIGKILL)

{owner}.{method} = dying
"""


def run_until(script: str, program: Program, *arguments: str) -> int:
    """Run the program with what ``script`` does to it; how it ended."""
    if isinstance(program, ForkedProgram):
        return program.cut(lambda: exec(script, {}), *arguments).returncode
    return subprocess.run(
        [sys.executable, "-c", f"{script}\nfrom aigenflow.main import main\nmain()", *arguments],
        cwd=program.folder,
        env=program.environ,
        capture_output=True,
        timeout=60,
    ).returncode


@pytest.mark.parametrize("trial", range(TRIALS))
@pytest.mark.parametrize(
    ("owner", "method"),
    [
        ("job_store.JobStore", "record"),
        ("job_books.MeteredJobs", "settle"),
        ("job_store.JobStore", "settled"),
        ("job_gateway.ResilientJobs", "delete"),
        ("job_store.JobStore", "closed"),
        ("job_store.JobStore", "take"),
    ],
    ids="{0}".format,
)
def test_killed_while_collecting_and_settling_the_books_are_right(
    at_openai: Program, wire: Wire, owner: str, method: str, trial: int
) -> None:
    """kill -9 between any two writes: the answer is bought once, and is in the ledger once."""
    wire.script(**jobs())
    arguments = ("run", "--topic", TOPIC, "--processing", "batch")
    script = DYING.format(owner=owner, method=method)
    assert run_until(script, at_openai, *arguments) == -signal.SIGKILL
    done = at_openai("resume", at_openai.session().name)
    assert done.returncode == 0, done.stderr
    assert served(at_openai)["charts"] == "batch"
    assert max(bought(wire).values()) == 1
    (entry,) = [entry for entry in wire.billed() if entry["tier"] == "batch"]
    home = Path(at_openai.environ["AIGENFLOW_HOME"])
    (row,) = [row for row in ledger_rows(home) if row["served_from"] == "batch"]
    assert row["billed_nano"] == nano(price_of(BillLine(**entry)))
    reservations = json.loads(at_openai("budget", "reservations", "--json").stdout)
    assert [row for row in reservations if row.get("state") == "job"] == []


def test_a_session_goes_on_as_it_was_begun(at_openai: Program, wire: Wire) -> None:
    """Its way of buying stands in its state; resume can choose another."""
    wire.script(**jobs(end="failed"))
    environ = {"AIGENFLOW_BATCH__UNFINISHED": "fail"}
    at_openai("run", "--topic", TOPIC, "--processing", "batch", env=environ)
    state = json.loads((at_openai.session() / "pipeline_state.json").read_text())
    assert state["spec"]["processing"] == "batch"
    done = at_openai("resume", at_openai.session().name, "--processing", "live", env=environ)
    assert done.returncode == 0, done.stderr
    assert set(served(at_openai).values()) == {"live"}


def test_the_plan_shows_what_is_chosen(offline: Program, wire: Wire) -> None:
    """Per task and in all; without a deadline auto is live."""
    environ = {"OPENAI_API_KEY": "k", "ANTHROPIC_API_KEY": "k", "GEMINI_API_KEY": "k"}
    plan = offline("plan", "--topic", TOPIC, "--processing", "batch", "--json", env=environ)
    value = json.loads(plan.stdout)
    ways = {task["task"]: task["processing"] for task in value["tasks"]}
    assert ways["draft"] == "batch"
    assert ways["deep_search"] == "live"
    by_mode = {total["mode"]: total["expected"] for total in value["totals"]}
    assert value["chosen"]["expected"] == by_mode["batch"]
    plan = offline("plan", "--topic", TOPIC, "--deadline", "24h", env=environ)
    assert "As chosen (auto)" in plan.stdout
    plan = offline("plan", "--topic", TOPIC, "--processing", "auto", env=environ)
    assert "Without a deadline, auto buys everything live." in plan.stdout


@pytest.mark.parametrize(
    "arguments",
    [
        ("run", "--topic", TOPIC, "--deadline", "soon"),
        ("batch", "cancel", "nothing"),
        ("batch", "status", "nothing"),
        ("batch", "wait", "nothing"),
    ],
)
def test_wrong_use_is_said_and_nothing_begun(offline: Program, arguments: tuple[str, ...]) -> None:
    """Exit 2, one sentence, no traceback."""
    refused = offline(*arguments)
    assert refused.returncode == 2, refused.stderr
    assert "Error: " in refused.stderr
    assert "Traceback" not in refused.stderr


def test_a_budget_without_room_hands_in_no_job(at_openai: Program, wire: Wire) -> None:
    """The worst case of every item is set aside first: where it does not fit, none is bought."""
    wire.script(**jobs())
    at_openai.environ["AIGENFLOW_BUDGET__PHASE_USD"] = '{"4": "0.0001"}'
    done = at_openai("run", "--topic", TOPIC, "--processing", "batch")
    assert done.returncode == 3, done.stderr
    assert [line for line in wire.billed() if line["tier"] == "batch"] == []
    assert json.loads(at_openai("batch", "list", "--all", "--json").stdout) == []
