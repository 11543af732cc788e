"""The Korean catalogue says everything that the program says, with the same facts in it."""

from __future__ import annotations

import gettext
import io
import re
import string
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import click
import pytest
from babel.messages.catalog import Catalog, Message
from babel.messages.extract import extract_from_dir
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po

import aigenflow

PROGRAM = Path(aigenflow.__file__).parent
PARSER = Path(click.__file__).parent
KOREAN = PROGRAM / "locale" / "ko" / "LC_MESSAGES" / "messages.po"
METHODS = [("**.py", "python"), ("**/dashboard/templates/**.j2", "jinja2")]
COLLECT = "Run `make messages` and translate what is empty."

GLOSSARY = {
    "session": "세션",
    "phase": "단계",
    "brief": "브리프",
    "budget": "예산",
    "cache": "캐시",
    "provider": "공급자",
    "agent": "에이전트",
    "model": "모델",
    "template": "템플릿",
    "reservation": "예약",
    "ledger": "장부",
    "draft": "초안",
    "topic": "주제",
    "token": "토큰",
    "key": "키",
}
ENDS_IN_A_VOWEL = {"amount", "saved", "share", "spent", "reserved", "asked", "kept"}
"""Placeholders for dollars (달러) and per cent (퍼센트): what follows them is known."""


@cache
def _catalogue() -> Catalog:
    with KOREAN.open("rb") as file:
        return read_po(file)


@cache
def _compiled() -> gettext.GNUTranslations:
    file = io.BytesIO()
    write_mo(file, _catalogue())
    file.seek(0)
    return gettext.GNUTranslations(file)


def _said_in(folder: Path) -> dict[str | tuple[str, ...], str]:
    """Each message in the source code of ``folder``, with a place where it stands."""
    found = extract_from_dir(str(folder), method_map=METHODS)
    return {message: f"{file}:{line}" for file, line, message, _, _ in found}


def _translations() -> Iterator[tuple[str, str]]:
    """English and Korean; a plural is there with its form for many."""
    for message in _catalogue():
        if message.id:
            yield _forms(message.id)[-1], _forms(message.string)[-1]


def _forms(text: str | tuple[str, ...] | list[str]) -> tuple[str, ...]:
    return (text,) if isinstance(text, str) else tuple(text)


def _placeholders(text: str) -> set[tuple[str, str | None, str | None]]:
    """Name, format and conversion of each."""
    parts = string.Formatter().parse(text)
    return {(name, form, conversion) for _, name, form, conversion in parts if name is not None}


@pytest.mark.parametrize("folder", [PROGRAM, PARSER], ids=["aigenflow", "click"])
def test_every_message_has_a_translation(folder: Path) -> None:
    """Whatever the program and its command-line library can say, they can say in Korean."""
    said = _said_in(folder)
    untranslated = {
        place: message
        for message, place in said.items()
        if (found := _catalogue().get(_forms(message)[0])) is None
        or _forms(found.id) != _forms(message)
        or not all(_forms(found.string))
    }
    assert len(said) > 50
    assert not untranslated, COLLECT


def test_nothing_is_translated_that_nobody_says() -> None:
    """The catalogue holds no message that the source code has lost."""
    said = _said_in(PROGRAM) | _said_in(PARSER)
    assert {message.id for message in _catalogue() if message.id} == set(said), COLLECT
    assert not _catalogue().obsolete


def test_the_catalogue_says_what_it_is() -> None:
    """It is Korean, in UTF-8, with one form for any number, and nothing in it is doubtful."""
    header = dict(_catalogue().mime_headers)
    assert str(_catalogue().locale) == "ko"
    assert header["Content-Type"] == "text/plain; charset=utf-8"
    assert header["Plural-Forms"] == "nplurals=1; plural=0;"
    assert [message.id for message in _catalogue() if message.id and message.fuzzy] == []


def test_the_compiled_catalogue_answers() -> None:
    """gettext finds singular and plural messages in it, and the placeholders work."""
    korean = _compiled()
    assert korean.gettext("Usage:") == "사용법:"
    for count in (1, 2):
        text = korean.ngettext(
            "Option {name!r} requires an argument.",
            "Option {name!r} requires {nargs} arguments.",
            count,
        )
        assert text.format(name="--a", nargs=count) == f"'--a' 옵션에는 값 {count}개가 필요합니다."


@pytest.mark.parametrize(
    "message",
    [
        "Usage:",
        "Options",
        "Commands",
        "required",
        "default: {default}",
        "Missing option",
        "Missing argument",
        "Missing command.",
        "No such option {name!r}.",
        "No such command {name!r}.",
        "Did you mean {possibility}?",
        "{value!r} is not {choice}.",
        "Invalid value for {param_hint}: {message}",
        "Error: {message}",
        "Try '{command} {option}' for help.",
        "Show this message and exit.",
        "Aborted!",
    ],
)
def test_the_parsers_everyday_words_are_korean(message: str) -> None:
    """What every user of a command line meets is there by name, and in Hangul."""
    found = _catalogue().get(message)
    assert isinstance(found, Message)
    assert re.search("[가-힣]", _forms(found.string)[0])


def test_placeholders_are_the_same() -> None:
    """Each fact of the English message is in the Korean one, in the same format, and no other."""
    assert [
        pair for pair in _translations() if _placeholders(pair[0]) != _placeholders(pair[1])
    ] == []


def test_what_is_typed_is_not_translated() -> None:
    """Options and commands in the English message stand letter for letter in the Korean one."""
    typed = re.compile(r"--[a-z][a-z-]+|`[^`]+`|AIGENFLOW_\w+|\w+\.yaml")
    lost = {
        (word, korean)
        for english, korean in _translations()
        for word in typed.findall(english)
        if word.strip("`") not in korean
    }
    assert not lost


def test_layout_is_the_same() -> None:
    """Indents, lines, and the colon or blank that something follows are kept."""

    def layout(text: str) -> tuple[int, int, bool]:
        return len(text) - len(text.lstrip()), text.count("\n"), text.endswith((": ", " ", "\n"))

    assert [pair for pair in _translations() if layout(pair[0]) != layout(pair[1])] == []


def test_particles_fit_any_word() -> None:
    """After a placeholder stands a particle that fits vowels and consonants: 을(를), not 을."""
    particle = re.compile(r"\{(\w+)[^}]*\}[”’']?(은|는|이|가|을|를|과|와|으로|로)(?![가-힣(])")
    unsure = {
        (match[0], korean)
        for _, korean in _translations()
        for match in particle.finditer(korean)
        if match[1] not in ENDS_IN_A_VOWEL or match[2] not in ("는", "가", "를", "와")
    }
    assert not unsure


@pytest.mark.parametrize(("english", "korean"), GLOSSARY.items())
def test_a_word_is_translated_in_one_way(english: str, korean: str) -> None:
    """A term of ours has one Korean name, or stays as it is where it is a name to type."""
    word = re.compile(rf"\b{english}s?\b", re.IGNORECASE)
    others = {
        (source, target)
        for source, target in _translations()
        if word.search(source) and korean not in target and english not in target
    }
    assert not others
