"""``aigenflow templates`` through the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from aigenflow.core.models import DocumentType, Language
from aigenflow.templates import loader, prompt_library
from aigenflow.templates.loader import load_outline
from tests.support.commands import Run, squeezed


def test_every_template_is_listed_with_what_it_is_for(aigenflow: Run) -> None:
    """The six shipped ones, their type, languages, title and page limit."""
    done = aigenflow("templates", "list", "--json")
    rows = {row["name"]: row for row in json.loads(done.out)}
    assert sorted(rows) == ["default", "horizon", "rd", "sbir", "startup", "strategy"]
    assert rows["horizon"]["page_limit"] == 40
    assert rows["sbir"]["type"] == "rd"
    assert all(row["languages"] == ["ko", "en"] and not row["own"] for row in rows.values())
    assert "SBIR Phase I Proposal" in squeezed(aigenflow("templates", "list").out)


def test_a_template_is_shown_as_its_writer_is_told(aigenflow: Run) -> None:
    """Sections, limits, questions, tables and the rule on AI-written text."""
    text = aigenflow("templates", "show", "sbir", "--lang", "en").out
    assert "### The Market Opportunity  (100\u2013250 words)" in text
    assert "At most 15 pages" in text
    assert "the document says so" in text
    for section in load_outline(DocumentType.RD, "sbir", Language.EN).sections:
        assert section.heading in text
        assert all(question in text for question in section.asks)


def test_a_copy_is_the_users_own_to_change(aigenflow: Run, own_home: Path) -> None:
    """Copied under a new name it is another template; nothing is overwritten."""
    done = aigenflow("templates", "copy", "sbir", "--as", "mine", "--lang", "en")
    assert done.code == 0, done.err
    file = own_home / "templates" / "outlines" / "mine.en.yaml"
    assert file.read_bytes() == (loader.SHIPPED / "sbir.en.yaml").read_bytes()
    file.write_text(file.read_text().replace("SBIR Phase I Proposal", "Our own form"))
    again = aigenflow("templates", "copy", "sbir", "--as", "mine")
    assert again.code == 2
    assert "exists already" in again.err
    assert not (own_home / "templates" / "outlines" / "mine.ko.yaml").exists()
    assert "Our own form" in aigenflow("templates", "show", "mine").out
    assert loader.kind_of("mine", own_home / "templates") is DocumentType.RD


def test_prompts_come_along_when_asked(aigenflow: Run, own_home: Path) -> None:
    """With --prompts, every prompt of the type and what the prompts share is copied."""
    assert aigenflow("templates", "copy", "rd", "--prompts", "--lang", "ko").code == 0
    copied = own_home / "templates" / "prompts"
    shipped = prompt_library.SHIPPED
    for folder in (shipped, shipped / "rd"):
        for file in folder.glob("*.ko.md.j2"):
            assert (copied / file.relative_to(shipped)).read_bytes() == file.read_bytes()
    assert not list(copied.glob("**/*.en.md.j2"))


@pytest.mark.parametrize("name", ["../x", "A", "con", "a b"])
def test_a_copy_cannot_leave_the_folder(aigenflow: Run, own_home: Path, name: str) -> None:
    """A name that is no name is refused before anything is written."""
    done = aigenflow("templates", "copy", "sbir", "--as", name)
    assert done.code == 2
    assert "cannot be the name of a template" in done.err
    assert not (own_home / "templates").exists()


@pytest.mark.parametrize("verb", ["show", "copy"])
def test_a_misspelt_name_says_which_was_meant(aigenflow: Run, verb: str) -> None:
    """The error names the nearest template and all there are."""
    done = aigenflow("templates", verb, "horzon")
    assert done.code == 2
    assert "\u201chorizon\u201d" in done.err
