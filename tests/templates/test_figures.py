"""What follows from a brief's figures is computed; what does not fit together is said."""

from __future__ import annotations

from decimal import Decimal

import pytest

from aigenflow.templates.brief import parse_brief
from aigenflow.templates.figures import Figures, at_volume, work_out


def figures_of(**facts: str) -> Figures:
    return work_out(parse_brief("\n".join(f"{key}: {value}" for key, value in facts.items())))


def codes(**facts: str) -> list[str]:
    return [doubt.code for doubt in figures_of(**facts).doubts]


PLAN = {
    "price": "월 33만 원",
    "unit_cost": "월 12만 원",
    "fixed_costs": "월 1,450만 원",
    "customers_year1": "40곳",
    "customers_year2": "140곳",
    "customers_year3": "300곳",
}


def test_a_monthly_plan() -> None:
    """Monthly prices and costs are carried over to years before anything is multiplied."""
    figures = figures_of(**PLAN)
    first = figures.year(1)
    assert first is not None
    assert (first.revenue, first.gross_profit) == (158_400_000, 100_800_000)
    assert first.operating_profit == -73_200_000
    assert figures.break_even_volume == 70
    assert figures.break_even_revenue == 277_200_000
    assert figures.break_even_year == 2
    assert figures.gross_margin == Decimal(21) / 33
    assert figures.doubts == ()


def test_profit_identities_hold_in_every_year() -> None:
    """Price x volume = revenue, revenue - cost = gross profit, gross - fixed = operating."""
    figures = figures_of(**PLAN)
    for year in figures.years:
        assert year.revenue == (figures.price or 0) * year.volume
        assert year.gross_profit == (year.revenue or 0) - (year.cost_of_sales or 0)
        assert year.operating_profit == (year.gross_profit or 0) - (figures.fixed_costs or 0)


def test_growth_projects_only_what_is_not_given() -> None:
    """Years 2 and 3 come from the growth rate where only year 1 is given."""
    figures = figures_of(price="$10", customers_year1="100", growth="50%")
    assert [(y.year, y.volume, y.projected) for y in figures.years] == [
        (1, 100, False), (2, 150, True), (3, 225, True),
    ]  # fmt: skip
    given = figures_of(price="$10", customers_year1="100", customers_year2="90", growth="50%")
    assert [year.volume for year in given.years] == [100, 90]


def test_units_sold_go_before_customers() -> None:
    """Where units are given, they are the volume, and a volume per month counts twelve times."""
    figures = figures_of(price="$10", customers_year1="5", volume_year1="월 100개")
    assert figures.basis == "volume"
    assert figures.years[0].volume == 1200


def test_missing_is_not_zero() -> None:
    """Without a unit cost there is no profit; without the in-kind part there is no total."""
    figures = figures_of(price="$10", customers_year1="5", fixed_costs="$1")
    assert figures.years[0].revenue == 50
    assert figures.years[0].gross_profit is None
    assert figures.break_even_volume is None
    assert figures_of(government_funding="7억", own_funding_cash="1억").funding is None


def test_uses_from_amounts_and_from_shares() -> None:
    """Amounts give shares; shares of a known sum give amounts; a total line is not a use."""
    from_amounts = work_out(
        parse_brief("funding: $100\nuse_of_funds:\n  A: $60\n  B: $40\n  Total: $100\n")
    )
    assert [(u.label, u.amount, u.share) for u in from_amounts.uses] == [
        ("A", 60, 60), ("B", 40, 40),
    ]  # fmt: skip
    assert from_amounts.doubts == ()
    from_shares = work_out(parse_brief("funding: $200\nuse_of_funds:\n  A: 60%\n  B: 40%\n"))
    assert [use.amount for use in from_shares.uses] == [120, 80]


@pytest.mark.parametrize(
    ("code", "facts"),
    [
        ("not_one_figure", {"price": "9,900~12,000원"}),
        ("not_one_figure", {"price": "12 apples"}),
        ("unknown_period", {"price": "하루 1,000원"}),
        ("unknown_period", {"fixed_costs": "$5 per week"}),
        ("period_missing", {"price": "월 1,000원", "unit_cost": "300원"}),
        ("other_currency", {"price": "1,000원", "unit_cost": "$1"}),
        ("cost_above_price", {"price": "$10", "unit_cost": "$10"}),
        ("uses_differ", {"funding": "$100", "use_of_funds": "\n- A: $60\n- B: $50"}),
        ("shares_not_100", {"funding": "$100", "use_of_funds": "\n- A: 60%\n- B: 50%"}),
        ("other_currency", {"price": "1,000원", "use_of_funds": "\n- A: $60"}),
        ("market_order", {"tam": "10억", "sam": "20억"}),
        ("revenue_above_som", {"price": "$10", "customers_year1": "100", "som": "$999"}),
        ("trl_range", {"trl_start": "5", "trl_target": "5"}),
        ("trl_range", {"trl_start": "4", "trl_target": "10"}),
        ("trl_jump", {"trl_start": "2", "trl_target": "7"}),
        (
            "parts_differ_from_budget",
            {
                "government_funding": "7억",
                "own_funding_cash": "1억",
                "own_funding_in_kind": "1억",
                "budget": "10억",
            },
        ),
    ],
)
def test_contradictions_are_found(code: str, facts: dict[str, str]) -> None:
    """Each kind of contradiction or unusable figure is reported, once."""
    assert codes(**facts) == [code]


@pytest.mark.parametrize(
    "facts",
    [
        {},
        {"tam": "20억", "sam": "20억", "som": "1억"},
        {"price": "$10", "customers_year1": "100", "som": "$1,000"},
        {"trl_start": "3", "trl_target": "7"},
        {"budget": "$100", "use_of_funds": "\n- A: $60\n- B: $40"},
        {"price": "1,000원", "currency": "원"},
    ],
)
def test_consistent_briefs_raise_no_doubt(facts: dict[str, str]) -> None:
    """What fits together is left alone."""
    assert codes(**facts) == []


def test_an_amount_without_currency_takes_the_plan_s() -> None:
    """The currency named once holds for amounts that name none."""
    figures = figures_of(currency="유로", price="12,000", unit_cost="€2,000")
    assert (figures.currency, figures.amounts["price"]) == ("EUR", 12_000)
    assert figures.doubts == ()


def test_sensitivity_changes_volume_only() -> None:
    """At 120 % of the volume, revenue grows by a fifth and fixed costs stay."""
    figures = figures_of(**PLAN)
    year = figures.years[0]
    more = at_volume(figures, year, Decimal("1.2"))
    assert more.volume == 48
    assert more.operating_profit == 48 * 2_520_000 - 174_000_000
