"""Text from outside made safe for Markdown, and tables. Pure.

Text is escaped, so that no cell can break its table or carry HTML.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence

BLANK = "—"
_TAG = re.compile(r"<(?=[A-Za-z/!?])")
_BLOCK = re.compile(r"#{1,6}(?:\s|$)|>|[-+*](?:\s|$)|[-=_*]{3,}|=+$|~~~|```|\||\[[^\]]*\]:")
_NUMBERED = re.compile(r"^(\d{1,9})(?=[.)](?:\s|$))")
_DIRECTION_SIGNS = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def clean(text: str) -> str:
    """One line of text from outside: no HTML, no image, no control or direction-changing signs."""
    kept = "".join(
        character
        for character in text
        if character.isspace()
        or not (unicodedata.category(character) in ("Cc", "Cs") or character in _DIRECTION_SIGNS)
    )
    return _TAG.sub("&lt;", " ".join(kept.split())).replace("![", "[")


def clean_line(text: str) -> str:
    """:func:`clean`, and no Markdown block (heading, quotation, list, table, fence) begins it."""
    line = clean(text)
    return f"\\{line}" if _BLOCK.match(line) else _NUMBERED.sub(r"\1\\", line)


def clean_cell(text: str) -> str:
    """:func:`clean` for a table cell: a pipe stays inside it."""
    return clean(text).replace("|", "\\|")


def render_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A GitHub table. Cells are Markdown already; empty ones become visible blanks."""
    lines = [_line(header), _line(["---"] * len(header))]
    lines += [_line([cell or BLANK for cell in row]) for row in rows]
    return "\n".join(lines)


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
