"""What a provider's faults lead to: how often it is asked, how long it is waited for, who stops."""

from __future__ import annotations

import json
from datetime import datetime

import pytest

from tests.support.program import Program, Wire, through_one_sdk


@pytest.fixture
def alone(offline: Program, wire: Wire) -> Program:
    """The program with one agent that can be reached: nobody stands in for it."""
    offline.environ.update(
        (name, value)
        for name, value in through_one_sdk(wire.url).items()
        if name.startswith("AIGENFLOW_AGENTS__CLAUDE__")
    )
    return offline


def topics(program: Program, count: int) -> str:
    """A file with so many topics, by its name."""
    lines = [f"Repair cafes for bicycles, no. {number}" for number in range(count)]
    (program.folder / "topics.txt").write_text("\n".join(lines))
    return "topics.txt"


@pytest.mark.parametrize(
    ("status", "attempts"), [(400, 1), (401, 1), (404, 1), (408, 3), (429, 3), (500, 3), (529, 3)]
)
def test_only_what_may_pass_is_asked_for_again(
    alone: Program, wire: Wire, status: int, attempts: int
) -> None:
    """Three attempts in all for a fault that may pass, one for a request that is turned down."""
    wire.script(rules=[{"action": {"status": status}}])
    done = alone("ask", "Hello there")
    assert done.returncode == 4, done.stderr
    assert str(status) in done.stderr
    assert len(wire.bill()) == attempts


def test_after_a_fault_that_passes_the_same_agent_answers(quick: Program, wire: Wire) -> None:
    """The second attempt is the answer; no fallback, and nothing is paid twice."""
    wire.script(rules=[{"match": {"nth": 1}, "action": {"status": 503}}])
    done = quick("ask", "Hello there", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["agent"] == "claude"
    assert [entry["billed"] for entry in wire.bill()] == [False, True]


def test_a_pause_that_is_asked_for_is_kept(alone: Program, wire: Wire) -> None:
    """The next request comes no sooner than the provider said."""
    wire.script(
        rules=[{"match": {"nth": 1}, "action": {"status": 429, "headers": {"retry-after": "1"}}}]
    )
    assert alone("ask", "Hello there").returncode == 0
    first, second = (datetime.fromisoformat(entry["at"]) for entry in wire.bill())
    assert (second - first).total_seconds() >= 1


@pytest.mark.parametrize("status", [429, 503])
def test_a_pause_that_is_too_long_is_not_waited_for(
    alone: Program, wire: Wire, status: int
) -> None:
    """One request, and the user hears how long the pause is."""
    wire.script(rules=[{"action": {"status": status, "headers": {"retry-after": "121"}}}])
    done = alone("ask", "Hello there")
    assert done.returncode == 4
    assert "121 s" in done.stderr
    assert len(wire.bill()) == 1


def test_a_model_that_keeps_failing_is_left_alone(alone: Program, wire: Wire) -> None:
    """After five failures in a row nobody asks it any more, whichever document it is for."""
    wire.script(rules=[{"action": {"status": 503}}])
    one_by_one = {"AIGENFLOW_AGENTS__CLAUDE__CONCURRENCY": "1"}
    done = alone("run", "--topics", topics(alone, 6), env=one_by_one)
    assert done.returncode == 5
    assert "failed too often" in done.stderr
    assert len(wire.bill()) == 5


def test_retries_of_many_documents_are_bounded_together(alone: Program, wire: Wire) -> None:
    """A provider that turns everybody away gets twenty retries in all, not two for each."""
    wire.script(rules=[{"action": {"status": 429}}])
    assert alone("run", "--topics", topics(alone, 15)).returncode == 5
    assert len(wire.bill()) == 15 + 20


@pytest.mark.parametrize(
    ("limit", "action"),
    [
        ("FIRST_EVENT", {"latency_s": 60}),
        ("IDLE", {"fault": "stall_s:60"}),
        ("TOTAL", {"fault": "ping_only"}),
    ],
)
def test_a_silent_provider_is_given_up(
    alone: Program, wire: Wire, limit: str, action: dict[str, object]
) -> None:
    """Before the first event, between two, and in all; and then asked again."""
    wire.script(rules=[{"match": {"nth": 1}, "action": action}])
    done = alone("ask", "Hello there", env={f"AIGENFLOW_TIMEOUTS__{limit}_SECONDS": "0.5"})
    assert done.returncode == 0, done.stderr
    assert len(wire.requests()) == 2


def test_a_refusal_goes_to_nobody_else_unless_the_user_says_so(quick: Program, wire: Wire) -> None:
    """It is asked once; with leave, the fallback agent is asked once too."""
    wire.script(rules=[{"match": {"model": "model-of-claude"}, "action": {"finish": "refusal"}}])
    assert quick("ask", "Hello there").returncode == 4
    assert len(wire.bill()) == 1
    done = quick("ask", "Hello there", "--json", env={"AIGENFLOW_RETRY__SWITCH_ON_REFUSAL": "true"})
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["agent"] == "chatgpt"
    assert len(wire.bill()) == 3
