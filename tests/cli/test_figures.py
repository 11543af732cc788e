from __future__ import annotations

import io

from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from rich.table import Table

from aigenflow.cli.figures import Sheet, columns_side_by_side


def drawn(table: Table, width: int, *, keys: int = 1) -> list[str]:
    console = Console(file=io.StringIO(), width=width, markup=False, highlight=False)
    console.print(Sheet(table, keys=keys))
    assert isinstance(console.file, io.StringIO)
    return [line.rstrip() for line in console.file.getvalue().splitlines()]


def sessions() -> Table:
    table = Table(box=None, pad_edge=False, header_style="")
    for title in ("Session", "Status", "Phases"):
        table.add_column(title, no_wrap=True)
    table.add_column("Topic", overflow="fold")
    table.add_row("20261122-101500-3f9a2c", "completed", "5/5", "Meal kits for people at home")
    return table


def test_a_table_that_fits_stays_whole() -> None:
    """Every column stands in one row."""
    assert drawn(sessions(), 100) == [
        "Session                 Status     Phases  Topic",
        "20261122-101500-3f9a2c  completed  5/5     Meal kits for people at home",
    ]


def test_words_are_wrapped_before_columns_go_below() -> None:
    """A column of text gives way first; an id is whole, so that it can be copied."""
    assert drawn(sessions(), 60) == [
        "Session                 Status     Phases  Topic",
        "20261122-101500-3f9a2c  completed  5/5     Meal kits for",
        "                                           people at home",
    ]


def test_columns_without_room_follow_below_with_their_key() -> None:
    """On a narrow terminal nothing is cut off, and each row still says whose it is."""
    assert drawn(sessions(), 36) == [
        "Session                 Status",
        "20261122-101500-3f9a2c  completed",
        "",
        "Session                 Phases",
        "20261122-101500-3f9a2c  5/5",
        "",
        "Session                 Topic",
        "20261122-101500-3f9a2c  Meal kits",
        "                        for people",
        "                        at home",
    ]


def test_a_cell_wider_than_the_terminal_is_folded() -> None:
    """All its letters are there, over several lines."""
    lines = drawn(sessions(), 12)
    assert not any("…" in line for line in lines)
    letters = "".join("".join(lines).split())
    assert all(letters.count(letter) >= 3 for letter in "39fac")


def test_totals_stay_below_their_columns() -> None:
    """A footer goes along with its column."""
    table = Table(box=None, pad_edge=False, header_style="", show_footer=True)
    table.add_column("Provider", "Total")
    table.add_column("Calls", "24", justify="right")
    table.add_column("Cost", "$2.2238602", justify="right")
    table.add_row("claude", "24", "$2.2238602")
    assert drawn(table, 20)[-3:] == [
        "Provider        Cost",
        "claude    $2.2238602",
        "Total     $2.2238602",
    ]


@given(
    widths=st.lists(st.integers(1, 30), min_size=2, max_size=12),
    keys=st.integers(1, 2),
    room=st.integers(1, 90),
)
def test_every_column_stands_in_one_group(widths: list[int], keys: int, room: int) -> None:
    """In order, beside the keys, and alone with them where there is no room for more."""
    keys = min(keys, len(widths) - 1)
    groups = columns_side_by_side(widths, keys, room)
    assert [at for group in groups for at in group[keys:]] == list(range(keys, len(widths)))
    for group in groups:
        assert group[:keys] == list(range(keys))
        used = sum(widths[at] + 2 for at in group) - 2
        assert used <= room or len(group) == keys + 1
