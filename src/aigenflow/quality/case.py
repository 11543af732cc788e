"""One document under examination, with what is known about it. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from functools import cached_property

from aigenflow.core.evidence import Evidence, Origin
from aigenflow.core.models import Language
from aigenflow.core.numbers import MULTIPLE, PERCENT_POINT, Figure, find_figures
from aigenflow.core.quantities import PERCENT, Quantity
from aigenflow.quality.amounts import cell_amount, column_currency, column_scale
from aigenflow.quality.document import Document, Statement, bare_heading
from aigenflow.quality.models import Finding, Inputs, SectionRule, Severity, State

_QUOTE_CHARACTERS = 160
_DURATIONS = frozenset({
    "개월", "년", "주", "일", "시간", "분", "초", "월", "회", "가지", "차", "개", "자", "건", "쪽",
    "month", "months", "year", "years", "week", "weeks", "day", "days", "hour", "hours", "minute",
    "minutes", "point", "points", "word", "words", "page", "pages", "characters",
})  # fmt: skip
_THEMES = {
    "summary": r"요약|summary|개요요약|abstract",
    "market": r"시장(?!진입)|market(?!ing|entry)|외부환경|external",
    "finance": r"재무|financ|손익|사업비|연구개발비|예산|budget|funding|자금|researchfunds",
    "competition": r"경쟁|compet|rival",
    "risk": r"위험|리스크|risk",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What one check found. ``share`` is how much is fulfilled, from 0 to 1."""

    state: State
    metric: float | None = None
    share: float = 1.0
    findings: tuple[Finding, ...] = ()
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class Case:
    """The document and everything given about it."""

    inputs: Inputs
    document: Document

    @property
    def korean(self) -> bool:
        """Whether the document is to be in Korean."""
        return self.inputs.language is Language.KO

    def say(self, english: str, korean: str) -> str:
        """The words in the language of the document."""
        return korean if self.korean else english

    def finding(
        self,
        check: str,
        *,
        quote: str,
        expected: str,
        found: str,
        section: int | None = None,
        severity: Severity = "error",
    ) -> Finding:
        """A finding; a long quote is shortened."""
        short = " ".join(quote.split())
        if len(short) > _QUOTE_CHARACTERS:
            short = short[: _QUOTE_CHARACTERS - 1] + "…"
        return Finding(
            id=check,
            severity=severity,
            section=self.document.heading(section) if section is not None else "",
            quote=short,
            expected=expected,
            found=found,
        )

    @cached_property
    def rules(self) -> dict[int, SectionRule]:
        """The rule that each section of the document answers to, itself or above it."""
        found: dict[int, SectionRule] = {}
        for rule in self.inputs.sections or ():
            index = find_section(self.document, rule)
            if index is not None:
                found[index] = rule
        for index, section in enumerate(self.document.sections):
            nearest = next((p for p in reversed(section.parents) if p in found), None)
            if index not in found and nearest is not None:
                found[index] = found[nearest]
        return found

    def has_theme(self, section: int, theme: str) -> bool:
        """Whether a section, or one it belongs to, is about ``theme``."""
        return section in self._themes[theme]

    @cached_property
    def _themes(self) -> dict[str, frozenset[int]]:
        return {theme: frozenset(self._about(theme)) for theme in _THEMES}

    def _about(self, theme: str) -> Iterable[int]:
        pattern = re.compile(_THEMES[theme])
        tables = {"market": "market_size", "finance": "income_statement"}
        for index, section in enumerate(self.document.sections):
            rule = self.rules.get(index)
            lines = [self.document.sections[i] for i in (*section.parents, index)]
            by_heading = any(
                line.level > 1 and pattern.search(bare_heading(line.heading)) for line in lines
            )
            by_rule = rule is not None and (
                (theme == "summary" and rule.id == "executive_summary")
                or (theme in tables and any(t.id == tables[theme] for t in rule.tables))
            )
            if by_rule or (by_heading and not (theme != "summary" and self._is_summary(index))):
                yield index

    def _is_summary(self, index: int) -> bool:
        rule = self.rules.get(index)
        return rule is not None and rule.id == "executive_summary"

    @cached_property
    def evidence_by_url(self) -> dict[str, Evidence]:
        """The evidence by its plain address."""
        return {plain_url(each.url): each for each in self.inputs.evidence or ()}

    @cached_property
    def evidence_by_mark(self) -> dict[int, Evidence]:
        """The evidence that each citation mark of the document stands for."""
        return {
            each.number: self.evidence_by_url[plain_url(each.url)]
            for each in self.document.references
            if plain_url(each.url) in self.evidence_by_url
        }

    def figures_of(self, statement: Statement) -> tuple[Figure, ...]:
        """The figures of a statement; those of a table's cells in the scale of their column."""
        if statement.row_of is None:
            return statement.figures
        table = self.document.tables[statement.row_of]
        cells = statement.text.split(" | ")
        figures = list(find_figures(cells[0]))
        for column, cell in enumerate(cells[1:], start=1):
            found = find_figures(cell)
            amount = cell_amount(cell, column_scale(table, column, cells[0]))
            if amount is not None and found:
                unit = amount.unit or column_currency(table, column, cells[0])
                quantity = Quantity(value=amount.value, unit=unit)
                found = (replace(found[0], quantity=quantity, precision=amount.precision),)
            figures.extend(found)
        return tuple(figures)

    def claims_of(self, statement: Statement) -> tuple[Figure, ...]:
        """Those of :meth:`figures_of` that say something about the world."""
        return tuple(figure for figure in self.figures_of(statement) if is_claim(figure))

    @cached_property
    def _explained(self) -> frozenset[str]:
        return frozenset(
            fact.text
            for fact in self.inputs.facts or ()
            if fact.origin in (Origin.BRIEF, Origin.MODEL)
        )

    def is_our_own(self, figure: Figure) -> bool:
        """Whether the figure comes from the brief or from the financial model."""
        return figure.text in self._explained


def find_section(document: Document, rule: SectionRule) -> int | None:
    """The section that ``rule`` asks for."""
    wanted = {bare_heading(name) for name in (rule.heading, *rule.aliases)}
    headings = [bare_heading(section.heading) for section in document.sections]
    for index, heading in enumerate(headings):
        if index and heading in wanted:
            return index
    return None


def claims(statement: Statement) -> tuple[Figure, ...]:
    """The figures that say something about the world: money, shares, multiples, large counts."""
    return tuple(figure for figure in statement.figures if is_claim(figure))


def is_claim(figure: Figure) -> bool:
    """Whether a figure needs a source: durations and small counts do not."""
    quantity = figure.quantity
    if quantity.is_money or quantity.unit in (PERCENT, PERCENT_POINT, MULTIPLE):
        return True
    if quantity.unit in _DURATIONS:
        return False
    return abs(quantity.value) >= (100 if quantity.unit else 1000)


def plain_url(url: str) -> str:
    """``url`` without what does not change where it leads."""
    plain = re.sub(r"^https?://(?:www\.)?", "", url.strip().lower())
    return re.sub(r"(?:[?&]utm_[^&#]*)+|#.*$|/+$", "", plain)


def domain(url: str) -> str:
    """The host of ``url``, without ``www``."""
    return plain_url(url).partition("/")[0]


def outcome(
    share: float,
    target: float,
    findings: Collection[Finding],
    *,
    metric: float | None = None,
    warn_only: bool = False,
) -> Outcome:
    """Pass where ``share`` reaches ``target``, else fail, or only warn."""
    reached = share >= target
    bad = State.WARN if warn_only else State.FAIL
    return Outcome(
        state=State.PASS if reached else bad,
        metric=round(share if metric is None else metric, 4),
        share=max(0.0, min(1.0, share)),
        findings=tuple(findings),
    )


def no_findings(findings: Collection[Finding], *, of: int = 1, warn_only: bool = False) -> Outcome:
    """Pass where there is no finding of severity error; ``of`` is how many could have been."""
    errors = sum(each.severity == "error" for each in findings)
    state = State.PASS if not findings else State.WARN
    if errors and not warn_only:
        state = State.FAIL
    return Outcome(
        state=state,
        metric=float(errors),
        share=max(0.0, 1 - errors / max(of, errors, 1)),
        findings=tuple(findings),
    )


NOT_APPLICABLE = Outcome(state=State.NOT_APPLICABLE)


def unverifiable(note: str) -> Outcome:
    """The check could not be made: ``note`` says what is missing."""
    return Outcome(state=State.UNVERIFIABLE, share=0.0, note=note)


def bare_caption(caption: str) -> str:
    """``caption`` for comparison: without its number, brackets, case and spaces."""
    plain = re.sub(
        r"^\W*(?:표|그림|table|figure|fig\.)\s*[A-Z]?\d{1,3}(?:[-.]\d{1,3})?",
        "",
        caption,
        flags=re.I,
    )
    return re.sub(r"\W", "", plain.lower())
