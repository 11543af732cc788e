"""Formats of the document, through the command line."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from tests.support.program import Program, Wire

TOPIC = "Subscription meal kits for people with diabetes"


def final(program: Program) -> Path:
    return program.session(-1) / "final"


def test_a_run_writes_html_always_and_other_formats_as_asked(quick: Program, wire: Wire) -> None:
    """One command, the document in every format; a resume adds one without a call."""
    done = quick("run", "--topic", TOPIC, "--format", "md,docx")
    assert done.returncode == 0, done.stderr
    names = {path.name for path in final(quick).iterdir()}
    assert {"business_plan.md", "business_plan.html", "business_plan.docx"} <= names
    assert "business_plan.docx" in done.stdout
    assert "<main>" in (final(quick) / "business_plan.html").read_text()
    wire.reset()
    done = quick("resume", quick.session().name, "--format", "pdf")
    assert done.returncode == 0, done.stderr
    assert (final(quick) / "business_plan.pdf").read_bytes().startswith(b"%PDF-")
    assert wire.bill() == []


def test_export_takes_the_edited_text_and_keeps_edited_files(offline: Program) -> None:
    """No call, no money, and nothing that a person changed is lost."""
    assert offline("run", "--topic", TOPIC).returncode == 0
    session = offline.session().name
    markdown = final(offline) / "business_plan.md"
    markdown.write_text(markdown.read_text() + "\nAdded by hand: zebra.\n")
    done = offline("export", session, "--format", "docx,html")
    assert done.returncode == 0, done.stderr
    assert "was edited; your text is exported" in done.stderr
    with zipfile.ZipFile(final(offline) / "business_plan.docx") as archive:
        assert b"zebra" in archive.read("word/document.xml")
    page = final(offline) / "business_plan.html"
    assert "zebra" in page.read_text()
    page.write_text("my own page")
    assert offline("export", session).returncode == 0
    assert (final(offline) / "business_plan.edited.html").read_text() == "my own page"
    assert "zebra" in page.read_text()
    assert not (offline.session() / ".reserve").exists()


def test_export_into_another_folder(offline: Program) -> None:
    """The session stays as it is."""
    assert offline("run", "--topic", TOPIC).returncode == 0
    before = sorted(path.name for path in final(offline).iterdir())
    done = offline("export", offline.session().name, "--format", "md,html", "--output", "out")
    assert done.returncode == 0, done.stderr
    written = sorted(path.name for path in (offline.folder / "out").iterdir())
    assert written == ["business_plan.html", "business_plan.md"]
    assert sorted(path.name for path in final(offline).iterdir()) == before


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["export", "nowhere"], 6, "There is no session"),
        (["run", "--topic", TOPIC, "--format", "odt"], 2, "none of md, html, docx, pdf, hwpx"),
    ],
)
def test_wrong_use_is_said(offline: Program, arguments: list[str], code: int, message: str) -> None:
    """What happened, before anything is begun."""
    done = offline(*arguments)
    assert done.returncode == code
    assert message in done.stderr
    assert not list(offline.folder.glob("output/*"))


def test_a_missing_extra_stops_the_run_before_a_call(quick: Program, wire: Wire) -> None:
    """Nothing is bought for a document that could not be exported as asked."""
    shadow = quick.folder / "shadow"
    shadow.mkdir()
    (shadow / "sitecustomize.py").write_text(
        "import importlib.util as u\n_f = u.find_spec\n"
        "u.find_spec = lambda n, *a: None if n == 'pypandoc' else _f(n, *a)\n"
    )
    done = quick("run", "--topic", TOPIC, "--format", "docx", env={"PYTHONPATH": str(shadow)})
    assert done.returncode == 2
    assert "pip install 'aigenflow[docs]'" in done.stderr
    assert wire.bill() == []
    assert not list(quick.folder.glob("output/*"))


def test_a_format_that_fails_keeps_the_document(quick: Program, wire: Wire) -> None:
    """Pandoc crashes: the document and the HTML are there, and the error says how to go on."""
    broken = quick.folder / "pandoc"
    broken.write_text("#!/bin/sh\necho out of luck >&2\nexit 1\n")
    broken.chmod(0o700)
    env = {"PYPANDOC_PANDOC": str(broken)}
    done = quick("run", "--topic", TOPIC, "--format", "docx", env=env)
    assert done.returncode == 5
    assert "out of luck" in done.stderr
    session = quick.session().name
    assert f"aigenflow export {session} --format docx" in done.stderr
    assert {"business_plan.md", "business_plan.html"} <= {p.name for p in final(quick).iterdir()}
    assert quick.metadata()["session"] == session
    wire.reset()
    assert quick("export", session, "--format", "docx").returncode == 0
    assert wire.bill() == []
