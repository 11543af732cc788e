"""What can be worked out from the figures of a brief, and what speaks against them.

Pure: a :class:`~aigenflow.templates.brief.Brief` in, :class:`Figures` out. Nothing is guessed: a
figure that is missing or not plain stays ``None``, and the reason becomes a :class:`Doubt`.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import ROUND_HALF_UP, Decimal
from types import MappingProxyType
from typing import Literal, NamedTuple, TypeAlias

from aigenflow.core import arithmetic
from aigenflow.core.arithmetic import FundingTotals
from aigenflow.core.quantities import (
    PERCENT,
    Period,
    Quantity,
    currency_code,
    parse_quantity,
)
from aigenflow.templates.brief import Brief
from aigenflow.templates.vocabulary import YEARLY_KEYS, YEARS

PAYMENTS_A_YEAR: Mapping[Period, int] = {"": 1, "year": 1, "quarter": 4, "month": 12}
MONEY_KEYS = (
    "price",
    "unit_cost",
    "fixed_costs",
    "market_size",
    "tam",
    "sam",
    "som",
    "funding",
    "budget",
    "government_funding",
    "own_funding_cash",
    "own_funding_in_kind",
)
_NUMERIC_KEYS = (*MONEY_KEYS, *YEARLY_KEYS, "growth", "trl_start", "trl_target")
_HUNDRED = Decimal(100)
_TRLS = range(1, 10)
_LARGEST_TRL_STEP = 4

DoubtCode: TypeAlias = Literal[
    "not_one_figure",
    "unknown_period",
    "period_missing",
    "other_currency",
    "cost_above_price",
    "uses_differ",
    "shares_not_100",
    "parts_differ_from_budget",
    "market_order",
    "revenue_above_som",
    "trl_range",
    "trl_jump",
]


class Doubt(NamedTuple):
    """A contradiction or an unusable figure: ``keys`` of the brief, ``values`` as they clash."""

    code: DoubtCode
    keys: tuple[str, ...]
    values: tuple[Decimal | str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """One line of the use of funds: ``amount`` in the plan's currency, ``share`` in %."""

    label: str
    amount: Decimal | None
    share: Decimal | None


@dataclass(frozen=True, slots=True, kw_only=True)
class YearFigures:
    """One year. ``projected`` says that the volume comes from year 1 and the growth rate."""

    year: int
    volume: Decimal
    projected: bool
    revenue: Decimal | None = None
    cost_of_sales: Decimal | None = None
    gross_profit: Decimal | None = None
    operating_profit: Decimal | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """Amounts in ``currency`` (ISO code, empty where nobody gave one).

    ``price`` and ``unit_cost`` are per customer or unit and year: ``payments`` times what the
    brief says. ``fixed_costs`` is per year. ``gross_margin`` and ``growth`` are fractions.
    ``basis`` is the key prefix that the volumes come from.
    """

    currency: str = ""
    amounts: Mapping[str, Decimal] = field(default_factory=lambda: MappingProxyType({}))
    payments: int = 1
    price: Decimal | None = None
    unit_cost: Decimal | None = None
    fixed_costs: Decimal | None = None
    gross_margin: Decimal | None = None
    break_even_volume: Decimal | None = None
    break_even_revenue: Decimal | None = None
    growth: Decimal | None = None
    basis: Literal["customers", "volume"] = "customers"
    years: tuple[YearFigures, ...] = ()
    revenue_growth: Decimal | None = None
    funding: FundingTotals | None = None
    uses: tuple[Use, ...] = ()
    uses_total: Decimal | None = None
    doubts: tuple[Doubt, ...] = ()

    @property
    def break_even_year(self) -> int | None:
        """The first year whose volume covers the fixed costs; ``None`` where none does."""
        if self.break_even_volume is None:
            return None
        reached = (year.year for year in self.years if year.volume >= self.break_even_volume)
        return next(reached, None)

    def year(self, number: int) -> YearFigures | None:
        """The figures of one year, where there are any."""
        return next((year for year in self.years if year.year == number), None)


def work_out(brief: Brief) -> Figures:
    """Everything that follows from the brief's own figures."""
    doubts = _unclear_figures(brief)
    currency = _currency(brief)
    money = _money(brief, currency, doubts)
    amounts = {key: quantity.value for key, quantity in money.items()}
    payments, price, unit_cost = _per_year(money, doubts)
    fixed_costs = _fixed_costs(money, doubts)
    margin, break_even = _unit_economics(price, unit_cost, fixed_costs, doubts)
    basis, volumes, growth = _volumes(brief)
    years = tuple(_year(y, v, p, price, unit_cost, fixed_costs) for y, v, p in volumes)
    uses, uses_total = _uses(brief, currency, amounts, doubts)
    funding = _funding(amounts, doubts)
    _check_market(amounts, years, doubts)
    _check_trl(brief, doubts)
    return Figures(
        currency=currency,
        amounts=MappingProxyType(amounts),
        payments=payments,
        price=price,
        unit_cost=unit_cost,
        fixed_costs=fixed_costs,
        gross_margin=margin,
        break_even_volume=break_even,
        break_even_revenue=(
            None if break_even is None or price is None else arithmetic.product(price, break_even)
        ),
        growth=growth,
        basis=basis,
        years=years,
        revenue_growth=_revenue_growth(years),
        funding=funding,
        uses=uses,
        uses_total=uses_total,
        doubts=tuple(doubts),
    )


def at_volume(figures: Figures, year: YearFigures, factor: Decimal) -> YearFigures:
    """The same year with ``factor`` times its volume (whole units), prices and costs unchanged."""
    volume = arithmetic.product(year.volume, factor).to_integral_value(ROUND_HALF_UP)
    return _year(year.year, volume, True, figures.price, figures.unit_cost, figures.fixed_costs)


# ---- figures one by one ------------------------------------------------------------------------


def _unclear_figures(brief: Brief) -> list[Doubt]:
    return [
        Doubt("not_one_figure", (key,), (brief.facts[key].replace("\n", " / "),))
        for key in _NUMERIC_KEYS
        if key in brief.facts and brief.quantity(key) is None
    ]


def _currency(brief: Brief) -> str:
    """The one named in the brief, else the one its amounts use (the first, if several)."""
    named = currency_code(brief.facts.get("currency", ""))
    units = [q.unit for key in MONEY_KEYS if (q := brief.quantity(key)) and q.is_money]
    uses = [q.unit for use in brief.lines("use_of_funds") if (q := _split_use(use)[1])]
    return named or next(iter((*units, *(unit for unit in uses if unit != PERCENT))), "")


def _money(brief: Brief, currency: str, doubts: list[Doubt]) -> dict[str, Quantity]:
    """Money facts in the plan's currency; an amount without a currency is taken to be in it."""
    found = {}
    for key in MONEY_KEYS:
        quantity = brief.quantity(key)
        if quantity is None:
            continue
        if quantity.unit in (currency, ""):
            found[key] = quantity
        elif quantity.is_money:
            doubts.append(Doubt("other_currency", (key,), (quantity.unit, currency)))
        else:
            doubts.append(Doubt("not_one_figure", (key,), (brief.facts[key],)))
    return found


def _per_year(
    money: Mapping[str, Quantity], doubts: list[Doubt]
) -> tuple[int, Decimal | None, Decimal | None]:
    """Payments a year, price and unit cost per year. A monthly price needs a monthly cost."""
    price, cost = money.get("price"), money.get("unit_cost")
    if price is None:
        return 1, None, None
    payments = PAYMENTS_A_YEAR.get(price.per)
    if payments is None:
        doubts.append(Doubt("unknown_period", ("price",)))
        return 1, None, None
    yearly_price = arithmetic.product(price.value, payments)
    if cost is None:
        return payments, yearly_price, None
    if cost.per not in PAYMENTS_A_YEAR:
        doubts.append(Doubt("unknown_period", ("unit_cost",)))
        return payments, yearly_price, None
    if bool(cost.per) != bool(price.per):
        doubts.append(Doubt("period_missing", ("unit_cost", "price")))
        return payments, yearly_price, None
    return payments, yearly_price, arithmetic.product(cost.value, PAYMENTS_A_YEAR[cost.per])


def _fixed_costs(money: Mapping[str, Quantity], doubts: list[Doubt]) -> Decimal | None:
    costs = money.get("fixed_costs")
    if costs is None:
        return None
    if costs.per not in PAYMENTS_A_YEAR:
        doubts.append(Doubt("unknown_period", ("fixed_costs",)))
        return None
    return arithmetic.product(costs.value, PAYMENTS_A_YEAR[costs.per])


def _unit_economics(
    price: Decimal | None,
    unit_cost: Decimal | None,
    fixed_costs: Decimal | None,
    doubts: list[Doubt],
) -> tuple[Decimal | None, Decimal | None]:
    """Gross margin and break-even volume, where price and unit cost are known."""
    if price is None or unit_cost is None:
        return None, None
    margin = arithmetic.gross_margin(price, unit_cost)
    if unit_cost >= price:
        doubts.append(Doubt("cost_above_price", ("unit_cost", "price"), (unit_cost, price)))
    if fixed_costs is None:
        return margin, None
    return margin, arithmetic.break_even_volume(fixed_costs, price, unit_cost)


_Volume: TypeAlias = tuple[int, Decimal, bool]


def _volumes(
    brief: Brief,
) -> tuple[Literal["customers", "volume"], list[_Volume], Decimal | None]:
    """Volumes by year: as given, or year 1 grown at the rate given where only year 1 is."""
    rate = brief.quantity("growth")
    growth = rate.value / _HUNDRED if rate and rate.unit == PERCENT else None
    basis: Literal["customers", "volume"] = (
        "volume" if any(f"volume_year{year}" in brief.facts for year in YEARS) else "customers"
    )
    given: list[_Volume] = []
    for year in YEARS:
        quantity = brief.quantity(f"{basis}_year{year}")
        times = PAYMENTS_A_YEAR.get(quantity.per) if quantity else None
        counted = quantity and quantity.unit != PERCENT and not quantity.is_money
        if quantity and times and counted and quantity.value >= 0:
            given.append((year, arithmetic.product(quantity.value, times), False))
    if growth is not None and growth > -1 and [year for year, *_ in given] == [1]:
        first = given[0][1]
        given += [(year, arithmetic.grown(first, growth, year - 1), True) for year in (2, 3)]
    return basis, given, growth


def _year(
    year: int,
    volume: Decimal,
    projected: bool,
    price: Decimal | None,
    unit_cost: Decimal | None,
    fixed_costs: Decimal | None,
) -> YearFigures:
    revenue = None if price is None else arithmetic.product(price, volume)
    cost = None if unit_cost is None else arithmetic.product(unit_cost, volume)
    gross = None
    if revenue is not None and cost is not None:
        gross = arithmetic.difference(revenue, cost)
    operating = None
    if gross is not None and fixed_costs is not None:
        operating = arithmetic.difference(gross, fixed_costs)
    return YearFigures(
        year=year,
        volume=volume,
        projected=projected,
        revenue=revenue,
        cost_of_sales=cost,
        gross_profit=gross,
        operating_profit=operating,
    )


def _revenue_growth(years: Iterable[YearFigures]) -> Decimal | None:
    """CAGR of revenue from the first year given to the last; ``None`` below two years."""
    known = [(year.year, year.revenue) for year in years if year.revenue is not None]
    if len(known) < 2:
        return None
    (first_year, first), (last_year, last) = known[0], known[-1]
    return arithmetic.compound_growth(first, last, last_year - first_year)


# ---- funds -------------------------------------------------------------------------------------

_USE = re.compile(r"(?P<label>.*?\S)\s*(?:[:：–—]|\s-\s)\s*(?P<figure>.*)")
_USE_WITHOUT_SIGN = re.compile(r"(?P<label>\D*?[^\W\d])\s+(?P<figure>[₩$€£]?\s?\d.*)")
_TOTAL_LABEL = re.compile(
    r"(?:합\s*계|총\s*계|총\s*액|소\s*계|sub-?total|(?:grand )?total|sum)\W*", re.I
)


def _split_use(line: str) -> tuple[str, Quantity | None]:
    match = _USE.fullmatch(line) or _USE_WITHOUT_SIGN.fullmatch(line)
    if match is None:
        return line, None
    quantity = parse_quantity(match["figure"])
    if quantity is None:
        quantity = next(
            (q for part in match["figure"].split(";") if (q := parse_quantity(part))), None
        )
    return match["label"], quantity


def _uses(
    brief: Brief, currency: str, amounts: Mapping[str, Decimal], doubts: list[Doubt]
) -> tuple[tuple[Use, ...], Decimal | None]:
    """The use of funds with amounts and shares, and their sum, where every line has a figure."""
    lines = [_split_use(line) for line in brief.lines("use_of_funds")]
    lines = [(label, q) for label, q in lines if not _TOTAL_LABEL.fullmatch(label)]
    figures = [quantity for _, quantity in lines if quantity is not None]
    unknown = tuple(Use(label=label, amount=None, share=None) for label, _ in lines)
    if not lines or len(figures) < len(lines):
        return unknown, None
    labels = [label for label, _ in lines]
    values = [quantity.value for quantity in figures]
    units = {quantity.unit for quantity in figures}
    if units == {PERCENT}:
        return _uses_from_shares(labels, values, amounts, doubts)
    if not units <= {currency, ""}:
        doubts.append(Doubt("other_currency", ("use_of_funds",), (", ".join(units), currency)))
        return unknown, None
    whole = arithmetic.total(values)
    totals = [(key, amounts[key]) for key in _FUND_TOTALS if key in amounts]
    if totals and whole not in {amount for _, amount in totals}:
        key, amount = totals[0]
        doubts.append(Doubt("uses_differ", ("use_of_funds", key), (whole, amount)))
    shares = arithmetic.percent_shares(values) or (None,) * len(values)
    rows = zip(labels, values, shares, strict=True)
    return tuple(Use(label=la, amount=v, share=s) for la, v, s in rows), whole


_FUND_TOTALS = ("funding", "budget", "government_funding")


def _uses_from_shares(
    labels: list[str], shares: list[Decimal], amounts: Mapping[str, Decimal], doubts: list[Doubt]
) -> tuple[tuple[Use, ...], Decimal | None]:
    whole = next((amounts[key] for key in _FUND_TOTALS if key in amounts), None)
    added = arithmetic.total(shares)
    if added != _HUNDRED:
        doubts.append(Doubt("shares_not_100", ("use_of_funds",), (added,)))
        whole = None
    rows = tuple(
        Use(
            label=label,
            amount=None if whole is None else arithmetic.product(whole, share) / _HUNDRED,
            share=share,
        )
        for label, share in zip(labels, shares, strict=True)
    )
    return rows, whole


def _funding(amounts: Mapping[str, Decimal], doubts: list[Doubt]) -> FundingTotals | None:
    """The funding identities, only where all three parts are given: a missing one is not 0."""
    parts = [
        amounts.get(key)
        for key in ("government_funding", "own_funding_cash", "own_funding_in_kind")
    ]
    given = [part for part in parts if part is not None]
    if len(given) < len(parts):
        return None
    totals = arithmetic.funding_totals(*given)
    budget = amounts.get("budget")
    if budget is not None and budget != totals.total:
        keys = ("government_funding", "own_funding_cash", "own_funding_in_kind", "budget")
        doubts.append(Doubt("parts_differ_from_budget", keys, (totals.total, budget)))
    return totals


# ---- checks ------------------------------------------------------------------------------------


def _check_market(
    amounts: Mapping[str, Decimal], years: tuple[YearFigures, ...], doubts: list[Doubt]
) -> None:
    sizes = [(key, amounts[key]) for key in ("tam", "sam", "som") if key in amounts]
    for (larger, size), (smaller, part) in itertools.pairwise(sizes):
        if part > size:
            doubts.append(Doubt("market_order", (smaller, larger), (part, size)))
    som = amounts.get("som")
    above = [
        year
        for year in years
        if som is not None and year.revenue is not None and year.revenue > som
    ]
    if above and som is not None and above[0].revenue is not None:
        values = (str(above[0].year), above[0].revenue, som)
        doubts.append(Doubt("revenue_above_som", ("som",), values))


def _check_trl(brief: Brief, doubts: list[Doubt]) -> None:
    start, target = brief.quantity("trl_start"), brief.quantity("trl_target")
    if start is None or target is None:
        return
    values = (start.value, target.value)
    if start.value not in _TRLS or target.value not in _TRLS or start.value >= target.value:
        doubts.append(Doubt("trl_range", ("trl_start", "trl_target"), values))
    elif target.value - start.value > _LARGEST_TRL_STEP:
        doubts.append(Doubt("trl_jump", ("trl_start", "trl_target"), values))
