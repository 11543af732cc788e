"""What a report says is in the language of the document."""

from __future__ import annotations

import copy
import re

import pytest
from corpus import build
from defects import DEFECTS

from aigenflow.core.models import Language
from aigenflow.quality.checks import CHECKS, Check
from aigenflow.quality.report import assess

FOREIGN = re.compile(r"(?![A-Z]{2,5}\b)\b[A-Za-z]{3,}")
"""A word that is no abbreviation such as TAM or TRL."""


@pytest.mark.parametrize(
    "check", [each for each in CHECKS if each.id not in {"Q20", "Q29"}], ids=lambda each: each.id
)
def test_korean_documents_are_judged_in_korean(check: Check) -> None:
    """No English word stands in a finding; Q20 and Q29 quote what they were given."""
    document = build(1, Language.KO)
    known = document.markdown()
    spoiled = copy.deepcopy(document)
    DEFECTS[check.id](spoiled)
    (result,) = assess(spoiled.inputs(), [check]).checks
    told = [result.name, result.note]
    told += [text for each in result.findings for text in (each.expected, each.found)]
    assert [text for text in told if _foreign(text, known)] == []


def _foreign(text: str, known: str) -> list[str]:
    return [word for word in FOREIGN.findall(text) if word not in known]
