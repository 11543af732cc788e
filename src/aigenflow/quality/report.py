"""From a document to its report, and from a report to one page. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from aigenflow.core.models import Language
from aigenflow.quality.case import Case
from aigenflow.quality.checks import CHECKS, Check
from aigenflow.quality.document import read_document
from aigenflow.quality.models import (
    WEIGHTS,
    CheckResult,
    Group,
    Inputs,
    QualityReport,
    State,
    Verdict,
)

_WARNED = 0.75
_QUOTES_PER_GATE = 3


def assess(inputs: Inputs, checks: Sequence[Check] = CHECKS) -> QualityReport:
    """Make every check. The same inputs give the same report."""
    case = Case(inputs=inputs, document=read_document(inputs.markdown))
    results = tuple(_result(check, case) for check in checks)
    scores = {group: _score(group, results) for group in Group}
    return QualityReport(
        language=inputs.language,
        template=inputs.template,
        verdict=_verdict(results),
        score=round(sum(scores.values()), 1),
        scores=scores,
        checks=results,
    )


def _result(check: Check, case: Case) -> CheckResult:
    outcome = check.run(case)
    return CheckResult(
        id=check.id,
        name=case.say(check.name_en, check.name_ko),
        group=check.group,
        gate=check.gate,
        state=outcome.state,
        target=check.target,
        metric=outcome.metric,
        share=outcome.share,
        findings=outcome.findings,
        note=outcome.note,
    )


def _score(group: Group, results: Sequence[CheckResult]) -> float:
    """The group's points: the mean of its checks. What could not be verified earns nothing."""
    shares = [
        _points(each)
        for each in results
        if each.group is group and each.state is not State.NOT_APPLICABLE
    ]
    return round(WEIGHTS[group] * (sum(shares) / len(shares) if shares else 1.0), 1)


def _points(result: CheckResult) -> float:
    if result.state is State.PASS:
        return 1.0
    if result.state is State.UNVERIFIABLE:
        return 0.0
    return result.share * _WARNED


def _verdict(results: Sequence[CheckResult]) -> Verdict:
    states = {each.state for each in results if each.gate}
    if State.FAIL in states:
        return Verdict.FAIL
    return Verdict.NOT_VERIFIED if State.UNVERIFIABLE in states else Verdict.PASS


# One page

_WORDS = {
    Language.EN: {
        "title": "Document quality report",
        "pass": "PASS",
        "fail": "FAIL",
        "not_verified": "NOT VERIFIED",
        "warn": "warning",
        "unverifiable": "not verifiable",
        "not_applicable": "not applicable",
        "score": "Score",
        "group": "Group",
        "points": "Points",
        "of": "of",
        "gates": "Failed gates",
        "none": "None.",
        "unverified": "Could not be verified",
        "warnings": "Other findings",
        "expected": "expected",
        "found": "found",
        "more": "and {count} more",
        Group.STRUCTURE: "Structure",
        Group.EVIDENCE: "Evidence",
        Group.NUMBERS: "Numbers",
        Group.CONSISTENCY: "Consistency",
        Group.LANGUAGE: "Language",
        Group.FORMAT: "Format",
    },
    Language.KO: {
        "title": "문서 품질 보고서",
        "pass": "합격",
        "fail": "불합격",
        "not_verified": "미검증",
        "warn": "주의",
        "unverifiable": "확인 불가",
        "not_applicable": "해당 없음",
        "score": "점수",
        "group": "부문",
        "points": "점수",
        "of": "/",
        "gates": "통과하지 못한 필수 항목",
        "none": "없음.",
        "unverified": "확인하지 못한 항목",
        "warnings": "그 밖의 지적",
        "expected": "기대",
        "found": "실제",
        "more": "외 {count}건",
        Group.STRUCTURE: "구조",
        Group.EVIDENCE: "근거",
        Group.NUMBERS: "수치",
        Group.CONSISTENCY: "일관성",
        Group.LANGUAGE: "언어",
        Group.FORMAT: "형식",
    },
}


def summary(report: QualityReport, language: Language) -> str:
    """The report on one page, as Markdown. Quotes and findings are in the document's language."""
    words = _WORDS[language]
    lines = [
        f"# {words['title']}",
        "",
        f"**{words[report.verdict.value]}** · {words['score']} {report.score:g} {words['of']} 100",
        "",
        f"| {words['group']} | {words['points']} |",
        "| --- | ---: |",
        *(
            f"| {words[group]} | {report.scores[group]:g} {words['of']} {WEIGHTS[group]} |"
            for group in Group
        ),
    ]
    lines += ["", f"## {words['gates']}", "", *_gate_lines(report, words)]
    if report.unverified:
        lines += ["", f"## {words['unverified']}", ""]
        lines += [f"- {each.id} {each.name}: {each.note}" for each in report.unverified]
    others = [
        each
        for each in report.checks
        if each.findings and not (each.gate and each.state is State.FAIL)
    ]
    if others:
        lines += ["", f"## {words['warnings']}", ""]
        lines += [
            f"- {each.id} {each.name}: {len(each.findings)} ({words[each.state.value]})"
            for each in others
        ]
    return "\n".join(lines) + "\n"


def _gate_lines(report: QualityReport, words: dict[str, str]) -> list[str]:
    if not report.failed_gates:
        return [words["none"]]
    lines = []
    for each in report.failed_gates:
        lines.append(f"- **{each.id} {each.name}**")
        for finding in each.findings[:_QUOTES_PER_GATE]:
            quote = f"“{finding.quote}” " if finding.quote else ""
            lines.append(
                f"  - {quote}{words['expected']}: {finding.expected}; "
                f"{words['found']}: {finding.found}"
            )
        if (more := len(each.findings) - _QUOTES_PER_GATE) > 0:
            lines.append(f"  - {words['more'].format(count=more)}")
    return lines
