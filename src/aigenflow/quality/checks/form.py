"""Q23, Q25 and Q27 to Q30: what the form and its readers ask for beside the text."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator

from aigenflow.quality.case import (
    NOT_APPLICABLE,
    Case,
    Outcome,
    bare_caption,
    domain,
    no_findings,
    outcome,
    unverifiable,
)
from aigenflow.quality.document import Table, is_blank
from aigenflow.quality.models import Finding, State

# Q23

COMPETITORS = 3
RISKS = 5
_SELF = re.compile(
    r"^(?:당사|본 과제|본 제품|자사|우리|this (?:project|plan|product|company)|ours?\b|us\b|we\b)",
    re.I,
)
_NOBODY = re.compile(
    r"현재 대응|미도입|do nothing|nothing|status quo|present way|현행|doing without", re.I
)
_RISK_PARTS = (
    ("likelihood", r"가능성|확률|likelihood|probability"),
    ("impact", r"영향|impact|severity"),
    ("response", r"대응|대안|response|mitigation|alternative|예방|prevention"),
    ("owner", r"담당|책임|owner|responsible"),
)


def competitors_and_risks(case: Case) -> Outcome:
    """Q23: at least 3 named competitors with sources; at least 5 complete risks."""
    findings: list[Finding] = []
    tables = case.document.tables
    rivals = [table for table in tables if _is_about_rivals(table)]
    risks = [table for table in tables if table.header and _is_risk_table(table)]
    asked = {t.id for rule in case.inputs.sections or () for t in rule.tables}
    if rivals or "competitor_table" in asked:
        findings += _rival_findings(case, rivals)
    if risks or "risk_register" in asked:
        findings += _risk_findings(case, risks)
    if not (rivals or risks or asked & {"competitor_table", "risk_register"}):
        return NOT_APPLICABLE
    return no_findings(findings, of=2)


def _is_about_rivals(table: Table) -> bool:
    first = table.header[0].lower() if table.header else ""
    return bool(
        re.search(r"경쟁|competitor|rival", f"{table.caption.lower()} {first}")
        and re.search(
            r"업체|기업|기관|제품|경쟁|대안|offer|company|product|organisation|competitor|rival",
            first,
        )
    )


def _is_risk_table(table: Table) -> bool:
    return bool(re.search(r"위험|리스크|risk", table.header[0], re.I)) and any(
        re.search(pattern, " ".join(table.header), re.I) for _name, pattern in _RISK_PARTS[:2]
    )


def _rival_findings(case: Case, tables: list[Table]) -> Iterator[Finding]:
    named = {
        row[0].strip()
        for table in tables
        for row in table.rows
        if row and not is_blank(row[0]) and not _SELF.search(row[0]) and not _NOBODY.search(row[0])
    }
    if len(named) < COMPETITORS:
        yield case.finding(
            "Q23",
            quote=", ".join(sorted(named)),
            section=tables[0].section if tables else None,
            expected=case.say("at least 3 named competitors", "이름이 있는 경쟁사 3곳 이상"),
            found=str(len(named)),
        )
    for table in tables:
        around = f"{table.caption} {table.note}"
        bare = [
            row[0]
            for row in table.rows
            if row
            and not (_SELF.search(row[0]) or _NOBODY.search(row[0]) or is_blank(row[0]))
            and not re.search(
                r"\[\^?#?\d|\[(?:추정|가정|estimat|assum)|https?://", " ".join(row) + around
            )
        ]
        if bare:
            yield case.finding(
                "Q23",
                quote=", ".join(bare),
                section=table.section,
                expected=case.say("a source for each competitor", "경쟁사마다 출처"),
                found=case.say("no source", "출처 없음"),
            )


def _risk_findings(case: Case, tables: list[Table]) -> Iterator[Finding]:
    complete = 0
    for table in tables:
        columns = [
            next((i for i, h in enumerate(table.header) if i and re.search(pattern, h, re.I)), None)
            for _name, pattern in _RISK_PARTS
        ]
        complete += sum(
            all(i is not None and i < len(row) and not is_blank(row[i]) for i in columns)
            for row in table.rows
        )
    if complete < RISKS:
        yield case.finding(
            "Q23",
            quote="",
            section=tables[0].section if tables else None,
            expected=case.say(
                "at least 5 risks with likelihood, impact, response, owner",
                "가능성·영향·대응·담당이 있는 위험 5개 이상",
            ),
            found=str(complete),
        )


# Q25

_MASKED = (
    ("school", r"[가-힣]{2,10}(?:대학교|고등학교|대학원)"
     r"|[가-힣]{2,4}대(?:\s?(?:졸업|출신|학사|석사|박사))"
     r"|\b(?:University|College|Institute) of [A-Z]\w+"
     r"|\b[A-Z]\w+ (?:University|College|High School)\b"),
    ("employer", r"[가-힣A-Za-z]{2,12}(?:전자|그룹|은행|증권|중공업|텔레콤|바이오|모터스)\s?"
     r"(?:\S{0,6}\s)?(?:출신|재직|근무|퇴사|경력)"
     r"|\b(?:formerly|previously|worked) (?:at|with|for) [A-Z][A-Za-z&]+"),
    ("birth", r"(?:19|20)\d\d년\s?(?:\d{1,2}월\s?\d{1,2}일\s?)?(?:생|출생)|만\s?\d{2}세|\(\d{2}세"
     r"|\bborn (?:in|on)\b|\b\d{2} years old\b|\b\d{2}-year-old (?:founder|CEO|engineer)"),
    ("gender", r"(?:남성|여성|남자|여자)\s?(?:대표|창업자|팀원)|\b(?:male|female) (?:founder|CEO)"),
    ("phone", r"(?<!\d)01[016789][-. ]?\d{3,4}[-. ]?\d{4}(?!\d)|(?<!\d)0\d{1,2}-\d{3,4}-\d{4}(?!\d)"
     r"|\+82[-\s]?\d"),
    ("id", r"(?<!\d)\d{6}-[1-4]\d{6}(?!\d)"),
    ("mail", r"[\w.+-]{1,64}@[\w-]{1,64}\.[\w.]{2,20}"),
)  # fmt: skip
_KOREAN_KINDS = {
    "school": "학교",
    "employer": "직장",
    "birth": "출생·나이",
    "gender": "성별",
    "phone": "전화번호",
    "id": "주민등록번호",
    "mail": "전자우편",
}


def masking(case: Case) -> Outcome:
    """Q25: the startup form shows no school, employer, birth, telephone or identity number."""
    if case.inputs.template != "startup":
        return NOT_APPLICABLE
    findings = [
        case.finding(
            "Q25",
            quote=each.text,
            section=each.section,
            expected=case.say("masked personal details", "가려진 개인정보"),
            found=f"{case.say(kind, _KOREAN_KINDS[kind])}: {match[0]}",
        )
        for each in case.document.statements
        for kind, pattern in _MASKED
        if (match := re.search(pattern, each.text))
    ]
    return no_findings(findings)


# Q27

_ACCESSED = re.compile(r"accessed|retrieved|visited|접속|열람|조회|검색일", re.IGNORECASE)
_ONE_DOMAIN = 0.3
_ENOUGH_TO_JUDGE = 5


def references(case: Case) -> Outcome:
    """Q27: title, publisher, year, address, day of access; not most of them from one place.

    The host of the address counts as the publisher where none is written.
    """
    listed = case.document.references
    if not listed:
        return NOT_APPLICABLE
    findings = []
    filled = 0
    for each in listed:
        text = each.text.replace(each.url, "").strip(" <>.")
        parts = {
            case.say("title", "제목"): len(re.sub(r"[\d\W]", "", text)) >= 4,
            case.say("year", "연도"): bool(re.search(r"(?:19|20)\d\d", each.work)),
            case.say("address", "주소"): bool(each.url),
            case.say("day of access", "열람일"): bool(_ACCESSED.search(text)),
        }
        filled += sum(parts.values())
        lacking = [name for name, there in parts.items() if not there]
        if lacking:
            findings.append(
                case.finding(
                    "Q27",
                    quote=each.text,
                    expected=", ".join(parts),
                    found=case.say(f"lacking: {', '.join(lacking)}", f"없음: {', '.join(lacking)}"),
                    severity="warning",
                )
            )
    hosts = Counter(domain(each.url) for each in listed if each.url)
    if len(listed) >= _ENOUGH_TO_JUDGE and hosts:
        host, count = hosts.most_common(1)[0]
        if count / len(listed) > _ONE_DOMAIN:
            findings.append(
                case.finding(
                    "Q27",
                    quote=host,
                    expected=case.say("at most 30 % from one place", "한 출처의 자료 30% 이하"),
                    found=f"{count / len(listed):.0%}",
                    severity="warning",
                )
            )
            filled = min(filled, int(0.9 * 4 * len(listed)))
    return outcome(filled / (4 * len(listed)), 0.95, findings, warn_only=False)


# Q28

_NUMBERED = re.compile(
    r"^(?:<\s*)?(?:표|그림|table|figure|fig\.)\s*([A-Z]?\d{1,3}(?:[-.]\d{1,3})?)", re.IGNORECASE
)


def tables_and_figures(case: Case) -> Outcome:
    """Q28: tables are there, numbered, captioned, and sourced where they have figures."""
    tables = case.document.tables
    if not tables and not case.document.images:
        return NOT_APPLICABLE
    findings = [*_missing_tables(case)]
    points = wanted = len(findings)
    points = 0
    seen: set[str] = set()
    for table in tables:
        number = _NUMBERED.match(table.caption)
        tests = {
            case.say("a caption", "제목"): bool(table.caption),
            case.say("a number", "번호"): number is not None and number[1] not in seen,
            case.say("rows", "내용"): bool(table.rows),
        }
        if number:
            seen.add(number[1])
        wanted += len(tests)
        points += sum(tests.values())
        lacking = [name for name, there in tests.items() if not there]
        if lacking:
            findings.append(
                case.finding(
                    "Q28",
                    quote=table.caption or " | ".join(table.header),
                    section=table.section,
                    expected=", ".join(tests),
                    found=case.say(f"lacking: {', '.join(lacking)}", f"없음: {', '.join(lacking)}"),
                    severity="warning",
                )
            )
    for section, text in case.document.images:
        wanted += 1
        points += bool(text)
        if not text:
            findings.append(
                case.finding(
                    "Q28",
                    quote="![]",
                    section=section,
                    expected=case.say("a caption", "그림 제목"),
                    found=case.say("none", "없음"),
                    severity="warning",
                )
            )
    return outcome(points / max(1, wanted), 0.95, findings)


def _missing_tables(case: Case) -> Iterator[Finding]:
    captions = [bare_caption(table.caption) for table in case.document.tables]
    for rule in case.inputs.sections or ():
        for wanted in rule.tables:
            name = bare_caption(wanted.caption)
            if not any(name in caption or (caption and caption in name) for caption in captions):
                yield case.finding(
                    "Q28",
                    quote=rule.heading,
                    expected=case.say(f"the table “{wanted.caption}”", f"표 ‘{wanted.caption}’"),
                    found=case.say("missing", "없음"),
                    severity="warning",
                )


# Q29


def export(case: Case) -> Outcome:
    """Q29: the exported files open again, with the same text, and nothing from outside."""
    files = case.inputs.exports
    if files is None:
        return unverifiable(
            case.say("the exported files were not looked at", "내보낸 파일을 확인하지 않음")
        )
    if not files:
        return NOT_APPLICABLE
    findings = [
        case.finding(
            "Q29",
            quote=file.name,
            expected=case.say("a sound file", "온전한 파일"),
            found=problem,
        )
        for file in files
        for problem in file.problems
    ]
    return no_findings(findings, of=len(files))


# Q30

_LAST_WORDS = 5
_STATEMENT = re.compile(
    r"(?:인공지능|(?<![A-Za-z])AI)(?:을|를|로|의|가)?[^.\n]{0,60}(?:활용|작성|생성|도움|사용)"
    r"|(?:\bAI\b|artificial intelligence)[^.\n]{0,80}(?:draft|written|used|generat|assist|help)"
    r"|(?:draft|written|generated|assisted)[^.\n]{0,60}(?:\bAI\b|artificial intelligence)",
    re.IGNORECASE,
)


def ai_statement(case: Case) -> Outcome:
    """Q30: the sentence on the use of AI, where the funder's rule asks for one."""
    policy = case.inputs.ai_policy
    if policy is None:
        return unverifiable(
            case.say(
                "no template given: the funder's rule is not known",
                "서식이 없어 기관의 규정을 알 수 없음",
            )
        )
    if policy == "allowed" or not case.inputs.ai_written:
        return NOT_APPLICABLE
    text = case.document.text
    wanted = " ".join(case.inputs.ai_statement.split())
    said = bool(wanted and wanted in " ".join(text.split())) or any(
        _STATEMENT.search(each.text) for each in case.document.sentences[-_LAST_WORDS:]
    )
    if said and policy == "disclose":
        return Outcome(state=State.PASS, metric=1.0)
    if said:
        return unverifiable(
            case.say(
                "the funder restricts AI-written text: the applicant must judge",
                "기관이 AI 작성 글을 제한함: 신청자가 판단해야 함",
            )
        )
    missing = case.finding(
        "Q30",
        quote="",
        expected=wanted or case.say("a statement on the use of AI", "AI 활용 사실 고지"),
        found=case.say("none", "없음"),
    )
    return no_findings([missing])
