"""The statements follow from the drivers, add up, and balance."""

from __future__ import annotations

import json
from decimal import Decimal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aigenflow.finance.drivers import Drivers
from aigenflow.finance.model import (
    FinancialModel,
    apportion,
    compute,
    internal_rate_of_return,
    net_present_value,
)
from tests.finance.samples import crates, drivers

ANY = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))


def numbers(*values: float | str) -> tuple[Decimal, ...]:
    return tuple(Decimal(str(value)) for value in values)


def test_the_sample_is_what_a_person_works_out_by_hand() -> None:
    """Three years of a plan with an investment, a loan, losses and receivables, line by line."""
    base = compute(crates()).base
    expected = {
        "revenue": (172800, 489600, 864000),  # 14,400 x 12, 34, 60
        "cogs": (60480, 171360, 302400),  # 5,040 x 12, 34, 60
        "gross_profit": (112320, 318240, 561600),
        "depreciation": (20000, 20000, 20000),  # 120,000 / 6
        "opex": (242000, 242000, 242000),
        "ebit": (-129680, 76240, 319600),
        "interest": (6000, 6000, 3000),  # 6 % of 100,000, 100,000, 50,000
        "tax": (0, 0, 62790),  # 25 % of 316,600 - 135,680 + 70,240
        "net_profit": (-135680, 70240, 253810),
        "receivables": (17280, 48960, 86400),  # a tenth of a year
        "cash_from_operations": (-132960, 58560, 236370),
        "cash_from_investing": (-120000, 0, 0),
        "cash_from_financing": (450000, -50000, -50000),
        "cash": (197040, 205600, 391970),
        "fixed_assets": (100000, 80000, 60000),
        "assets": (314320, 334560, 538370),
        "loans": (100000, 50000, 0),
        "equity": (214320, 284560, 538370),
    }
    assert {name: base[name] for name in expected} == {n: numbers(*v) for n, v in expected.items()}


def test_the_figures_beside_the_statements_follow_too() -> None:
    """Break-even, growth, value, unit economics, funds and budget of the sample, by hand."""
    model = compute(crates())
    point = model.break_even
    assert point is not None
    assert point.units == 26  # 242,000 / 9,360 = 25.9
    assert point.revenue == 374_400
    assert point.reached_year == 2028
    assert model.ratios["cagr"].quantize(Decimal("0.001")) == Decimal("1.236")
    assert model.ratios["lowest_cash"] == 197_040
    flows = numbers(-252960, 58560, 236370)
    assert model.ratios["npv"] == net_present_value(flows, Decimal("0.1"))
    assert model.customer["ltv"] == 28_080  # 9,360 a year x 3
    assert model.customer["ltv_cac"] == 12
    assert model.customer["payback_months"] == 3
    assert model.funding == {"equity": 350_000, "loan": 100_000, "total": 450_000}
    assert model.uses_total == 310_000
    assert model.budget is not None
    assert model.budget.own == numbers(100_000, 100_000)
    assert model.budget.total == numbers(500_000, 400_000)
    assert model.scenarios["down"]["volume"] == numbers(6, 17, 30)


def test_what_is_unknown_is_not_computed() -> None:
    """Without tax no profit, without funding no cash, without unit cost no margin: never zero."""
    assert "net_profit" not in compute(crates(tax_percent=None)).base
    assert "cash" not in compute(crates(funding=[], opening_cash=None)).base
    only_sales = [{"name": "A", "price": 2, "volume": 3}]
    base = compute(crates(revenue=only_sales)).base
    assert base["revenue"] == numbers(6, 6, 6)
    assert not {"cogs", "gross_profit", "ebit", "cash"} & set(base)
    assert compute(crates(revenue=[])).scenarios == {}


@ANY
@given(drivers())
def test_every_statement_of_any_drivers_adds_up(given_drivers: Drivers) -> None:
    """Totals are the sums of the rounded lines, exactly; assets equal liabilities and equity."""
    model = compute(given_drivers)
    for lines in model.scenarios.values():
        for year in range(given_drivers.years):
            at = {name: series[year] for name, series in lines.items()}
            assert all(v % model.unit == 0 for n, v in at.items() if n != "volume")
            assert at["revenue"] - at["cogs"] == at["gross_profit"]
            parts = ("staff", "fixed_costs", "variable_costs", "depreciation")
            assert sum(at[part] for part in parts) == at["opex"]
            assert at["gross_profit"] - at["opex"] == at["ebit"]
            assert at["ebit"] - at["interest"] - at["tax"] == at["net_profit"]
            assert at["opening_cash"] + at["cash_flow"] == at["cash"]
            assert at["assets"] == at["liabilities"] + at["equity"]
            assert at["cash"] + at["receivables"] + at["stock"] + at["fixed_assets"] == at["assets"]
            assert at["fixed_assets"] >= 0
            assert at["loans"] >= 0


@ANY
@given(drivers())
def test_quarters_add_up_to_year_one(given_drivers: Drivers) -> None:
    """Each line of the four quarters is the first year's, to the last unit."""
    model = compute(given_drivers)
    assert {name: sum(series) for name, series in model.quarters.items()} == {
        name: model.base[name][0] for name in model.quarters
    }


@given(
    st.integers(0, 10**9),
    st.lists(st.decimals(0, 10**6, places=3), min_size=1, max_size=9),
    st.sampled_from([1, 1000]),
)
def test_sharing_out_keeps_the_total(whole: int, weights: list[Decimal], unit: int) -> None:
    """Parts add up to the whole, and none is more than a unit away from its exact share."""
    parts = apportion(Decimal(whole * unit), weights, Decimal(unit))
    assert sum(parts) == whole * unit
    if sum(weights) > 0:
        exact = [Decimal(whole * unit) * weight / sum(weights) for weight in weights]
        gaps = [abs(part - share) for part, share in zip(parts, exact, strict=True)]
        assert max(gaps) <= Decimal(unit) * Decimal("1.0001")


def test_a_budget_that_is_rounded_still_adds_up() -> None:
    """Government + cash + in kind = the items, in thousands, also where no part was round."""
    model = compute(
        crates(
            currency="KRW",
            rd_budget={
                "years": 1,
                "government": 1_333_333,
                "own_cash": 333_400,
                "own_in_kind": 333_267,
                "items": [
                    {"name": str(n), "amount": a} for n, a in enumerate((666_666, 666_666, 666_668))
                ],
            },
        )
    )
    budget = model.budget
    assert budget is not None
    assert budget.total[0] == sum(row[0] for _name, row in budget.items)
    assert budget.total[0] == budget.government[0] + budget.own_cash[0] + budget.own_in_kind[0]
    assert budget.own[0] == budget.own_cash[0] + budget.own_in_kind[0]


@given(st.decimals("-0.5", 3, places=4), st.decimals(1, 10**6, places=0))
def test_the_internal_rate_is_the_one_at_which_nothing_is_gained(
    rate: Decimal, paid: Decimal
) -> None:
    """Money paid in year 1 that returns (1 + r) fold in year 2 has the rate r."""
    found = internal_rate_of_return((-paid, paid * (1 + rate)))
    assert found is not None
    assert abs(found - rate) <= Decimal("0.0002")


@pytest.mark.parametrize("flows", [(1, 2, 3), (-1, -2), (-1, 2, -1), (), (0, 0)])
def test_flows_without_one_turn_have_no_internal_rate(flows: tuple[int, ...]) -> None:
    """No cost, no gain, or several turns: no single rate, and none is named."""
    assert internal_rate_of_return(tuple(map(Decimal, flows))) is None


def test_every_figure_has_a_name() -> None:
    """Facts are traced by names such as base.revenue.2027."""
    lines = compute(crates()).lines()
    assert lines["base.revenue.2027"] == 172_800
    assert lines["down.revenue.2029"] == 432_000
    assert lines["q1.revenue"] == 43_200
    assert lines["market.som"] == 2_400_000
    assert lines["market.sam_of_tam"] == Decimal("0.15")
    assert lines["break_even.units"] == 26
    assert lines["budget.government"] == 700_000
    assert lines["budget.item_1.2"] == 250_000
    assert lines["use.total"] == 310_000


@ANY
@given(drivers())
def test_the_json_holds_the_model(given_drivers: Drivers) -> None:
    """Every statement line is in model.json as a plain number, and the file is strict JSON."""
    model: FinancialModel = compute(given_drivers)
    value = json.loads(json.dumps(model.to_json(), allow_nan=False))
    assert value["schema_version"] == 1
    assert value["years"] == list(model.years)
    for case, lines in model.scenarios.items():
        for name, series in lines.items():
            assert [Decimal(str(v)) for v in value["scenarios"][case][name]] == list(series)


@pytest.mark.parametrize(
    ("fixed", "quarters", "month"),
    [(6_000, None, 6), (6_001, None, 7), (12_000, None, 12), (12_001, None, None),
     (6_000, [10, 20, 30, 40], 8), (12_000, [10, 20, 30, 40], 12)],
)  # fmt: skip
def test_break_even_names_the_month(
    fixed: int, quarters: list[int] | None, month: int | None
) -> None:
    """The month by whose end the year's sales have earned the year's fixed costs."""
    given_drivers = Drivers.model_validate(
        {
            "years": 1,
            "revenue": [{"name": "A", "price": 100, "volume": 120, "unit_cost": 0}],
            "costs": [{"name": "Rent", "amount": fixed}],
            "first_year_quarters": quarters,
        }
    )
    point = compute(given_drivers).break_even
    assert point is not None
    assert point.covered_month == month
