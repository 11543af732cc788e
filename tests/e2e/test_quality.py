"""The quality of a document, through the command line."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from aigenflow.core.models import Language
from tests.support.program import Program, Wire

sys.path.insert(0, str(Path(__file__).parents[1] / "quality"))

from corpus import Document, build
from defects import DEFECTS

TOPIC = "Clinic reminders"
EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"
ASKS_FOR_THE_DOCUMENT = {"contains": "# Task: the final document"}
ASKS_FOR_DRIVERS = {"contains": "drivers of the financial model"}
ASKS_FOR_A_REVISION = {"contains": "# Task: revision of the finished document"}


def written(*defects: str) -> str:
    """A whole document without sources, each figure marked: as a writer without research."""
    document: Document = build(2, Language.EN)
    for defect in defects:
        assert DEFECTS[defect](document)
    text = document.markdown().partition("\n\n1. ")[0]
    return re.sub(r" ?\[[1-6]\]", " [estimate]", text)


def quality(program: Program) -> dict[str, Any]:
    """``quality.json`` of the newest session."""
    value: dict[str, Any] = json.loads((program.session(-1) / "final/quality.json").read_text())
    return value


def script(wire: Wire, polished: str, *revised: str) -> None:
    """The final document, and what revisions make of it, in order."""
    wire.script(
        rules=[
            *(
                {"match": {**ASKS_FOR_A_REVISION, "nth": n}, "action": {"text": text}}
                for n, text in enumerate(revised, start=1)
            ),
            {"match": ASKS_FOR_DRIVERS, "action": {"text": "No drivers: the plan has its own."}},
            {"match": ASKS_FOR_THE_DOCUMENT, "action": {"text": polished}},
        ]
    )


def tasks(program: Program) -> list[str]:
    """What the newest session asked."""
    return [task["task"] for task in program.metadata()["tasks"]]


def run(program: Program, **env: str) -> None:
    """One run with a brief that has the plan's own figures."""
    brief = program.folder / "brief.yaml"
    brief.write_text(build(2, Language.EN).brief)
    form = ("--template", "strategy", "--lang", "en", "--brief", str(brief))
    done = program("run", "--topic", TOPIC, *form, env=env)
    assert done.returncode == 0, done.stderr


def test_a_failed_gate_goes_back_to_the_writer_once(quick: Program, wire: Wire) -> None:
    """One revision mends it; resuming buys nothing; the metadata say how it ended."""
    script(wire, written("Q04", "Q15"), written())
    run(quick)
    assert [name for name in tasks(quick) if name.startswith("revise")] == ["revise_1"]
    assert "Insert name" not in quick.document()
    verdict = quick.metadata()["quality"]
    assert verdict["revisions"] == 1
    assert not {"Q04", "Q15"} & set(verdict["failed_gates"])
    paid = len(wire.billed())
    assert quick("resume", quick.session().name).returncode == 0
    assert len(wire.billed()) == paid


def test_without_rounds_the_failed_gate_stays_and_is_told(quick: Program, wire: Wire) -> None:
    """quality.max_rounds 0 asks nobody; `aigenflow quality` ends with 7 and quotes the place."""
    script(wire, written("Q04"), written())
    run(quick, AIGENFLOW_QUALITY__MAX_ROUNDS="0")
    assert not [name for name in tasks(quick) if name.startswith("revise")]
    assert quality(quick)["gates"]["Q04"] == "fail"
    done = quick("quality", quick.session().name)
    assert done.returncode == 7
    assert "FAIL" in done.stdout
    assert "Insert name" in done.stdout


def test_a_revision_that_fails_is_left_out(quick: Program, wire: Wire) -> None:
    """The document is published all the same, and says why it was not revised."""
    wire.script(
        rules=[
            {"match": ASKS_FOR_A_REVISION, "action": {"status": 400}},
            {"match": ASKS_FOR_THE_DOCUMENT, "action": {"text": written("Q04")}},
        ]
    )
    run(quick)
    assert "Insert name" in quick.document()
    assert any("not revised" in notice for notice in quick.metadata()["notices"])


@pytest.mark.parametrize("language", ["en", "ko"])
@pytest.mark.parametrize("template", ["default", "startup", "strategy", "rd", "sbir", "horizon"])
def test_the_offline_draft_is_complete_in_structure_and_honest(
    offline: Program, template: str, language: str
) -> None:
    """All the points for structure, no verdict of passing, no revision, and a page to read.

    What the form says, and what follows from the brief, is no figure without an origin.
    """
    brief = EXAMPLES / ("brief-startup.ko.md" if language == "ko" else "brief-bizplan.en.yaml")
    form = ("--template", template, "--lang", language, "--brief", str(brief))
    done = offline("run", "--topic", TOPIC, *form)
    assert done.returncode == 0, done.stderr
    report = quality(offline)
    assert report["scores"]["structure"] == 15
    assert report["verdict"] != "pass"
    told = {each["id"] for each in report["findings"]}
    assert "Q04" in told, "questions are open, and it is said"
    assert not told & {"Q01", "Q02", "Q09", "Q10", "Q11", "Q12", "Q14", "Q29"}
    assert not [name for name in tasks(offline) if name.startswith("revise")]
    page = (offline.session() / "final/quality.md").read_text()
    assert page.startswith(
        "# 문서 품질 보고서" if language == "ko" else "# Document quality report"
    )


def test_the_command_agrees_with_the_run(offline: Program) -> None:
    """What `aigenflow quality SESSION` says is what the run wrote, of the text with its figures."""
    brief = str(EXAMPLES / "brief-bizplan.en.yaml")
    assert offline("run", "--topic", TOPIC, "--lang", "en", "--brief", brief).returncode == 0
    assert "![" in offline.document()
    done = offline("quality", offline.session().name, "--json")
    assert json.loads(done.stdout) == quality(offline)


@pytest.mark.parametrize(("defects", "code"), [((), 8), (("Q06",), 7)])
def test_any_markdown_file_can_be_checked(
    offline: Program, defects: tuple[str, ...], code: int
) -> None:
    """Without a session nothing vouches for sources: not verified, or failed, never passed."""
    document = build(2, Language.EN)
    for defect in defects:
        DEFECTS[defect](document)
    file = offline.folder / "plan.md"
    file.write_text(document.markdown())
    done = offline("quality", str(file), "--template", "strategy", "--json")
    assert done.returncode == code, done.stderr
    report = json.loads(done.stdout)
    assert report["gates"]["Q07"] == "unverifiable"
    assert report["metrics"]["Q01"]["state"] == "pass"


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["quality", "nothing.md"], 2, "cannot be read"),
        (["quality", "nosession"], 6, "no session"),
        (["quality", "nosession", "--template", "rd"], 2, "its own template"),
        (["quality", "plan.md", "--template", "nope"], 2, "no template"),
        (["quality", "plan.bin"], 2, "cannot be read"),
    ],
)
def test_wrong_use_is_explained(
    offline: Program, arguments: list[str], code: int, words: str
) -> None:
    """A file that is not there or no text, a session that is not there, a form nobody knows."""
    (offline.folder / "plan.md").write_text("# Plan\n")
    (offline.folder / "plan.bin").write_bytes(b"\xff\xfe\x00")
    done = offline(*arguments)
    assert done.returncode == code
    assert words in done.stderr
