"""Twenty complete documents that are right, and thirty ways of spoiling one.

The documents follow the shipped forms, section by section and table by table; their figures come
from one small plan each, so that everything agrees. Nothing here is chance: a document is named by
its number, and is the same every time.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import date

from aigenflow.core.evidence import Evidence
from aigenflow.core.models import DocumentType, Language
from aigenflow.pipeline.facts import trace_facts
from aigenflow.pipeline.quality import section_rules
from aigenflow.quality.models import ExportFact, Inputs
from aigenflow.templates.loader import load_outline
from aigenflow.templates.models import Outline, Section, Table

TODAY = date(2026, 11, 22)

TEMPLATES = (
    ("default", DocumentType.BIZPLAN),
    ("startup", DocumentType.BIZPLAN),
    ("strategy", DocumentType.BIZPLAN),
    ("rd", DocumentType.RD),
    ("sbir", DocumentType.RD),
    ("horizon", DocumentType.RD),
)
NAMES = ("Lumenote", "Haneul", "Gridora", "Marisol", "Petrakis", "Veloria", "Norden", "Quillon",
         "Savanta", "Tarkine")  # fmt: skip


@dataclass(slots=True)
class Grid:
    """A table as it will be written."""

    id: str
    caption: str
    header: list[str]
    rows: list[list[str]]
    note: str = ""


@dataclass(slots=True)
class Part:
    """A section as it will be written."""

    id: str
    heading: str
    level: int
    paragraphs: list[str] = field(default_factory=list)
    grids: list[Grid] = field(default_factory=list)


@dataclass(slots=True)
class Document:
    """A document that can still be changed, with all that is known about it."""

    title: str
    language: Language
    outline: Outline
    parts: list[Part]
    references: list[str]
    evidence: tuple[Evidence, ...]
    brief: str
    model: dict[str, object]
    statement: str
    exports: tuple[ExportFact, ...] = (ExportFact(name="plan.docx"),)
    pages: int = 12

    @property
    def korean(self) -> bool:
        return self.language is Language.KO

    def part(self, *ids: str) -> Part:
        """The first part with one of the ids."""
        return next(part for name in ids for part in self.parts if part.id == name)

    def grid(self, *ids: str) -> Grid:
        """The first table with one of the ids."""
        return next(g for name in ids for part in self.parts for g in part.grids if g.id == name)

    def has(self, *ids: str) -> bool:
        """Whether there is such a table."""
        return any(grid.id in ids for part in self.parts for grid in part.grids)

    def markdown(self) -> str:
        """The document's text."""
        word = "표" if self.korean else "Table"
        blocks = [f"# {self.title}"]
        number = 0
        for part in self.parts:
            blocks.append(f"{'#' * part.level} {part.heading}")
            blocks += part.paragraphs
            for grid in part.grids:
                number += 1
                if grid.caption:
                    blocks.append(f"**{word} {number}. {grid.caption}**")
                lines = [grid.header, ["---"] * len(grid.header), *grid.rows]
                blocks.append("\n".join(f"| {' | '.join(line)} |" for line in lines))
                if grid.note:
                    blocks.append(grid.note)
        if not any(part.id == "sources" for part in self.parts):
            blocks.append("## 참고 자료" if self.korean else "## References")
        blocks.append("\n".join(f"{n}. {text}" for n, text in enumerate(self.references, 1)))
        if self.statement:
            blocks.append(f"---\n\n{self.statement}")
        return "\n\n".join(blocks) + "\n"

    def inputs(self) -> Inputs:
        """What it is judged by."""
        markdown = self.markdown()
        body = markdown.rpartition("\n1. ")[0]
        return Inputs(
            markdown=markdown,
            language=self.language,
            today=TODAY,
            document_type=self.outline.document_type,
            template=self.outline.name,
            sections=section_rules(self.outline),
            page_limit=self.outline.page_limit,
            ai_policy=self.outline.ai_policy,
            ai_statement=self.outline.ai_statement,
            evidence=self.evidence,
            facts=trace_facts(body, self.evidence, self.brief, None),
            brief=self.brief,
            model=self.model,
            pages=self.pages,
            exports=self.exports,
        )


@dataclass(frozen=True, slots=True)
class Plan:
    """The figures of one document; money in thousands (won or dollars), five years."""

    name: str
    tam: int
    sam: int
    som: int
    revenue: tuple[int, ...]
    cogs: tuple[int, ...]
    opex: tuple[int, ...]
    request: int
    growth: int
    trl: tuple[int, int]


def plan(number: int) -> Plan:
    """The figures of document ``number``."""
    chance = random.Random(number)
    first = chance.randrange(120, 400) * 1000
    revenue = tuple(first * (n + 1) * 3 // 2 for n in range(5))
    return Plan(
        name=NAMES[number % len(NAMES)],
        tam=revenue[2] * 400,
        sam=revenue[2] * 60,
        som=revenue[2] * 3,
        revenue=revenue,
        cogs=tuple(value * 4 // 10 for value in revenue),
        opex=tuple(first // 2 + value // 5 for value in revenue),
        request=chance.randrange(30, 90) * 1000
        if number % 6 == 4
        else chance.randrange(200, 900) * 1000,
        growth=chance.randrange(7, 19),
        trl=(4, 7),
    )


def clean_documents() -> Iterator[Document]:
    """Ten Korean and ten English documents over all forms."""
    for number in range(10):
        for language in Language:
            yield build(number, language)


def build(number: int, language: Language) -> Document:
    """Document ``number`` in ``language``."""
    name, kind = TEMPLATES[number % len(TEMPLATES)]
    outline = load_outline(kind, name, language)
    return _Builder(number, outline, plan(number)).document()


class _Builder:
    def __init__(self, number: int, outline: Outline, figures: Plan) -> None:
        self.chance = random.Random(1000 + number)
        self.outline = outline
        self.korean = outline.language is Language.KO
        self.plan = figures
        self.used: set[str] = set()
        units = [c.unit for s in outline.sections for t in s.tables for c in t.columns]
        self.currency = "KRW" if any("KRW" in unit for unit in units) else "USD"
        self.evidence = tuple(self._evidence())

    def say(self, en: str, ko: str) -> str:
        return ko if self.korean else en

    def money(self, thousands: int) -> str:
        """An amount in a sentence."""
        return f"{thousands:,}천 원" if self.korean else f"{self.currency} {thousands:,} thousand"

    def document(self) -> Document:
        p = self.plan
        references = [
            self.say(
                f"Statistics Office, Report {n}, {year}. <{e.url}> (accessed 2026-11-20)",
                f"통계기관 {n}, 의원 실태 보고서, {year}. <{e.url}> (2026-11-20 열람)",
            )
            for n, (e, year) in enumerate(
                zip(self.evidence, (2025, 2024, 2025, 2025, 2024, 2025), strict=True), 1
            )
        ]
        return Document(
            title=self.say(f"{p.name} clinic reminders", f"{p.name} 예약 안내 서비스"),
            language=self.outline.language,
            outline=self.outline,
            parts=[self._part(section) for section in self.outline.sections],
            references=references,
            evidence=self.evidence,
            brief=(
                f"company: {p.name}\nfunding: {self.money(p.request)}\n"
                f"revenue: {self.money(p.revenue[0])}\n"
            ),
            model=self._model(),
            statement=self.outline.ai_statement,
        )

    def _evidence(self) -> Iterator[Evidence]:
        p = self.plan
        quotes = (
            f"The market was worth {self.money(p.tam)} in 2025 and grows by {p.growth}% a year.",
            f"Clinics in the region spend {self.money(p.sam)} on such services.",
            f"{p.growth + 11}% of bookings are missed in 1,250 clinics.",
            f"Within reach are {self.money(p.som)}.",
            f"Rivals charge between {self.money(41)} and {self.money(97)}.",
            "68% of patients prefer a short message.",
        )
        for n, quote in enumerate(quotes, 1):
            yield Evidence(
                id=f"e{n}", number=n, url=f"https://data{n}.example.go.kr/report/{n}",
                title=f"Report {n}", date="2025-03-01", quote=quote,
            )  # fmt: skip

    def _model(self) -> dict[str, object]:
        p = self.plan
        gross = [r - c for r, c in zip(p.revenue, p.cogs, strict=True)]
        ebit = [g - o for g, o in zip(gross, p.opex, strict=True)]
        return {
            "schema_version": 1,
            "currency": "KRW" if self.korean else self.currency,
            "unit": 1000,
            "years": [2027, 2028, 2029, 2030, 2031],
            "scenarios": {
                "base": {
                    "revenue": [v * 1000 for v in p.revenue],
                    "gross_profit": [v * 1000 for v in gross],
                    "ebit": [v * 1000 for v in ebit],
                }
            },
            "market": {"tam": p.tam * 1000, "sam": p.sam * 1000, "som": p.som * 1000},
        }

    # Text

    def _part(self, section: Section) -> Part:
        part = Part(id=section.id, heading=section.heading, level=section.level)
        if section.id != "sources":
            part.paragraphs = self._text(section)
        part.grids = [self._grid(table, section) for table in section.tables]
        return part

    def _text(self, section: Section) -> list[str]:
        facts = list(self._facts(section))
        least = int((section.min_length or 60) * 1.08)
        most = section.max_length or 10**6
        sentences = list(facts)
        while self._size(sentences) < least and self._size(sentences) < most - 60:
            sentences.append(self._sentence(section))
        self_made = sentences[len(facts) :]
        while self_made and self._size(facts + self_made) > most:
            self_made.pop()
        sentences = facts + self_made
        return [" ".join(sentences[i : i + 4]) for i in range(0, len(sentences), 4)]

    def _size(self, sentences: list[str]) -> int:
        text = " ".join(sentences)
        return len(re.sub(r"\s", "", text)) if self.korean else len(text.split())

    def _facts(self, section: Section) -> Iterator[str]:
        p = self.plan
        table_ids = {table.id for table in section.tables}
        ask, first = self.money(p.request), self.money(p.revenue[0])
        if section.id == "executive_summary":
            yield self.say(
                f"{p.name} asks for {ask} and plans year 1 revenue of {first}.",
                f"{p.name}의 요청 금액은 {ask}이고 1차 연도 매출은 {first}이다.",
            )
            yield self.say(
                f"The TAM is {self.money(p.tam)} in 2025 [1].",
                f"TAM은 2025년 {self.money(p.tam)}이다 [1].",
            )
        elif "market_size" in table_ids:
            yield self.say(
                f"The TAM is {self.money(p.tam)} in 2025 and grows by {p.growth}% a year [1].",
                f"TAM은 2025년 {self.money(p.tam)}이고 해마다 {p.growth}% 성장한다 [1].",
            )
            yield self.say(
                f"The SAM is {self.money(p.sam)} in the first region [2].",
                f"SAM은 첫 지역에서 {self.money(p.sam)}이다 [2].",
            )
            yield self.say(
                f"The SOM is {self.money(p.som)} within three years [4].",
                f"SOM은 3년 안에 {self.money(p.som)}이다 [4].",
            )
            yield self.say(
                f"In 1,250 clinics {p.growth + 11}% of bookings are missed [3].",
                f"의원 1,250곳에서 예약의 {p.growth + 11}%가 지켜지지 않는다 [3].",
            )
            yield self.say(
                "A share of 68% prefers short messages [6].", "환자의 68%는 문자를 선호한다 [6]."
            )
        if section.id in ("funding", "scale_up", "budget", "roadmap", "work_plan"):
            yield self.say(
                f"The funding request of {self.money(p.request)} is spent within eighteen months.",
                f"요청 금액 {self.money(p.request)}은 열여덟 달 안에 쓴다.",
            )
        if "income_statement" in table_ids or section.id == "financials":
            yield self.say(
                f"Year 1 revenue is {self.money(p.revenue[0])} in the base case.",
                f"1차 연도 매출은 기준 시나리오에서 {self.money(p.revenue[0])}이다.",
            )
        if section.id in ("objectives", "goals", "annex_trl", "solution") and (
            self.outline.document_type is DocumentType.RD
        ):
            start, target = p.trl
            yield self.say(
                f"The project moves from TRL {start} to TRL {target}.",
                f"기술은 TRL {start}에서 TRL {target}로 올라간다.",
            )
        if section.id in ("competition", "commercialisation", "measures", "scale_up", "choice"):
            yield self.say(
                f"Rivals charge between {self.money(41)} and {self.money(97)} a month [5].",
                f"경쟁사는 달마다 {self.money(41)}에서 {self.money(97)}을 받는다 [5].",
            )

    def _sentence(self, section: Section) -> str:
        for _attempt in range(200):
            text = self._korean_sentence() if self.korean else self._english_sentence()
            if text not in self.used:
                self.used.add(text)
                return text
        raise AssertionError("the sentences are used up")

    def _korean_sentence(self) -> str:
        pick = self.chance.choice
        return f"{pick(_KO_WHO)}{pick(_KO_WHEN)} {pick(_KO_WHAT)} {pick(_KO_HOW)} {pick(_KO_DOES)}."

    def _english_sentence(self) -> str:
        pick = self.chance.choice
        start = f"{pick(_EN_WHO)} {pick(_EN_DOES)} {pick(_EN_WHAT)} {pick(_EN_WHEN)}"
        return f"{start}." if self.chance.random() < 0.7 else f"{start}, {pick(_EN_SO)}."

    # Tables

    def _grid(self, table: Table, section: Section) -> Grid:
        header = [f"{c.name} ({c.unit})" if c.unit else c.name for c in table.columns]
        grid = Grid(id=table.id, caption=table.caption, header=header, rows=[])
        maker: Callable[[Grid, Table], None] = {
            "market_size": self._market,
            "income_statement": self._income,
            "first_year": self._first_year,
            "balance_sheet": self._balance,
            "cash_flow": self._cash,
            "break_even": self._break_even,
            "kpi_table": self._indicators,
            "funding_shares": self._shares,
            "key_figures": self._key_figures,
            "unit_economics": self._unit_economics,
            "trl_scale": self._named,
        }.get(table.id, self._generic)
        maker(grid, table)
        if not grid.note and table.id != "market_size":
            grid.note = self.say("Source: own calculation [assumption]", "자료: 자체 계산 [가정]")
        return grid

    def _scale(self, header: str) -> int:
        """Thousands per unit of a column, as a divisor."""
        for words, scale in (
            (("억원", "100 million"), 100_000),
            (("백만", "million"), 1000),
            (("천원", "thousand"), 1),
        ):
            if any(word in header for word in words):
                return scale
        return 0

    def _amount(self, thousands: int, header: str) -> str:
        scale = self._scale(header)
        if not scale:
            return self.money(thousands)
        value = thousands / scale
        return f"{value:,.0f}" if value == int(value) else f"{value:,.3f}".rstrip("0")

    def _market(self, grid: Grid, table: Table) -> None:
        p = self.plan
        labels = list(table.rows) or ["TAM", "SAM", "SOM"]
        for label, value, mark in zip(
            labels, (p.tam, p.sam, p.som), ("[1]", "[2]", "[4]"), strict=False
        ):
            row = []
            for index, name in enumerate(grid.header):
                lower = name.lower()
                if index == 0:
                    row.append(label)
                elif "연도" in lower or "year" in lower:
                    row.append("2025")
                elif "금액" in lower or "amount" in lower or "규모" in lower:
                    row.append(self._amount(value, name))
                elif "출처" in lower or "source" in lower:
                    row.append(mark)
                else:
                    row.append(self._phrase())
            grid.rows.append(row)

    def _income(self, grid: Grid, table: Table) -> None:
        p = self.plan
        gross = [r - c for r, c in zip(p.revenue, p.cogs, strict=True)]
        ebit = [g - o for g, o in zip(gross, p.opex, strict=True)]
        tax = [max(0, e) // 10 for e in ebit]
        lines = [
            p.revenue,
            p.cogs,
            gross,
            p.opex,
            ebit,
            tax,
            [e - t for e, t in zip(ebit, tax, strict=True)],
        ]
        for label, values in zip(table.rows, lines, strict=False):
            row = [label]
            for index, name in enumerate(grid.header[1:]):
                row.append(
                    self._amount(values[index], name or "thousand") if index < 5 else self._phrase()
                )
            grid.rows.append(row)

    def _first_year(self, grid: Grid, table: Table) -> None:
        lines = [(400, 160, 240, 100, 140)] * 4 + [(1600, 640, 960, 400, 560)]
        for line, label in enumerate(table.rows):
            grid.rows.append([label, *(str(column[line]) for column in lines)])

    def _balance(self, grid: Grid, table: Table) -> None:
        self._statement(grid, table, [[100, 60, 40, 200, 80, 120, 200]] * 5)

    def _cash(self, grid: Grid, table: Table) -> None:
        columns, opening = [], 50
        for year in range(5):
            flows = [10 + year, -5, 20]
            columns.append([opening, *flows, opening + sum(flows)])
            opening += sum(flows)
        self._statement(grid, table, columns)

    def _statement(self, grid: Grid, table: Table, columns: list[list[int]]) -> None:
        for line, label in enumerate(table.rows):
            values = [str(column[line] * 1000) for column in columns]
            row = [label, *(f"{int(v):,}" for v in values)]
            grid.rows.append(row[: len(grid.header)] + ["—"] * (len(grid.header) - len(row)))

    def _break_even(self, grid: Grid, table: Table) -> None:
        values = ["1,200,000", "6,000", "200", "2,400,000", "14"]
        for label, value in zip(table.rows, values, strict=False):
            row = [label, value, *(self._phrase() for _ in grid.header[2:])]
            grid.rows.append(row)

    def _unit_economics(self, grid: Grid, table: Table) -> None:
        values = ["60,000", "24,000", "60", "90,000", "36", "360,000", "4", "9"]
        if len(table.rows) != len(values):
            return self._generic(grid, table)
        for label, value in zip(table.rows, values, strict=True):
            grid.rows.append([label, value, value, *(self._phrase() for _ in grid.header[3:])])
        return None

    def _key_figures(self, grid: Grid, table: Table) -> None:
        p = self.plan
        for label in table.rows:
            value = self._phrase()
            if re.search(r"요청|ask|request", label, re.I):
                value = self.money(p.request)
            elif re.search(r"1차 연도 매출|revenue.*year 1|year.1 revenue|first", label, re.I):
                value = self.money(p.revenue[0])
            grid.rows.append([label, value, *(self._phrase() for _ in grid.header[2:])])

    def _shares(self, grid: Grid, table: Table) -> None:
        values = [
            ("750,000", "75"),
            ("100,000", "10"),
            ("150,000", "15"),
            ("250,000", "25"),
            ("1,000,000", "100"),
        ]
        for label, (amount, share) in zip(table.rows, values, strict=True):
            grid.rows.append([label, amount, share])

    def _indicators(self, grid: Grid, table: Table) -> None:
        for n, weight in enumerate((40, 35, 25), 1):
            row = []
            step = 0
            for index, name in enumerate(grid.header):
                lower = name.lower()
                if "비중" in lower or "weight" in lower:
                    row.append(str(weight))
                elif "단위" in lower or lower.startswith("unit"):
                    row.append("ms")
                elif (
                    re.search(
                        r"기준값|baseline|목표\)?$|연도 목표|target|criterion of success", lower
                    )
                    and index
                ):
                    row.append(str(20 * n + step))
                    step += 5
                elif re.search(r"세계|world|state of the art", lower):
                    row.append(str(90 + n))
                else:
                    row.append(self._phrase())
            grid.rows.append(row)

    def _named(self, grid: Grid, table: Table) -> None:
        for label in table.rows:
            grid.rows.append([label, *(self._phrase() for _ in grid.header[1:])])

    def _generic(self, grid: Grid, table: Table) -> None:
        rows = list(table.rows)
        if re.search(r"risk", table.id):
            rows = rows or [self._phrase() for _ in range(6)]
        elif re.search(r"competitor", table.id):
            rows = [*rows, *(f"{self.chance.choice(_RIVALS)} {n}" for n in range(1, 5))]
        rows = rows or [self._phrase() for _ in range(3)]
        numeric = [
            c
            for c, name in enumerate(table.columns)
            if c and self._is_numeric(name.name, name.unit)
        ]
        shares = [
            c
            for c in numeric
            if re.match(r"(?:share$|weight)|비중|구성비|지분|가중치", table.columns[c].name.lower())
        ]
        grid.rows = [
            self._generic_row(label, grid, table, numeric, n) for n, label in enumerate(rows)
        ]
        self._total(grid, numeric, shares)

    def _is_numeric(self, name: str, unit: str) -> bool:
        return bool(unit) or bool(re.search(r"^(?:1|2|3)차 연도$|^Year [123]$|합계|^Total$", name))

    def _generic_row(
        self, label: str, grid: Grid, table: Table, numeric: list[int], n: int
    ) -> list[str]:
        row = [label]
        for index, name in enumerate(grid.header[1:], 1):
            row.append(self._cell(label.lower(), name, n, is_number=index in numeric))
        price, quantity, amount = (
            next((i for i, h in enumerate(grid.header) if re.search(pattern, h.lower())), None)
            for pattern in (r"단가|unit price", r"수량|quantity", r"금액|amount")
        )
        if price and quantity and amount:
            row[amount] = f"{int(row[price]) * int(row[quantity]):,}"
        return row

    def _cell(self, label: str, name: str, n: int, *, is_number: bool) -> str:
        """The first rule that fits the column decides."""
        lower = name.lower()
        asked = is_number and re.search(r"금액|amount", lower)
        if asked and re.search(r"이번 요청|this request", label):
            return self._amount(self.plan.request, name)
        rules = (
            (r"^시작|start \(", str(n + 1)),
            (r"^종료\(|\bend \(", str(n + 4)),
            (r"trl|기술성숙도", str(4 + n)),
            (r"단가|unit price", "40"),
            (r"budget \(per year\)", self.money(40 + n)),
            (r"." if is_number else r"수량|quantity", f"{(n + 2) * 40}"),
            (r"시기|when|기한|일정$", "2027-06"),
            (r"기간|period", "2027-01 ~ 2027-09"),
            (r"출처|source", f"[{n % 6 + 1}]"),
            (r"연도$|^year$|founded", "2025"),
        )
        found = (text for pattern, text in rules if re.search(pattern, lower))
        return next(found, None) or self._phrase()

    def _total(self, grid: Grid, numeric: list[int], shares: list[int]) -> None:
        leaves: list[list[str]] = []
        for row in grid.rows:
            if not re.match(r"합계|total$|.*(?:소계|subtotal)", row[0], re.I):
                leaves.append(row)
                continue
            for c in numeric:
                row[c] = f"{sum(_number(leaf[c]) for leaf in leaves):,}"
        for c in shares:
            even = 100 // len(leaves)
            for row in grid.rows:
                row[c] = str(even) if row in leaves else "100"
            leaves[0][c] = str(100 - even * (len(leaves) - 1))
        total = _total_column(grid.header)
        for row in grid.rows if total else ():
            added = [c for c in range(1, total) if c in numeric]
            row[total] = f"{sum(_number(row[c]) for c in added):,}" if added else row[total]

    def _phrase(self) -> str:
        pick = self.chance.choice
        if self.korean:
            return f"{pick(_KO_WHAT)[:-1]} {pick(_KO_NOUN)}"
        return f"{pick(_EN_WHAT)} {pick(_EN_NOUN)}"


def _total_column(header: list[str]) -> int:
    """The column of totals; 0 where there is none."""
    if len(header) > 5 and all(re.match(r"Q[1-4]|[1-4]분기", name) for name in header[1:5]):
        return 5
    return next((i for i, h in enumerate(header) if i and re.search(r"합계|^Total\b", h)), 0)


def _number(text: str) -> int:
    return int(re.sub(r"\D", "", text) or 0)


_RIVALS = ("Caredesk", "Bookline", "Remindo", "Slotwise", "Termin")
_KO_WHO = (
    "간호사는", "원장은", "접수 담당자는", "개발팀은", "영업 책임자는", "협력 기관은", "환자는",
    "운영팀은", "자문 위원은", "연구원은", "품질 담당자는", "지역 의사회는", "보건소는",
    "구매 담당자는", "교육팀은",
)  # fmt: skip
_KO_WHEN = (
    " 매일 아침", " 진료가 끝난 뒤", " 첫 달에", " 도입 전에", " 시험 기간에", " 계약을 맺은 뒤",
    " 휴일 다음 날", " 예약이 몰리는 요일에", " 담당자가 바뀔 때", " 분기 말에", " 설치를 마치면",
)  # fmt: skip
_KO_WHAT = (
    "예약 기록을", "취소 사유를", "대기 명단을", "안내 문구를", "발송 시각을", "상담 내용을",
    "진료 일정을", "환자 동의를", "오류 목록을", "사용 설명서를", "접수 절차를", "문의 내역을",
    "시험 결과를", "보안 설정을",
)  # fmt: skip
_KO_HOW = (
    "한 화면에서", "빠짐없이", "정해진 절차에 따라", "두 사람이 함께", "사전에", "같은 양식으로",
    "직접 만나서", "담당 의원과 나누어", "기록을 남기며", "순서대로", "현장에서", "문서로",
)  # fmt: skip
_KO_DOES = (
    "확인한다", "정리한다", "고친다", "나누어 맡는다", "검토한다", "다시 살핀다", "보고한다",
    "비교한다", "옮겨 적는다", "승인한다", "점검한다", "공유한다",
)  # fmt: skip
_KO_NOUN = (
    "확인", "정리", "점검", "공유", "개선", "비교", "관리", "검토", "분석", "기록",
)  # fmt: skip
_EN_WHO = (
    "The practice manager", "Our field engineer", "The front desk", "A regional group",
    "Each clinic in the trial", "The quality officer", "The training partner",
    "The lead developer", "A spokesman of the patients", "The purchasing team",
    "The advisory board", "The data officer",
)  # fmt: skip
_EN_DOES = (
    "notes", "reviews", "compares", "prepares", "approves", "corrects", "discusses", "records",
    "inspects", "plans", "checks", "shares",
)  # fmt: skip
_EN_WHAT = (
    "the list of past visits", "the reasons for late changes", "the waiting list",
    "the words of each message", "the time of each call", "the notes of the doctor",
    "the consent of the patients", "the list of faults", "the guide for new users",
    "the steps at the desk", "the rules for access", "the set-up reports",
    "the contract for repairs", "the answers of the survey",
)  # fmt: skip
_EN_WHEN = (
    "before the start in every location", "after the morning surgery hours",
    "during the first month of operation", "at the end of each quarter",
    "whenever the person in charge changes", "together with the partner practices",
    "before any contract is signed", "on the days with the highest demand",
    "while the trial in the city is running", "once the system has been installed",
)  # fmt: skip
_EN_SO = (
    "so that nobody has to look for missing information later",
    "because open questions had caused delays in the pilot",
    "which keeps the daily effort of small practices low",
    "and the result is discussed with everybody involved",
    "so that decisions remain clear for new employees",
    "because the practices asked for this arrangement",
    "and errors are reported to the right person at once",
    "which makes a fair comparison between places possible",
)  # fmt: skip
_EN_NOUN = (
    "overview", "review", "handover", "comparison", "agreement", "summary", "procedure",
    "inspection", "register", "guideline",
)  # fmt: skip
