"""The financial model: what follows from the drivers, exact in ``Decimal``.

``model.json`` (:meth:`FinancialModel.to_json`) is read by the quality report::

    {"schema_version": 1, "currency": "KRW", "unit": 1000, "years": [2027, 2028, 2029],
     "scenarios": {"base": {"revenue": [158400000, ...], "cogs": [...], "gross_profit": [...],
                            "opex": [...], "ebit": [...], "tax": [...], "net_profit": [...],
                            "opening_cash": [...], "cash_flow": [...], "cash": [...],
                            "assets": [...], "liabilities": [...], "equity": [...], ...},
                   "up": {...}, "down": {...}},
     "quarters": {"revenue": [q1, q2, q3, q4], ...},
     "unit_economics": {"price": [...], "unit_cost": [...], "volume": [...], "ltv": ..., ...},
     "break_even": {"units": 24, "revenue": 345600, "fixed_costs": ..., "year": 2028},
     "ratios": {"cagr": 0.24, "npv": ..., "irr": 0.31, "lowest_cash": ..., "payback_year": 3},
     "market": {"tam": ..., "sam": ..., "som": ..., "year": 2025, "currency": "KRW"},
     "funding": {"own": ..., "equity": ..., "grant": ..., "loan": ..., "total": ...},
     "use_of_funds": {"items": [["Equipment", 190000], ...], "total": 450000},
     "rd_budget": {"years": 3, "government": [...], "own_cash": [...], "own_in_kind": [...],
                   "own": [...], "total": [...], "items": [["Personnel", [...]], ...]},
     "trl": {"start": 4, "target": 7}}

Amounts are in whole ``currency``, rounded to multiples of ``unit``; what could not be computed is
left out. A year below 100 is a year of the plan (1, 2, 3), not of the calendar. ``opex`` contains
``depreciation``; ``ratios`` are fractions. Each statement line is rounded where it is made from
drivers, and every total is the sum of rounded lines, so that all tables add up.

Rules: grants and owners' money are equity, not revenue. Losses are carried forward in full before
tax is due. Interest is due on the balance at the beginning of a year plus what is drawn in it.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import ROUND_CEILING, ROUND_HALF_UP, Decimal, localcontext
from types import MappingProxyType

from aigenflow.core.arithmetic import compound_growth, product, ratio, total
from aigenflow.core.models import Json
from aigenflow.finance.drivers import Driver, Drivers, Funding, Investment, ResearchBudget, Scenario

SCHEMA_VERSION = 1
BASE, UP, DOWN = "base", "up", "down"
DAYS_A_YEAR = 365
_PRECISION = 60
_ZERO = Decimal(0)
_HAIR = Decimal("1e-20")
"""What thirds of a quarter may be short of a whole year."""

Series = tuple[Decimal, ...]
Lines = Mapping[str, Series]


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakEven:
    """Where contribution covers ``fixed_costs``, in ``reference_year`` (the first year that does,
    else the last). ``units`` is ``None`` where several things are sold in different units.
    ``covered_month`` is the month of ``reached_year``, from 1, in which the year's contribution has
    covered the year's fixed costs.
    """

    fixed_costs: Decimal
    revenue: Decimal
    reference_year: int
    units: Decimal | None = None
    contribution_per_unit: Decimal | None = None
    reached_year: int | None = None
    covered_month: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """A research budget by year, in multiples of the model's unit."""

    government: Series
    own_cash: Series
    own_in_kind: Series
    items: tuple[tuple[str, Series], ...] = ()

    @property
    def own(self) -> Series:
        """Cash + in kind, by year."""
        return _added(self.own_cash, self.own_in_kind)

    @property
    def total(self) -> Series:
        """Government + own, by year."""
        return _added(self.government, self.own)


@dataclass(frozen=True, slots=True, kw_only=True)
class FinancialModel:
    """Everything that was computed; see the module for the form and the rules."""

    currency: str
    unit: Decimal
    years: tuple[int, ...]
    scenarios: Mapping[str, Lines]
    quarters: Lines = field(default_factory=lambda: MappingProxyType({}))
    unit_lines: Lines = field(default_factory=lambda: MappingProxyType({}))
    customer: Mapping[str, Decimal] = field(default_factory=lambda: MappingProxyType({}))
    break_even: BreakEven | None = None
    ratios: Mapping[str, Decimal] = field(default_factory=lambda: MappingProxyType({}))
    market: Mapping[str, Decimal] = field(default_factory=lambda: MappingProxyType({}))
    market_year: int | None = None
    sources: tuple[tuple[str, Decimal], ...] = ()
    uses: tuple[tuple[str, Decimal], ...] = ()
    budget: Budget | None = None
    trl: tuple[int, int] | None = None

    @property
    def base(self) -> Lines:
        """The lines of the base case."""
        return self.scenarios.get(BASE, {})

    @property
    def funding(self) -> Mapping[str, Decimal]:
        """What comes in over all years by kind, and the sum; empty where nothing is known."""
        sums: dict[str, Decimal] = {}
        for kind, amount in self.sources:
            sums[kind] = sums.get(kind, _ZERO) + amount
        return {**sums, "total": total(sums.values())} if sums else sums

    @property
    def uses_total(self) -> Decimal:
        """The sum of the use of funds."""
        return total(amount for _name, amount in self.uses)

    def lines(self) -> Mapping[str, Decimal]:
        """Every figure by name: ``base.revenue.2027``, ``q1.revenue``, ``market.tam``, …"""
        found: dict[str, Decimal] = {}
        for case, lines in self.scenarios.items():
            found |= _by_year(f"{case}.", lines, self.years)
        for name, series in self.quarters.items():
            found |= {f"q{n}.{name}": value for n, value in enumerate(series, start=1)}
        found |= _by_year("unit.", self.unit_lines, self.years)
        for group, values in (
            ("customer", self.customer),
            ("ratio", self.ratios),
            ("market", {**self.market, **_market_shares(self.market)}),
            ("funding", self.funding),
        ):
            found |= {f"{group}.{name}": value for name, value in values.items()}
        found |= {f"use.{n}": amount for n, (_name, amount) in enumerate(self.uses, start=1)}
        if self.uses:
            found["use.total"] = self.uses_total
        return found | _break_even_lines(self.break_even) | _budget_lines(self.budget)

    def to_json(self) -> dict[str, Json]:
        """``model.json`` as plain values."""
        return {
            "schema_version": SCHEMA_VERSION,
            "currency": self.currency,
            "unit": _plain(self.unit),
            "years": list(self.years),
            "scenarios": {case: _plain_lines(lines) for case, lines in self.scenarios.items()},
            "quarters": _plain_lines(self.quarters),
            "unit_economics": _plain_lines(self.unit_lines) | _plain_values(self.customer),
            "break_even": _break_even_json(self.break_even),
            "ratios": _plain_values(self.ratios),
            "market": _market_json(self),
            "funding": _plain_values(self.funding),
            "use_of_funds": _uses_json(self),
            "rd_budget": _budget_json(self.budget),
            "trl": {"start": self.trl[0], "target": self.trl[1]} if self.trl else {},
        }


def compute(drivers: Drivers) -> FinancialModel:
    """Everything that follows from ``drivers``; the same drivers give the same model."""
    with localcontext(prec=_PRECISION):
        unit = _rounding_unit(drivers)
        years = tuple((drivers.first_year or 1) + n for n in range(drivers.years))
        cases = {BASE: Scenario(), DOWN: drivers.scenarios.down, UP: drivers.scenarios.up}
        scenarios = {
            name: _statement(drivers, case, unit)
            for name, case in cases.items()
            if case is not None and drivers.revenue
        }
        base = scenarios.get(BASE, {})
        unit_lines = _unit_lines(drivers)
        return FinancialModel(
            currency=drivers.currency,
            unit=unit,
            years=years,
            scenarios=MappingProxyType(scenarios),
            quarters=_quarters(drivers, base, unit),
            unit_lines=unit_lines,
            customer=_customer(drivers, unit_lines),
            break_even=_break_even(drivers, base, years),
            ratios=_ratios(drivers, base),
            market=_market(drivers),
            market_year=drivers.market.year if drivers.market else None,
            sources=_sources(drivers, unit),
            uses=_uses(drivers, unit),
            budget=_budget(drivers.rd_budget, unit) if drivers.rd_budget else None,
            trl=(drivers.trl.start, drivers.trl.target) if drivers.trl else None,
        )


# ---- rounding ----------------------------------------------------------------------------------

_SMALL_CURRENCIES = frozenset({"KRW", "JPY"})  # their thousand is what others call a unit


def _rounding_unit(drivers: Drivers) -> Decimal:
    """What amounts are rounded to: 1, a thousand or a million, by the largest of them."""
    amounts = [line.price.at(n) * line.volume.at(n) for line in drivers.revenue for n in
               range(drivers.years)]  # fmt: skip
    amounts += [use.amount.first for use in drivers.use_of_funds]
    if drivers.rd_budget:
        amounts += [drivers.rd_budget.government.first]
    largest = max(amounts, default=_ZERO)
    small = drivers.currency in _SMALL_CURRENCIES
    if small:
        largest /= 100
    if largest >= 10**10 or (small and largest >= 10**9):
        return Decimal(10**6)
    return Decimal(1000 if small or largest >= 10**7 else 1)


def _rounded(value: Decimal, unit: Decimal) -> Decimal:
    return (value / unit).to_integral_value(ROUND_HALF_UP) * unit


def apportion(whole: Decimal, weights: Sequence[Decimal], unit: Decimal) -> Series:
    """``whole`` (a multiple of ``unit``) shared by ``weights``; the parts add up to it exactly.

    What rounding down leaves over goes to the largest remainders.
    """
    added = total(weights)
    if added <= 0:
        weights, added = [Decimal(1)] * len(weights), Decimal(len(weights))
    exact = [whole / unit * weight / added for weight in weights]
    parts = [int(part) for part in exact]
    left = int(whole / unit) - sum(parts)
    order = sorted(range(len(parts)), key=lambda n: (parts[n] - exact[n], n))
    for n in range(left):
        parts[order[n % len(order)]] += 1
    return tuple(part * unit for part in parts)


def _all_rounded(values: Iterable[Decimal], unit: Decimal) -> Series:
    return tuple(_rounded(value, unit) for value in values)


def _by_years(each: Funding | Investment, drivers: Drivers, unit: Decimal) -> Series:
    return _all_rounded((each.in_year_of(n) for n in range(drivers.years)), unit)


def _added(*series: Series) -> Series:
    return tuple(total(values) for values in zip(*series, strict=True))


def _less(series: Series, *others: Series) -> Series:
    return tuple(first - total(rest) for first, *rest in zip(series, *others, strict=True))


# ---- the statements of one case ----------------------------------------------------------------


def _statement(drivers: Drivers, case: Scenario, unit: Decimal) -> Lines:
    """Income statement, and cash flow and balance sheet where tax and funding are known."""
    lines = _down_to_ebit(drivers, case, unit)
    if drivers.tax_percent is None or "ebit" not in lines:
        return MappingProxyType(lines)
    lines |= _down_to_profit(drivers, drivers.tax_percent, lines["ebit"], unit)
    if drivers.funding or drivers.opening_cash is not None:
        lines |= _cash_and_balance(drivers, lines, unit)
    return MappingProxyType(lines)


def _down_to_ebit(drivers: Drivers, case: Scenario, unit: Decimal) -> dict[str, Series]:
    years = range(drivers.years)
    sold = [[_sold(line.volume, case, n) for n in years] for line in drivers.revenue]
    parts = [
        _all_rounded((line.price.at(n) * case.price * volume[n] for n in years), unit)
        for line, volume in zip(drivers.revenue, sold, strict=True)
    ]
    lines: dict[str, Series] = {"revenue": _added(*parts)}
    if len(parts) > 1:
        lines |= {f"revenue_{n}": part for n, part in enumerate(parts, start=1)}
    if len({line.unit for line in drivers.revenue}) == 1:
        lines["volume"] = _added(*(tuple(volume) for volume in sold))
    costs = [
        _all_rounded((cost.at(n) * case.unit_cost * volume[n] for n in years), unit)
        for line, volume in zip(drivers.revenue, sold, strict=True)
        if (cost := line.unit_cost) is not None
    ]
    if len(costs) == len(drivers.revenue):
        lines["cogs"] = _added(*costs)
        lines["gross_profit"] = _less(lines["revenue"], lines["cogs"])
    lines |= _operating_expenses(drivers, case, lines["revenue"], unit)
    if "opex" in lines and "gross_profit" in lines:
        lines["ebit"] = _less(lines["gross_profit"], lines["opex"])
    return lines


def _sold(volume: Driver, case: Scenario, year: int) -> Decimal:
    count = volume.count_at(year)
    return count if case.volume == 1 else (count * case.volume).to_integral_value(ROUND_HALF_UP)


def _operating_expenses(
    drivers: Drivers, case: Scenario, revenue: Series, unit: Decimal
) -> dict[str, Series]:
    """Staff, fixed and variable costs and depreciation; nothing where no cost is known."""
    if not drivers.costs and not drivers.staff:
        return {}
    years = range(drivers.years)
    staff = [
        _all_rounded((who.heads.at(n) * who.salary.at(n) * case.costs for n in years), unit)
        for who in drivers.staff
    ]
    fixed = [
        _all_rounded((amount.at(n) * case.costs for n in years), unit)
        for cost in drivers.costs
        if (amount := cost.amount) is not None
    ]
    variable = [
        _all_rounded((share.at(n) / 100 * revenue[n] for n in years), unit)
        for cost in drivers.costs
        if (share := cost.percent_of_revenue) is not None
    ]
    nothing = (_ZERO,) * drivers.years
    groups = {
        "staff": _added(nothing, *staff),
        "fixed_costs": _added(nothing, *fixed),
        "variable_costs": _added(nothing, *variable),
        "depreciation": _added(nothing, *(_written_off(i, drivers, unit) for i in
                                          drivers.investments)),
    }  # fmt: skip
    return groups | {"opex": _added(*groups.values())}


def _written_off(investment: Investment, drivers: Drivers, unit: Decimal) -> Series:
    """Depreciation by year, rounded so that its sum is the investment's rounded amount."""
    years, life = drivers.years, investment.life_years
    parts = [[_ZERO] * years for _bought in range(years)]
    for bought in range(years):
        amount = _rounded(investment.in_year_of(bought), unit)
        before = _ZERO
        for age in range(min(life, years - bought)):
            after = _rounded(amount * (age + 1) / life, unit)
            parts[bought][bought + age] = after - before
            before = after
    return _added(*(tuple(part) for part in parts))


def _down_to_profit(
    drivers: Drivers, tax_percent: Driver, ebit: Series, unit: Decimal
) -> dict[str, Series]:
    loans = _loans(drivers, unit)
    loss = _ZERO
    taxes = []
    for year, profit in enumerate(_less(ebit, loans["interest"])):
        taxed = max(_ZERO, profit - loss)
        loss = max(_ZERO, loss - profit)
        taxes.append(_rounded(taxed * tax_percent.at(year) / 100, unit))
    tax = tuple(taxes)
    return {
        "interest": loans["interest"],
        "tax": tax,
        "net_profit": _less(ebit, loans["interest"], tax),
    }


def _loans(drivers: Drivers, unit: Decimal) -> dict[str, Series]:
    """Drawn, repaid, balance at the end and interest of all loans, by year."""
    nothing = (_ZERO,) * drivers.years
    sums = dict.fromkeys(("drawn", "repaid", "balance", "interest"), nothing)
    for source in drivers.funding:
        if source.kind != "loan":
            continue
        drawn = _by_years(source, drivers, unit)
        repaid = _repayments(drawn, source.repay_years, unit)
        balance, interest, owed = [], [], _ZERO
        for year in range(drivers.years):
            interest.append(_rounded((owed + drawn[year]) * source.interest_percent / 100, unit))
            owed += drawn[year] - repaid[year]
            balance.append(owed)
        own = {"drawn": drawn, "repaid": repaid, "balance": tuple(balance),
               "interest": tuple(interest)}  # fmt: skip
        sums = {name: _added(sums[name], own[name]) for name in sums}
    return sums


def _repayments(drawn: Series, repay_years: int | None, unit: Decimal) -> Series:
    repaid = [_ZERO] * len(drawn)
    for year, amount in enumerate(drawn):
        parts = apportion(amount, [Decimal(1)] * (repay_years or 0), unit) if repay_years else ()
        for age, part in enumerate(parts, start=year + 1):
            if age < len(repaid):
                repaid[age] += part
    return tuple(repaid)


def _cash_and_balance(drivers: Drivers, lines: Lines, unit: Decimal) -> dict[str, Series]:
    """Cash flow and balance sheet. Assets = liabilities + equity, from the same rounded lines."""
    loans = _loans(drivers, unit)
    nothing = (_ZERO,) * drivers.years
    capex = _added(nothing, *(_by_years(i, drivers, unit) for i in
                              drivers.investments))  # fmt: skip
    paid_in = _added(nothing, *(_by_years(s, drivers, unit) for s in drivers.funding
                                if s.kind != "loan"))  # fmt: skip
    receivables = _bound(drivers.receivable_days, lines["revenue"], unit)
    stock = _bound(drivers.stock_days, lines["cogs"], unit)
    payables = _bound(drivers.payable_days, lines["cogs"], unit)
    tied_up = _less(_added(receivables, stock), payables)
    operations = _added(
        lines["net_profit"], lines["depreciation"], tuple(-step for step in _steps(tied_up))
    )
    investing = tuple(-amount for amount in capex)
    financing = _less(_added(paid_in, loans["drawn"]), loans["repaid"])
    flow = _added(operations, investing, financing)
    start = _rounded(drivers.opening_cash.first, unit) if drivers.opening_cash else _ZERO
    cash = _running(start, flow)
    fixed_assets = _running(_ZERO, _less(capex, lines["depreciation"]))
    liabilities = _added(loans["balance"], payables)
    equity = _running(start, _added(paid_in, lines["net_profit"]))
    return {
        "opening_cash": (start, *cash[:-1]),
        "cash_from_operations": operations,
        "cash_from_investing": investing,
        "cash_from_financing": financing,
        "cash_flow": flow,
        "cash": cash,
        "receivables": receivables,
        "stock": stock,
        "fixed_assets": fixed_assets,
        "assets": _added(cash, receivables, stock, fixed_assets),
        "loans": loans["balance"],
        "payables": payables,
        "liabilities": liabilities,
        "equity": equity,
    }


def _bound(days: Driver | None, base: Series, unit: Decimal) -> Series:
    """What is tied up in ``days`` of ``base``; nothing where no payment terms are given."""
    if days is None:
        return (_ZERO,) * len(base)
    return tuple(_rounded(amount * days.first / DAYS_A_YEAR, unit) for amount in base)


def _steps(levels: Series) -> Series:
    return tuple(now - before for before, now in zip((_ZERO, *levels), levels, strict=False))


def _running(start: Decimal, steps: Series) -> Series:
    levels = []
    for step in steps:
        start += step
        levels.append(start)
    return tuple(levels)


# ---- beside the statements ---------------------------------------------------------------------


def _quarters(drivers: Drivers, base: Lines, unit: Decimal) -> Lines:
    """Year 1 by quarter: sales as ``first_year_quarters`` says, else evenly; fixed costs evenly."""
    if "revenue" not in base:
        return MappingProxyType({})
    even = [Decimal(25)] * 4
    given = drivers.first_year_quarters
    shares = list(given.values) if given else even
    by_sales = {name: apportion(base[name][0], shares, unit) for name in
                ("revenue", "cogs", "variable_costs") if name in base}  # fmt: skip
    lines: dict[str, Series] = {"revenue": by_sales["revenue"]}
    if "cogs" in by_sales:
        lines["cogs"] = by_sales["cogs"]
        lines["gross_profit"] = _less(lines["revenue"], lines["cogs"])
    if "opex" in base:
        evenly = [
            apportion(base[name][0], even, unit)
            for name in ("staff", "fixed_costs", "depreciation")
        ]
        lines["opex"] = _added(by_sales["variable_costs"], *evenly)
    if "ebit" in base:
        lines["ebit"] = _less(lines["gross_profit"], lines["opex"])
    return MappingProxyType(lines)


def _unit_lines(drivers: Drivers) -> Lines:
    """Price, cost, contribution and margin of one unit, by year, where one thing is sold."""
    if len(drivers.revenue) != 1:
        return MappingProxyType({})
    line, years = drivers.revenue[0], range(drivers.years)
    lines = {
        "price": tuple(line.price.at(n) for n in years),
        "volume": tuple(line.volume.count_at(n) for n in years),
    }
    if line.unit_cost is not None:
        cost = tuple(line.unit_cost.at(n) for n in years)
        contribution = _less(lines["price"], cost)
        lines |= {"unit_cost": cost, "contribution": contribution}
        if all(price > 0 for price in lines["price"]):
            lines["gross_margin"] = tuple(
                part / price for part, price in zip(contribution, lines["price"], strict=True)
            )
    return MappingProxyType(lines)


def _customer(drivers: Drivers, unit_lines: Lines) -> Mapping[str, Decimal]:
    """CAC, lifetime, LTV (contribution over the lifetime), LTV/CAC, payback in months."""
    customer, contribution = drivers.customer, unit_lines.get("contribution")
    if customer is None:
        return MappingProxyType({})
    cost, months = customer.acquisition_cost.first, customer.lifetime_months.first
    values = {"cac": cost, "lifetime_months": months}
    if contribution is not None:
        values["ltv"] = contribution[0] * months / 12
        if cost > 0:
            values["ltv_cac"] = values["ltv"] / cost
        if contribution[0] > 0:
            values["payback_months"] = cost * 12 / contribution[0]
    return MappingProxyType(values)


def _break_even(drivers: Drivers, base: Lines, years: tuple[int, ...]) -> BreakEven | None:
    """Fixed costs over contribution; ``None`` where costs are unknown or no volume is enough."""
    if "ebit" not in base:
        return None
    profits = [n for n, profit in enumerate(base["ebit"]) if profit >= 0]
    n = profits[0] if profits else len(years) - 1
    fixed = base["staff"][n] + base["fixed_costs"][n] + base["depreciation"][n]
    sold = [(line, line.volume.count_at(n)) for line in drivers.revenue]
    exact_revenue = total(line.price.at(n) * count for line, count in sold)
    costs = total(line.unit_cost.at(n) * count for line, count in sold if line.unit_cost)
    variable = total(
        share.at(n) / 100 * exact_revenue
        for cost in drivers.costs
        if (share := cost.percent_of_revenue) is not None
    )
    contribution, volume = exact_revenue - costs - variable, total(c for _line, c in sold)
    if contribution <= 0 or volume <= 0:
        return None
    reached = years[profits[0]] if profits else None
    month = _covered_month(drivers, n, fixed / contribution) if profits else None
    if len(drivers.revenue) > 1:
        revenue = (fixed * exact_revenue / contribution).to_integral_value(ROUND_CEILING)
        return BreakEven(
            fixed_costs=fixed,
            revenue=revenue,
            reference_year=years[n],
            reached_year=reached,
            covered_month=month,
        )
    units = (fixed * volume / contribution).to_integral_value(ROUND_CEILING)
    return BreakEven(
        fixed_costs=fixed,
        units=units,
        contribution_per_unit=contribution / volume,
        revenue=product(units, drivers.revenue[0].price.at(n)),
        reference_year=years[n],
        reached_year=reached,
        covered_month=month,
    )


def _covered_month(drivers: Drivers, year: int, part: Decimal) -> int | None:
    """The first month by whose end ``part`` of a year's sales is made; ``None`` within no year."""
    quarters = drivers.first_year_quarters
    shares = quarters.values if quarters is not None and not year else (Decimal(25),) * 4
    months = itertools.accumulate(share / 300 for share in shares for _month in range(3))
    return next((n for n, made in enumerate(months, start=1) if made >= part - _HAIR), None)


def _ratios(drivers: Drivers, base: Lines) -> Mapping[str, Decimal]:
    """CAGR of revenue; NPV, IRR and payback of the flows before financing; lowest cash."""
    ratios: dict[str, Decimal] = {}
    revenue = base.get("revenue", ())
    if len(revenue) > 1:
        growth = compound_growth(revenue[0], revenue[-1], len(revenue) - 1)
        if growth is not None:
            ratios["cagr"] = growth
    if "cash" not in base:
        return MappingProxyType(ratios)
    ratios["lowest_cash"] = min(base["cash"])
    flows = _added(base["cash_from_operations"], base["cash_from_investing"])
    if drivers.discount_percent is not None:
        ratios["npv"] = net_present_value(flows, drivers.discount_percent.first / 100)
    rate = internal_rate_of_return(flows)
    if rate is not None:
        ratios["irr"] = rate
    sums = _running(_ZERO, flows)
    paid_back = next((n for n, sum_ in enumerate(sums, start=1) if sum_ >= 0), None)
    if paid_back is not None:
        ratios["payback_years"] = Decimal(paid_back)
    return MappingProxyType(ratios)


def net_present_value(flows: Series, rate: Decimal) -> Decimal:
    """The value today of ``flows`` at the ends of the years 1, 2, …, discounted at ``rate``."""
    return total(flow / (1 + rate) ** n for n, flow in enumerate(flows, start=1))


def internal_rate_of_return(flows: Series) -> Decimal | None:
    """The rate at which ``flows`` are worth nothing today, to a hundredth of a per cent.

    ``None`` unless the flows change their sign exactly once, from cost to gain, and the rate is
    between -99 % and 1,000 %.
    """
    signs = [flow > 0 for flow in flows if flow]
    if not signs or signs[0] or sum(a != b for a, b in itertools.pairwise(signs)) != 1:
        return None
    low, high = Decimal("-0.99"), Decimal(10)
    if net_present_value(flows, low) < 0 or net_present_value(flows, high) > 0:
        return None
    while high - low > Decimal("0.00001"):
        middle = (low + high) / 2
        if net_present_value(flows, middle) > 0:
            low = middle
        else:
            high = middle
    return ((low + high) / 2).quantize(Decimal("0.0001"))


def _market(drivers: Drivers) -> Mapping[str, Decimal]:
    market = drivers.market
    if market is None:
        return MappingProxyType({})
    sizes = {"tam": market.tam, "sam": market.sam, "som": market.som}
    return MappingProxyType({name: size.first for name, size in sizes.items() if size is not None})


def _uses(drivers: Drivers, unit: Decimal) -> tuple[tuple[str, Decimal], ...]:
    return tuple((use.name, _rounded(use.amount.first, unit)) for use in drivers.use_of_funds)


def _market_shares(market: Mapping[str, Decimal]) -> dict[str, Decimal]:
    """``sam_of_tam``, ``som_of_sam`` and ``som_of_tam``, as fractions."""
    return {
        f"{part}_of_{whole}": share
        for part, whole in (("sam", "tam"), ("som", "sam"), ("som", "tam"))
        if part in market
        and whole in market
        and (share := ratio(market[part], market[whole])) is not None
    }


def _sources(drivers: Drivers, unit: Decimal) -> tuple[tuple[str, Decimal], ...]:
    """Kind and amount over all years of each source of funds, in their order."""
    return tuple((each.kind, total(_by_years(each, drivers, unit))) for each in drivers.funding)


def _budget(budget: ResearchBudget, unit: Decimal) -> Budget:
    """The budget in multiples of ``unit``; the items of each year add up to its funds."""
    years = range(budget.years)

    def by_year(driver: Driver) -> Series:
        return tuple(_rounded(driver.at(n), unit) for n in years)

    funds = Budget(
        government=by_year(budget.government),
        own_cash=by_year(budget.own_cash),
        own_in_kind=by_year(budget.own_in_kind),
    )
    if not budget.items:
        return funds
    columns = [
        apportion(funds.total[n], [item.amount.at(n) for item in budget.items], unit) for n in years
    ]
    rows = zip(budget.items, zip(*columns, strict=True), strict=True)
    return Budget(
        government=funds.government,
        own_cash=funds.own_cash,
        own_in_kind=funds.own_in_kind,
        items=tuple((item.name, row) for item, row in rows),
    )


# ---- as names and as JSON ----------------------------------------------------------------------


def _by_year(prefix: str, lines: Lines, years: Iterable[int]) -> dict[str, Decimal]:
    return {
        f"{prefix}{name}.{year}": value
        for name, series in lines.items()
        for year, value in zip(years, series, strict=True)
    }


def _break_even_lines(point: BreakEven | None) -> dict[str, Decimal]:
    if point is None:
        return {}
    values = {
        "fixed_costs": point.fixed_costs,
        "revenue": point.revenue,
        "units": point.units,
        "contribution_per_unit": point.contribution_per_unit,
    }
    return {f"break_even.{name}": value for name, value in values.items() if value is not None}


def _budget_lines(budget: Budget | None) -> dict[str, Decimal]:
    if budget is None:
        return {}
    rows = {
        "government": budget.government,
        "own_cash": budget.own_cash,
        "own_in_kind": budget.own_in_kind,
        "own": budget.own,
        "total": budget.total,
    } | {f"item_{n}": row for n, (_name, row) in enumerate(budget.items, start=1)}
    found = _by_year("budget.", rows, range(1, len(budget.government) + 1))
    return found | {f"budget.{name}": total(series) for name, series in rows.items()}


def _plain(value: Decimal) -> int | float:
    return int(value) if value == value.to_integral_value() else float(value)


def _plain_lines(lines: Lines) -> dict[str, Json]:
    return {name: [_plain(value) for value in series] for name, series in lines.items()}


def _plain_values(values: Mapping[str, Decimal]) -> dict[str, Json]:
    return {name: _plain(value) for name, value in values.items()}


def _break_even_json(point: BreakEven | None) -> dict[str, Json]:
    if point is None:
        return {}
    lines = _break_even_lines(point)
    named = {name.removeprefix("break_even."): _plain(value) for name, value in lines.items()}
    return named | {"reference_year": point.reference_year, "year": point.reached_year,
                    "month": point.covered_month}  # fmt: skip


def _market_json(model: FinancialModel) -> dict[str, Json]:
    if not model.market:
        return {}
    return {**_plain_values(model.market), "year": model.market_year, "currency": model.currency}


def _uses_json(model: FinancialModel) -> dict[str, Json]:
    if not model.uses:
        return {}
    items = [[name, _plain(amount)] for name, amount in model.uses]
    return {"items": items, "total": _plain(model.uses_total)}


def _budget_json(budget: Budget | None) -> dict[str, Json]:
    if budget is None:
        return {}
    series = {
        "government": budget.government,
        "own_cash": budget.own_cash,
        "own_in_kind": budget.own_in_kind,
        "own": budget.own,
        "total": budget.total,
    }
    items = [[name, [_plain(value) for value in row]] for name, row in budget.items]
    return {"years": len(budget.government), **_plain_lines(series), "items": items}
