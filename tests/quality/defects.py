"""Thirty ways of spoiling a document, one for each check; ``False``: it has no place for it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from corpus import Document, Grid, Part

from aigenflow.quality.models import ExportFact

Defect = Callable[[Document], bool]


def _lost_section(d: Document) -> bool:
    del d.parts[len(d.parts) // 2]
    return True


def _other_order(d: Document) -> bool:
    d.parts = [*reversed(d.parts)]
    return True


def _too_long(d: Document) -> bool:
    if d.outline.page_limit:
        d.pages = d.outline.page_limit + 1
        return True
    section = next(s for s in d.outline.sections if s.max_length)
    word = "아주 긴 설명을 되풀이한다. " if d.korean else "A very long text goes on and on. "
    d.part(section.id).paragraphs.append(word * section.max_length)
    return True


def _leftover(d: Document) -> bool:
    d.parts[2].paragraphs.append(
        "담당자는 홍길동이다." if d.korean else "The lead is [Insert name]."
    )
    return True


def _uncited(d: Document) -> bool:
    _market(d).paragraphs.append(
        "의원의 43%가 이미 비슷한 도구를 쓴다."
        if d.korean
        else "Already 43% of clinics use such a tool."
    )
    return True


def _no_such_reference(d: Document) -> bool:
    d.parts[1].paragraphs.append(
        "환자는 문자를 좋아한다 [77]." if d.korean else "Patients like messages [77]."
    )
    return True


def _foreign_address(d: Document) -> bool:
    d.references[0] = d.references[0].replace("data1.example.go.kr", "invented.example.com")
    return True


def _wrong_number(d: Document) -> bool:
    return _replace_first(
        d, r"(?<!\d)(\d+)%([^.]{0,20}\[1\])", lambda m: f"{int(m[1]) + 40}%{m[2]}"
    )


def _orphan(d: Document) -> bool:
    _market(d).paragraphs.append(
        "이 지역의 의원은 7,431곳이다." if d.korean else "The region has 7,431 clinics."
    )
    return True


def _wrong_total(d: Document) -> bool:
    for part in d.parts:
        for grid in part.grids:
            for row in grid.rows:
                numbers = [i for i, cell in enumerate(row) if i and re.fullmatch(r"[\d,]+", cell)]
                if re.match(r"합계|Total$", row[0]) and numbers:
                    row[numbers[0]] = f"{int(row[numbers[0]].replace(',', '')) + 7000:,}"
                    return True
    return False


def _shares_of_105(d: Document) -> bool:
    for part in d.parts:
        for grid in part.grids:
            column = _column(grid, r"^share \(|^비중 \(%|^구성비")
            if column and grid.id != "kpi_table" and len(grid.rows) > 2:
                grid.rows[0][column] = str(int(grid.rows[0][column]) + 5)
                return True
    return False


def _wrong_profit(d: Document) -> bool:
    if not d.has("income_statement"):
        return False
    grid = d.grid("income_statement")
    row = next(
        (r for r in grid.rows if re.match(r"영업이익|Operating (?:profit|result)", r[0])), None
    )
    if row is None:
        return False
    row[2] = "9,999"
    return True


def _sam_above_tam(d: Document) -> bool:
    grid = d.grid("market_size")
    column = _column(grid, r"금액|amount")
    if column is None or len(grid.rows) < 2:
        return False
    first, second = grid.rows[0], grid.rows[1]
    first[column], second[column] = second[column], first[column]
    return True


def _other_value(d: Document) -> bool:
    pattern = r"((?:요청 금액|funding request of|SAM\S*)[^\d]{0,20})([\d,]+)((?:천| thousand))"
    for part in reversed(d.parts):
        for index, text in enumerate(part.paragraphs):
            spoiled = re.sub(pattern, lambda m: f"{m[1]}{_twice(m[2])}{m[3]}", text, count=1)
            if spoiled != text:
                part.paragraphs[index] = spoiled
                return True
    return False


def _twice(digits: str) -> str:
    return f"{int(digits.replace(',', '')) * 2:,}"


def _ends_before_it_starts(d: Document) -> bool:
    d.parts[3].paragraphs.append(
        "시험은 2028-05 ~ 2027-02에 한다."
        if d.korean
        else "The trial runs from 2028-05 to 2027-02."
    )
    return True


def _weights_of_120(d: Document) -> bool:
    if not d.has("kpi_table"):
        return False
    grid = d.grid("kpi_table")
    column = _column(grid, r"비중|weight")
    if column is None:
        return False
    grid.rows[0][column] = "60"
    return True


def _no_such_level(d: Document) -> bool:
    d.parts[3].paragraphs.append(
        "기술은 TRL 8에서 TRL 5로 올라간다." if d.korean else "The work goes from TRL 8 to TRL 5."
    )
    return True


def _nobody_in_charge(d: Document) -> bool:
    if not d.has("work_packages"):
        return False
    grid = d.grid("work_packages")
    columns = [
        i
        for i, name in enumerate(grid.header)
        if re.search(
            r"담당|책임|lead|in charge|organisation|기간|결과물|deliverable|period", name.lower()
        )
    ]
    for row in grid.rows:
        for column in columns:
            row[column] = "—"
    return True


def _foreign_sentence(d: Document) -> bool:
    d.parts[2].paragraphs.append(
        "The quick solution leverages our existing platform for every customer in the country."
        if d.korean
        else "이 서비스는 전국의 모든 고객에게 제공된다."
    )
    return True


def _said_twice(d: Document) -> bool:
    text = max((p for part in d.parts for p in part.paragraphs), key=len)
    d.parts[-2].paragraphs.append(text)
    return True


def _breathless(d: Document) -> bool:
    for part in d.parts:
        part.paragraphs = [
            re.sub(r"\.\s+", ", 그리고 " if d.korean else ", and ", text)
            for text in part.paragraphs
        ]
    return True


def _boast(d: Document) -> bool:
    d.parts[2].paragraphs.append(
        "국내 최초이며 경쟁사가 없다."
        if d.korean
        else "There are no competitors; it is a world first."
    )
    return True


def _alone(d: Document) -> bool:
    for part in d.parts:
        for grid in part.grids:
            if grid.id == "competitor_table":
                grid.rows = grid.rows[:1]
                return True
            if grid.id in ("risk_register", "technical_risks"):
                grid.rows = grid.rows[:2]
                return True
    return False


def _only_in_summary(d: Document) -> bool:
    d.part("executive_summary").paragraphs.append(
        "절감액은 8,642천 원이다 [1]." if d.korean else "It saves USD 8,642 thousand [1]."
    )
    return True


def _school(d: Document) -> bool:
    if d.outline.name != "startup":
        return False
    d.parts[-1].paragraphs.append(
        "대표자는 한빛대학교를 졸업했다."
        if d.korean
        else "The founder studied at Hanbit University."
    )
    return True


def _two_rates(d: Document) -> bool:
    d.parts[2].paragraphs.append(
        "적용 환율은 1달러 = 1,380원이다." if d.korean else "The rate is USD 1 = KRW 1,380."
    )
    d.parts[3].paragraphs.append(
        "여기서는 1달러 = 1,250원을 쓴다." if d.korean else "Here USD 1 = KRW 1,250 holds."
    )
    return True


def _bare_references(d: Document) -> bool:
    d.references = [re.sub(r",? \d{4}\.|\([^)]*\)", "", text) for text in d.references]
    return True


def _no_captions(d: Document) -> bool:
    for part in d.parts:
        for grid in part.grids[::2]:
            grid.caption = ""
    return True


def _broken_export(d: Document) -> bool:
    d.exports = (ExportFact(name="plan.docx", problems=("it does not open",)),)
    return True


def _no_statement(d: Document) -> bool:
    d.statement = ""
    return d.outline.ai_policy == "disclose"


DEFECTS: Mapping[str, Defect] = {
    f"Q{number:02}": defect
    for number, defect in enumerate(
        (
            _lost_section, _other_order, _too_long, _leftover, _uncited, _no_such_reference,
            _foreign_address, _wrong_number, _orphan, _wrong_total, _shares_of_105, _wrong_profit,
            _sam_above_tam, _other_value, _ends_before_it_starts, _weights_of_120, _no_such_level,
            _nobody_in_charge, _foreign_sentence, _said_twice, _breathless, _boast, _alone,
            _only_in_summary, _school, _two_rates, _bare_references, _no_captions, _broken_export,
            _no_statement,
        ),
        start=1,
    )
}  # fmt: skip


def _market(d: Document) -> Part:
    return next(part for part in d.parts if any(g.id == "market_size" for g in part.grids))


def _column(grid: Grid, pattern: str) -> int | None:
    found = (i for i, name in enumerate(grid.header) if i and re.search(pattern, name.lower()))
    return next(found, None)


def _replace_first(d: Document, pattern: str, new: Callable[[re.Match[str]], str]) -> bool:
    for part in d.parts:
        if part.id == "executive_summary":
            continue
        for index, text in enumerate(part.paragraphs):
            spoiled = re.sub(pattern, new, text, count=1)
            if spoiled != text:
                part.paragraphs[index] = spoiled
                return True
    return False
