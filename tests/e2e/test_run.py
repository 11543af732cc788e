from __future__ import annotations

import json
import re
from datetime import datetime

import pytest

from tests.support.program import Program, Wire

TOPICS = {
    "en": "Subscription meal kits for people with diabetes",
    "ko": "당뇨 환자를 위한 식단 구독",
}
TASKS = (
    *("brainstorm", "validate", "deep_search", "fact_check", "swot_analysis", "narrative"),
    "financial_model",
    *("draft", "charts", "executive_summary", "verify", "final_review", "polish"),
)


def answers_by_task(program: Program) -> dict[str, str]:
    """The mark that the server put into each task's answer."""
    marks = {}
    for file in program.session().glob("phase*/*.md"):
        found = re.search(r"Answer ([0-9a-f]{8})", file.read_text())
        assert found, file
        marks[file.stem] = found[1]
    return marks


@pytest.mark.parametrize("document_type", ["bizplan", "rd"])
@pytest.mark.parametrize("language", ["en", "ko"])
def test_a_run_asks_every_agent_and_leaves_a_document(
    program: Program, wire: Wire, document_type: str, language: str
) -> None:
    """Thirteen questions through four SDKs; each hears all earlier answers; one document."""
    done = program("run", "--topic", TOPICS[language], "--type", document_type)
    assert done.returncode == 0, done.stderr
    bill = wire.billed()
    assert len(bill) == 13
    assert {entry["provider"] for entry in bill} == {"anthropic", "openai", "gemini", "perplexity"}

    marks = answers_by_task(program)
    assert set(marks) == set(TASKS)
    by_mark = {
        entry["body_sha256"][:8]: json.dumps(request["body"], ensure_ascii=False)
        for entry, request in zip(wire.bill(), wire.requests(), strict=True)
    }
    heard = {task: by_mark[mark] for task, mark in marks.items()}
    assert all(marks["brainstorm"] in heard[task] for task in TASKS[1:])
    assert all(marks["fact_check"] in heard[task] for task in TASKS[4:]), "research is heard"
    assert all(marks["draft"] in heard[task] for task in TASKS[9:]), "review saw the draft"
    assert marks["verify"] in heard["polish"]
    assert marks["final_review"] in heard["polish"]
    assert all(TOPICS[language] in body for body in heard.values())
    assert marks["polish"] in program.document()

    metadata = program.metadata()
    assert metadata["language"] == language
    assert metadata["document_type"] == document_type
    assert metadata["ai_written"] is True
    assert [task["task"] for task in metadata["tasks"]] == list(TASKS)
    assert "final" in done.stdout


def test_both_researchers_work_at_the_same_time(program: Program, wire: Wire) -> None:
    """The second question of phase 2 arrives while the first is still being answered."""
    wait_s = 2
    wire.script(rules=[{"match": {"provider": "gemini"}, "action": {"latency_s": wait_s}}])
    assert program("run", "--topic", TOPICS["en"]).returncode == 0
    arrivals = [
        datetime.fromisoformat(entry["at"])
        for entry in wire.bill()
        if entry["provider"] in ("gemini", "perplexity")
    ]
    assert abs((arrivals[1] - arrivals[0]).total_seconds()) < wait_s


def test_sources_of_the_research_reach_the_document(program: Program, wire: Wire) -> None:
    """What an agent found is numbered once, heard by the writers, and listed at the end."""
    wire.script(
        rules=[
            {
                "match": {"contains": "# Task: the final document"},
                "action": {"text": "# Plan\n\nIt grows [1], also [2], and [99]."},
            }
        ]
    )
    done = program("run", "--topic", TOPICS["en"])
    assert done.returncode == 0, done.stderr
    document = program.document()
    assert "It grows [1], also [2], and." in document
    assert "## References" in document
    assert "\n1. " in document
    assert "\n2. " in document
    assert program.metadata()["unresolved_citations"] == [99]
    bodies = [json.dumps(request["body"]) for request in wire.requests()]
    assert "kind=sources" in bodies[4]


def test_scripts_get_one_json_value(program: Program) -> None:
    """With --json, standard output is the metadata and nothing else."""
    done = program("run", "--topic", TOPICS["en"], "--json")
    assert json.loads(done.stdout)["topic"] == TOPICS["en"]
    assert done.stderr == ""


def test_a_small_model_hears_a_shortened_context_and_it_is_recorded(
    program: Program, wire: Wire
) -> None:
    """With a small window the oldest results are condensed; the metadata says which."""
    text = "# Findings\n\n" + "The market has 4,000 customers. Filling words.\n\n" * 400
    wire.script(rules=[{"match": {"times": 8}, "action": {"text": text}}])
    window = {
        f"AIGENFLOW_AGENTS__{a}__CONTEXT_WINDOW_TOKENS": "30000" for a in ("CLAUDE", "CHATGPT")
    }
    done = program("run", "--topic", TOPICS["en"], env=window)
    assert done.returncode == 0, done.stderr
    left_out = {task["task"]: task["left_out"] for task in program.metadata()["tasks"]}
    assert left_out["polish"]
    assert not left_out["brainstorm"]
    assert "shortened context" in done.stderr


def test_numbers_of_sources_that_nobody_found_are_removed_and_reported(
    program: Program, wire: Wire
) -> None:
    """A document without any source keeps no citation marks."""
    wire.script(
        rules=[{"match": {}, "action": {"text": "It grows [1] [2].", "fault": "no_citations"}}]
    )
    done = program("run", "--topic", TOPICS["en"])
    assert done.returncode == 0, done.stderr
    assert "[1]" not in program.document()
    assert program.metadata()["unresolved_citations"] == [1, 2]
    assert any("1, 2" in notice for notice in program.metadata()["notices"])


def test_sources_are_right_whoever_writes(offline: Program, wire: Wire) -> None:
    """Perplexity alone plays every role, and finds sources also when it is only to write."""
    wire.script(
        rules=[
            {
                "match": {"contains": "# Task: the final document"},
                "action": {"text": "# Plan\n\nFrom the list [#2], and found by myself [1]."},
            }
        ]
    )
    env = {"AIGENFLOW_AGENTS__PERPLEXITY__BASE_URL": wire.url}
    done = offline("run", "--topic", TOPICS["en"], env=env)
    assert done.returncode == 0, done.stderr
    metadata = offline.metadata()
    sources = [source["url"] for source in metadata["sources"]]
    document = offline.document()
    listed = re.findall(r"^\d+\. .*<(.*)> \(accessed", document, re.MULTILINE)
    assert "From the list [1], and found by myself [2]." in document
    assert listed[0] == sources[1]
    assert listed[1] in sources[2:]


def test_an_ai_document_stays_one_when_it_is_resumed_without_keys(
    program: Program, wire: Wire
) -> None:
    """What the metadata and the document say of their author comes from the answers themselves."""
    assert program("run", "--topic", TOPICS["en"]).returncode == 0
    before, told = program.document(), program.metadata()["notices"]
    bare = {name: value for name, value in program.environ.items() if "BASE_URL" not in name}
    done = Program(program.folder, bare)("resume", program.session().name)
    assert done.returncode == 0, done.stderr
    assert "No AI wrote it" not in done.stderr
    assert program.document() == before
    metadata = program.metadata()
    assert metadata["ai_written"] is True
    assert metadata["roles"]["claude"]["played_by"] == "claude"
    assert metadata["notices"] == told
