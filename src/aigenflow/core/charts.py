"""Charts as data: what is drawn, with which words; how is for ``export.charts``.

Numbers are already in the ``unit`` that the axis names. Labels are in the document's language.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import TypeAlias


@dataclass(frozen=True, slots=True, kw_only=True)
class Bars:
    """Horizontal bars, one per label, each with a text at its end."""

    labels: tuple[str, ...]
    values: tuple[Decimal, ...]
    texts: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """One row of values, by the chart's steps."""

    name: str
    values: tuple[Decimal, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """Groups of columns side by side: one group per step, one column per series."""

    steps: tuple[str, ...]
    series: tuple[Series, ...]
    unit: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Curves:
    """Lines over steps, with the zero line."""

    steps: tuple[str, ...]
    series: tuple[Series, ...]
    unit: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """One bar of a schedule; months from 1, both ends included."""

    label: str
    start: int
    end: int
    owner: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spans:
    """A schedule, one bar per row, over months."""

    rows: tuple[Span, ...]
    axis: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Stairs:
    """A level (1 to 9) at each step."""

    steps: tuple[str, ...]
    levels: tuple[int, ...]
    axis: str


Drawing: TypeAlias = Bars | Columns | Curves | Spans | Stairs


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """One figure: ``name`` is its file's name, ``table`` the table it stands beside.

    ``source`` says where its numbers come from, for the line below it.
    """

    name: str
    caption: str
    source: str
    table: str
    drawing: Drawing

    def texts(self) -> tuple[str, ...]:
        """Every text in the drawing."""
        drawing = self.drawing
        match drawing:
            case Bars():
                return (*drawing.labels, *drawing.texts)
            case Columns() | Curves():
                names = (each.name for each in drawing.series)
                return (*drawing.steps, *names, drawing.unit)
            case Spans():
                rows = (text for row in drawing.rows for text in (row.label, row.owner))
                return (*rows, drawing.axis)
            case Stairs():
                return (*drawing.steps, drawing.axis)
