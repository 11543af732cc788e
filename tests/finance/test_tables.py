"""Tables hold the model's figures, their units and their origins, and nothing an agent smuggles."""

from __future__ import annotations

import re

import pytest
from hypothesis import HealthCheck, given, settings

from aigenflow.core.arithmetic import format_number
from aigenflow.core.models import Language
from aigenflow.finance.charts import charts
from aigenflow.finance.drivers import Drivers
from aigenflow.finance.model import compute
from aigenflow.finance.tables import RenderedTable, render_tables
from tests.finance.samples import crates, drivers


def tables(given_drivers: Drivers, language: Language = Language.EN) -> dict[str, RenderedTable]:
    model = compute(given_drivers)
    return {table.id: table for table in render_tables(model, given_drivers, language)}


def cells(table: RenderedTable) -> dict[str, list[str]]:
    rows = [line.strip("| ").split(" | ") for line in table.markdown.splitlines()[2:]]
    return {first: rest for first, *rest in rows}


def test_the_sample_fills_every_table_in_both_languages() -> None:
    """Same tables, same figures, other words."""
    english, korean = tables(crates()), tables(crates(), Language.KO)
    assert list(english) == list(korean)
    assert {"assumptions", "income_statement", "balance_sheet", "cash_items"} - set(english) == {
        "cash_items"
    }
    for name, table in english.items():
        figures = re.findall(r"\d[\d,.]*", table.markdown)
        in_korean = re.findall(r"\d[\d,.]*", korean[name].markdown)
        if name not in ("market_size", "income_statement", "first_year", "funding_sources",
                        "funding_shares", "cost_items", "unit_economics"):  # fmt: skip
            assert sorted(figures) == sorted(in_korean), name
        assert table.caption.isascii()
        assert not korean[name].caption.isascii()


def test_statements_are_written_in_the_unit_of_the_header() -> None:
    """GBP as such, won in thousands; the header says which."""
    in_pounds = tables(crates())["income_statement"]
    assert "2027 (GBP)" in in_pounds.markdown
    assert cells(in_pounds)["Revenue"] == ["172,800", "489,600", "864,000"]
    assert cells(in_pounds)["Net profit"] == ["-135,680", "70,240", "253,810"]
    in_won = tables(crates(currency="KRW"), Language.KO)["income_statement"]
    assert "2027 (천원)" in in_won.markdown
    assert cells(in_won)["매출액"] == ["173", "490", "864"]


def test_every_figure_shows_where_it_comes_from() -> None:
    """The brief, a numbered source, or a marked assumption, in the words of the language."""
    english, korean = tables(crates()), tables(crates(), Language.KO)
    assert cells(english["assumptions"])["Price: Crates"][-1] == "(client's figure)"
    assert cells(english["assumptions"])["Tax rate"][-1] == "[2]"
    assert cells(english["assumptions"])["Discount rate"][-1] == "[assumption]"
    assert cells(korean["assumptions"])["판매 단가: Crates"][-1] == "(의뢰인 자료)"
    assert cells(korean["market_size"])["SOM(수익 시장)"][-1] == "[가정]"
    assert cells(english["market_size"])["TAM"][-1] == "[3]"


def test_the_funding_identities_can_be_read_off() -> None:
    """Government + own = total, cash + in kind = own, and the items reach the same total."""
    found = tables(crates())
    shares = {name: row[2] for name, row in cells(found["funding_shares"]).items()}
    assert shares == {
        "Government funding": "700,000",
        "Own contribution (cash)": "40,000",
        "Own contribution (in kind)": "160,000",
        "Own contribution subtotal": "200,000",
        "Total": "900,000",
    }
    assert cells(found["cost_items"])["Total"][:3] == ["500,000", "400,000", "900,000"]


def test_what_is_not_known_stays_a_visible_blank() -> None:
    """Rows that a reader expects are there, without a figure."""
    bare = crates(revenue=[{"name": "A", "price": 2, "volume": 3}], tax_percent=None)
    rows = cells(tables(bare)["income_statement"])
    assert rows["Cost of goods sold"] == ["—", "—", "—"]
    assert rows["Net profit"] == ["—", "—", "—"]
    assert not {"cash_flow", "balance_sheet", "break_even"} & set(tables(bare))


@pytest.mark.parametrize(
    "name",
    ["a | b", "[x](https://evil.example)", "<script>", "![i](http://a)", "**b**", "[9] [#9]"],
)
def test_names_from_agents_are_only_text(name: str) -> None:
    """No cell, link, tag, image or source mark comes from a name."""
    markdown = tables(crates(costs=[{"name": name, "amount": 5}]))["assumptions"].markdown
    width = markdown.splitlines()[0].count("|")
    assert all(len(re.findall(r"(?<!\\)\|", line)) == width for line in markdown.splitlines())
    assert not re.search(r"\]\(|<script|!\[|://|\[9\]|\[#9\]|\*\*", markdown)


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(drivers())
def test_any_model_can_be_shown(given_drivers: Drivers) -> None:
    """Tables and charts of any drivers are made, and the shown revenue is the model's."""
    model = compute(given_drivers)
    for language in Language:
        found = {table.id: table for table in render_tables(model, given_drivers, language)}
        revenue = [format_number(value / model.unit, 0) for value in model.base["revenue"]]
        assert revenue in list(cells(found["income_statement"]).values())
        assert charts(model, given_drivers, language)


def test_charts_name_their_unit_and_source() -> None:
    """Five charts of the sample; amounts are scaled so that axes stay short."""
    model = compute(crates())
    made = {chart.name: chart for chart in charts(model, crates(), Language.KO)}
    assert list(made) == ["market", "revenue", "cash", "schedule", "trl"]
    assert made["market"].source == "가정, 의뢰인 자료, [3]"
    assert "천 GBP" in made["revenue"].texts()
    assert made["revenue"].table == "income_statement"
