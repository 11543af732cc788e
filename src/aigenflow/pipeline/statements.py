"""A document taken apart into what it states: sentences, list items and rows of tables. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal

from aigenflow.core.markers import used_numbers
from aigenflow.core.numbers import Figure, find_figures
from aigenflow.core.quantities import PERCENT, Quantity


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """One sentence, heading, or row of a table, under the heading ``section``.

    ``text`` has no citation marks; ``numbers`` are the sources it cites. ``figures`` of a table
    are scaled by the unit in its header, row or caption (``3,500`` under ``매출(백만원)`` is
    3,500,000,000 KRW). ``surroundings`` is what a table says around a row: header and caption.
    """

    section: str
    text: str
    numbers: tuple[int, ...] = ()
    figures: tuple[Figure, ...] = ()
    surroundings: str = ""


def find_statements(body: str) -> Iterator[Statement]:
    """Every statement of a Markdown text, in order."""
    section = ""
    blocks = list(_blocks(body))
    for index, block in enumerate(blocks):
        heading = _HEADING.match(block[0])
        if heading:
            section = heading[1].strip()
            yield _prose(section, heading[1], "# ")
        elif _is_table(block):
            yield from _rows(section, block, _beside(blocks, index))
        else:
            for sentence in _sentences(block):
                yield _prose(section, sentence)


def find_tables(text: str) -> Iterator[tuple[list[str], list[list[str]]]]:
    """The header and the rows of every table in ``text``, cell by cell."""
    for block in filter(_is_table, _blocks(text)):
        rows = _table_rows(block)
        if rows:
            yield rows[0], rows[1:]


def plain_words(text: str) -> str:
    """``text`` without citation marks, emphasis and white space to spare, on one line."""
    return " ".join(_DRESS.sub("", _MARKS.sub("", text)).split())


def _blocks(body: str) -> Iterator[list[str]]:
    """Headings one by one, list items one by one, tables with their caption, paragraphs."""
    block: list[str] = []
    for line in body.splitlines():
        alone = _HEADING.match(line)
        if alone or not line.strip() or _ITEM.match(line) or _changes_kind(block, line):
            if block:
                yield block
            block = []
        if alone:
            yield [line]
        elif line.strip():
            block.append(line)
    if block:
        yield block


def _changes_kind(block: Sequence[str], line: str) -> bool:
    return bool(block) and _is_row(block[-1]) is not _is_row(line) and not _NOTE.match(line)


def _is_row(line: str) -> bool:
    return line.lstrip().startswith("|")


def _is_table(block: Sequence[str]) -> bool:
    return _is_row(block[0])


def _prose(section: str, text: str, sign: str = "") -> Statement:
    """A sentence or, after its ``sign``, a heading, whose own number is no figure."""
    plain = plain_words(text)
    return Statement(
        section=section,
        text=plain,
        numbers=used_numbers(text),
        figures=find_figures(sign + plain),
    )


def _sentences(block: Sequence[str]) -> Iterator[str]:
    text = " ".join(line.strip() for line in block)
    start = 0
    for end in _SENTENCE_END.finditer(text):
        if _ITEM_NUMBER.fullmatch(text, start, end.end()):
            continue
        yield text[start : end.end()]
        start = end.end()
    if text[start:].strip():
        yield text[start:]


def _beside(blocks: Sequence[Sequence[str]], index: int) -> str:
    """The caption above a table, and the note on its source below it."""
    above = blocks[index - 1][-1] if index else ""
    below = blocks[index + 1][0] if index + 1 < len(blocks) else ""
    return " ".join(
        line.strip() for line, pattern in ((above, _CAPTION), (below, _NOTE)) if pattern.match(line)
    )


def _table_rows(block: Sequence[str]) -> list[list[str]]:
    return [_cells(line) for line in block if _is_row(line) and not _RULER.fullmatch(line.strip())]


def _rows(section: str, block: Sequence[str], beside: str) -> Iterator[Statement]:
    rows = _table_rows(block)
    notes = " ".join([beside, *(line.strip() for line in block if not _is_row(line))])
    header = rows[0] if rows else []
    yield _row(section, header, (), notes)
    for cells in rows[1:]:
        yield _row(section, cells, header, notes)


def _row(section: str, cells: Sequence[str], header: Sequence[str], notes: str) -> Statement:
    around = " ".join((*header, notes)).strip()
    text = " | ".join(plain_words(cell) for cell in cells)
    return Statement(
        section=section,
        text=text,
        numbers=used_numbers(" ".join((*cells, *header, notes))),
        figures=tuple(_cell_figures(cells, header, notes)) if header else find_figures(text),
        surroundings=around,
    )


def _cell_figures(cells: Sequence[str], header: Sequence[str], notes: str) -> Iterator[Figure]:
    row_unit = _unit_in(cells[0]) if cells else None
    table_unit = _unit_in(notes)
    for column, cell in enumerate(map(plain_words, cells)):
        if column == 0 and _NUMBERING.fullmatch(cell):
            continue
        name = header[column] if column < len(header) else ""
        unit = _unit_in(name) or row_unit or table_unit
        for figure in find_figures(cell):
            yield _scaled(figure, unit) if unit and not figure.quantity.unit else figure


def _unit_in(text: str) -> Quantity | None:
    """The unit that a header names in parentheses, as one of it: ``(백만원)`` is 1,000,000 KRW."""
    for inside in reversed(_PARENTHESIS.findall(plain_words(text))):
        words = re.sub(r"^(?:단위|unit)\s*[:：]\s*", "", inside.strip(), flags=re.IGNORECASE)
        currency, _space, scale = words.partition(" ")
        ways = (f"1{words}", f"1 {words}", f"{currency} 1 {scale}")
        found = [figures[0].quantity for way in ways if len(figures := find_figures(way)) == 1]
        whole = find_figures(words)  # "KRW 100 million" has its own number
        found += [figure.quantity for figure in whole if figure.quantity.is_money]
        unit = max(found, key=lambda quantity: quantity.value, default=None)
        if unit is not None and (unit.value >= _THOUSAND or unit.is_money or unit.unit == PERCENT):
            return unit
    return None


def _scaled(figure: Figure, unit: Quantity) -> Figure:
    factor: Decimal = Decimal(1) if unit.unit == PERCENT else unit.value
    quantity = replace(
        figure.quantity,
        value=figure.quantity.value * factor,
        unit=unit.unit or figure.quantity.unit,
    )
    return replace(figure, quantity=quantity, precision=figure.precision * factor)


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in _CELL_END.split(line.strip().strip("|"))]


_THOUSAND = 1_000
_HEADING = re.compile(r" {0,3}#{1,6}[ \t]+(\S.*)")
_ITEM = re.compile(r"\s*(?:[-*+◦□○]|\d{1,2}[.)])\s+\S")
_ITEM_NUMBER = re.compile(r"\s*(?:[-*+]\s+)?\d{1,2}[.)]\s+")
_NOTE = re.compile(
    r"\s*[*_>(]{0,3}\s*(?:출처|자료|단위|주\)|주:|주석|sources?\b|notes?\b|units?\b)", re.IGNORECASE
)
_CAPTION = re.compile(
    r"\s*(?:[*_]{1,3}\S|<|\[?(?:표|그림|table|figure)\s?\d|[(\[]?(?:단위|units?)\b)", re.IGNORECASE
)
_RULER = re.compile(r"[|\s:-]+")
_CELL_END = re.compile(r"(?<!\\)\|")
_PARENTHESIS = re.compile(r"[(\[（]([^\d()\[\]（）][^()\[\]（）]{0,40})[)\]）]")
_NUMBERING = re.compile(r"\d{1,3}\.?")
_MARKS = re.compile(r"\s?\[#?\d{1,3}\](?!\()")
_DRESS = re.compile(
    r"\*\*|__|(?<!\w)[*_](?=\S)|(?<=\S)[*_](?!\w)|`|^\s*>\s?|\\(?=[(\[\]:])|^\s*[-*+]\s+"
)
_SENTENCE_END = re.compile(r"(?<=[.!?。…])[\"”’)\]]{0,2}(?:\s?\[#?\d{1,3}\]){0,9}(?:\s+|$)")
