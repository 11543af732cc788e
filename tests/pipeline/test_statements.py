from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aigenflow.pipeline.statements import find_statements, find_tables, plain_words


def sentences(body: str) -> list[tuple[str, str, tuple[int, ...]]]:
    return [(s.section, s.text, s.numbers) for s in find_statements(body)]


def test_a_document_is_its_headings_sentences_items_and_rows() -> None:
    """Each under the heading above it, with the sources it cites."""
    body = "## A\n\nOne [1]. Two\nlines. [2] Three.\n\n- item\n- more [3]\n\n"
    body += "| x | y |\n|---|---|\n| 1 | 2 |"
    assert sentences(body) == [
        ("A", "A", ()),
        ("A", "One.", (1,)),
        ("A", "Two lines.", (2,)),
        ("A", "Three.", ()),
        ("A", "item", ()),
        ("A", "more", (3,)),
        ("A", "x | y", ()),
        ("A", "1 | 2", ()),
    ]


@pytest.mark.parametrize(
    "sentence",
    [
        "It costs 3.5억 원 in 2027.",
        "매출은 1조 2,500억 원이다.",
        "See v1.2.3 of it.",
        "1. An item of a list.",
    ],
)
def test_a_full_stop_in_a_figure_ends_nothing(sentence: str) -> None:
    """Nor does the number of a list item."""
    assert len(list(find_statements(sentence))) == 1


def test_the_note_and_the_caption_of_a_table_belong_to_its_rows() -> None:
    """Also with an empty line between."""
    body = "**Table 1. Sales (KRW thousand)**\n\n| a | b |\n|---|---|\n| c | 2 |\n\nSource: [4]\n"
    row = next(s for s in find_statements(body) if s.text == "c | 2")
    assert row.numbers == (4,)
    assert "KRW thousand" in row.surroundings
    assert [str(figure.quantity.value) for figure in row.figures] == ["2000"]


def test_tables_are_given_cell_by_cell() -> None:
    """An escaped bar does not end a cell."""
    assert list(find_tables("| a | b |\n|---|:-:|\n| c \\| d | |\n")) == [
        (["a", "b"], [["c \\| d", ""]])
    ]


def test_words_without_their_dress() -> None:
    """Marks and emphasis go, signs that are text stay."""
    assert plain_words("**It** _grew_ `15%` [1] [#2], 3 * 4 = 12, snake_case") == (
        "It grew 15%, 3 * 4 = 12, snake_case"
    )


@given(st.text(max_size=300))
def test_any_text_is_taken_apart(text: str) -> None:
    """Whatever it is."""
    list(find_statements(text))
    list(find_tables(text))


@pytest.mark.parametrize(
    ("header", "scale"),
    [
        ("Amount (KRW 100 million)", 10**8),
        ("Amount (KRW million)", 10**6),
        ("금액(억원)", 10**8),
        ("Amount (thousand)", 10**3),
        ("SOM (year 3)", 1),
        ("Amount", 1),
    ],
)
def test_a_header_scales_its_column(header: str, scale: int) -> None:
    """A unit in parentheses says what one of the figures below it stands for."""
    table = f"| Item | {header} |\n| --- | --- |\n| Market | 35 |\n"
    (*_above, row) = find_statements(table)
    assert [figure.quantity.value for figure in row.figures] == [35 * scale]
