from __future__ import annotations

import json
import signal
import subprocess
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.support.program import Program, Wire

TOPIC = "Subscription meal kits for people with diabetes"


@pytest.fixture
def quick(quick: Program) -> Program:
    """Without the response cache: only the journal keeps answers from being bought again."""
    quick.environ["AIGENFLOW_FEATURES__CACHING_ENABLED"] = "false"
    return quick


def wait_for(condition: object, process: subprocess.Popen[str], seconds: float = 30) -> None:
    assert callable(condition)
    for _ in range(int(seconds / 0.02)):
        if condition():
            return
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    raise AssertionError("it did not happen in time")


def stop(process: subprocess.Popen[str], number: int) -> tuple[str, str]:
    process.send_signal(number)
    return process.communicate(timeout=20)


def uninterrupted(quick: Program, wire: Wire) -> str:
    assert quick("run", "--topic", TOPIC).returncode == 0
    document = quick.document()
    wire.reset()
    for path in (quick.folder / "output").iterdir():
        if path.is_dir():
            path.rename(quick.folder / f"kept-{path.name}")
    return document


@pytest.mark.parametrize("call", range(1, 14))
def test_killed_in_the_middle_of_any_call_resume_ends_with_the_same_document(
    quick: Program, wire: Wire, call: int
) -> None:
    """kill -9 while call n is under way: nothing finished is bought again."""
    expected = uninterrupted(quick, wire)
    wire.script(rules=[{"match": {"nth": call}, "action": {"latency_s": 60}}])
    process = quick.start("run", "--topic", TOPIC)
    wait_for(lambda: len(wire.requests()) >= call, process)
    parallel = call in (3, 4, 6, 7, 8, 9)
    if parallel:  # the other call of the wave may still be on its way
        time.sleep(0.5)
    stop(process, signal.SIGKILL)
    before = Counter(entry["body_sha256"] for entry in wire.billed())
    wire.script()
    session = quick.session().name
    done = quick("resume", session)
    assert done.returncode == 0, done.stderr
    assert quick.document() == expected
    counts = Counter(entry["body_sha256"] for entry in wire.billed())
    finished = {
        record["response"]["raw"] and task
        for file in quick.session().glob("phase*/results.json")
        for task, record in json.loads(file.read_text())["results"].items()
    }
    assert len(finished) == 13
    assert len(counts) == 13
    repeated = sum(counts.values()) - 13
    assert repeated <= (1 if parallel else 0), before


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 143)]
)
def test_a_signal_stops_cleanly_and_says_how_to_go_on(
    quick: Program, wire: Wire, number: int, code: int
) -> None:
    """The process ends at once, releases the session, and the next run finishes it."""
    wire.script(rules=[{"match": {"nth": 3}, "action": {"latency_s": 60}}])
    process = quick.start("run", "--topic", TOPIC)
    wait_for(lambda: len(wire.requests()) >= 3, process)
    _out, errors = stop(process, number)
    assert process.returncode == code
    session = quick.session().name
    assert f"aigenflow resume {session}" in errors
    assert "Traceback" not in errors
    assert json.loads(quick("status", session, "--json").stdout)["status"] == "interrupted"
    wire.script()
    assert quick("resume", session).returncode == 0


def test_resuming_a_finished_session_buys_nothing(quick: Program, wire: Wire) -> None:
    """The same document again, without a single call."""
    quick("run", "--topic", TOPIC)
    wire.reset()
    done = quick("resume", quick.session().name)
    assert done.returncode == 0
    assert "already done" in done.stderr
    assert wire.bill() == []


def test_a_result_edited_by_hand_counts_and_what_follows_is_redone(
    quick: Program, wire: Wire
) -> None:
    """An edit in phase 4 keeps phases 1 to 3, and the review hears the new text."""
    quick("run", "--topic", TOPIC)
    wire.reset()
    (quick.session() / "phase4" / "charts.md").write_text("My own table, edited.")
    done = quick("resume", quick.session().name)
    assert done.returncode == 0, done.stderr
    assert "was edited" in done.stderr
    assert len(wire.billed()) == 3
    assert all("My own table, edited." in json.dumps(r["body"]) for r in wire.requests())
    edited = {task["task"]: task["edited_by_hand"] for task in quick.metadata()["tasks"]}
    assert edited["charts"]
    assert not edited["draft"]


def test_a_changed_template_redoes_what_it_asks_and_what_heard_it(
    quick: Program, wire: Wire, tmp_path: Path
) -> None:
    """The user's phase-5 prompt re-buys that task and the polish; all else is kept and named."""
    quick("run", "--topic", TOPIC)
    wire.reset()
    prompts = tmp_path / "home" / "templates" / "prompts" / "bizplan"
    prompts.mkdir(parents=True)
    (prompts / "final_review.en.md.j2").write_text(
        "{% extends '_base.en.md.j2' %}{% block prompt %}Be strict about {{ topic }}.{% endblock %}"
    )
    done = quick("resume", quick.session().name)
    assert done.returncode == 0, done.stderr
    assert "phase5.final_review is asked again" in done.stderr
    assert len(wire.billed()) == 2


def test_from_phase_branches_off_an_earlier_session(quick: Program, wire: Wire) -> None:
    """Phases before it are taken over, the rest is asked; the earlier session stays."""
    quick("run", "--topic", TOPIC)
    first = quick.session().name
    before = {path: path.read_bytes() for path in quick.session().rglob("*.md")}
    wire.reset()
    time.sleep(1.1)  # ids sort by second
    wire.script(rules=[{"match": {"nth": 1}, "action": {"text": "Another draft."}}])
    done = quick("run", "--topic", TOPIC, "--from-phase", "4")
    assert done.returncode == 0, done.stderr
    assert len(wire.billed()) == 6
    assert quick.metadata()["parent"] == first
    assert all(path.read_bytes() == content for path, content in before.items())


def test_from_phase_without_an_earlier_session_is_a_clear_error(quick: Program) -> None:
    """There is nothing to start from."""
    done = quick("run", "--topic", TOPIC, "--from-phase", "3")
    assert done.returncode == 2
    assert "No earlier session" in done.stderr


def test_a_branch_keeps_the_brief_and_refuses_another_document(quick: Program, wire: Wire) -> None:
    """Not naming the brief again buys nothing anew; a parent on something else is refused."""
    (quick.folder / "brief.yaml").write_text("price: 10 dollars\n")
    assert quick("run", "--topic", TOPIC, "--brief", "brief.yaml").returncode == 0
    wire.reset()
    assert quick("run", "--topic", TOPIC, "--from-phase", "5").returncode == 0
    assert len(wire.billed()) == 3
    assert all("10 dollars" in json.dumps(request["body"]) for request in wire.requests())
    parent = quick.session().name
    other = quick("run", "--topic", "Another topic", "--from-phase", "5", "--session", parent)
    assert other.returncode == 2
    assert "another topic" in other.stderr


def test_two_resumes_at_once_do_not_work_on_the_same_session(quick: Program, wire: Wire) -> None:
    """The second is told who has it."""
    wire.script(rules=[{"match": {"nth": 1}, "action": {"latency_s": 60}}])
    process = quick.start("run", "--topic", TOPIC)
    wait_for(lambda: len(wire.requests()) >= 1, process)
    second = quick("resume", quick.session().name)
    assert second.returncode == 6
    assert f"pid {process.pid}" in second.stderr
    stop(process, signal.SIGKILL)


def test_one_research_agent_down_is_covered_by_the_other(quick: Program, wire: Wire) -> None:
    """The fallback takes over, and the metadata says who answered and why."""
    wire.script(rules=[{"match": {"model": "model-of-perplexity"}, "action": {"status": 503}}])
    done = quick("run", "--topic", TOPIC)
    assert done.returncode == 0, done.stderr
    assert "perplexity is down; gemini takes over fact_check" in done.stderr
    tasks = {task["task"]: task for task in quick.metadata()["tasks"]}
    assert tasks["fact_check"]["played_by"] == "gemini"
    assert tasks["fact_check"]["fell_back_because"]
    assert tasks["deep_search"]["fell_back_because"] is None


def test_both_research_agents_down_stops_the_run_resumable(quick: Program, wire: Wire) -> None:
    """It says why, keeps phase 1, and the resumed run buys only the rest."""
    down = [
        {"match": {"model": f"model-of-{p}"}, "action": {"status": 503}}
        for p in ("perplexity", "gemini")
    ]
    wire.script(rules=down)
    done = quick("run", "--topic", TOPIC)
    assert done.returncode == 5
    assert "Phase 2 (research) could not be finished" in done.stderr
    session = quick.session().name
    assert f"aigenflow resume {session}" in done.stderr
    assert json.loads(quick("status", session, "--json").stdout)["completed_phases"] == [1]
    wire.reset()
    assert quick("resume", session).returncode == 0
    assert len(wire.billed()) == 11


def test_when_one_of_two_parallel_tasks_fails_the_other_is_kept(quick: Program, wire: Wire) -> None:
    """Perplexity's answer is paid once, although Gemini and its fallback for that task failed."""
    wire.script(
        rules=[
            {"match": {"model": "model-of-gemini"}, "action": {"status": 503}},
            {"match": {"model": "model-of-perplexity", "nth": 2}, "action": {"status": 400}},
        ]
    )
    done = quick("run", "--topic", TOPIC)
    assert done.returncode == 5
    kept = json.loads((quick.session() / "phase2" / "results.json").read_text())["results"]
    assert len(kept) == 1
    wire.reset()
    assert quick("resume", quick.session().name).returncode == 0
    assert len(wire.billed()) == 10


def test_the_session_is_private(quick: Program) -> None:
    """Plans are confidential: nobody else on the machine can read them, whatever the umask."""
    quick("run", "--topic", TOPIC)
    for path in quick.session().rglob("*"):
        if path.suffix in (".json", ".md") or path.is_dir():
            assert path.stat().st_mode & 0o077 == 0, path
    assert (quick.folder / "output" / ".gitignore").read_text() == "*\n"
    assert [path.name for path in quick.folder.iterdir()] == ["output"]


def test_a_long_pause_asked_for_by_the_providers_ends_resumable(quick: Program, wire: Wire) -> None:
    """Nobody sits through an hour: the run says how long, stops, and costs no second request."""
    wire.script(
        rules=[
            {
                "match": {"model": f"model-of-{name}"},
                "action": {"status": 429, "headers": {"retry-after": "3600"}},
            }
            for name in ("chatgpt", "claude")
        ]
    )
    done = quick("run", "--topic", TOPIC, "--json")
    assert done.returncode == 5
    told = json.loads(done.stdout)
    assert told["error"] == "PauseRequestedError"
    assert "3600 s" in told["hint"]
    assert len(wire.bill()) == 2
    wire.script()
    assert quick("resume", quick.session().name).returncode == 0
