"""What a report says is in the language of the document."""

from __future__ import annotations

import re
from functools import cache

import pytest
from corpus import Document, build
from defects import DEFECTS

from aigenflow.core.models import Language
from aigenflow.quality.checks import CHECKS, Check
from aigenflow.quality.report import assess

FOREIGN = re.compile(r"(?![A-Z]{2,5}\b)\b[A-Za-z]{3,}")
"""A word that is no abbreviation such as TAM or TRL."""

QUOTES = {"Q20", "Q29"}
"""Their findings repeat what they were given."""


@cache
def names(number: int) -> str:
    """The text of a clean Korean document: words in it are its own."""
    return build(number, Language.KO).markdown()


def spoiled(check: str) -> tuple[int, Document]:
    """The first Korean document in which the defect has a place, with the defect."""
    for number in range(6):
        document = build(number, Language.KO)
        if DEFECTS[check](document):
            return number, document
    raise AssertionError(check)


@pytest.mark.parametrize(
    "check", [each for each in CHECKS if each.id not in QUOTES], ids=lambda each: each.id
)
def test_korean_documents_are_judged_in_korean(check: Check) -> None:
    """No English word of ours stands in a finding."""
    number, document = spoiled(check.id)
    (result,) = assess(document.inputs(), [check]).checks
    assert result.findings or result.note
    told = [result.name, result.note]
    told += [text for each in result.findings for text in (each.expected, each.found)]
    ours = [word for text in told for word in FOREIGN.findall(text) if word not in names(number)]
    assert ours == []
