from __future__ import annotations

from unicodedata import east_asian_width

import click
from hypothesis import given
from hypothesis import strategies as st

from aigenflow.cli.help import HelpFormatter

WORDS = st.text(st.sampled_from("ab가나다漢Ａ“”…1"), min_size=1, max_size=12)
TEXTS = st.lists(WORDS, min_size=1, max_size=30).map(" ".join)


def _cells(line: str) -> int:
    return sum(2 if east_asian_width(character) in "WF" else 1 for character in line)


@given(text=TEXTS)
def test_no_line_is_wider_than_the_terminal_and_no_word_is_lost(text: str) -> None:
    """Lines are wrapped by the cells they take, and hold the words they were given."""
    page = HelpFormatter(width=40)
    page.write_text(text)
    assert max(map(_cells, page.getvalue().splitlines())) <= 40
    assert page.getvalue().split() == text.split()


@given(rows=st.lists(st.tuples(WORDS, TEXTS), min_size=1, max_size=5))
def test_the_second_column_begins_at_one_cell(rows: list[tuple[str, str]]) -> None:
    """However wide the first column's characters are, what explains them lines up."""
    page = HelpFormatter(width=60)
    page.write_dl(rows)
    lines = page.getvalue().splitlines()
    begin = max(_cells(first) for first, _ in rows) + 2
    for first, second in rows:
        beside = first + " " * (begin - _cells(first)) + second.split()[0]
        assert any(line.startswith(beside) for line in lines)
    assert max(map(_cells, lines)) <= 60


def test_a_page_in_narrow_characters_is_the_librarys_own() -> None:
    """For English nothing changes."""
    pages = [HelpFormatter(width=50), click.HelpFormatter(width=50)]
    for page in pages:
        page.write_usage("aigenflow", "[OPTIONS] COMMAND [ARGS]...", "Usage: ")
        page.write_text("Turn a topic into a business plan or an R&D proposal. " * 3)
        page.write_dl([("--help", "Show this message and exit."), ("--debug", "word " * 20)])
    assert pages[0].getvalue() == pages[1].getvalue()
