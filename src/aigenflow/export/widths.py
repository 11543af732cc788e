"""How a table's columns share the page. Pure."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

from aigenflow.export.models import Inlines, plain

LINE_CELLS = 92
"""Half-width characters in a line of a table across a page."""
_MOST_CELLS = 48
_LEAST_CELLS = 5
_LONGEST_WORD = 16
_PADDING = 3


def column_widths(rows: Sequence[Sequence[Inlines]]) -> tuple[float, ...]:
    """The columns' shares, with the sum 1: room for the longest word first, then by length."""
    texts = [[plain(cell) for cell in column] for column in zip(*rows, strict=True)]
    least = [max(map(_longest_word, column)) + _PADDING for column in texts]
    wanted = [
        float(max(low, min(max(map(display_width, column)) + 2, _MOST_CELLS)))
        for low, column in zip(least, texts, strict=True)
    ]
    room = max(LINE_CELLS - sum(least), 0)
    missing = sum(wanted) - sum(least)
    if missing > room:
        wanted = [
            low + room * (want - low) / missing for low, want in zip(least, wanted, strict=True)
        ]
    total = sum(wanted)
    shares = [round(width / total, 4) for width in wanted[:-1]]
    return (*shares, round(1 - sum(shares), 4))


def display_width(text: str) -> int:
    """The width of ``text`` in half-width characters: Hangul and Han count two."""
    return sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def _longest_word(text: str) -> int:
    longest = max(map(display_width, text.split()), default=0)
    return max(_LEAST_CELLS, min(longest, _LONGEST_WORD))
