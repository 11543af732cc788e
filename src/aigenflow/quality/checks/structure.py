"""Q01 to Q04: the sections that the form asks for, their order and length, and what was left."""

from __future__ import annotations

import bisect
import re

from aigenflow.quality.case import (
    NOT_APPLICABLE,
    Case,
    Outcome,
    find_section,
    no_findings,
    outcome,
    unverifiable,
)
from aigenflow.quality.models import Finding, SectionRule, State

_LEFTOVER = re.compile(
    r"\bTODO\b|\bTBD\b|\bTBC\b|\bFIXME\b|\[(?:insert|your|placeholder|삽입|입력|회사명|기관명)[^\]]{0,40}\]"
    r"|(?<![A-Za-z])O{3}(?![A-Za-z])|○○|〇〇|홍길동|\{\{|\}\}|\[\[\w+:[^\]]*\]\]|lorem ipsum"
    r"|\bas an? (?:AI|large) (?:language )?model\b|\bas an AI\b|AI 언어 ?모델(?:로서|이므로|입니다)"
    r"|(?:^|(?<=\s))※\s*[^\n]{0,40}(?:작성하|기재하|기술하|삭제하|제시하)(?:시오|십시오|세요|기|ㄹ)"
    r"|\(작성 필요\)|\(to fill in\)|^\s*[-*] \[ \](?=\s)"
    r"|\bJohn Doe\b|XX+\s?(?:원|억|%|won)",
    re.IGNORECASE,
)
_WORD = re.compile(r"[\w’'-]+")


def section_coverage(case: Case) -> Outcome:
    """Q01: required sections found / required."""
    rules = case.inputs.sections
    if rules is None:
        return _needs_template(case)
    missing = [rule for rule in rules if find_section(case.document, rule) is None]
    findings = [
        case.finding(
            "Q01",
            quote="",
            expected=case.say(f"the section “{rule.heading}”", f"‘{rule.heading}’ 절"),
            found=case.say("missing", "없음"),
        )
        for rule in missing
    ]
    return outcome(1 - len(missing) / max(1, len(rules)), 1.0, findings)


def section_order(case: Case) -> Outcome:
    """Q02: longest increasing run / n."""
    rules = case.inputs.sections
    if rules is None:
        return _needs_template(case)
    places = [(index, rule) for rule in rules if (index := find_section(case.document, rule))]
    if not places:
        return NOT_APPLICABLE
    kept = _longest_increasing([index for index, _rule in places])
    findings = [
        case.finding(
            "Q02",
            quote=rule.heading,
            section=index,
            expected=case.say("the order of the form", "서식의 순서"),
            found=case.say("stands elsewhere", "다른 자리에 있음"),
            severity="warning",
        )
        for index, rule in places
        if index not in kept
    ]
    return outcome(len(kept) / len(places), 0.9, findings)


def _longest_increasing(values: list[int]) -> frozenset[int]:
    tails: list[int] = []
    chains: list[list[int]] = []
    for value in values:
        place = bisect.bisect_left(tails, value)
        chain = [*(chains[place - 1] if place else []), value]
        tails[place : place + 1] = [value]
        chains[place : place + 1] = [chain]
    return frozenset(chains[-1])


def length(case: Case) -> Outcome:
    """Q03: each section within its limits, and the pages within theirs (the gate)."""
    inputs = case.inputs
    if inputs.sections is None:
        return _needs_template(case)
    limited = [rule for rule in inputs.sections if rule.min_length or rule.max_length]
    findings = [found for rule in limited if (found := _too_long_or_short(case, rule))]
    fits = 1 - len(findings) / max(1, len(limited))
    if not inputs.page_limit:
        return outcome(fits, 1.0, findings, warn_only=True)
    if inputs.pages is None:
        note = case.say(
            f"the number of printed pages (limit {inputs.page_limit}) is not known",
            f"인쇄 쪽수를 알 수 없음(제한 {inputs.page_limit}쪽)",
        )
        return Outcome(
            state=State.UNVERIFIABLE, metric=fits, share=0.0, findings=(*findings,), note=note
        )
    if inputs.pages > inputs.page_limit:
        over = case.finding(
            "Q03",
            quote="",
            expected=case.say(f"at most {inputs.page_limit} pages", f"{inputs.page_limit}쪽 이내"),
            found=case.say(f"{inputs.pages} pages", f"{inputs.pages}쪽"),
        )
        return Outcome(state=State.FAIL, metric=inputs.pages, share=0.0, findings=(over, *findings))
    return outcome(fits, 1.0, findings, warn_only=True)


def _too_long_or_short(case: Case, rule: SectionRule) -> Finding | None:
    index = find_section(case.document, rule)
    if index is None:
        return None
    size = _size(case, index)
    if rule.min_length and size < rule.min_length:
        least = rule.min_length
        expected = case.say(f"at least {least} words", f"{least:,}자 이상")
    elif rule.max_length and size > rule.max_length:
        most = rule.max_length
        expected = case.say(f"at most {most} words", f"{most:,}자 이내")
    else:
        return None
    return case.finding(
        "Q03",
        quote=rule.heading,
        section=index,
        expected=expected,
        found=case.say(f"{size} words", f"{size:,}자"),
        severity="warning",
    )


def _size(case: Case, index: int) -> int:
    """Words, or characters without spaces, of a section without those that have their own rule."""
    own = {
        i
        for i, section in enumerate(case.document.sections)
        if case.rules.get(i) is case.rules.get(index) and (i == index or index in section.parents)
    }
    text = " ".join(p.text for p in case.document.paragraphs if p.section in own)
    return len(re.sub(r"\s", "", text)) if case.korean else len(_WORD.findall(text))


def leftovers(case: Case) -> Outcome:
    """Q04: marks and phrases that are not meant for the reader."""
    findings: list[Finding] = []
    section = 0
    headings = iter(range(1, len(case.document.sections)))
    for line in case.document.text.splitlines():
        if re.match(r"#{1,6}\s", line):
            section = next(headings, section)
        findings.extend(
            case.finding(
                "Q04",
                quote=line,
                section=section,
                expected=case.say("a text without leftovers", "작성 중 흔적이 없는 글"),
                found=match[0],
            )
            for match in _LEFTOVER.finditer(line)
        )
    return no_findings(findings)


def _needs_template(case: Case) -> Outcome:
    return unverifiable(
        case.say("no template given: --template names the form", "서식이 주어지지 않음(--template)")
    )
