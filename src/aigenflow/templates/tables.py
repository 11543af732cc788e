"""Required tables filled with what a brief says and what follows from its figures.

A cell is filled where its row and its column are both understood; everything else stays a visible
blank. Text from the brief is escaped, so that no cell can break the table or carry HTML.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import NamedTuple

from aigenflow.core import arithmetic
from aigenflow.core.arithmetic import format_money, format_number, format_percent
from aigenflow.core.markdown import clean_cell
from aigenflow.core.models import Language
from aigenflow.core.quantities import CURRENCIES
from aigenflow.templates.brief import Brief, Entry
from aigenflow.templates.figures import Figures, Use
from aigenflow.templates.models import Column, Table
from aigenflow.templates.wording import say

_BLANK_ROWS = 3

# ---- units -------------------------------------------------------------------------------------

_WON_SCALES = {
    "십억원": 10**9,
    "백만원": 10**6,
    "천만원": 10**7,
    "억원": 10**8,
    "만원": 10**4,
    "천원": 10**3,
}
_ENGLISH_SCALES = {"billion": 10**9, "million": 10**6, "thousand": 10**3}


def in_unit(amount: Decimal, unit: str, currency: str, language: Language) -> str:
    """``amount`` as a number in a table's unit, or written out where the unit does not fit."""
    won = unit.replace(" ", "").partition("/")[0]
    scale = _WON_SCALES.get(won) or next(
        (size for word, size in _ENGLISH_SCALES.items() if word in unit.lower()), None
    )
    foreign = won.endswith("원") and currency not in ("KRW", "")
    foreign = foreign or any(code in unit for code in CURRENCIES if code != currency)
    if scale and not foreign:
        value = amount / scale
        return format_number(value, 1 if abs(value) >= 1 else 3)
    if won == "원" and not foreign:
        return format_number(amount)
    return format_money(amount, currency, language)


def column_title(column: Column, currency: str) -> str:
    """``Year 1 (USD thousand)``: the column's name with its unit, in the plan's currency."""
    if not column.unit:
        return clean_cell(column.name)
    return clean_cell(f"{column.name} ({unit_title(column.unit, currency)})")


def unit_title(unit: str, currency: str) -> str:
    """An outline's unit with the plan's currency in it, where there is one."""
    if not currency:
        return unit
    if "원" in unit and currency != "KRW":
        _won, per, period = unit.partition("/")
        return f"{currency}{per}{period}"
    first = unit.split(" ", 1)[0]
    if first == "currency":
        return unit.replace("currency", currency, 1)
    return f"{currency} {unit}" if first in _ENGLISH_SCALES else unit


# ---- what a row asks for -----------------------------------------------------------------------

_YEAR_NAMED = re.compile(
    r"(?P<ko>[1-5])\s*차\s*연도|출시\s*(?P<launch>[1-5])\s*년|(?:in )?\byear (?P<en>[1-5])\b"
    r"|(?P<first>\bfirst-year\b)",
    re.IGNORECASE,
)
_ROW_UNIT = re.compile(r"\(([^()]*)\)\s*$")

# First match wins, so the longer names stand before the names they contain.
_CONCEPTS: tuple[tuple[str, str], ...] = (
    ("break_even_revenue", r"손익분기 매출|break-even revenue"),
    ("break_even_volume", r"손익분기 판매량|break-even volume"),
    ("break_even_time", r"손익분기 시점|month of break-even|break-even \(month\)"),
    ("gross_margin", r"매출총이익률|gross margin"),
    ("gross_profit", r"매출총이익$|gross profit$"),
    ("cost_of_sales", r"매출원가$|cost of (?:goods sold|sales)$"),
    ("fixed_costs", r"연간 고정비|fixed costs|판매비와 관리비$|operating expenses$"),
    ("contribution", r"단위당 공헌이익|contribution per unit"),
    ("operating_profit", r"영업이익$|operating profit"),
    ("revenue", r"매출액?$|revenue$"),
    ("volume", r"판매량$|units sold$"),
    ("price", r"(?:판매 )?단가$|price(?: per unit)?$"),
    ("unit_cost", r"단위 (?:변동비|직접비)|(?:variable|direct) cost per unit"),
    ("tam", r"tam\b"),
    ("sam", r"sam\b"),
    ("som", r"som\b"),
    ("own_cash", r"(?:기관|자기)부담.*현금|own .*cash"),
    ("own_in_kind", r"(?:기관|자기)부담.*현물|own .*in kind"),
    ("own_total", r"(?:기관|자기)부담|자기자금|owners|own contribution"),
    ("government", r"정부지원|보조금|grants?$|(?:public|government) (?:funding|grant|contrib)"),
    ("ask", r"(?:이번 )?요청(?: 금액)?$|투자 유치$|this request|amount requested"),
    ("budget", r"총 ?(?:연구개발비|사업비)|total (?:project )?(?:budget|cost)"),
    ("total", r"합계$|total$"),
    ("own_offer", r"당사$|this company$"),
    ("text:company", r"주관연구개발기관|기업\(예정\)명|회사명|legal name|lead (?:organi|instit)"),
    ("text:product", r"창업 ?아이템명|명칭$|아이템 개요|주요 제품|main product|name of the item"),
    ("text:region", r"소재지|seat$"),
    ("text:period_months", r"연구개발기간|project period|duration"),
    ("text:problem", r"문제 인식|problem"),
    ("text:solution", r"실현 가능성|solution"),
    ("text:channels", r"성장전략|scale-up"),
    ("text:team", r"팀 구성|team"),
    ("text:objectives", r"연구개발 목표|objectives?$|의결 안건"),
    ("text:kpis", r"핵심 정량 목표|(?:key )?(?:quantitative )?targets?$"),
    ("text:methodology", r"연구개발 내용|research content"),
    ("text:trl", r"기술성숙도|technology readiness|trl"),
)  # fmt: skip
_VALUE_COLUMNS = re.compile(r"값|수치|금액|내용|value|figure|amount|details?|content", re.I)
_FORMULA_COLUMNS = re.compile(r"산출식|^근거$|calculation|formula|^basis$", re.I)
_BASE_COLUMNS = re.compile(r"기준|base", re.I)
_PRICE_COLUMNS = re.compile(r"가격|price", re.I)
_SHARE_COLUMNS = re.compile(r"비중|share", re.I)
_TOTAL_COLUMNS = re.compile(r"합계|total", re.I)
_SOURCE_COLUMNS = re.compile(r"출처|source", re.I)
_BASE_YEAR_COLUMNS = re.compile(r"기준연도|^year$|base year", re.I)


class Cell(NamedTuple):
    """A value with its meaning: ``kind`` is money, count, percent (a fraction) or text."""

    kind: str
    value: Decimal = Decimal(0)
    text: str = ""
    formula: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """All that fills a table: the brief, what follows from it, and the document's language."""

    brief: Brief
    figures: Figures
    language: Language

    def money(self, amount: Decimal) -> str:
        return format_money(amount, self.figures.currency, self.language)


@dataclass(frozen=True, slots=True, kw_only=True)
class FilledTable:
    """A table ready to render. ``laid_out`` names the facts whose lines became rows."""

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    filled: int
    laid_out: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Row:
    label: str
    number: str = ""
    entry: Entry | None = None
    use: Use | None = None


def fill_table(table: Table, plan: Plan, facts: frozenset[str] = frozenset()) -> FilledTable:
    """Fill what is understood. ``facts`` are the list facts that may become rows of this table."""
    rows, laid_out = _rows(table, plan, facts)
    cells = [
        tuple(_cell(table, row, index, plan) for index in range(len(table.columns))) for row in rows
    ]
    known = {row.label for row in rows if row.entry is None and row.use is None}
    return FilledTable(
        header=tuple(column_title(column, plan.figures.currency) for column in table.columns),
        rows=tuple(cells) or _blank_rows(table, plan.language),
        filled=sum(
            1
            for row in cells
            for index, cell in enumerate(row)
            if cell and not (index == 0 and cell in known)
        ),
        laid_out=laid_out if _tells_all(rows, cells) else frozenset(),
    )


def _tells_all(rows: list[_Row], cells: Sequence[Sequence[str]]) -> bool:
    """Whether every field of every entry has found a column."""
    return all(
        clean_cell(value) in line
        for row, line in zip(rows, cells, strict=True)
        if row.entry is not None
        for value in row.entry.fields.values()
    )


def _blank_rows(table: Table, language: Language) -> tuple[tuple[str, ...], ...]:
    first = say("to_fill", language)
    return tuple((first, *[""] * (len(table.columns) - 1)) for _ in range(_BLANK_ROWS))


# ---- rows --------------------------------------------------------------------------------------

_ROWS_OF: Mapping[str, str] = {
    "competitors": r"^competitor",
    "risks": r"risk",
    "team": r"^team|^researchers$",
    "milestones": r"^milestones$|^schedule_(?:agreement|table)$|^initiatives$",
    "kpis": r"^kpis$|^kpi_table$|^indicators?(?:_table)?$",
    "channels": r"^channel",
    "partners": r"^partners?$",
    "prior_work": r"^prior_table$",
}


def lays_out(table: Table, key: str) -> bool:
    """Whether the lines of the fact ``key`` become rows of ``table``."""
    if key == "use_of_funds":
        return table.fill in ("use_of_funds", "budget") and "own_cash" not in _concepts_of(table)
    return key in _ROWS_OF and re.search(_ROWS_OF[key], table.id) is not None


def _rows(table: Table, plan: Plan, facts: frozenset[str]) -> tuple[list[_Row], frozenset[str]]:
    known = [_Row(label=label) for label in table.rows]
    for key in facts:
        if lays_out(table, key) and key == "use_of_funds":
            uses = [_Row(label=use.label, use=use) for use in plan.figures.uses]
            return [*uses, _Row(label=say("total", plan.language))], frozenset({key})
        if lays_out(table, key):
            return _entry_rows(known, plan.brief.entries(key)), frozenset({key})
    return known, frozenset()


def _entry_rows(known: list[_Row], entries: tuple[Entry, ...]) -> list[_Row]:
    numbered = bool(known) and all(row.label.isdigit() for row in known)
    if not numbered:
        return [*known, *(_Row(label=entry.label, entry=entry) for entry in entries)]
    return [
        _Row(label=entry.label, number=str(number), entry=entry)
        for number, entry in enumerate(entries, start=1)
    ]


# ---- cells -------------------------------------------------------------------------------------


def _cell(table: Table, row: _Row, index: int, plan: Plan) -> str:
    column = table.columns[index]
    if index == 0 and row.number:
        return row.number
    if index == (1 if row.number else 0):
        return clean_cell(_row_title(row, plan))
    if row.entry is not None:
        return clean_cell(_field(row.entry, column.name))
    if row.use is not None:
        return _use_cell(row.use, column, plan)
    if index == 0 or not row.label:
        return ""
    use = _use_named(row.label, plan)
    if use is not None and use.amount is not None and _TOTAL_COLUMNS.search(column.name):
        return in_unit(use.amount, column.unit, plan.figures.currency, plan.language)
    return _concept_cell(table, row, column, plan)


def _row_title(row: _Row, plan: Plan) -> str:
    if row.entry is not None or row.use is not None:
        return row.label
    unit = _ROW_UNIT.search(row.label)
    if unit is None or not _is_money(unit[1]):
        return row.label
    return f"{row.label[: unit.start()]}({unit_title(unit[1], plan.figures.currency)})"


def _is_money(unit: str) -> bool:
    """Whether the unit of a row is an amount of money in an outline's words."""
    won = unit.partition("/")[0]
    return "currency" in unit or unit in _ENGLISH_SCALES or won == "원" or won in _WON_SCALES


_SAME_FIELD: tuple[frozenset[str], ...] = tuple(
    frozenset(names.split("|"))
    for names in (
        "price|가격",
        "strength|strengths|강점|장점",
        "weakness|weaknesses|약점|단점|한계",
        "difference|our difference|당사와의 차이|본 과제의 우위|차이",
        "role|task|담당|담당 업무|역할|담당 내용|직위",
        "experience|relevant experience|skills|관련 경력|경력|보유 역량|역량",
        "likelihood|probability|발생 가능성|가능성",
        "impact|영향",
        "response|mitigation|대응|대안",
        "prevention|예방",
        "owner|책임자|담당자|담당",
        "early sign|조기 징후|징후",
        "date|when|period|시기|추진 기간|기간|일정",
        "result|measurable result|details|측정 가능한 결과|세부 내용|결과|이정표",
        "target|목표값|목표",
        "baseline|기준값|현재값|기준값(현재)",
        "unit|단위",
        "source|출처|자료 출처",
        "product|service|제품·서비스|제품",
        "budget|cost|예산|비용",
        "state|status|구성 상태|진행 상태|상태",
    )
)


def _field(entry: Entry, column: str) -> str:
    """The field of an entry that belongs under a column: same name, or one that means the same."""
    wanted = column.casefold()
    bare = _ROW_UNIT.sub("", wanted).strip()
    for name, value in entry.fields.items():
        if name.casefold() in (wanted, bare):
            return value
    for names in _SAME_FIELD:
        if wanted in names or bare in names:
            found = (v for n, v in entry.fields.items() if n.casefold() in names)
            return next(found, "")
    return ""


def _use_named(label: str, plan: Plan) -> Use | None:
    """The use of funds that is called exactly like a row of a cost table."""
    return next((use for use in plan.figures.uses if use.label == label), None)


def _use_cell(use: Use, column: Column, plan: Plan) -> str:
    if _SHARE_COLUMNS.search(column.name):
        return "" if use.share is None else format_number(use.share, 1)
    if _VALUE_COLUMNS.search(column.name) and use.amount is not None:
        return in_unit(use.amount, column.unit, plan.figures.currency, plan.language)
    return ""


def _concept_cell(table: Table, row: _Row, column: Column, plan: Plan) -> str:
    label_year = _YEAR_NAMED.search(row.label)
    column_year = _YEAR_NAMED.search(column.name)
    if _BASE_COLUMNS.fullmatch(column.name):
        column_year = _YEAR_NAMED.search(table.caption)
    year = _year_number(column_year or label_year)
    concept = _concept(_YEAR_NAMED.sub("", row.label).strip())
    if concept == "own_offer":
        own_price = _PRICE_COLUMNS.fullmatch(column.name)
        return clean_cell(plan.brief.facts.get("price", "")) if own_price else ""
    cell = _value(concept, year, plan, table)
    if cell is None:
        return ""
    unit = _ROW_UNIT.search(row.label)
    if _FORMULA_COLUMNS.search(column.name):
        return cell.formula
    if _SOURCE_COLUMNS.search(column.name) and concept in ("tam", "sam", "som"):
        return clean_cell("; ".join(re.findall(r"\(([^()]*)\)", plan.brief.facts[concept])))
    if _BASE_YEAR_COLUMNS.search(column.name) and concept in ("tam", "sam", "som"):
        years = re.findall(r"(?<!\d)(?:19|20)\d\d(?!\d)", plan.brief.facts[concept])
        return years[0] if len(years) == 1 else ""
    if _SHARE_COLUMNS.search(column.name):
        return _funding_share(concept, plan, table)
    if concept.startswith("text:") and (column_year or column.unit):
        return ""
    if column_year or _VALUE_COLUMNS.search(column.name):
        return _written(cell, column.unit or (unit[1] if unit else ""), plan)
    return ""


def _year_number(match: re.Match[str] | None) -> int | None:
    if match is None:
        return None
    return 1 if match["first"] else int(match["ko"] or match["launch"] or match["en"])


def _concept(label: str) -> str:
    bare = label.strip().casefold()
    without_unit = _ROW_UNIT.sub("", bare).strip()
    for concept, pattern in _CONCEPTS:
        if re.match(pattern, bare) or re.match(pattern, without_unit):
            return concept
    return ""


def _written(cell: Cell, unit: str, plan: Plan) -> str:
    if cell.kind == "text":
        return clean_cell(cell.text)
    if cell.kind == "count":
        return format_number(cell.value)
    if cell.kind == "percent":
        text = format_percent(cell.value)
        return text.removesuffix("%") if unit == "%" else text
    return in_unit(cell.value, unit, plan.figures.currency, plan.language)


def _value(concept: str, year: int | None, plan: Plan, table: Table) -> Cell | None:
    if concept.startswith("text:"):
        return _text_value(concept.removeprefix("text:"), plan.brief)
    if concept in ("tam", "sam", "som"):
        amount = plan.figures.amounts.get(concept)
        return None if amount is None else Cell("money", amount)
    if concept in ("own_cash", "own_in_kind", "own_total", "government", "ask", "budget", "total"):
        return _fund_value(concept, plan, table)
    if concept in ("revenue", "cost_of_sales", "gross_profit", "operating_profit", "volume"):
        return _year_value(concept, year, plan)
    if concept == "fixed_costs" and table.fill == "financials":
        return _year_value(concept, year, plan)
    return _unit_value(concept, plan)


def _text_value(key: str, brief: Brief) -> Cell | None:
    if key == "trl":
        start, target = brief.facts.get("trl_start"), brief.facts.get("trl_target")
        return Cell("text", text=f"{start} → {target}") if start and target else None
    text = brief.inline(key)
    return Cell("text", text=text) if text else None


def _fund_value(concept: str, plan: Plan, table: Table) -> Cell | None:
    figures, amounts = plan.figures, plan.figures.amounts
    funding = figures.funding
    if concept == "total":
        if table.fill == "budget" and funding is not None and "own_cash" in _concepts_of(table):
            return Cell("money", funding.total)
        is_uses = table.fill in ("use_of_funds", "budget") and figures.uses_total is not None
        return Cell("money", figures.uses_total or Decimal(0)) if is_uses else None
    amount = {
        "own_cash": amounts.get("own_funding_cash"),
        "own_in_kind": amounts.get("own_funding_in_kind"),
        "own_total": None if funding is None else funding.own,
        "government": amounts.get("government_funding"),
        "ask": amounts.get("funding"),
        "budget": amounts.get("budget"),
    }[concept]
    return None if amount is None else Cell("money", amount)


def _concepts_of(table: Table) -> set[str]:
    return {_concept(label) for label in table.rows}


def _funding_share(concept: str, plan: Plan, table: Table) -> str:
    if concept == "total":
        return "100"
    funding = plan.figures.funding
    if funding is None or "own_cash" not in _concepts_of(table):
        return ""
    shares = arithmetic.percent_shares((funding.government, funding.own_cash, funding.own_in_kind))
    if not shares:
        return ""
    government, cash, in_kind = shares
    by_concept: Mapping[str, Decimal] = {
        "government": government,
        "own_cash": cash,
        "own_in_kind": in_kind,
        "own_total": cash + in_kind,
    }
    return format_number(by_concept[concept], 1) if concept in by_concept else ""


def _year_value(concept: str, number: int | None, plan: Plan) -> Cell | None:
    year = plan.figures.year(number) if number is not None else None
    if year is None:
        return None
    if concept == "volume":
        return Cell("count", year.volume)
    values = {
        "revenue": year.revenue,
        "cost_of_sales": year.cost_of_sales,
        "gross_profit": year.gross_profit,
        "operating_profit": year.operating_profit,
        "fixed_costs": plan.figures.fixed_costs,
    }
    amount = values[concept]
    if amount is None:
        return None
    formula = ""
    if concept == "revenue" and plan.figures.price is not None:
        formula = f"{plan.money(plan.figures.price)} × {format_number(year.volume)}"
    return Cell("money", amount, formula=formula)


def _unit_value(concept: str, plan: Plan) -> Cell | None:
    figures = plan.figures
    if concept in ("price", "unit_cost"):
        return _text_value(concept, plan.brief)
    if concept == "gross_margin" and figures.gross_margin is not None:
        return Cell("percent", figures.gross_margin, formula=_margin_formula(plan))
    if concept == "fixed_costs" and figures.fixed_costs is not None:
        return Cell("money", figures.fixed_costs, formula=clean_cell(plan.brief.facts[concept]))
    if concept == "break_even_time" and figures.break_even_year is not None:
        text = say("reached_in", plan.language, year=figures.break_even_year)
        return Cell("text", text=text)
    if figures.price is None or figures.unit_cost is None:
        return None
    contribution = arithmetic.difference(figures.price, figures.unit_cost)
    gap = f"({plan.money(figures.price)} − {plan.money(figures.unit_cost)})"
    if concept == "contribution":
        return Cell("money", contribution, formula=gap[1:-1])
    if figures.break_even_volume is None or figures.break_even_revenue is None:
        return None
    if concept == "break_even_volume" and figures.fixed_costs is not None:
        formula = f"{plan.money(figures.fixed_costs)} ÷ {gap}"
        return Cell("count", figures.break_even_volume, formula=formula)
    if concept == "break_even_revenue":
        formula = f"{format_number(figures.break_even_volume)} × {plan.money(figures.price)}"
        return Cell("money", figures.break_even_revenue, formula=formula)
    return None


def _margin_formula(plan: Plan) -> str:
    price, cost = plan.figures.price, plan.figures.unit_cost
    if price is None or cost is None:
        return ""
    return f"({plan.money(price)} − {plan.money(cost)}) ÷ {plan.money(price)}"
