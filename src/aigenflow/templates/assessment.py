"""One drafting job, and what can be said about it without a model: sums, gaps, contradictions."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from types import MappingProxyType
from typing import NamedTuple

from aigenflow.core.arithmetic import format_number, format_percent, ratio
from aigenflow.core.markdown import clean
from aigenflow.core.models import DocumentType, Language
from aigenflow.templates.brief import Brief
from aigenflow.templates.figures import Doubt, Figures, YearFigures
from aigenflow.templates.models import Outline, Section
from aigenflow.templates.tables import Plan
from aigenflow.templates.vocabulary import YEARLY_KEYS, label_of
from aigenflow.templates.wording import say

STARTUP_FORM = "startup"
SUMMARY_SECTION = "executive_summary"


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What to draft and from what. ``results`` holds the texts of earlier tasks by context id."""

    topic: str
    outline: Outline
    brief: Brief
    figures: Figures
    results: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def language(self) -> Language:
        return self.outline.language

    @property
    def is_rd(self) -> bool:
        return self.outline.document_type is DocumentType.RD

    @property
    def has_brief(self) -> bool:
        return bool(self.brief.facts or self.brief.notes)

    @property
    def plan(self) -> Plan:
        return Plan(brief=self.brief, figures=self.figures, language=self.language)

    def say(self, key: str, /, **values: object) -> str:
        return say(key, self.language, **values)

    def label(self, key: str) -> str:
        return label_of(key, self.language)

    def money(self, amount: Decimal | None) -> str:
        return "" if amount is None else self.plan.money(amount)

    def counted(self, volume: Decimal) -> str:
        """A volume with what is counted: ``1,200 customers``, ``1,200명``, ``고객 1,200``."""
        number = format_number(volume)
        basis = self.figures.basis
        given = self.brief.quantity(f"{basis}_year{self.figures.years[0].year}")
        unit = clean(given.unit) if given else ""
        if self.language is Language.EN:
            return f"{number} {unit if unit.isascii() and unit else self.say(f'{basis}_unit')}"
        if unit:
            return f"{number}{unit}" if not unit.isascii() else f"{number} {unit}"
        return f"{self.say('customers_unit')} {number}" if basis == "customers" else number

    def inline(self, key: str) -> str:
        """A fact on one line, safe in Markdown; empty where it is not given."""
        return clean(self.brief.inline(key))


# ---- sums --------------------------------------------------------------------------------------

_GROUPS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "price": ("unit_cost", ()),
    "years": ("price", ("financials",)),
    "break_even": ("fixed_costs", ("break_even", "financials")),
    "market": ("tam", ("market",)),
    "uses": ("use_of_funds", ("use_of_funds",)),
    "funding": ("own_funding_cash", ("budget",)),
}
"""Group of sums: the fact that its section lists, and the tables that its best section has."""


def sums_of(job: Job, section: Section) -> list[str]:
    """The worked-out lines that belong to a section: each group stands in one section only."""
    lines: list[str] = []
    for group, (key, fills) in _GROUPS.items():
        homes = [s for s in job.outline.sections if key in s.facts and s.id != SUMMARY_SECTION]
        best = [s for s in homes if any(table.fill in fills for table in s.tables if fills)]
        if section in (best or homes)[:1]:
            lines += _SUMS[group](job)
    return lines


def all_sums(job: Job) -> list[str]:
    """Every worked-out line."""
    return [line for sums in _SUMS.values() for line in sums(job)]


def _price_sums(job: Job) -> list[str]:
    figures = job.figures
    if figures.price is None:
        return []
    lines = []
    price = job.money(figures.price)
    if figures.payments > 1:
        once = job.money(figures.price / figures.payments)
        lines.append(
            job.say("calc_year_price", price=once, payments=figures.payments, result=price)
        )
    if figures.unit_cost is not None and figures.payments > 1:
        cost = job.money(figures.unit_cost)
        lines.append(job.say("calc_year_cost", cost=job.inline("unit_cost"), result=cost))
    if figures.unit_cost is not None and figures.gross_margin is not None:
        cost, margin = job.money(figures.unit_cost), format_percent(figures.gross_margin)
        lines.append(job.say("calc_margin", price=price, cost=cost, result=margin))
    return lines


def _year_sums(job: Job) -> list[str]:
    figures = job.figures
    known = [year for year in figures.years if year.revenue is not None]
    if not known or figures.price is None:
        return []
    lines = [revenue_line(job, year) for year in known]
    if len(known) > 1 and figures.revenue_growth is not None:
        ends = {"first": known[0].year, "last": known[-1].year}
        lines.append(job.say("calc_growth", **ends, result=format_percent(figures.revenue_growth)))
    if figures.payments > 1:
        lines.append(job.say("assume_all_year", payments=figures.payments))
    if any(year.projected for year in known) and figures.growth is not None:
        lines.append(job.say("assume_growth", growth=format_percent(figures.growth)))
    return lines


def revenue_line(job: Job, year: YearFigures) -> str:
    """Revenue of a year as price × volume."""
    return job.say(
        "calc_revenue",
        year=year.year,
        price=job.money(job.figures.price),
        volume=job.counted(year.volume),
        result=job.money(year.revenue),
    )


def _break_even_sums(job: Job) -> list[str]:
    figures = job.figures
    if figures.fixed_costs is None:
        return []
    fixed = job.money(figures.fixed_costs)
    lines = [job.say("calc_fixed", result=fixed, costs=job.inline("fixed_costs"))]
    given = job.brief.quantity("fixed_costs")
    if given and not given.per:
        lines = [job.say("assume_fixed_year")]
    if any(year.operating_profit is not None for year in figures.years):
        lines += [
            job.say(
                "calc_operating",
                year=year.year,
                gross=job.money(year.gross_profit),
                fixed=fixed,
                result=job.money(year.operating_profit),
            )
            for year in figures.years
        ]
        lines.append(job.say("assume_fixed"))
    return lines + break_even_lines(job)


def break_even_lines(job: Job) -> list[str]:
    """Break-even volume and revenue, and the year that reaches it."""
    figures = job.figures
    volume = figures.break_even_volume
    if volume is None or figures.break_even_revenue is None:
        return []
    counted = job.counted(volume) if figures.years else format_number(volume)
    price, cost = job.money(figures.price), job.money(figures.unit_cost)
    fixed, revenue = job.money(figures.fixed_costs), job.money(figures.break_even_revenue)
    lines = [
        job.say("calc_break_even", fixed=fixed, price=price, cost=cost, result=counted),
        job.say("calc_break_even_revenue", volume=counted, price=price, result=revenue),
    ]
    if figures.break_even_year is not None:
        lines.append(job.say("calc_break_even_year", year=figures.break_even_year))
    elif figures.years:
        most = max(year.volume for year in figures.years)
        lines.append(job.say("calc_break_even_never", volume=job.counted(most)))
    return lines


def _market_sums(job: Job) -> list[str]:
    amounts = job.figures.amounts
    pairs = [("sam", "tam"), ("som", "sam")]
    return [
        job.say(
            "calc_share",
            part=f"{part.upper()} {job.money(amounts[part])}",
            whole=f"{whole.upper()} {job.money(amounts[whole])}",
            result=format_percent(share),
        )
        for part, whole in pairs
        if part in amounts
        and whole in amounts
        and (share := ratio(amounts[part], amounts[whole])) is not None
    ]


def _use_sums(job: Job) -> list[str]:
    figures = job.figures
    amounts = [use.amount for use in figures.uses if use.amount is not None]
    if figures.uses_total is None or len(amounts) < 2:
        return []
    parts = " + ".join(job.money(amount) for amount in amounts)
    return [job.say("calc_uses", parts=parts, result=job.money(figures.uses_total))]


def _funding_sums(job: Job) -> list[str]:
    funding = job.figures.funding
    if funding is None:
        return []
    cash, in_kind = job.money(funding.own_cash), job.money(funding.own_in_kind)
    own, government = job.money(funding.own), job.money(funding.government)
    lines = [
        job.say("calc_own", cash=cash, in_kind=in_kind, result=own),
        job.say("calc_total", government=government, own=own, result=job.money(funding.total)),
    ]
    share = ratio(funding.government, funding.total)
    if share is not None:
        lines.append(job.say("calc_government_share", result=format_percent(share)))
    return lines


_SUMS = {
    "price": _price_sums,
    "years": _year_sums,
    "break_even": _break_even_sums,
    "market": _market_sums,
    "uses": _use_sums,
    "funding": _funding_sums,
}


# ---- doubts ------------------------------------------------------------------------------------


def doubt_line(job: Job, doubt: Doubt) -> str:
    """A contradiction or unusable figure as one sentence."""
    label = job.label(doubt.keys[0])
    other = job.label(doubt.keys[1]) if len(doubt.keys) > 1 else ""
    if doubt.code.startswith("trl") or doubt.code == "shares_not_100":
        values = [format_number(v) if isinstance(v, Decimal) else v for v in doubt.values]
    else:
        values = [job.money(v) if isinstance(v, Decimal) else clean(v) for v in doubt.values]
    named = dict(zip("abc", values, strict=False))
    amounts = [value for value in doubt.values if isinstance(value, Decimal)]
    gap = job.money(abs(amounts[0] - amounts[1])) if len(amounts) > 1 else ""
    value = values[0] if values else ""
    return job.say(doubt.code, label=label, other=other, value=value, difference=gap, **named)


_RISKY = re.compile(
    r"(?:국내|세계|업계)\s?(?:최초|유일|최고)|유일(?:한|하게|무이)"
    r"|경쟁(?:사|자|제품|업체)[가는이은]?\s?(?:없|전무)"
    r"|\bworld['’]?s first\b|\bfirst (?:in the world|of its kind)\b"
    r"|\bno (?:direct )?competit(?:ors|ion)\b"
    r"|\bthe only (?:one|company|product)\b|\brevolutionary\b",
    re.IGNORECASE,
)
_SCHOOL = re.compile(r"[가-힣A-Za-z]+(?:대학교|대학원|고등학교|과학기술원)|KAIST|POSTECH")


def risky_lines(job: Job) -> list[str]:
    """Wording that assessors mark down, and names that the start-up form wants masked."""
    lines = []
    for key, text in job.brief.facts.items():
        for match in _RISKY.finditer(text):
            values = {"words": clean(match[0]), "label": job.label(key)}
            lines.append(job.say("risky_claim", **values))
        if job.outline.name == STARTUP_FORM and key in ("team", "company", "partners"):
            for match in _SCHOOL.finditer(text):
                values = {"words": clean(match[0]), "label": job.label(key)}
                lines.append(job.say("identity", **values))
    return lines


# ---- gaps --------------------------------------------------------------------------------------

_VITAL_BIZPLAN = frozenset(
    {"product", "problem", "solution", "customers", "competitors", "price", "team", "funding"}
    | {"customers_year1", "volume_year1", "market_size", "tam", "unit_cost"}
)
_VITAL_RD = frozenset(
    {"problem", "objectives", "kpis", "technology", "methodology", "prior_work", "team"}
    | {"budget", "trl_start", "trl_target", "government_funding"}
)
_OPTIONAL_BIZPLAN = frozenset({"trl_start", "trl_target", "period_months"})
_PROMISED_YEARS = 3


class Gap(NamedTuple):
    """A section with the facts it lacks; ``weight`` is how much that hurts."""

    section: Section
    missing: tuple[str, ...]
    weight: int


def missing_in(job: Job, section: Section) -> tuple[str, ...]:
    """The facts a section asks for that the brief does not give, and that it really needs."""
    return tuple(key for key in section.facts if not _is_served(job, key))


def wanted_keys(job: Job) -> tuple[str, ...]:
    """Every fact that the outline really needs or that the brief gives, in outline order."""
    keys = dict.fromkeys(key for section in job.outline.sections for key in section.facts)
    return tuple(key for key in keys if key in job.brief.facts or not _is_served(job, key))


def missing_keys(job: Job) -> list[str]:
    """The facts that are really needed and not given, the most important first."""
    missing = [key for key in wanted_keys(job) if key not in job.brief.facts]
    return sorted(missing, key=lambda key: -weight_of(job, key))


def sections_with(job: Job, key: str) -> str:
    """The headings of the sections that ask for a fact."""
    return " / ".join(s.heading for s in job.outline.sections if key in s.facts)


def gaps(job: Job) -> list[Gap]:
    """Sections with missing facts, the most important first."""
    found = []
    for section in job.outline.sections:
        missing = missing_in(job, section)
        if missing:
            weight = sum(weight_of(job, key) for key in missing)
            found.append(Gap(section, missing, weight))
    return sorted(found, key=lambda gap: -gap.weight)


def weight_of(job: Job, key: str) -> int:
    """3 for what a reader looks for first, 1 for the rest."""
    return 3 if key in (_VITAL_RD if job.is_rd else _VITAL_BIZPLAN) else 1


def _is_served(job: Job, key: str) -> bool:
    """Whether a fact is given, follows from another, or does not apply to this document."""
    facts = job.brief.facts
    if key in facts:
        return True
    if key in YEARLY_KEYS:
        kind, _, year = key.partition("_year")
        other_basis = kind != job.figures.basis
        computed = job.figures.year(int(year)) is not None
        return other_basis or computed or int(year) > _PROMISED_YEARS
    if key == "currency":
        return bool(job.figures.currency)
    if key == "market_size":
        return "tam" in facts
    if key == "budget":
        return job.figures.funding is not None or (not job.is_rd and "funding" in facts)
    if key in ("government_funding", "own_funding_cash", "own_funding_in_kind", "growth"):
        return not job.is_rd and (key == "growth" or not _has_public_funding(facts))
    return key in _OPTIONAL_BIZPLAN and not job.is_rd


def _has_public_funding(facts: Mapping[str, str]) -> bool:
    return any(
        key in facts for key in ("government_funding", "own_funding_cash", "own_funding_in_kind")
    )


# ---- claims ------------------------------------------------------------------------------------


class Claim(NamedTuple):
    """A statement of the brief that holds a figure, and what would prove it."""

    label: str
    text: str
    proof: str


_PROOFS: Mapping[str, tuple[str, ...]] = {
    "prove_market": ("market", "market_size", "tam", "sam", "som", "growth", "competitors"),
    "prove_price": ("price", "unit_cost", "fixed_costs"),
    "prove_volume": YEARLY_KEYS,
    "prove_funding": (
        "funding",
        "budget",
        "government_funding",
        "own_funding_cash",
        "own_funding_in_kind",
    ),
    "prove_cost": ("use_of_funds",),
    "prove_customers": ("problem", "customers"),
    "prove_team": ("team", "partners"),
    "prove_technology": ("technology", "trl_start", "trl_target", "prior_work", "kpis"),
}
_PROOF_OF = {key: proof for proof, keys in _PROOFS.items() for key in keys}


_INTENTIONS = ("milestones", "period_months", "objectives")


def claims(job: Job) -> Iterator[Claim]:
    """Every line of the brief that states a figure, facts first; intentions are no claims."""
    for key in job.brief.facts:
        if key in _INTENTIONS:
            continue
        for line in job.brief.lines(key):
            if re.search(r"\d", line):
                yield Claim(job.label(key), line, job.say(_PROOF_OF.get(key, "prove_other")))
    for note in job.brief.notes:
        for line in note.text.splitlines():
            if re.search(r"\d", line):
                yield Claim(note.heading, line, job.say("prove_other"))
