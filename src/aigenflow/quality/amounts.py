"""The numbers in a table's cells, with the scale and unit that header and caption give. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal

from aigenflow.core.numbers import find_figures
from aigenflow.core.quantities import currency_code
from aigenflow.quality.document import Table, is_blank

_SCALES = (
    (r"억\s?원|100\s?million", Decimal(10**8)),
    (r"백만|\bmillions?\b|\bmn\b", Decimal(10**6)),
    (r"만\s?(?:원|달러)", Decimal(10**4)),
    (
        r"천\s?(?:원|달러|유로|엔)|\(천\)|\bthousands?\b|[$€£]k\b|\((?:[A-Z]{3}\s)?k\)",
        Decimal(10**3),
    ),
    (r"\b\d{1,2}\s?billion|\bbillions?\b|십억", Decimal(10**9)),
)
_LEFT_OVER = 12
_MARKS = re.compile(r"\[[^\]]{0,40}\]|\((?:주|a|b|c)\)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Amount:
    """A cell's number, scaled. ``precision`` is the value of its last digit."""

    value: Decimal
    precision: Decimal
    unit: str = ""


def cell_amount(cell: str, scale: Decimal = Decimal(1)) -> Amount | None:
    """The one number of a cell; ``None`` where it says nothing, several things, or prose.

    ``(1,200)`` and ``△1,200`` are negative. ``scale`` counts only where the cell names none.
    """
    plain = _MARKS.sub("", cell).strip().strip("*_").strip()
    if is_blank(plain) or not any(character.isdigit() for character in plain):
        return None
    negative = plain.startswith("(") and plain.endswith(")")
    bare = plain.strip("()") if negative else plain
    if re.fullmatch(r"\d{4}", bare):  # among amounts it is no year
        bare = f"{bare[0]},{bare[1:]}"
    figures = find_figures(bare)
    if len(figures) != 1 or len(bare) - len(figures[0].text) > _LEFT_OVER:
        return None
    figure = figures[0]
    factor = scale if figure.precision <= 1 and not figure.quantity.is_money else Decimal(1)
    value = figure.quantity.value * factor
    return Amount(
        value=-value if negative else value,
        precision=figure.precision * factor,
        unit=figure.quantity.unit,
    )


def scale_in(text: str) -> Decimal | None:
    """The scale that ``text`` names (``"금액(천원)"`` has 1000); ``None`` where it names none."""
    for pattern, scale in _SCALES:
        if re.search(pattern, text, re.IGNORECASE):
            return scale
    return None


def column_scale(table: Table, column: int, row: str = "") -> Decimal:
    """The scale of a cell: its row's label, its column's header, the caption, else 1."""
    header = table.header[column] if column < len(table.header) else ""
    for text in (row, header, table.caption, table.note, table.header[0] if table.header else ""):
        scale = scale_in(text)
        if scale is not None:
            return scale
    return Decimal(1)


def column_currency(table: Table, column: int, row: str = "") -> str:
    """The currency of a cell by row label, header or caption; empty where none is named."""
    header = table.header[column] if column < len(table.header) else ""
    return next(
        (code for text in (row, header, table.caption, table.note) if (code := currency_in(text))),
        "",
    )


def currency_in(text: str) -> str:
    """The currency named in ``text``, as a whole word or behind a scale (``천원``)."""
    if re.search(r"(?:천|만|억)\s?원|(?<![가-힣])원(?![가-힣])|₩|\bKRW\b", text):
        return "KRW"
    return currency_code(text) if re.search(r"[$€£]|달러|유로|\b[A-Z]{3}\b", text) else ""


def row_amounts(table: Table, row: tuple[str, ...]) -> dict[int, Amount]:
    """The numbers of a row by column, scaled."""
    found = {}
    for column, cell in enumerate(row[1:], start=1):
        amount = cell_amount(cell, column_scale(table, column, row[0]))
        if amount is not None:
            found[column] = amount
    return found
