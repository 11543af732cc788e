"""Computed tables take the place that the writer left, the writer's own version, or the end."""

from __future__ import annotations

import pytest

from aigenflow.core.charts import Chart, Stairs
from aigenflow.core.models import DocumentType, Language
from aigenflow.finance.tables import RenderedTable
from aigenflow.pipeline.placing import place_figures, place_tables
from aigenflow.templates.loader import load_outline

OUTLINE = load_outline(DocumentType.BIZPLAN, "default", Language.EN)
RESULT = RenderedTable(
    id="income_statement",
    caption="Profit and loss",
    markdown="| Item | 2027 (GBP) |\n| --- | --- |\n| Revenue | 172,800 |",
    note="Computed.",
)
BREAK_EVEN = RenderedTable(id="break_even", caption="Break-even", markdown="| B |\n|---|\n| 26 |")
BEFORE = "# Plan\n\n## 11. Organisation and Team\n\nWe are two, see Table 1.\n\n"
OWN = "| Item | Year 1 |\n| --- | --- |\n| Revenue | 999,999 |"


def place(body: str, *tables: RenderedTable) -> str:
    return place_tables(body, OUTLINE, tables or (RESULT,), Language.EN).body


def test_a_table_goes_where_the_writer_left_its_mark() -> None:
    """The mark is replaced, a caption is added and numbered, and the mark is gone."""
    body = place(f"{BEFORE}## 12. Financials\n\nBefore.\n\n[[table:income_statement]]\n\nAfter.\n")
    assert "Before.\n\n**Table 1. Profit and loss**\n\n| Item | 2027 (GBP) |" in body
    assert "| 172,800 |\n\n*Computed.*\n\nAfter." in body
    assert "[[" not in body


def test_a_caption_above_the_mark_is_kept() -> None:
    """Nothing is captioned twice."""
    text = "## 12. Financials\n\n**Table 4. Profit and loss**\n\n[[table:income_statement]]\n"
    body = place(BEFORE + text)
    assert body.count("Profit and loss") == 1
    assert "**Table 4. Profit and loss**\n\n| Item | 2027 (GBP) |" in body


@pytest.mark.parametrize(
    "caption", ["**Table 3. Profit and loss**", "Table 3. Profit and loss", "**Profit and loss**"]
)
def test_the_writers_own_version_is_replaced(caption: str) -> None:
    """A figure that prose made up does not survive beside the computed one."""
    body = place(f"{BEFORE}## 12. Financials\n\n{caption}\n\n{OWN}\n\nAs it shows.\n")
    assert "999,999" not in body
    assert f"{caption}\n\n{RESULT.markdown}\n\n*Computed.*\n\nAs it shows." in body


def test_where_nothing_stands_the_table_ends_its_section() -> None:
    """It is not left out, and does not run into the next section."""
    body = place(f"{BEFORE}## 12. Financials\n\nText.\n\n## 13. Funding Request and Use of Funds\n")
    assert body.index("Text.") < body.index("172,800") < body.index("## 13.")


def test_tables_are_numbered_through_and_mentions_follow() -> None:
    """A table put in shifts the numbers after it, in captions and in the text."""
    body = place(
        "## 6. Market\n\nTable 1 and Table 2 show it.\n\n**Table 1. Customers**\n\n| a |\n|---|\n"
        "| 1 |\n\n## 12. Financials\n\n[[table:income_statement]]\n\n**Table 2. Staff**\n\n"
        "| b |\n|---|\n| 2 |\n"
    )
    assert "Table 1 and Table 3 show it." in body
    assert [f"**Table {n}. {c}**" in body for n, c in
            ((1, "Customers"), (2, "Profit and loss"), (3, "Staff"))] == [True] * 3  # fmt: skip


def test_a_document_without_the_section_is_left_alone_and_it_is_told() -> None:
    """Nothing is placed at random."""
    placed = place_tables("# Short\n\nHello.\n", OUTLINE, (RESULT, BREAK_EVEN), Language.EN)
    assert placed.body == "# Short\n\nHello.\n"
    assert placed.missing == ("Profit and loss", "Break-even")


def test_without_computed_tables_marks_go_and_the_writers_tables_stay() -> None:
    """No model: the text is as written, without machine marks."""
    text = f"## 12. Financials\n\n**Table 1. Profit and loss**\n\n{OWN}\n\n[[table:cash_flow]]\n"
    placed = place_tables(text, OUTLINE, (), Language.EN)
    assert OWN in placed.body
    assert "[[" not in placed.body


def test_placing_twice_changes_nothing_more() -> None:
    """A placed table is its own version the second time."""
    once = place(f"{BEFORE}## 12. Financials\n\nText.\n")
    assert place(once) == once


def test_figures_stand_in_the_section_of_their_table() -> None:
    """With an image, a number in the document's order, and a source line."""
    stairs = Stairs(steps=("a", "b"), levels=(1, 2), axis="x")
    charts = [
        Chart(name=n, caption=n.title(), source="s", table=t, drawing=stairs)
        for n, t in (("revenue", "income_statement"), ("market", "market_size"))
    ]
    body = "## 6. Market\n\nA.\n\n## 12. Financials\n\nB.\n"
    placed = place_figures(body, OUTLINE, charts, Language.EN, "figures").body
    assert "A.\n\n![Market](figures/market.svg)\n\n*Figure 1. Market. Source: s.*" in placed
    assert "B.\n\n![Revenue](figures/revenue.svg)\n\n*Figure 2. Revenue. Source: s.*" in placed
    assert place_figures(placed, OUTLINE, charts, Language.EN, "figures").body == placed


def test_a_figure_without_its_section_is_told() -> None:
    """It is drawn and nowhere to be seen, so its caption is named."""
    stairs = Stairs(steps=("a", "b"), levels=(1, 2), axis="x")
    chart = Chart(name="r", caption="R", source="s", table="income_statement", drawing=stairs)
    placed = place_figures("# Short\n\nHello.\n", OUTLINE, [chart], Language.EN, "figures")
    assert placed.body == "# Short\n\nHello.\n"
    assert placed.missing == ("R",)


@pytest.mark.parametrize(
    ("said", "becomes"),
    [
        ("표 2와 같다.", "표 3와 같다."),
        ("<표 2> 참조", "<표 3> 참조"),
        ("표 2개를 둔다.", "표 2개"),
        ("표 1~2와 같다.", "표 1~3와 같다."),
        ("표 2~5개를 둔다.", "표 2~5개를 둔다."),
    ],
)
def test_korean_mentions_follow_before_particles(said: str, becomes: str) -> None:
    """A particle stands at the number without a space; a count of tables is no mention."""
    outline = load_outline(DocumentType.BIZPLAN, "default", Language.KO)
    body = (
        f"## 6. 시장\n\n{said}\n\n**표 1. 고객**\n\n| a |\n|---|\n| 1 |\n\n## 12. 재무 계획\n\n"
        "[[table:income_statement]]\n\n**표 2. 인원**\n\n| b |\n|---|\n| 2 |\n"
    )
    placed = place_tables(body, outline, (RESULT,), Language.KO).body
    assert becomes in placed
