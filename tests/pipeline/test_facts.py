from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aigenflow.core.errors import SessionDamagedError
from aigenflow.core.evidence import Evidence, Fact, Origin
from aigenflow.pipeline.facts import (
    as_yaml,
    count_origins,
    read_facts,
    trace_facts,
    trace_statements,
)

EVIDENCE = (
    Evidence(id="e1", number=1, url="https://a.example", quote="The market grew 15.2% to $3.71B."),
    Evidence(id="e2", number=2, url="https://b.example", title="시장 규모 1조 2,500억 원, 5개 사"),
)
MODEL = {
    "base.revenue.2027": Decimal(352_000_000),
    "base.net_profit.2027": Decimal(-48_000_000),
    "ratio.cagr": Decimal("0.241"),
}


def origins(body: str, brief: str = "", topic: str = "") -> dict[str, tuple[str, str]]:
    facts = trace_facts(body, EVIDENCE, brief, MODEL, topic=topic)
    return {fact.text: (fact.origin.value, fact.source) for fact in facts}


@pytest.mark.parametrize(
    ("body", "figure", "origin", "source"),
    [
        ("It grew 15.2% [1].", "15.2%", "evidence", "e1"),
        ("It grew 15% [1].", "15%", "evidence", "e1"),
        ("It grew 15%. [1] Next.", "15%", "evidence", "e1"),
        ("It grew 15.3% [1].", "15.3%", "unknown", ""),
        ("It grew 15.2%.", "15.2%", "evidence", "e1"),
        ("시장은 1.25조 원이다 [2].", "1.25조 원", "evidence", "e2"),
        ("The market is $3.7 billion [1].", "$3.7 billion", "evidence", "e1"),
        ("The market is €3.7 billion [1].", "€3.7 billion", "unknown", ""),
        ("A share of 98.7% [1].", "98.7%", "unknown", ""),
        ("매출은 3.5억 원이다.", "3.5억 원", "model", "base.revenue.2027"),
        ("매출은 3.6억 원이다.", "3.6억 원", "unknown", ""),
        ("a loss of 48,000,000 won", "48,000,000 won", "model", "base.net_profit.2027"),
        ("growth of 24% a year", "24%", "model", "ratio.cagr"),
        ("We aim at 70% [target].", "70%", "assumption", ""),
        ("이용률은 70%로 본다[가정].", "70%", "assumption", ""),
        ("It costs 9,900 won.", "9,900 won", "brief", "price"),
        ("We need 5 vans.", "5 vans", "unknown", ""),
        ("There are 5 firms [2].", "5 firms", "evidence", "e2"),
        ("We have 7 clinics.", "7 clinics", "brief", "topic"),
    ],
)
def test_every_figure_has_its_origin(body: str, figure: str, origin: str, source: str) -> None:
    """Cited evidence, brief, model, marked assumption, any evidence; else nobody can say."""
    found = origins(body, brief="price: 9,900원\n", topic="A chain of 7 clinics")
    assert found == {figure: (origin, source)}


@pytest.mark.parametrize(
    ("figure", "source"),
    [
        ("3,000만 원", "own_funding_cash + own_funding_in_kind"),
        ("70%", "government_funding / total"),
        ("30%", "own_funding_cash + own_funding_in_kind / total"),
    ],
)
def test_sums_and_shares_of_the_funds_follow_from_the_brief(figure: str, source: str) -> None:
    """Who adds up the client's own figures invents none."""
    brief = "정부지원금: 7,000만 원\n자기부담금(현금): 1,000만 원\n자기부담금(현물): 2,000만 원\n"
    assert origins(f"합계는 {figure}이다.", brief) == {figure: ("brief", source)}


@pytest.mark.parametrize(
    "body",
    [
        "## 3.1 Market in 2027",
        "1. First\n2. Second",
        "In 2027, on 2026-03-15 and in Table 3 and [1] [12].",
        "Call 02-1234-5678.",
        "| No. | Name |\n| --- | --- |\n| 1 | Kim |\n| 2 | Lee |",
    ],
)
def test_what_only_counts_the_document_is_no_fact(body: str) -> None:
    """Sections, lists, marks, years, dates, telephone numbers and row numbers state nothing."""
    assert origins(body) == {}


def test_the_unit_of_a_table_counts_for_its_cells() -> None:
    """A header, a first cell or a caption gives the unit and the scale."""
    rows = "\n| 항목 | 2027 |\n| --- | --- |\n| 매출 | 352 |\n"
    assert origins(f"표 1. 손익 (단위: 백만원)\n{rows}")["352"][0] == "model"
    assert origins("| 항목 | 2027 (백만원) |\n| --- | --- |\n| 매출 | 352 |")["352"][0] == "model"
    assert origins("| 항목 | 2027 |\n| --- | --- |\n| 매출(백만원) | 352 |")["352"][0] == "model"
    assert origins("| Item | KRW thousand |\n| --- | --- |\n| Sales (KRW thousand) | 352,000 |")[
        "352,000"
    ] == ("model", "base.revenue.2027")
    assert origins(rows)["352"][0] == "unknown"


def test_a_table_cites_in_its_row_its_header_or_its_note() -> None:
    """A note on the source below a table counts for every row."""
    for table in (
        "| Market | Growth (%) |\n|---|---|\n| World [1] | 15.2 |",
        "| Market | Growth (%) [1] |\n|---|---|\n| World | 15.2 |",
        "| Market | Growth (%) |\n|---|---|\n| World | 15.2 |\n\nSource: report [1]",
    ):
        assert origins(table)["15.2"] == ("evidence", "e1"), table


def test_an_assumption_holds_for_its_sentence_only() -> None:
    """The next sentence needs a mark of its own."""
    found = origins("We assume 70% [assumption]. Then 80% follows.")
    assert found == {"70%": ("assumption", ""), "80%": ("unknown", "")}


def test_a_fact_says_where_it_stands() -> None:
    """The heading above, and the sentence without marks and emphasis."""
    [fact] = trace_facts("# Plan\n\n## Market\n\nIt **grew** 15% [1]. So what?", EVIDENCE, "")
    assert (fact.id, fact.section, fact.sentence) == ("f1", "Market", "It grew 15%.")


def test_a_statement_that_only_cites_is_there_too() -> None:
    """For the list of claims."""
    [traced] = trace_statements("Nobody else does it [2].", EVIDENCE, "")
    assert traced.facts == ()
    assert traced.statement.numbers == (2,)


def test_a_brief_that_cannot_be_parsed_is_a_text_all_the_same() -> None:
    """Its figures are still the user's."""
    found = origins("It costs $30.", brief="a: &x $30\nb: *x\n")
    assert found["$30"] == ("brief", "brief")


def test_origins_are_counted() -> None:
    """Every origin is named, also where there is none."""
    facts = trace_facts("It grew 15% [1], and 98.7%.", EVIDENCE, "")
    assert count_origins(facts) == {
        "brief": 0,
        "evidence": 1,
        "model": 0,
        "assumption": 0,
        "unknown": 1,
    }


def test_the_file_can_be_read_back() -> None:
    """``facts.yaml`` holds the facts, whatever stands in their sentences."""
    facts = trace_facts('## "a": - {x}\n\nIt grew 15% [1]: "yes", & *no* #1.\n', EVIDENCE, "")
    assert facts
    assert read_facts(as_yaml(facts).decode()) == facts
    assert read_facts(as_yaml(()).decode()) == ()
    with pytest.raises(SessionDamagedError, match=r"facts\.yaml"):
        read_facts("facts: [{id: 3}]")


@given(st.text(max_size=300))
def test_any_sentence_survives_the_file(text: str) -> None:
    """Control characters, quotes and emoji included."""
    fact = Fact(id="f1", text=text, sentence=text, origin=Origin.UNKNOWN)
    assert read_facts(as_yaml([fact]).decode()) == (fact,)


@given(st.text(alphabet="| -:\n#[]()0123456789.,%원$abc가나*", max_size=200))
def test_any_text_can_be_traced(text: str) -> None:
    """Broken tables and stray marks are no reason to fail."""
    trace_facts(text, EVIDENCE, "", MODEL)
