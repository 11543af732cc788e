"""Help pages that line up also where a character is two cells wide, as Korean ones are."""

from __future__ import annotations

from collections.abc import Iterable
from unicodedata import east_asian_width

import click

_SECOND_CELL = "\ue000"  # private use: no text has it
_WIDE = frozenset("WF")


class HelpFormatter(click.HelpFormatter):
    """Counts cells of a terminal, where the library counts characters.

    While a page is laid out, a stand-in for its second cell follows each wide character.
    """

    def write_text(self, text: str) -> None:
        super().write_text(_as_cells(text))

    def write_dl(
        self, rows: Iterable[tuple[str, str]], col_max: int = 30, col_spacing: int = 2
    ) -> None:
        cells = [(_as_cells(first), _as_cells(second)) for first, second in rows]
        super().write_dl(cells, col_max, col_spacing)

    def getvalue(self) -> str:
        return super().getvalue().replace(_SECOND_CELL, "")


def _as_cells(text: str) -> str:
    return "".join(
        character + _SECOND_CELL if east_asian_width(character) in _WIDE else character
        for character in text
    )
