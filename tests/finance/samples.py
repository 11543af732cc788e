"""Drivers for the tests of this folder: one set worked out by hand, and any valid set."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

from hypothesis import strategies as st

from aigenflow.finance.drivers import Drivers, read_drivers

CRATES: dict[str, Any] = {
    "currency": "GBP",
    "first_year": 2027,
    "years": 3,
    "revenue": [
        {
            "name": "Crates",
            "unit": "grocers",
            "price": {"value": 14400, "origin": "brief"},
            "volume": {"values": [12, 34, 60], "origin": "brief"},
            "unit_cost": {"value": 5040, "origin": "brief"},
        }
    ],
    "costs": [{"name": "Rent and vans", "amount": {"value": 222000, "origin": "brief"}}],
    "investments": [{"name": "Washing line", "amount": {"value": 120000}, "life_years": 6}],
    "funding": [
        {"name": "Seed", "kind": "equity", "amount": {"value": 350000}},
        {
            "name": "Bank",
            "kind": "loan",
            "amount": {"value": 100000},
            "interest_percent": 6,
            "repay_years": 2,
        },
    ],
    "use_of_funds": [
        {"name": "Crates", "amount": {"value": 190000, "origin": "brief"}},
        {"name": "Line", "amount": {"value": 120000, "origin": "#3"}},
    ],
    "tax_percent": {"value": 25, "origin": "#2"},
    "receivable_days": {"value": 36.5},
    "discount_percent": {"value": 10},
    "customer": {"acquisition_cost": 2340, "lifetime_months": 36},
    "market": {
        "year": 2025,
        "tam": {"value": 96_000_000, "origin": "[#3]"},
        "sam": {"value": 14_400_000, "origin": "brief"},
        "som": {"value": 2_400_000},
    },
    "scenarios": {
        "down": {"volume": 0.5, "reason": "a large grocer builds its own pool"},
        "up": {"volume": 1.2, "costs": 1.1},
    },
    "tasks": [
        {"name": "Line runs", "start_month": 1, "end_month": 3, "owner": "Operations"},
        {"name": "Ten grocers", "start_month": 3, "end_month": 10},
    ],
    "trl": {"start": 4, "target": 7, "by_year": [5, 6, 7]},
    "rd_budget": {
        "years": 2,
        "government": [400_000, 300_000],
        "own_cash": 20_000,
        "own_in_kind": 80_000,
        "items": [
            {"name": "Personnel", "amount": [300_000, 250_000]},
            {"name": "Materials", "amount": [200_000, 150_000]},
        ],
    },
}


def as_answer(value: object) -> str:
    """An agent's answer that holds ``value``."""
    return f"Here it is.\n\n```json\n{json.dumps(value)}\n```\nThat is all."


def crates(**changes: Any) -> Drivers:
    """The sample, with some keys changed; ``None`` leaves one out."""
    return read_drivers(as_answer(CRATES | changes)).drivers


def amounts(most: int = 10**9) -> st.SearchStrategy[Decimal]:
    """Amounts with up to two decimals."""
    return st.decimals(0, most, places=2)


@st.composite
def drivers(draw: st.DrawFn) -> Drivers:
    """Any drivers from which every statement can be computed."""
    years = draw(st.integers(1, 5))

    def yearly(most: int = 10**6) -> dict[str, Any]:
        if draw(st.booleans()):
            growth = draw(st.decimals(-90, 300, places=1))
            return {"value": draw(amounts(most)), "growth_percent": growth}
        return {"values": [draw(amounts(most)) for _year in range(years)]}

    def lines(make: Any, least: int = 0) -> list[Any]:
        return [make(n) for n in range(draw(st.integers(least, 3)))]

    def source(n: int) -> dict[str, Any]:
        kind = draw(st.sampled_from(["own", "equity", "grant", "loan"]))
        return {
            "name": f"s{n}",
            "kind": kind,
            "amount": draw(amounts()),
            "in_year": draw(st.integers(1, years)),
            "interest_percent": draw(st.decimals(0, 20, places=2)),
            "repay_years": draw(st.one_of(st.none(), st.integers(1, 9))),
        }

    shares = st.decimals(0, 100, places=1)
    days = st.one_of(st.none(), st.decimals(0, 400, places=1))
    return Drivers.model_validate(
        {
            "currency": draw(st.sampled_from(["KRW", "USD", "JPY", ""])),
            "years": years,
            "revenue": lines(
                lambda n: {"name": f"r{n}", "price": yearly(), "volume": yearly(10**5),
                           "unit_cost": yearly()}, 1),
            "costs": [
                {"name": "rent", "amount": yearly()},
                *lines(lambda n: {"name": f"c{n}", "percent_of_revenue": draw(shares)}),
            ],
            "staff": lines(lambda n: {"role": f"p{n}", "heads": yearly(20), "salary": yearly()}),
            "investments": lines(lambda n: {"name": f"i{n}", "amount": yearly(), "life_years": draw(
                st.integers(1, 9)), "in_year": draw(st.integers(1, years))}),
            "funding": lines(source, 1),
            "opening_cash": draw(st.one_of(st.none(), amounts())),
            "tax_percent": draw(st.decimals(0, 60, places=1)),
            "receivable_days": draw(days),
            "payable_days": draw(days),
            "stock_days": draw(days),
            "scenarios": {"down": {"volume": draw(st.decimals(0, 1, places=2))},
                          "up": {"price": draw(st.decimals(1, 3, places=2)), "costs": 2}},
        }
    )  # fmt: skip
