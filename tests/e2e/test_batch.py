from __future__ import annotations

import json
import signal
import time

import pytest

from tests.support.program import Program, Wire

TOPICS = ("Subscription meal kits", "Repair cafes for bicycles", "Cargo bikes for florists")
SLOW = {"latency_s": 60}


def topics_file(program: Program, text: str, name: str = "topics.txt") -> str:
    (program.folder / name).write_text(text)
    return name


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("topics.txt", "# ours\n" + "\n\n".join(TOPICS) + "\n"),
        ("topics.csv", "topic,lang\n" + "".join(f"{topic},en\n" for topic in TOPICS)),
        ("topics.yaml", f"- {TOPICS[0]}\n- topic: {TOPICS[1]}\n  lang: en\n- {TOPICS[2]}\n"),
    ],
)
def test_many_topics_are_written_side_by_side(
    quick: Program, wire: Wire, name: str, text: str
) -> None:
    """Lines, CSV or YAML: one document each, and requests of different documents under way
    together."""
    wire.script(defaults={"latency_s": 0.1})
    done = quick("run", "--topics", topics_file(quick, text, name))
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("Document: ") == 3
    assert len(wire.billed()) == 39
    first_tasks = [json.dumps(r["body"]) for r in wire.requests()[:3]]
    assert all(any(topic in body for body in first_tasks) for topic in TOPICS)


def test_the_same_question_under_way_twice_is_bought_once(quick: Program, wire: Wire) -> None:
    """Without any cache, the queue still sends identical requests only once."""
    wire.script(defaults={"latency_s": 0.2})
    file = topics_file(quick, f"{TOPICS[0]}\n{TOPICS[0]}\n")
    assert quick("run", "--topics", file, "--no-cache").returncode == 0
    assert len(wire.billed()) == 13
    wire.reset()
    wire.script(defaults={"latency_s": 0.2})
    off = {"AIGENFLOW_FEATURES__BATCH_PROCESSING_ENABLED": "false"}
    assert quick("run", "--topics", file, "--no-cache", env=off).returncode == 0
    assert len(wire.billed()) == 26


def test_nobody_waits_for_company_that_will_not_come(quick: Program, wire: Wire) -> None:
    """With a wait of ten minutes a run takes no longer: each wave says how many will ask."""
    patient = {"AIGENFLOW_BATCH__MAX_WAIT_SECONDS": "600"}
    assert quick("run", "--topic", TOPICS[0], env=patient, timeout=60).returncode == 0
    assert quick("ask", "Hello there", env=patient, timeout=60).returncode == 0
    again = quick("run", "--topic", TOPICS[0], env=patient, timeout=60)
    assert again.returncode == 0
    assert len(wire.billed()) == 14, "hits are not waited for either"


def test_without_the_queue_the_document_is_the_same(quick: Program) -> None:
    """`config set batch_processing_enabled false` takes effect at once and changes no text."""
    assert quick("run", "--topic", TOPICS[0], "--no-cache").returncode == 0
    before = quick.document()
    assert quick("config", "set", "batch_processing_enabled", "false").returncode == 0
    assert quick("run", "--topic", TOPICS[0], "--no-cache").returncode == 0
    assert quick.document() == before


def test_one_topic_that_stops_does_not_disturb_the_others(quick: Program, wire: Wire) -> None:
    """Its error is told with how to resume it; the other documents are there."""
    wire.script(rules=[{"match": {"contains": "bicycles"}, "action": {"status": 400}}])
    done = quick("run", "--topics", topics_file(quick, "\n".join(TOPICS)))
    assert done.returncode == 5
    assert done.stdout.count("Document: ") == 2
    assert "Repair cafes for bicycles" in done.stderr
    assert "aigenflow resume" in done.stderr
    wire.script()
    stopped = json.loads(quick("status", "--json").stdout)
    (session,) = [row["session"] for row in stopped if row["status"] == "stopped"]
    assert quick("resume", session).returncode == 0


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("topics.txt", "# nothing\n", "no topics"),
        ("topics.txt", f"{TOPICS[0]}\nabc\n", "Entry 2"),
        ("topics.csv", "subject\nx\n", "Entry 1"),
        ("topics.yaml", f"- topic: {TOPICS[0]}\n  type: novel\n", "Entry 1"),
        ("topics.csv", f"topic,template\n{TOPICS[0]},\n{TOPICS[1]},starup\n", "Entry 2"),
        ("topics.csv", f"topic,type,template\n{TOPICS[0]},rd,startup\n", "--type bizplan"),
        ("topics.csv", f"topic\n{'x' * 140_000}\n", "field larger than"),
    ],
)
def test_a_topics_file_with_a_mistake_starts_nothing(
    quick: Program, wire: Wire, name: str, text: str, message: str
) -> None:
    """The entry is named before anything is made or bought."""
    done = quick("run", "--topics", topics_file(quick, text, name))
    assert done.returncode == 2
    assert message in done.stderr
    assert not (quick.folder / "output").exists()
    assert wire.bill() == []


@pytest.mark.parametrize("option", [("--from-phase", "2"), ("--session", "x")])
def test_many_topics_do_not_go_on_from_one_session(
    offline: Program, option: tuple[str, str]
) -> None:
    """Told before anything is made."""
    done = offline("run", "--topics", topics_file(offline, TOPICS[0]), *option)
    assert done.returncode == 2
    assert "not with --topics" in done.stderr
    assert not (offline.folder / "output").exists()


def test_ctrl_c_stops_every_document_and_says_how_to_go_on(quick: Program, wire: Wire) -> None:
    """Each session is left resumable and free for others, and nothing finished is bought again."""
    wire.script(
        rules=[{"match": {"contains": topic, "nth": 2}, "action": SLOW} for topic in TOPICS]
    )
    process = quick.start("run", "--topics", topics_file(quick, "\n".join(TOPICS)), "--no-cache")
    try:
        while len(wire.requests()) < 2 * len(TOPICS):
            assert process.poll() is None, process.communicate()
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        _out, errors = process.communicate(timeout=20)
    finally:
        process.kill()
    assert process.returncode == 130, errors
    assert "Traceback" not in errors
    paid = len(wire.billed())
    sessions = [entry["session"] for entry in json.loads(quick("status", "--json").stdout)]
    assert len(sessions) == len(TOPICS)
    wire.script()
    for session in sessions:
        assert f"aigenflow resume {session}" in errors
        done = quick("resume", session, "--no-cache")
        assert done.returncode == 0, done.stderr
    assert len(wire.billed()) - paid == (13 - 1) * len(TOPICS)
