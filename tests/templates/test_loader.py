"""Outlines are found by name, the user's first, and read without trusting them."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aigenflow.core.errors import TemplateError
from aigenflow.core.models import DocumentType, Language
from aigenflow.templates.loader import (
    OUTLINE_LIMIT_BYTES,
    SHIPPED,
    list_templates,
    load_outline,
    parse_outline,
)

SMALL = """\
document_type: bizplan
title: Plan
purpose: To try
reader: A reader
sections:
  - id: one
    heading: One
    asks: [What?]
"""


@pytest.fixture
def user_dir(tmp_path: Path) -> Path:
    """A folder of user templates, empty."""
    (tmp_path / "outlines").mkdir()
    return tmp_path


def write(user_dir: Path, file: str, text: str = SMALL) -> None:
    (user_dir / "outlines" / file).write_text(text, encoding="utf-8")


def test_default_means_the_usual_outline_of_the_type() -> None:
    """``default`` is the default plan for a business and the official form for research."""
    assert load_outline(DocumentType.BIZPLAN, "default", Language.EN).name == "default"
    assert load_outline(DocumentType.RD, "default", Language.KO).name == "rd"


def test_a_users_file_wins_by_name(user_dir: Path) -> None:
    """A file of the same name replaces the shipped one, in its language only."""
    write(user_dir, "default.en.yaml")
    own = load_outline(DocumentType.BIZPLAN, "default", Language.EN, user_dir=user_dir)
    other = load_outline(DocumentType.BIZPLAN, "default", Language.KO, user_dir=user_dir)
    assert [s.id for s in own.sections] == ["one"]
    assert len(other.sections) == 15
    assert [info.own for info in list_templates(user_dir)] == [
        True,
        False,
        False,
        False,
        False,
        False,
    ]


def test_a_users_own_template_is_found_and_listed(user_dir: Path) -> None:
    """A new name is a new template, in the languages that have a file."""
    write(user_dir, "mine.en.yaml")
    write(user_dir, "not a name.en.yaml")
    write(user_dir, "mine.fr.yaml")
    assert load_outline(DocumentType.BIZPLAN, "mine", Language.EN, user_dir=user_dir).name == "mine"
    mine = next(info for info in list_templates(user_dir) if info.own)
    assert (mine.name, mine.languages) == ("mine", (Language.EN,))


def test_a_users_file_is_read_anew(user_dir: Path) -> None:
    """An outline that the user edits takes effect without a restart."""
    write(user_dir, "mine.en.yaml")
    load_outline(DocumentType.BIZPLAN, "mine", Language.EN, user_dir=user_dir)
    write(user_dir, "mine.en.yaml", SMALL.replace("title: Plan", "title: New"))
    again = load_outline(DocumentType.BIZPLAN, "mine", Language.EN, user_dir=user_dir)
    assert again.title == "New"


def test_an_unknown_template_names_the_nearest() -> None:
    """A misspelt name says which name was probably meant, and all there are."""
    with pytest.raises(TemplateError, match="no template “startpu”") as caught:
        load_outline(DocumentType.BIZPLAN, "startpu", Language.EN)
    assert "“startup”" in caught.value.hint
    assert "default, horizon, rd, sbir, startup, strategy" in caught.value.hint


def test_a_language_that_is_missing_is_named(user_dir: Path) -> None:
    """A template that exists in another language says in which."""
    write(user_dir, "mine.en.yaml")
    with pytest.raises(TemplateError, match="no outline in language “ko”") as caught:
        load_outline(DocumentType.BIZPLAN, "mine", Language.KO, user_dir=user_dir)
    assert "en" in caught.value.hint


def test_a_template_of_the_other_type_is_refused() -> None:
    """A research form cannot be used for a business plan, nor the other way round."""
    with pytest.raises(TemplateError, match="type rd, not bizplan") as caught:
        load_outline(DocumentType.BIZPLAN, "rd", Language.EN)
    assert "default, startup, strategy" in caught.value.hint
    with pytest.raises(TemplateError, match="type bizplan, not rd"):
        load_outline(DocumentType.RD, "startup", Language.KO)


@pytest.mark.parametrize(
    "name",
    ["../default", "..", "/etc/passwd", "a/b", "a\\b", "", "Default", "con", "a.b", "x\n", "a\0b"],
)
def test_a_name_is_never_a_path(name: str, user_dir: Path) -> None:
    """A name that could leave the folder is a clear error and reads nothing."""
    with pytest.raises(TemplateError, match="cannot be the name of a template"):
        load_outline(DocumentType.BIZPLAN, name, Language.EN, user_dir=user_dir)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (SMALL.replace("title: Plan", "title: &t Plan"), "anchors"),
        (SMALL + "style: [&a x, *a]\n", "anchors"),
        ("a: &x [1]\nb: [*x, *x]\n", "anchors"),
        (SMALL + "title: Again\n", "duplicate"),
        (SMALL + "surprise: 1\n", "surprise"),
        (SMALL.replace("title: Plan\n", ""), "title"),
        (SMALL.replace("One", "[1, 2]"), "heading"),
        (SMALL.replace("bizplan", "novel"), "document_type"),
        (SMALL + "title2: !!python/object/apply:os.system [ls]\n", "tag"),
        ("- a list\n", "not a mapping"),
        ("", "not a mapping"),
        ("a: [", "flow"),
        ("[" * 400, "deep"),
        (SMALL + "name: other\n", "differ"),
        (SMALL + "language: ko\n", "differ"),
        (SMALL + "  - {id: one, heading: Two, asks: []}\n", "twice"),
        (SMALL + "  - {id: two, heading: One, asks: []}\n", "twice"),
        (SMALL + "  - {id: ../two, heading: Two, asks: []}\n", "not an id"),
        (SMALL + '  - {id: two, heading: "Two\\n# Three", asks: []}\n', "one line"),
        (SMALL.partition("sections")[0] + "sections: []\n", "no section"),
        ("a\0b: 1\n", "special characters"),
    ],
)
def test_a_broken_file_says_what_is_wrong(text: str, reason: str) -> None:
    """Whatever is wrong with a file ends in an error that names the file and the fault."""
    with pytest.raises(TemplateError, match=r"x\.en\.yaml") as caught:
        parse_outline(text.encode(), "x", Language.EN)
    assert reason in caught.value.message


def test_bytes_that_are_not_utf8_are_refused() -> None:
    """A file in another encoding is an error, not a guess."""
    with pytest.raises(TemplateError, match="utf-8"):
        parse_outline("title: 계획".encode("cp949"), "x", Language.KO)


def test_a_byte_order_mark_is_accepted() -> None:
    """A file saved by a Windows editor can be read."""
    assert parse_outline(b"\xef\xbb\xbf" + SMALL.encode(), "x", Language.EN).title == "Plan"


def test_words_that_old_yaml_misread_stay_words() -> None:
    """``NO`` and ``1:30`` are text, not false and 90."""
    text = SMALL.replace("[What?]", "[NO, 1:30]")
    assert parse_outline(text.encode(), "x", Language.EN).sections[0].asks == ("NO", "1:30")


def test_a_large_file_is_refused(user_dir: Path) -> None:
    """A file above the limit is not read."""
    write(user_dir, "big.en.yaml", SMALL + "# " + "x" * OUTLINE_LIMIT_BYTES)
    with pytest.raises(TemplateError, match="larger than"):
        load_outline(DocumentType.BIZPLAN, "big", Language.EN, user_dir=user_dir)


def test_a_link_is_refused(user_dir: Path) -> None:
    """A user's outline is a file of its own, not a link to another."""
    (user_dir / "outlines" / "mine.en.yaml").symlink_to(SHIPPED / "default.en.yaml")
    with pytest.raises(TemplateError, match=r"mine\.en\.yaml"):
        load_outline(DocumentType.BIZPLAN, "mine", Language.EN, user_dir=user_dir)


@settings(max_examples=150, deadline=None)
@given(st.one_of(st.binary(max_size=200), st.text(max_size=200).map(lambda t: t.encode("utf-8"))))
def test_any_bytes_give_an_outline_or_a_template_error(data: bytes) -> None:
    """Nothing that a file may hold escapes as another kind of error."""
    with pytest.raises(TemplateError):
        parse_outline(data, "x", Language.EN)
