"""The model as tables: Markdown in both languages, with units, totals and origins.

Every figure comes from the model or its drivers. Text that an agent wrote (names, reasons) is
escaped, and holds no link and no source marker.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from aigenflow.core.arithmetic import (
    format_money,
    format_number,
    format_percent,
    percent_shares,
    ratio,
    total,
)
from aigenflow.core.markdown import clean_cell, render_table
from aigenflow.core.models import Language
from aigenflow.finance.drivers import ASSUMPTION, BRIEF, Driver, Drivers, Scenario
from aigenflow.finance.model import BASE, DOWN, UP, Budget, FinancialModel, Series
from aigenflow.finance.wording import say

_FIRST_CALENDAR_YEAR = 1900
_WON = {1: "원", 1000: "천원", 10**6: "백만원"}
_SCALES = {1: ("", ""), 1000: (" thousand", "천 "), 10**6: (" million", "백만 ")}


@dataclass(frozen=True, slots=True, kw_only=True)
class RenderedTable:
    """One table: ``id`` as outlines name it, Markdown without caption, and a note below it."""

    id: str
    caption: str
    markdown: str
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sheet:
    """A model with its drivers, in one language."""

    model: FinancialModel
    drivers: Drivers
    language: Language

    def say(self, key: str, /, **values: object) -> str:
        return say(key, self.language, **values)

    @property
    def unit(self) -> str:
        """The unit of amounts: ``천원``, ``GBP``, ``USD thousand``."""
        return unit_name(self.model.unit, self.model.currency, self.language)

    @property
    def currency(self) -> str:
        """The unit of prices, which are not rounded."""
        return unit_name(Decimal(1), self.model.currency, self.language)

    def amount(self, value: Decimal) -> str:
        """A rounded amount as a number in :attr:`unit`."""
        return format_number(value / self.model.unit, 0)

    def amounts(self, series: Series) -> tuple[str, ...]:
        return tuple(self.amount(value) for value in series)

    def year(self, year: int) -> str:
        """``2027``, or ``Year 1`` where nobody said when the plan begins."""
        return year_name(year, self.language)

    def money(self, value: Decimal) -> str:
        return format_money(value, self.model.currency, self.language)

    @property
    def year_columns(self) -> list[str]:
        return [f"{self.year(year)} ({self.unit})" for year in self.model.years]

    @property
    def sold_unit(self) -> str:
        """What is counted, where one thing is sold."""
        units = {line.unit for line in self.drivers.revenue}
        return plain(units.pop()) if len(units) == 1 else ""


def unit_name(unit: Decimal, currency: str, language: Language) -> str:
    """How a rounding unit of a currency is called."""
    if language is Language.KO:
        return _WON[int(unit)] if currency == "KRW" else f"{_SCALES[int(unit)][1]}{currency}"
    return f"{currency}{_SCALES[int(unit)][0]}".strip()


def year_name(year: int, language: Language) -> str:
    """A calendar year as it is, a year of the plan with its word."""
    return str(year) if year > _FIRST_CALENDAR_YEAR else say("year", language, n=year)


def plain(text: str) -> str:
    """Text from an agent as a cell: no markup, no link, no source marker."""
    kept = text.replace("[", "(").replace("]", ")").replace("`", "'").replace("*", "·")
    return clean_cell(kept.replace("://", ": //").replace("_", " "))


def origin_mark(origin: str, language: Language) -> str:
    """``[12]`` for a source, ``(client's figure)`` for the brief, ``[assumption]`` otherwise."""
    if origin in (BRIEF, ASSUMPTION):
        return say(f"origin_{origin}", language)
    return f"[{origin.removeprefix('e')}]"


def render_tables(
    model: FinancialModel, drivers: Drivers, language: Language
) -> tuple[RenderedTable, ...]:
    """Every table that the model can fill, in the order of a business plan."""
    sheet = Sheet(model=model, drivers=drivers, language=language)
    return tuple(table for render in _TABLES if (table := render(sheet)) is not None)


def _table(
    sheet: Sheet, name: str, header: Sequence[str], rows: Iterable[Sequence[str]], note: str = ""
) -> RenderedTable:
    return RenderedTable(
        id=name, caption=sheet.say(name), markdown=render_table(header, rows), note=note
    )


# ---- assumptions -------------------------------------------------------------------------------


def _assumptions(sheet: Sheet) -> RenderedTable | None:
    rows = [
        (name, _written(sheet, driver), unit, _basis(sheet, driver))
        for name, unit, driver in _named_drivers(sheet)
    ]
    if not rows:
        return None
    header = [sheet.say(word) for word in ("driver", "value", "unit", "basis")]
    return _table(sheet, "assumptions", header, rows, sheet.say("note_origin"))


def _written(sheet: Sheet, driver: Driver) -> str:
    values = " / ".join(format_number(value) for value in driver.values)
    if not driver.growth_percent or len(driver.values) > 1:
        return values
    rate = f"{driver.growth_percent:+f}".rstrip("0").rstrip(".")
    return sheet.say("growing", value=values, rate=rate)


def _basis(sheet: Sheet, driver: Driver) -> str:
    mark = origin_mark(driver.origin, sheet.language)
    return f"{plain(driver.note)} {mark}".strip()


_Named = tuple[str, str, Driver]
_Maybe = tuple[str, str, Driver | None]


def _named_drivers(sheet: Sheet) -> Iterator[_Named]:
    """Every driver that was given, with its name and unit in the document's language."""
    a_year = sheet.say("a_year", unit=sheet.currency)
    for line in sheet.drivers.revenue:
        name = plain(line.name)
        yield sheet.say("price_of", name=name), a_year, line.price
        yield sheet.say("volume_of", name=name), plain(line.unit), line.volume
        if line.unit_cost is not None:
            yield sheet.say("cost_of", name=name), a_year, line.unit_cost
    for cost in sheet.drivers.costs:
        unit = a_year if cost.amount is not None else sheet.say("of_revenue")
        yield plain(cost.name), unit, cost.driver
    for who in sheet.drivers.staff:
        yield sheet.say("heads_of", name=plain(who.role)), sheet.say("people"), who.heads
        yield sheet.say("salary_of", name=plain(who.role)), a_year, who.salary
    yield from _money_drivers(sheet)
    yield from _term_drivers(sheet)


def _money_drivers(sheet: Sheet) -> Iterator[_Named]:
    for bought in sheet.drivers.investments:
        unit = sheet.say("life", unit=sheet.currency, years=bought.life_years)
        yield sheet.say("investment_of", name=plain(bought.name)), unit, bought.amount
    for source in sheet.drivers.funding:
        unit = sheet.currency
        if source.kind == "loan":
            rate = format_number(source.interest_percent)
            unit = sheet.say("loan_terms", unit=unit, rate=rate)
        yield sheet.say("funding_of", name=plain(source.name)), unit, source.amount


def _term_drivers(sheet: Sheet) -> Iterator[_Named]:
    drivers, days, months = sheet.drivers, sheet.say("days"), sheet.say("months")
    customer = drivers.customer
    given: tuple[_Maybe, ...] = (
        ("opening_cash_driver", sheet.currency, drivers.opening_cash),
        ("tax_percent", "%", drivers.tax_percent),
        ("receivable_days", days, drivers.receivable_days),
        ("payable_days", days, drivers.payable_days),
        ("stock_days", days, drivers.stock_days),
        ("discount_percent", "%", drivers.discount_percent),
        ("quarters", "%", drivers.first_year_quarters),
        ("acquisition_cost", sheet.currency, customer.acquisition_cost if customer else None),
        ("lifetime", months, customer.lifetime_months if customer else None),
    )
    for name, unit, driver in given:
        if driver is not None:
            yield sheet.say(name), unit, driver


# ---- statements --------------------------------------------------------------------------------

_INCOME = ("revenue", "cogs", "gross_profit", "opex", "staff", "fixed_costs", "variable_costs",
           "depreciation", "ebit", "interest", "tax", "net_profit")  # fmt: skip
_ALWAYS_SHOWN = ("revenue", "cogs", "gross_profit", "opex", "ebit", "tax", "net_profit")
_PARTS_OF_OPEX = ("staff", "fixed_costs", "variable_costs", "depreciation")
_CASH = ("opening_cash", "cash_from_operations", "cash_from_investing", "cash_from_financing",
         "cash")  # fmt: skip


def _income_statement(sheet: Sheet) -> RenderedTable | None:
    base = sheet.model.base
    if "revenue" not in base:
        return None
    rows = [(sheet.say("volume", unit=sheet.sold_unit), *map(format_number, base["volume"]))
            ] if "volume" in base else []  # fmt: skip
    rows += [
        (f"– {plain(line.name)}", *sheet.amounts(base[f"revenue_{n}"]))
        for n, line in enumerate(sheet.drivers.revenue, start=1)
        if f"revenue_{n}" in base
    ]
    parts = [name for name in _PARTS_OF_OPEX if any(base.get(name, ()))]
    shown = [
        name
        for name in _INCOME
        if name in _ALWAYS_SHOWN or (name in base and name not in _PARTS_OF_OPEX)
        or (name in parts and len(parts) > 1)
    ]  # fmt: skip
    blank = ("",) * len(sheet.model.years)
    rows += [
        (_line_name(sheet, name), *(sheet.amounts(base[name]) if name in base else blank))
        for name in shown
    ]
    return _statement(sheet, "income_statement", rows)


def _line_name(sheet: Sheet, name: str) -> str:
    label = sheet.say(name)
    return f"– {label}" if name in _PARTS_OF_OPEX else label


def _statement(
    sheet: Sheet, name: str, rows: Sequence[Sequence[str]], *notes: str
) -> RenderedTable:
    note = " ".join((_rounding_note(sheet), *notes))
    return _table(sheet, name, [sheet.say("item"), *sheet.year_columns], rows, note)


def _rounding_note(sheet: Sheet) -> str:
    unit = sheet.unit if sheet.model.unit > 1 else f"1 {sheet.unit}".strip()
    return sheet.say("note_statement", unit=unit)


def _first_year(sheet: Sheet) -> RenderedTable | None:
    quarters = sheet.model.quarters
    if "revenue" not in quarters:
        return None
    columns = [f"{sheet.say('quarter', n=n)} ({sheet.unit})" for n in range(1, 5)]
    rows = [
        (sheet.say(name), *sheet.amounts(series), sheet.amount(total(series)))
        for name, series in quarters.items()
    ]
    header = [sheet.say("item"), *columns, f"{sheet.say('total')} ({sheet.unit})"]
    note = "" if sheet.drivers.first_year_quarters else sheet.say("note_even")
    return _table(sheet, "first_year", header, rows, f"{_rounding_note(sheet)} {note}".strip())


def _cash_flow(sheet: Sheet) -> RenderedTable | None:
    base = sheet.model.base
    if "cash" not in base:
        return None
    drivers = sheet.drivers
    terms = (drivers.receivable_days, drivers.payable_days, drivers.stock_days)
    rows = [(sheet.say(name), *sheet.amounts(base[name])) for name in _CASH]
    notes = [sheet.say("note_terms")] if terms == (None, None, None) else []
    return _statement(sheet, "cash_flow", rows, *notes)


def _balance_sheet(sheet: Sheet) -> RenderedTable | None:
    base = sheet.model.base
    if "cash" not in base:
        return None
    both = tuple(total(pair) for pair in zip(base["liabilities"], base["equity"], strict=True))
    lines = [
        ("cash_at_hand", base["cash"]),
        *((name, base[name]) for name in ("receivables", "stock", "fixed_assets", "assets")),
        *((name, base[name]) for name in ("loans", "payables", "liabilities", "equity")),
        ("liabilities_and_equity", both),
    ]
    rows = [(sheet.say(name), *sheet.amounts(series)) for name, series in lines]
    return _statement(sheet, "balance_sheet", rows, sheet.say("note_grants"))


# ---- scenarios, break-even, unit economics -----------------------------------------------------


def _scenarios(sheet: Sheet) -> RenderedTable | None:
    model = sheet.model
    cases = [case for case in (DOWN, BASE, UP) if case in model.scenarios]
    if len(cases) < 2:
        return None
    last = sheet.year(model.years[-1])
    rows = []
    for name, label in (
        ("volume", f"{sheet.say('volume', unit=sheet.sold_unit)}, {last}"),
        ("revenue", f"{sheet.say('revenue_last', year=last)} ({sheet.unit})"),
        ("ebit", f"{sheet.say('ebit_last', year=last)} ({sheet.unit})"),
    ):
        if name in model.base:
            values = [model.scenarios[case][name][-1] for case in cases]
            written = format_number if name == "volume" else sheet.amount
            rows.append((label, *(written(value) for value in values)))
    if "cash" in model.base:
        lowest = [sheet.amount(min(model.scenarios[case]["cash"])) for case in cases]
        rows.append((f"{sheet.say('lowest_cash')} ({sheet.unit})", *lowest))
    rows += _base_ratios(sheet, cases)
    header = [sheet.say("item"), *(sheet.say(case) for case in cases)]
    return _table(sheet, "scenarios", header, rows, _reasons(sheet))


def _base_ratios(sheet: Sheet, cases: Sequence[str]) -> list[tuple[str, ...]]:
    """CAGR, NPV, IRR and payback, which are worked out for the base case."""
    ratios, discount = sheet.model.ratios, sheet.drivers.discount_percent
    found = []
    if "cagr" in ratios:
        found.append((sheet.say("cagr"), _percent(ratios["cagr"])))
    if "npv" in ratios and discount is not None:
        rate = format_number(discount.first)
        label = f"{sheet.say('npv', rate=rate)} ({sheet.currency})"
        found.append((label, format_number(ratios["npv"], 0)))
    if "irr" in ratios:
        found.append((sheet.say("irr"), _percent(ratios["irr"])))
    if "payback_years" in ratios:
        found.append((sheet.say("payback_years"), format_number(ratios["payback_years"])))
    return [(label, *(value if case == BASE else "" for case in cases)) for label, value in found]


def _percent(fraction: Decimal) -> str:
    return format_percent(fraction).removesuffix("%")


def _reasons(sheet: Sheet) -> str:
    given = {DOWN: sheet.drivers.scenarios.down, UP: sheet.drivers.scenarios.up}
    mark = origin_mark(ASSUMPTION, sheet.language)
    lines = [
        sheet.say(
            "reason_line",
            case=sheet.say(name),
            factors=_factors(sheet, case),
            reason=f" ({plain(case.reason)})" if case.reason else "",
        )
        for name, case in given.items()
        if case is not None
    ]
    return f"{'; '.join(lines)} {mark}."


def _factors(sheet: Sheet, case: Scenario) -> str:
    factors = {name: getattr(case, name) for name in ("volume", "price", "unit_cost", "costs")}
    return ", ".join(
        sheet.say(f"factor_{name}", f=format_number(factor))
        for name, factor in factors.items()
        if factor != 1
    )


def _break_even(sheet: Sheet) -> RenderedTable | None:
    point = sheet.model.break_even
    if point is None:
        return None
    money, how = sheet.currency, sheet.say
    rows = [(how("fixed_a_year", unit=money), format_number(point.fixed_costs),
             how("fixed_calculation"))]  # fmt: skip
    by_margin = point.units is None or point.contribution_per_unit is None
    if point.units is not None and point.contribution_per_unit is not None:
        rows += [
            (how("contribution", unit=money), format_number(point.contribution_per_unit),
             how("contribution_calculation")),
            (how("break_even_volume", unit=sheet.sold_unit), format_number(point.units),
             how("volume_calculation")),
        ]  # fmt: skip
    calculation = "margin_calculation" if by_margin else "revenue_calculation"
    rows.append((how("break_even_revenue", unit=money), format_number(point.revenue),
                 how(calculation)))  # fmt: skip
    reached = (
        how("not_reached", n=len(sheet.model.years))
        if point.reached_year is None
        else sheet.year(point.reached_year)
    )
    rows.append((how("break_even_year"), reached, how("year_calculation")))
    if point.covered_month is not None:
        rows.append((how("covered_month"), str(point.covered_month), how("month_calculation")))
    return _table(sheet, "break_even", [how("item"), how("value"), how("calculation")], rows)


def _unit_economics(sheet: Sheet) -> RenderedTable | None:
    lines, customer = sheet.model.unit_lines, sheet.model.customer
    if "price" not in lines:
        return None
    ends = sorted({0, len(sheet.model.years) - 1})
    money = sheet.currency

    def row(name: str, label: str, calculation: str = "") -> tuple[str, ...]:
        written = _percent if name == "gross_margin" else format_number
        return (label, *(written(lines[name][n]) for n in ends), calculation)

    rows = [row("price", sheet.say("price", unit=money))]
    if "unit_cost" in lines:
        rows.append(row("unit_cost", sheet.say("unit_cost", unit=money)))
    if "gross_margin" in lines:
        calculation = sheet.say("gross_margin_calculation")
        rows.append(row("gross_margin", sheet.say("gross_margin"), calculation))
    for name, formula in (("cac", ""), ("lifetime_months", ""), ("ltv", "ltv_calculation"),
                          ("ltv_cac", "ltv_cac_calculation"),
                          ("payback_months", "payback_calculation")):  # fmt: skip
        if name in customer:
            value = format_number(customer[name], 1)
            label = sheet.say(name, unit=money)
            rows.append((label, value, *[""] * (len(ends) - 1), sheet.say(formula) if formula
                         else ""))  # fmt: skip
    header = [sheet.say("item"), *(sheet.year(sheet.model.years[n]) for n in ends),
              sheet.say("calculation")]  # fmt: skip
    return _table(sheet, "unit_economics", header, rows)


# ---- market and funds --------------------------------------------------------------------------


def _market_size(sheet: Sheet) -> RenderedTable | None:
    market = sheet.drivers.market
    if market is None or not sheet.model.market:
        return None
    rows: list[tuple[str, ...]] = []
    above: Decimal | None = None
    for name, size in (("tam", market.tam), ("sam", market.sam), ("som", market.som)):
        if size is None:
            continue
        share = None if above is None else ratio(size.first, above)
        rows.append((
            sheet.say(name), str(market.year or ""), sheet.money(size.first),
            "" if share is None else _percent(share), _basis(sheet, size),
        ))  # fmt: skip
        above = size.first
    words = ("level", "base_year", "amount", "of_above", "source")
    return _table(sheet, "market_size", [sheet.say(word) for word in words], rows)


def _use_of_funds(sheet: Sheet) -> RenderedTable | None:
    uses = sheet.model.uses
    if not uses:
        return None
    shares = _shares([amount for _name, amount in uses])
    rows = [
        (plain(use.name), sheet.amount(amount), share, _basis(sheet, use.amount))
        for use, (_name, amount), share in zip(
            sheet.drivers.use_of_funds, uses, shares, strict=True
        )
    ]
    rows.append((sheet.say("total"), sheet.amount(sheet.model.uses_total), "100", ""))
    header = [sheet.say("item"), f"{sheet.say('amount')} ({sheet.unit})", sheet.say("share"),
              sheet.say("basis")]  # fmt: skip
    return _table(sheet, "use_of_funds", header, rows)


def _shares(amounts: Sequence[Decimal]) -> tuple[str, ...]:
    shares = percent_shares(amounts)
    return tuple(format_number(share, 1) for share in shares) or ("",) * len(amounts)


def _funding_sources(sheet: Sheet) -> RenderedTable | None:
    sources = sheet.drivers.funding
    if not sources:
        return None
    years = range(len(sheet.model.years))
    amounts = [amount for _kind, amount in sheet.model.sources]
    rows = [
        (
            plain(source.name),
            sheet.say("equity_kind" if source.kind == "equity" else source.kind),
            sheet.amount(amount),
            share,
            ", ".join(sheet.year(sheet.model.years[n]) for n in years if source.in_year_of(n)),
            _basis(sheet, source.amount),
        )
        for source, amount, share in zip(sources, amounts, _shares(amounts), strict=True)
    ]
    rows.append((sheet.say("total"), "", sheet.amount(total(amounts)), "100", "", ""))
    header = [sheet.say("source"), sheet.say("form"), f"{sheet.say('amount')} ({sheet.unit})",
              sheet.say("share"), sheet.say("when"), sheet.say("basis")]  # fmt: skip
    return _table(sheet, "funding_sources", header, rows)


# ---- research ----------------------------------------------------------------------------------


def _budget_columns(sheet: Sheet, budget: Budget) -> list[str]:
    """A column a year and the total; only the total where there is one year."""
    names = [sheet.say("year", n=n) for n in range(1, len(budget.government) + 1)]
    years = names if len(names) > 1 else []
    return [f"{name} ({sheet.unit})" for name in (*years, sheet.say("total"))]


def _budget_cells(sheet: Sheet, series: Series) -> tuple[str, ...]:
    years = sheet.amounts(series) if len(series) > 1 else ()
    return (*years, sheet.amount(total(series)))


def _funding_shares(sheet: Sheet) -> RenderedTable | None:
    budget, drivers = sheet.model.budget, sheet.drivers.rd_budget
    if budget is None or drivers is None:
        return None
    parts = [total(part) for part in (budget.government, budget.own_cash, budget.own_in_kind)]
    shares = percent_shares(parts) or (Decimal(0),) * 3
    lines: Mapping[str, tuple[Series, Decimal, str]] = {
        "government": (budget.government, shares[0], drivers.government.origin),
        "own_cash": (budget.own_cash, shares[1], drivers.own_cash.origin),
        "own_in_kind": (budget.own_in_kind, shares[2], drivers.own_in_kind.origin),
        "own_total": (budget.own, shares[1] + shares[2], ""),
        "total": (budget.total, total(shares), ""),
    }
    rows = [
        (
            sheet.say(name),
            *_budget_cells(sheet, series),
            format_number(share, 1),
            origin_mark(origin, sheet.language) if origin else "",
        )
        for name, (series, share, origin) in lines.items()
    ]
    header = [sheet.say("source"), *_budget_columns(sheet, budget), sheet.say("share"),
              sheet.say("basis")]  # fmt: skip
    return _table(sheet, "funding_shares", header, rows)


def _cost_items(sheet: Sheet) -> RenderedTable | None:
    budget, drivers = sheet.model.budget, sheet.drivers.rd_budget
    if budget is None or drivers is None or not budget.items:
        return None
    rows = [
        (plain(name), *_budget_cells(sheet, row), _basis(sheet, item.amount))
        for (name, row), item in zip(budget.items, drivers.items, strict=True)
    ]
    rows.append((sheet.say("total"), *_budget_cells(sheet, budget.total), ""))
    header = [sheet.say("cost_item"), *_budget_columns(sheet, budget), sheet.say("basis")]
    return _table(sheet, "cost_items", header, rows)


def _schedule(sheet: Sheet) -> RenderedTable | None:
    tasks = sheet.drivers.tasks
    if not tasks:
        return None
    rows = [
        (plain(work.name), str(work.start_month), str(work.end_month), plain(work.owner))
        for work in sorted(tasks, key=lambda work: (work.start_month, work.end_month))
    ]
    words = ("work", "start", "end", "owner")
    return _table(sheet, "schedule", [sheet.say(word) for word in words], rows)


_TABLES: tuple[Callable[[Sheet], RenderedTable | None], ...] = (
    _market_size,
    _unit_economics,
    _assumptions,
    _income_statement,
    _first_year,
    _cash_flow,
    _balance_sheet,
    _break_even,
    _scenarios,
    _use_of_funds,
    _funding_sources,
    _funding_shares,
    _cost_items,
    _schedule,
)
