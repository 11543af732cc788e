from __future__ import annotations

import re
import subprocess
import sys

import pytest

from tests.support.program import Program, Wire


@pytest.mark.parametrize(
    ("arguments", "heading", "says_so"),
    [
        (["--topic", "Subscription meal kits"], "## 1. Executive Summary", "without AI"),
        (["--topic", "당뇨 식단 구독 서비스", "--template", "startup"], "문제 인식", "AI"),
        (["--topic", "Cathode recycling", "--type", "rd", "--lang", "en"], "## ", "without AI"),
        (["--topic", "나트륨 전지 음극재", "--type", "rd"], "연구개발", "AI"),
        (["--topic", "Entering Vietnam", "--template", "strategy"], "SWOT", "without AI"),
    ],
)
def test_without_any_key_a_working_draft_is_written_that_says_what_it_is(
    offline: Program, arguments: list[str], heading: str, says_so: str
) -> None:
    """No key, no server: the outline with its questions and tables, and no pretence."""
    done = offline("run", *arguments)
    assert done.returncode == 0, done.stderr
    assert "No AI wrote it" in done.stderr
    document = offline.document()
    assert heading in document
    assert says_so in document[:800]
    assert document.count("\n|") > 10
    metadata = offline.metadata()
    assert metadata["ai_written"] is False
    assert {role["played_by"] for role in metadata["roles"].values()} == {"offline"}


def test_a_brief_fills_the_draft_and_the_arithmetic_is_done(offline: Program) -> None:
    """What the user knows stands in the document, and what follows from it is computed."""
    brief = offline.folder / "brief.yaml"
    brief.write_text(
        "company: Sugarwise\nprice: 10,000 won\nunit_cost: 6,000 won\nfixed_costs: 40 million won\n"
        "customers_year1: 20000\n"
    )
    done = offline("run", "--topic", "Subscription meal kits", "--brief", str(brief))
    assert done.returncode == 0, done.stderr
    document = offline.document()
    assert "Sugarwise" in document
    assert re.search(r"10,000(?!\d)", document), "break-even: 40,000,000 / (10,000 - 6,000)"


def test_the_same_run_twice_gives_the_same_document(offline: Program) -> None:
    """The drafter is deterministic."""
    documents = []
    for _run in range(2):
        assert offline("run", "--topic", "Subscription meal kits").returncode == 0
        documents.append(offline.document())
    assert documents[0] == documents[1]


def test_a_local_server_is_used_before_the_offline_drafter(offline: Program, wire: Wire) -> None:
    """Without a key, an OpenAI-compatible server that answers plays all roles, and it is said."""
    env = {
        "AIGENFLOW_LOCAL__DISCOVER": "true",
        "AIGENFLOW_LOCAL__BASE_URL": f"{wire.url}/compatible/v1",
    }
    done = offline("run", "--topic", "Subscription meal kits", env=env)
    assert done.returncode == 0, done.stderr
    assert "All roles are played by local-model" in done.stderr
    assert len(wire.billed()) == 13
    assert offline.metadata()["ai_written"] is True


def test_with_one_key_that_agent_plays_all_roles_and_it_is_said(
    offline: Program, wire: Wire
) -> None:
    """One key is enough; the start of the run, the metadata and check name who plays whom."""
    env = {"AIGENFLOW_AGENTS__CLAUDE__BASE_URL": wire.url, "ANTHROPIC_API_KEY": "sk-ant-test"}
    done = offline("run", "--topic", "Subscription meal kits", env=env)
    assert done.returncode == 0, done.stderr
    assert "claude plays chatgpt, gemini, perplexity" in done.stderr
    assert {entry["provider"] for entry in wire.billed()} == {"anthropic"}
    assert {role["played_by"] for role in offline.metadata()["roles"].values()} == {"claude"}
    assert "played by claude" in offline("check", env=env).stdout


def test_offline_and_ai_texts_are_not_mixed_without_a_word(offline: Program, wire: Wire) -> None:
    """A session begun offline and finished with a model says so, at once and in its metadata."""
    assert offline("run", "--topic", "Subscription meal kits").returncode == 0
    (offline.session() / "phase5" / "results.json").unlink()
    env = {"AIGENFLOW_AGENTS__CLAUDE__BASE_URL": wire.url}
    done = offline("resume", offline.session().name, env=env)
    assert done.returncode == 0, done.stderr
    assert "offline drafter" in done.stderr
    assert "phase 5 are gone" in done.stderr
    assert offline.metadata()["mixed"] is True


def test_help_imports_no_sdk() -> None:
    """Starting the program costs what it needs and nothing more."""
    code = (
        "import sys\nfrom aigenflow.cli.root import build_cli\n"
        "build_cli().main(['--help'], standalone_mode=False)\n"
        "heavy = {'anthropic', 'openai', 'google', 'pydantic', 'jinja2', 'rich', 'asyncio'}\n"
        "print(sorted(heavy & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stderr.strip() == "[]"
