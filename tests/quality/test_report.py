"""Clean documents pass, planted defects are found, and the score says what was not verified."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from datetime import date
from functools import cache

import pytest
from corpus import Document, build, clean_documents
from defects import DEFECTS
from hypothesis import given, settings
from hypothesis import strategies as st

from aigenflow.core.models import Language
from aigenflow.quality.checks import CHECKS, Check
from aigenflow.quality.models import (
    WEIGHTS,
    CheckResult,
    Group,
    Inputs,
    QualityReport,
    State,
    Verdict,
)
from aigenflow.quality.report import assess, summary

BY_ID = {check.id: check for check in CHECKS}
DOCUMENTS = [(number, language) for number in range(6) for language in Language]
"""Every form in both languages; `benchmarks/quality.py` tries all twenty documents."""

PLANTED_IN = 4
ONLY_WARNS = {"Q03", "Q19", "Q21"}


@cache
def clean(number: int, language: Language) -> Document:
    """A clean document; whoever spoils it works on a copy."""
    return build(number, language)


@cache
def clean_report(number: int, language: Language) -> QualityReport:
    """The report on a clean document."""
    return assess(clean(number, language).inputs())


def one(check: str, inputs: Inputs) -> CheckResult:
    """The result of a single check."""
    return assess(inputs, [BY_ID[check]]).checks[0]


@pytest.mark.parametrize(("number", "language"), DOCUMENTS)
def test_a_clean_document_has_at_most_two_findings(number: int, language: Language) -> None:
    """A complete document that agrees with itself is hardly ever found fault with."""
    report = clean_report(number, language)
    assert len(report.findings) <= 2, report.findings
    assert not report.unverified


def test_there_are_twenty_clean_documents() -> None:
    """Ten in each language, no two of them alike."""
    documents = list(clean_documents())
    assert len(documents) == 20
    assert len({document.markdown() for document in documents}) == 20


def test_the_table_of_checks_is_complete() -> None:
    """There are thirty checks, in order, and a way to spoil a document for each."""
    assert [check.id for check in CHECKS] == [f"Q{number:02}" for number in range(1, 31)]
    assert set(DEFECTS) == set(BY_ID)


def test_the_gates_are_the_gates() -> None:
    """A check that fails a document is one of these."""
    gates = {check.id for check in CHECKS if check.gate}
    others = {"Q02", "Q18", "Q19", "Q20", "Q21", "Q22", "Q23", "Q26", "Q27", "Q28"}
    assert gates == set(BY_ID) - others


@pytest.mark.parametrize("check", sorted(DEFECTS))
def test_a_planted_defect_is_found(check: str) -> None:
    """Wherever a defect has a place, its check fails and says something new."""
    tried = 0
    start = int(check[1:])
    for place in range(len(DOCUMENTS)):
        number, language = DOCUMENTS[(start + 5 * place) % len(DOCUMENTS)]
        spoiled = copy.deepcopy(clean(number, language))
        if not DEFECTS[check](spoiled):
            continue
        before = next(c for c in clean_report(number, language).checks if c.id == check)
        result = one(check, spoiled.inputs())
        wanted = {State.FAIL, State.WARN} if check in ONLY_WARNS else {State.FAIL}
        assert result.state in wanted, (number, language, result)
        assert set(result.findings) - set(before.findings), (number, language)
        tried += 1
        if tried == PLANTED_IN:
            break
    assert tried >= 2


def test_any_failed_gate_fails_the_document() -> None:
    """The score does not help a document with one failed gate."""
    spoiled = copy.deepcopy(clean(2, Language.KO))
    DEFECTS["Q06"](spoiled)
    report = assess(spoiled.inputs())
    assert report.verdict is Verdict.FAIL
    assert report.score > 90
    assert [each.id for each in report.failed_gates] == ["Q06"]


def test_a_clean_document_passes() -> None:
    """Every gate was checked and passed."""
    report = clean_report(2, Language.KO)
    assert report.verdict is Verdict.PASS
    assert report.score == 100


@pytest.mark.parametrize(
    ("missing", "unverified"),
    [
        ("evidence", {"Q07", "Q08"}),
        ("facts", {"Q09"}),
        ("sections", {"Q01", "Q02", "Q03"}),
        ("exports", {"Q29"}),
        ("ai_policy", {"Q30"}),
        ("brief", {"Q22"}),
    ],
)
def test_what_cannot_be_verified_is_no_pass(missing: str, unverified: set[str]) -> None:
    """Without what a check needs it says so, earns nothing, and the document is not verified."""
    inputs = clean(2, Language.KO).inputs()
    report = assess(replace(inputs, **{missing: None}))
    assert {each.id for each in report.unverified} >= unverified
    assert all(each.note for each in report.unverified)
    assert report.score < 100
    if missing != "brief":
        assert report.verdict is Verdict.NOT_VERIFIED


def test_unknown_pages_are_not_verified_where_they_are_limited() -> None:
    """A limit of pages is met only by pages that were counted."""
    inputs = clean(3, Language.EN).inputs()
    limited = replace(inputs, page_limit=20)
    assert one("Q03", replace(limited, pages=None)).state is State.UNVERIFIABLE
    assert one("Q03", replace(limited, pages=21)).state is State.FAIL
    assert one("Q03", replace(limited, pages=20)).state is not State.FAIL


def test_evidence_without_figures_can_neither_confirm_nor_refute() -> None:
    """A source whose words are not known makes the match unverifiable, not right."""
    inputs = clean(2, Language.EN).inputs()
    silent = tuple(
        each.model_copy(update={"quote": "", "title": "A report", "numbers": ()})
        for each in inputs.evidence or ()
    )
    assert one("Q08", replace(inputs, evidence=silent)).state is State.UNVERIFIABLE


def test_the_weights_add_up() -> None:
    """All groups together are 100 points."""
    assert sum(WEIGHTS.values()) == 100
    assert set(WEIGHTS) == set(Group)
    assert {check.group for check in CHECKS} == set(Group)


def test_the_same_document_gives_the_same_report() -> None:
    """Two assessments are equal to the byte."""
    first, second = (assess(build(1, Language.EN).inputs()).to_json() for _ in range(2))
    assert json.dumps(first) == json.dumps(second)


def test_the_json_says_all() -> None:
    """quality.json has a version, gates, metrics, findings and the score."""
    spoiled = copy.deepcopy(clean(0, Language.EN))
    DEFECTS["Q10"](spoiled)
    value = assess(spoiled.inputs()).to_json()
    assert value["version"] == 1
    assert value["template"] == "default"
    assert value["verdict"] == "fail"
    assert value["gates"]["Q10"] == "fail"
    assert len(value["metrics"]) == 30
    assert set(value["findings"][0]) == {
        "id", "severity", "section", "quote", "expected", "found",
    }  # fmt: skip
    json.dumps(value)


@pytest.mark.parametrize("language", list(Language))
def test_the_summary_is_one_page(language: Language) -> None:
    """Verdict, points by group, failed gates with their words: at most 60 lines."""
    spoiled = copy.deepcopy(clean(0, language))
    for check in ("Q04", "Q06", "Q10", "Q15", "Q24"):
        DEFECTS[check](spoiled)
    page = summary(assess(spoiled.inputs()), language)
    assert len(page.splitlines()) <= 60
    assert ("불합격" in page) is (language is Language.KO)
    assert all(check in page for check in ("Q04", "Q06", "Q10", "Q15", "Q24"))


@settings(max_examples=40, deadline=None)
@given(st.text(max_size=400), st.sampled_from(list(Language)))
def test_any_text_can_be_assessed(text: str, language: Language) -> None:
    """No text makes a check fail by itself; the score stays within its bounds."""
    report = assess(Inputs(markdown=text, language=language, today=date(2026, 11, 22)))
    assert 0 <= report.score <= 100
    assert report.verdict is not Verdict.PASS


@pytest.mark.parametrize("left_out", CHECKS, ids=lambda check: check.id)
def test_no_check_can_be_left_out(left_out: Check) -> None:
    """Without one check, the report no longer has its metric."""
    rest = [check for check in CHECKS if check is not left_out]
    report = assess(Inputs(markdown="# A", language=Language.EN, today=date(2026, 11, 22)), rest)
    assert left_out.id not in report.to_json()["metrics"]
