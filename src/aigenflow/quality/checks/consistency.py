"""Q14 to Q18 and Q24: what must be the same everywhere."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from aigenflow.core.arithmetic import format_money
from aigenflow.core.models import DocumentType
from aigenflow.core.numbers import Figure, units_agree
from aigenflow.core.quantities import PERCENT, Quantity
from aigenflow.quality.amounts import cell_amount, column_currency, column_scale
from aigenflow.quality.case import NOT_APPLICABLE, Case, Outcome, claims, no_findings, outcome
from aigenflow.quality.document import Document, Statement, Table, is_blank
from aigenflow.quality.models import Finding

# Q14

_NAMES = {
    name: re.compile(pattern, re.IGNORECASE)
    for name, pattern in {
        "TAM": r"\bTAM\b",
        "SAM": r"\bSAM\b",
        "SOM": r"\bSOM\b",
        "request": (
            r"요청 ?금액|(?:funding|amount) request(?:ed)?\b|\basks for\b|^this request|이번 요청"
        ),
        "budget": r"총 ?(?:연구개발비|사업비)|total (?:project )?(?:budget|cost)\b",
        "government": r"정부지원(?:금|연구개발비)|government (?:funding|grant)\b",
        "revenue 1": r"(?:1차 ?연도|첫해) 매출(?!총|원)|(?:year[- ]1|first[- ]year) revenue",
        "revenue 3": r"3차 ?연도 매출(?!총|원)|year[- ]3 revenue|third[- ]year revenue",
        "break-even": (
            r"손익분기(?:점| 시점)(?!.{0,6}(?:판매량|매출))"
            r"|break-even (?:month|point)|month of break-even"
        ),
        "price": r"판매 ?단가|단가\(|price per unit",
        "CAC": r"(?<!/ )(?<!/)\bCAC\b",
        "LTV": r"\bLTV\b(?!\s*/)",
        "IRR": r"\bIRR\b|내부수익률",
        "NPV": r"\bNPV\b(?! at)|순현재가치",
    }.items()
}
_KOREAN_NAMES = {
    "request": "요청 금액",
    "budget": "총사업비",
    "government": "정부지원금",
    "revenue 1": "1차 연도 매출",
    "revenue 3": "3차 연도 매출",
    "break-even": "손익분기점",
    "price": "판매 단가",
    "IRR": "내부수익률",
    "NPV": "순현재가치",
}
_NEAR = 40
_WORKED_OUT = re.compile(r"\w{0,3}\s?[:=][^=]*=|\w{0,3}\s?=")
"""``Revenue: 12 × 40 = 480`` states what stands behind the last sign."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Named:
    """One value that a named quantity has at one place."""

    name: str
    quantity: Quantity
    precision: Decimal
    statement: Statement


def cross_section(case: Case) -> Outcome:
    """Q14: each named quantity has one value in all sections, tables and the summary."""
    by_name: dict[str, list[_Named]] = {}
    for named in _named_values(case.document):
        by_name.setdefault(named.name, []).append(named)
    findings = [
        finding
        for values in by_name.values()
        if len(values) > 1
        for finding in _conflicts(case, values)
    ]
    if not by_name:
        return NOT_APPLICABLE
    return no_findings(findings, of=len(by_name))


def _named_values(document: Document) -> Iterator[_Named]:
    for sentence in document.sentences:
        yield from _in_sentence(sentence)
    for statement in document.rows:
        if statement.row_of is not None:
            yield from _in_row(document.tables[statement.row_of], statement)


def _in_sentence(statement: Statement) -> Iterator[_Named]:
    places = [
        (match.start(), match.end(), name)
        for name, pattern in _NAMES.items()
        for match in pattern.finditer(statement.text)
    ]
    for index, (_start, end, name) in enumerate(sorted(places)):
        following = sorted(places)[index + 1][0] if index + 1 < len(places) else len(statement.text)
        worked_out = _WORKED_OUT.match(statement.text, end, following)
        start = statement.text.rindex("=", end, following) if worked_out else end
        near = [
            f
            for f in statement.figures
            if start <= f.start < min(start + _NEAR, following) and _fits(name, f.quantity)
        ]
        if near and not near[0].is_range:
            yield _Named(
                name=name,
                quantity=near[0].quantity,
                precision=near[0].precision,
                statement=statement,
            )


def _fits(name: str, quantity: Quantity) -> bool:
    if name == "IRR":
        return quantity.unit == "%"
    if name == "break-even":
        return quantity.unit in ("개월", "월", "months", "month", "")
    return quantity.is_money or quantity.value >= 10_000


def _in_row(table: Table, statement: Statement) -> Iterator[_Named]:
    """A key-value row has one number; a row of a table over years names none of them."""
    cells = statement.text.split(" | ")
    name = next((n for n, pattern in _NAMES.items() if pattern.search(cells[0])), None)
    if name is None or re.search(r"산출|ratio|판매량|volume|매출액\(", cells[0]):
        return
    column = table.column(
        "금액", "수치", "값", "amount", "value", "figure", "내용", "details", "detail"
    )
    if column is None or column >= len(cells):
        return
    amount = cell_amount(cells[column], column_scale(table, column, cells[0]))
    if amount is None:
        return
    unit = amount.unit or column_currency(table, column, cells[0])
    quantity = Quantity(value=amount.value, unit=unit)
    if _fits(name, quantity):
        yield _Named(name=name, quantity=quantity, precision=amount.precision, statement=statement)


def _conflicts(case: Case, values: Sequence[_Named]) -> Iterator[Finding]:
    """Whoever differs from the value that most places have."""
    usual = max(values, key=lambda each: sum(_same(each, other) for other in values))
    for each in values:
        if not _same(each, usual):
            name = case.say(each.name, _KOREAN_NAMES.get(each.name, each.name))
            yield case.finding(
                "Q14",
                quote=each.statement.text,
                section=each.statement.section,
                expected=f"{name} = {_plain(case, usual.quantity)}",
                found=_plain(case, each.quantity),
            )


def _same(one: _Named, other: _Named) -> bool:
    if not units_agree(one.quantity.unit, other.quantity.unit):
        # In another currency: the exchange rate is another check's matter.
        return one.quantity.is_money and other.quantity.is_money
    apart = abs(one.quantity.value - other.quantity.value)
    return apart <= max(one.precision, other.precision) / 2


def _plain(case: Case, quantity: Quantity) -> str:
    if quantity.is_money:
        return format_money(quantity.value, quantity.unit, case.inputs.language)
    return f"{quantity.value.normalize():,f} {quantity.unit}".strip()


# Q15

_DAY = r"(?:(20\d\d)\s?(?:[-./]|년)\s?(\d{1,2})(?:\s?(?:[-./]|월)\s?(\d{1,2})\s?일?)?월?)"
_PERIOD = re.compile(rf"(?<!\d){_DAY}\.?\s*(?:~|∼|–|—|-|부터|to|until)\s*{_DAY}")
_ONE_DAY = re.compile(rf"(?<!\d){_DAY}(?!\d)")
_WHOLE = re.compile(
    r"(?:과제|협약|사업|연구개발|project|agreement)\s?(?:기간|period)", re.IGNORECASE
)
_DONE = re.compile(r"완료|달성|done|completed|achieved|finished", re.IGNORECASE)
_OLD_YEARS = 3


def dates(case: Case) -> Outcome:
    """Q15: start before end; tasks inside the period; no past milestone; no source of tomorrow."""
    document = case.document
    findings = [*_reversed_periods(case), *_past_milestones(case), *_source_years(case)]
    whole = next(
        (
            period
            for each in document.statements
            if _WHOLE.search(each.text) and (period := _period(each.text))
        ),
        None,
    )
    if whole is not None:
        findings += _outside(case, whole)
    dated = sum(bool(_ONE_DAY.search(each.text)) for each in document.statements)
    if not dated and not findings and not document.references:
        return NOT_APPLICABLE
    return no_findings(findings, of=max(1, dated))


def _day(year: str, month: str, day: str | None, *, last: bool = False) -> date | None:
    try:
        return date(int(year), int(month), int(day) if day else (28 if last else 1))
    except ValueError:
        return None


def _period(text: str) -> tuple[date, date] | None:
    match = _PERIOD.search(text)
    if match is None:
        return None
    start = _day(match[1], match[2], match[3])
    end = _day(match[4], match[5], match[6], last=True)
    return (start, end) if start and end else None


def _reversed_periods(case: Case) -> Iterator[Finding]:
    def wrong(statement: Statement) -> Finding:
        return case.finding(
            "Q15",
            quote=statement.text,
            section=statement.section,
            expected=case.say("start before end", "시작 < 종료"),
            found=case.say("the end comes first", "종료가 먼저임"),
        )

    for statement in case.document.statements:
        period = _period(statement.text)
        in_columns = statement.row_of is not None and _ends_first(
            case.document.tables[statement.row_of], statement.text.split(" | ")
        )
        if in_columns or (period and period[0] > period[1]):
            yield wrong(statement)


def _ends_first(table: Table, cells: Sequence[str]) -> bool:
    start, end = table.column("시작", "start"), table.column("종료", "end (", "end")
    if start is None or end is None or max(start, end) >= len(cells):
        return False
    numbers = [re.fullmatch(r"\D{0,3}(\d{1,3})\D{0,4}", cells[i].strip()) for i in (start, end)]
    if all(numbers):
        first, last = (int(match[1]) for match in numbers if match)
        return first > last
    days = [_first_day(cells[i]) for i in (start, end)]
    return days[0] is not None and days[1] is not None and days[0] > days[1]


def _first_day(text: str, *, last: bool = False) -> date | None:
    match = _ONE_DAY.search(text)
    return _day(match[1], match[2], match[3], last=last) if match else None


def _past_milestones(case: Case) -> Iterator[Finding]:
    for statement in case.document.rows:
        table = case.document.tables[statement.row_of or 0]
        column = table.column("시기", "일정", "기한", "완료", "when", "due", "target date", "종료")
        named = " ".join((table.caption, *table.header)).lower()
        if column is None or not re.search(
            r"일정|로드맵|마일스톤|milestone|schedule|roadmap|due", named
        ):
            continue
        cells = statement.text.split(" | ")
        day = _first_day(cells[column], last=True) if column < len(cells) else None
        if day and day < case.inputs.today.replace(day=1) and not _DONE.search(statement.text):
            yield case.finding(
                "Q15",
                quote=statement.text,
                section=statement.section,
                expected=case.say(f"after {case.inputs.today}", f"{case.inputs.today} 이후"),
                found=str(day),
            )


def _source_years(case: Case) -> Iterator[Finding]:
    now = case.inputs.today.year
    for reference in case.document.references:
        years = [int(year) for year in re.findall(r"(?<!\d)(?:19|20)\d\d(?!\d)", reference.work)]
        published = [year for year in years if year <= now] or years
        if not published:
            continue
        if min(years) > now:
            yield case.finding(
                "Q15",
                quote=reference.text,
                expected=case.say(f"a year up to {now}", f"{now}년 또는 그 이전"),
                found=str(min(years)),
            )
        elif now - min(published) > _OLD_YEARS:
            yield case.finding(
                "Q15",
                quote=reference.text,
                expected=case.say("a source of the last three years", "최근 3년의 자료"),
                found=str(min(published)),
                severity="warning",
            )


def _outside(case: Case, whole: tuple[date, date]) -> Iterator[Finding]:
    start, end = whole
    for statement in case.document.rows:
        table = case.document.tables[statement.row_of or 0]
        named = f"{table.caption} {' '.join(table.header)}".lower()
        period = _period(statement.text)
        if period is None or _WHOLE.search(statement.text):
            continue
        if re.search(r"협약기간 내|작업|과업|세부|task|work package", named) and (
            period[0] < start or period[1] > end
        ):
            yield case.finding(
                "Q15",
                quote=statement.text,
                section=statement.section,
                expected=f"{start} – {end}",
                found=f"{period[0]} – {period[1]}",
            )


# Q16

_WEIGHT = re.compile(r"가중치|비중|weight", re.IGNORECASE)


def indicators(case: Case) -> Outcome:
    """Q16 (rd): the table of indicators is filled, weighed to 100, and goes towards its targets."""
    if case.inputs.document_type is DocumentType.BIZPLAN:
        return NOT_APPLICABLE
    tables = [table for table in case.document.tables if _is_indicator_table(table)]
    if not tables:
        return NOT_APPLICABLE
    findings = [finding for table in tables for finding in _indicator_findings(case, table)]
    findings += _unserved(case, tables)
    return no_findings(findings, of=sum(len(table.rows) for table in tables))


def _is_indicator_table(table: Table) -> bool:
    return (
        table.column("지표", "indicator", "objective", "목표") is not None
        and table.column("비중", "가중치", "weight") is not None
        and table.column("기준값", "baseline", "현재") is not None
    )


def _indicator_findings(case: Case, table: Table) -> Iterator[Finding]:
    weight = next(i for i, name in enumerate(table.header) if _WEIGHT.search(name))
    weights = [
        amount.value
        for row in table.rows
        if weight < len(row) and (amount := cell_amount(row[weight]))
    ]
    whole = sum(weights, Decimal(0))
    if weights and abs(whole - 100) > Decimal("0.1"):
        yield case.finding(
            "Q16",
            quote=table.caption or table.header[weight],
            section=table.section,
            expected="100",
            found=f"{whole:f}",
        )
    for row in table.rows:
        empty = [table.header[i] for i, cell in enumerate(row) if is_blank(cell)]
        if empty:
            yield case.finding(
                "Q16",
                quote=" | ".join(row),
                section=table.section,
                expected=case.say("every column filled", "모든 열을 채움"),
                found=case.say(f"empty: {', '.join(empty)}", f"빈칸: {', '.join(empty)}"),
            )
        elif not _is_monotone(table, row):
            yield case.finding(
                "Q16",
                quote=" | ".join(row),
                section=table.section,
                expected=case.say("values that go towards the target", "목표로 다가가는 값"),
                found=case.say("they turn back", "되돌아가는 값"),
            )


def _is_monotone(table: Table, row: Sequence[str]) -> bool:
    columns = [
        i
        for i, name in enumerate(table.header)
        if re.search(r"기준값|baseline|목표(?!치? ?근거)|target|연도 목표", name, re.I)
        and i < len(row)
    ]
    values = [amount.value for i in columns if (amount := cell_amount(row[i]))]
    return values in (sorted(values), sorted(values, reverse=True))


def _unserved(case: Case, indicator_tables: Sequence[Table]) -> Iterator[Finding]:
    """Every sub-technology names at least one indicator."""
    for table in case.document.tables:
        column = table.column("기여 지표", "indicator served", "objective served")
        if column is None or table in indicator_tables:
            continue
        for row in table.rows:
            if column < len(row) and is_blank(row[column]) and not is_blank(row[0]):
                yield case.finding(
                    "Q16",
                    quote=" | ".join(row),
                    section=table.section,
                    expected=case.say("at least one indicator", "성과지표 1개 이상"),
                    found=case.say("none", "없음"),
                )


# Q17

_TRL = re.compile(r"(?:TRL|기술성숙도)\s?(?:단계)?\s?(\d{1,2})(?!\d)", re.IGNORECASE)
_TRL_PATH = re.compile(
    r"(?:TRL|기술성숙도)\s?(\d{1,2})\s?(?:단계)?\s?(?:에서|부터|~|→|-|–|to|and reaches|up to)\s?"
    r"(?:TRL|기술성숙도)?\s?(\d{1,2})(?!\d)",
    re.IGNORECASE,
)
_JUMP = 4


def readiness(case: Case) -> Outcome:
    """Q17: TRL 1 to 9, start below target, the same everywhere; a jump above 4 warns."""
    paths: list[tuple[int, int, Statement]] = []
    findings = []
    mentioned = False
    for statement in case.document.statements:
        levels = [int(level) for level in _TRL.findall(statement.text)]
        mentioned = mentioned or bool(levels)
        if any(not 1 <= level <= 9 for level in levels):
            findings.append(_level(case, statement, "TRL 1–9", str(max(levels))))
        paths += [(int(m[1]), int(m[2]), statement) for m in _TRL_PATH.finditer(statement.text)]
    rising = case.say("start < target", "시작 < 목표")
    findings += [
        _level(case, statement, rising, f"{start} → {target}")
        for start, target, statement in paths
        if start >= target
    ]
    findings += [
        _level(case, statement, "≤ 4", f"{start} → {target}", is_warning=True)
        for start, target, statement in paths
        if target - start > _JUMP
    ]
    ways = [(start, target) for start, target, _statement in paths]
    if len(set(ways)) > 1:
        usual = max(ways, key=ways.count)
        findings += [
            _level(case, statement, f"TRL {usual[0]} → {usual[1]}", f"TRL {start} → {target}")
            for start, target, statement in paths
            if (start, target) != usual
        ]
    return no_findings(findings, of=max(1, len(paths))) if mentioned else NOT_APPLICABLE


def _level(
    case: Case, statement: Statement, expected: str, found: str, *, is_warning: bool = False
) -> Finding:
    return case.finding(
        "Q17",
        quote=statement.text,
        section=statement.section,
        expected=expected,
        found=found,
        severity="warning" if is_warning else "error",
    )


# Q18

_PARTS = {
    ("owner", "담당"): r"담당|책임|owner|lead|person in charge|organisation$|organisation \(",
    ("period", "기간"): r"기간|일정|시작|종료|시기|period|start|end|when",
    ("deliverable", "산출물"): r"결과물|산출물|deliverable|result",
    ("budget", "예산"): r"예산|사업비|연구개발비|금액|budget|effort|인월|cost",
}


def work_plan(case: Case) -> Outcome:
    """Q18: each work package has an owner, a period, a deliverable and a budget."""
    wanted = filled = 0
    findings = []
    for table in case.document.tables:
        parts = {
            i: part
            for i, name in enumerate(table.header)
            if i
            for part, pattern in _PARTS.items()
            if re.search(pattern, name, re.IGNORECASE)
        }
        is_plan = re.search(
            r"세부기술|작업|과업|work package|^task|sub-technology",
            f"{table.header[0]} {table.header[1] if len(table.header) > 1 else ''}",
            re.IGNORECASE,
        )
        if not is_plan or len(set(parts.values())) < 3:
            continue
        for row in table.rows:
            wanted += len(parts)
            empty = [table.header[i] for i in parts if i >= len(row) or is_blank(row[i])]
            filled += len(parts) - len(empty)
            if empty:
                findings.append(
                    case.finding(
                        "Q18",
                        quote=" | ".join(row),
                        section=table.section,
                        expected=", ".join(
                            dict.fromkeys(case.say(*part) for part in parts.values())
                        ),
                        found=case.say(f"empty: {', '.join(empty)}", f"빈칸: {', '.join(empty)}"),
                        severity="warning",
                    )
                )
    if not wanted:
        return NOT_APPLICABLE
    return outcome(filled / wanted, 0.95, findings)


# Q24


def summary_subset(case: Case) -> Outcome:
    """Q24: numbers of the summary stand in the body too."""
    statements = case.document.statements
    summary = [each for each in statements if case.has_theme(each.section, "summary")]
    if not summary:
        return NOT_APPLICABLE
    body = [case.figures_of(each) for each in statements if each not in summary]
    known = [figure for figures in body for figure in figures]
    missing = [
        (statement, figure)
        for statement in summary
        for figure in _amounts_of(case, statement)
        if not any(figure.says(other.quantity) or other.says(figure.quantity) for other in known)
    ]
    count = sum(len(claims(each)) for each in summary)
    findings = [
        case.finding(
            "Q24",
            quote=statement.text,
            section=statement.section,
            expected=case.say("the same figure in the body", "본문에 같은 수치"),
            found=figure.text,
        )
        for statement, figure in missing
    ]
    return outcome(1 - len(missing) / max(1, count), 1.0, findings)


def _amounts_of(case: Case, statement: Statement) -> tuple[Figure, ...]:
    """What a summary's sentence claims; of a summary's table, only money and shares."""
    if statement.row_of is None:
        return claims(statement)
    return tuple(
        figure
        for figure in case.figures_of(statement)
        if figure.quantity.is_money or figure.quantity.unit == PERCENT
    )
