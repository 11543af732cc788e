"""Figures on the screen: amounts exact and never rounded, tables as wide as they need."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderableType
    from rich.measure import Measurement
    from rich.table import Column, Table

_WIDTH_OF_A_FILE = 200
_GAP = 2


def dollars(amount: Decimal, least_decimals: int = 4) -> str:
    """An amount with every digit it has, and at least so many decimals."""
    decimals = max(least_decimals, -int(amount.normalize().as_tuple().exponent))
    sign = "-" if amount < 0 else ""
    return f"{sign}${abs(amount):,.{decimals}f}"


def plain(amount: Decimal) -> str:
    """Dollars for programs: exact, without exponent."""
    return f"{amount:f}"


def draw(figure: RenderableType) -> None:
    """Print a table or panel; what stands in it is text and never markup."""
    from rich.console import Console
    from rich.table import Table

    width = None if sys.stdout.isatty() else _WIDTH_OF_A_FILE
    console = Console(markup=False, highlight=False, emoji=False, width=width)
    console.print(Sheet(figure) if isinstance(figure, Table) else figure)


class Sheet:
    """A table without lines, of which a narrow terminal cuts nothing off.

    Columns that do not fit beside the others follow below, each time with the first ``keys``
    columns, which say whose they are. A column with ``overflow="fold"`` may be wrapped at words.
    """

    def __init__(self, table: Table, *, keys: int = 1) -> None:
        self._table = table
        self._keys = keys

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        from rich.measure import Measurement

        parts = self._parts(console, options)
        widest = max(Measurement.get(console, options, part).maximum for part in parts)
        return Measurement(0, widest)

    def __rich_console__(
        self, console: Console, options: ConsoleOptions
    ) -> Iterator[RenderableType]:
        for index, part in enumerate(self._parts(console, options)):
            if index:
                yield ""
            yield part

    def _parts(self, console: Console, options: ConsoleOptions) -> list[Table]:
        columns = self._table.columns
        widths = [_needed(column, console, options) for column in columns]
        groups = columns_side_by_side(widths, self._keys, options.max_width)
        if len(groups) == 1:
            return [self._table]
        return [
            self._part(
                [columns[at] for at in group],
                has_room=sum(widths[at] + _GAP for at in group) - _GAP <= options.max_width,
            )
            for group in groups
        ]

    def _part(self, columns: Sequence[Column], *, has_room: bool) -> Table:
        from rich.table import Table

        copies = [column.copy() for column in columns]
        for copy in copies:
            copy.no_wrap = has_room and copy.overflow != "fold"
            copy.overflow = "fold"
        part = Table(
            *copies,
            box=None,
            pad_edge=False,
            header_style="",
            show_footer=self._table.show_footer,
        )
        for cells in zip(*(column.cells for column in columns), strict=True):
            part.add_row(*cells)
        return part


def columns_side_by_side(widths: Sequence[int], keys: int, room: int) -> list[list[int]]:
    """Which columns stand side by side in ``room`` cells, the first ``keys`` in every group.

    Every other column is in one group, in order; one that has no room even alone has a group too.
    """
    first = list(range(keys))
    start = sum(widths[at] + _GAP for at in first)
    groups: list[list[int]] = []
    used = room
    for at in range(keys, len(widths)):
        if not groups or used + _GAP + widths[at] > room:
            groups.append(list(first))
            used = start - _GAP
        groups[-1].append(at)
        used += _GAP + widths[at]
    return groups


def _needed(column: Column, console: Console, options: ConsoleOptions) -> int:
    """The cells of width that a column takes: that of its longest word where it may be wrapped."""
    from rich.measure import Measurement

    texts = (column.header, column.footer, *column.cells)
    wide = options.update_width(_WIDTH_OF_A_FILE)
    found = [Measurement.get(console, wide, text) for text in texts]
    return max(each.minimum if column.overflow == "fold" else each.maximum for each in found)
