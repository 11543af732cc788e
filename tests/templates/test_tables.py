"""Tables are filled where row and column are understood, and nothing from outside breaks them."""

from __future__ import annotations

import re
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aigenflow.core.markdown import clean_cell, clean_line, render_table
from aigenflow.core.models import Language
from aigenflow.templates.brief import parse_brief
from aigenflow.templates.figures import work_out
from aigenflow.templates.models import Column, Table
from aigenflow.templates.tables import (
    FilledTable,
    Plan,
    fill_table,
    in_unit,
    unit_title,
)

BRIEF = """
company: LoopCrate
price: £1,200 per month
unit_cost: £420 per month
fixed_costs: £18,500 per month
customers_year1: 12 grocers
customers_year3: 60 grocers
tam: £96 million (own estimate, 2025)
funding: £100,000
government_funding: £70
own_funding_cash: £10
own_funding_in_kind: £20
competitors:
  - {name: Totes, price: £6, weaknesses: lost}
use_of_funds: {Crates: "£60,000", Staff: "£40,000"}
"""


def filled(table: Table, *facts: str, brief: str = BRIEF) -> FilledTable:
    parsed = parse_brief(brief)
    plan = Plan(brief=parsed, figures=work_out(parsed), language=Language.EN)
    return fill_table(table, plan, frozenset(facts))


def table(columns: list[str], rows: list[str], table_id: str = "t", fill: str = "") -> Table:
    parts = [re.fullmatch(r"(.*?)(?: \[(.*)\])?", name) for name in columns]
    return Table.model_validate(
        {
            "id": table_id,
            "caption": "c",
            "columns": [Column(name=p[1], unit=p[2] or "") for p in parts if p],
            "rows": rows,
            "fill": fill,
        }
    )


def test_years_are_filled_in_the_unit_of_the_column() -> None:
    """Revenue and profit stand under their year, in thousands, and unknown years stay blank."""
    rows = ["Revenue", "Gross profit", "Operating expenses", "Operating profit (EBIT)", "Tax"]
    columns = ["Item", "Year 1 [thousand]", "Year 2 [thousand]", "Year 3 [thousand]"]
    result = filled(table(columns, rows, fill="financials"))
    assert result.header[1] == "Year 1 (GBP thousand)"
    assert result.rows == (
        ("Revenue", "172.8", "", "864"),
        ("Gross profit", "112.3", "", "561.6"),
        ("Operating expenses", "222", "", "222"),
        ("Operating profit (EBIT)", "-109.7", "", "339.6"),
        ("Tax", "", "", ""),
    )


def test_break_even_with_its_calculation() -> None:
    """Break-even volume and revenue stand beside how they were computed."""
    rows = ["Break-even volume (units per year)", "Break-even revenue (currency per year)"]
    result = filled(table(["Item", "Value", "Calculation"], rows, fill="break_even"))
    assert result.rows == (
        (rows[0], "24", "£222,000 ÷ (£14,400 − £5,040)"),
        ("Break-even revenue (GBP per year)", "£345,600", "24 × £14,400"),
    )


def test_rows_of_a_korean_form_name_the_currency_of_the_plan() -> None:
    """No amount in pounds stands beside a unit in won; other parentheses stay."""
    rows = ["매출액(백만원)", "매출액", "보조금(정부지원)", "손익분기 시점(월)"]
    result = filled(table(["항목", "1차 연도"], rows, fill="financials"))
    assert [row[0] for row in result.rows] == ["매출액(GBP)", *rows[1:]]


def test_entries_find_their_columns_in_the_other_language() -> None:
    """A team and a schedule written down in Korean fill an English form."""
    brief = (
        "team:\n  - {직위: 개발자, 담당 업무: 앱, 보유 역량: 4년, 구성 상태: 완료}\n"
        "milestones:\n  - {내용: 시제품, 추진 기간: 1~3개월 차, 세부 내용: 시험}\n"
    )
    columns = ["Position", "Task", "Skills (experience and education)", "Status"]
    team = filled(table(columns, [], "team_table"), "team", brief=brief)
    assert team.rows == (("개발자", "앱", "4년", "완료"),)
    plan = table(["Work", "Period", "Details"], [], "schedule_table")
    assert filled(plan, "milestones", brief=brief).rows == (("시제품", "1~3개월 차", "시험"),)


def test_uses_become_rows_with_a_total() -> None:
    """The brief's own lines replace the suggested rows, and the total closes them."""
    outline = table(["Item", "Amount [thousand]", "Share [%]"], ["Product"], fill="use_of_funds")
    result = filled(outline, "use_of_funds")
    assert result.rows == (("Crates", "60", "60"), ("Staff", "40", "40"), ("Total", "100", "100"))
    assert result.laid_out == {"use_of_funds"}


def test_funding_shares_add_up() -> None:
    """Public and own money, subtotal and total follow the funding identities."""
    rows = ["Government funding", "Own contribution (cash)", "Own contribution (in kind)",
            "Own contribution", "Total"]  # fmt: skip
    result = filled(table(["Source", "Amount", "Share [%]"], rows, fill="budget"))
    assert [row[1:] for row in result.rows] == [
        ("£70", "70"), ("£10", "10"), ("£20", "20"), ("£30", "30"), ("£100", "100"),
    ]  # fmt: skip


def test_market_keeps_the_remark_as_source() -> None:
    """Amount, year and remark of a market figure go to their columns."""
    columns = ["Level", "Year", "Amount [million]", "Source"]
    result = filled(table(columns, ["TAM", "SAM"], fill="market"))
    assert result.rows == (("TAM", "2025", "96", "own estimate, 2025"), ("SAM", "", "", ""))


def test_entries_become_rows_and_keep_their_fields() -> None:
    """Competitors of the brief follow the known rows, each field under its column."""
    columns = ["Offer", "Price", "Weaknesses", "Source"]
    result = filled(table(columns, ["This company"], "competitor_table"), "competitors")
    assert result.rows == (
        ("This company", "£1,200 per month", "", ""),
        ("Totes", "£6", "lost", ""),
    )
    assert result.laid_out == {"competitors"}


def test_a_field_without_column_keeps_the_fact_visible() -> None:
    """A fact whose fields do not all fit counts as not laid out, so it is also told in full."""
    result = filled(table(["Offer", "Price"], [], "competitor_table"), "competitors")
    assert result.laid_out == frozenset()


def test_numbered_rows_count_the_entries() -> None:
    """Where the form numbers its rows, the entries are numbered."""
    result = filled(table(["No.", "Offer"], ["1", "2"], "competitors"), "competitors")
    assert result.rows == (("1", "Totes"),)


def test_nothing_known_gives_visible_blanks() -> None:
    """Without facts there are rows to fill in, and none counts as filled."""
    result = filled(table(["A", "B"], []), brief="note: x")
    assert result.filled == 0
    assert render_table(result.header, result.rows).count("| (to fill in) | — |") == 3


@pytest.mark.parametrize(
    ("unit", "currency", "language", "text"),
    [
        ("백만원", "KRW", Language.KO, "1,234.6"),
        ("천원", "KRW", Language.KO, "1,234,567.9"),
        ("억원", "KRW", Language.KO, "12.3"),
        ("원", "KRW", Language.KO, "1,234,567,890"),
        ("백만원", "USD", Language.KO, "12억 3,456만 7,890달러"),
        ("KRW million", "KRW", Language.EN, "1,234.6"),
        ("KRW million", "USD", Language.EN, "$1,234,567,890"),
        ("thousand", "EUR", Language.EN, "1,234,567.9"),
        ("currency", "GBP", Language.EN, "£1,234,567,890"),
    ],
)
def test_amounts_fit_the_unit_or_are_written_out(
    unit: str, currency: str, language: Language, text: str
) -> None:
    """An amount is scaled to the column's unit; another currency is never relabelled."""
    assert in_unit(Decimal(1_234_567_890), unit, currency, language) == text


def test_unit_titles_name_the_currency() -> None:
    """Outlines leave the currency open; the plan's takes its place."""
    assert unit_title("currency per month", "GBP") == "GBP per month"
    assert unit_title("thousand", "GBP") == "GBP thousand"
    assert unit_title("백만원", "USD") == "USD"
    assert unit_title("만원/년", "GBP") == "GBP/년"
    assert unit_title("thousand", "") == "thousand"


@given(st.text(max_size=200))
def test_cells_cannot_break_out(text: str) -> None:
    """No text opens a tag, an image or another cell."""
    cell = clean_cell(text)
    assert "\n" not in cell
    assert re.search(r"(?<!\\)\|", cell) is None
    assert re.search(r"<[A-Za-z/!?]", cell) is None
    assert "![" not in cell


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("# heading", r"\# heading"),
        ("> quote", r"\> quote"),
        ("- item", r"\- item"),
        ("1. item", r"1\. item"),
        ("---", r"\---"),
        ("```", r"\```"),
        ("| a |", r"\| a |"),
        ("[x]: http://a", r"\[x]: http://a"),
        ("-5% a year", "-5% a year"),
        ("3.5억 원", "3.5억 원"),
        ("a\u202eb\x1b[0m\n", "ab[0m"),
        ("<script>", "&lt;script>"),
        ("a < b", "a < b"),
    ],
)
def test_lines_start_no_block(text: str, line: str) -> None:
    """A line from outside stays a line: no heading, list, rule, table, tag or escape sequence."""
    assert clean_line(text) == line
