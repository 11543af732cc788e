"""A document as every format sees it: blocks of inline text, already safe to show.

:mod:`aigenflow.export.reading` makes it from Markdown. There is nothing in it that a format could
take for markup of its own: no raw HTML, no address but http, https and mailto, no image but
figures of the document.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import TypeAlias

from aigenflow.core.models import Language


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportInput:
    """What is exported.

    ``figures`` are the image files that the text may show, by the path it names
    (``figures/market.svg``). ``dated`` goes into the properties of the files: the same input makes
    the same bytes.
    """

    markdown: str
    title: str
    language: Language
    dated: datetime
    figures: Mapping[str, bytes] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Text:
    """Plain text, without line breaks."""

    text: str


@dataclass(frozen=True, slots=True)
class Code:
    """Text in a typewriter face."""

    text: str


class Style(StrEnum):
    """How a piece of text is set off."""

    EMPHASIS = "em"
    STRONG = "strong"
    STRUCK = "s"


@dataclass(frozen=True, slots=True)
class Styled:
    """Text that is set off."""

    style: Style
    children: tuple[Inline, ...]


@dataclass(frozen=True, slots=True)
class Link:
    """A link to an http, https or mailto address."""

    address: str
    children: tuple[Inline, ...]


@dataclass(frozen=True, slots=True)
class Citation:
    """``[3]``: the entry 3 of the list of references."""

    number: int


@dataclass(frozen=True, slots=True)
class Note:
    """A footnote, where its mark stands."""

    blocks: tuple[Block, ...]


@dataclass(frozen=True, slots=True)
class LineBreak:
    """A line break that the author wanted."""


Inline: TypeAlias = Text | Code | Styled | Link | Citation | Note | LineBreak
Inlines: TypeAlias = tuple[Inline, ...]


@dataclass(frozen=True, slots=True)
class Heading:
    """A heading; ``level`` 1 is the highest below the title. ``anchor`` is unique."""

    level: int
    anchor: str
    children: Inlines


@dataclass(frozen=True, slots=True)
class Paragraph:
    """A paragraph. ``is_caption``: it belongs to the table or figure below it."""

    children: Inlines
    is_caption: bool = False


@dataclass(frozen=True, slots=True)
class CodeBlock:
    """Lines in a typewriter face."""

    text: str


@dataclass(frozen=True, slots=True)
class Quote:
    """A block quotation."""

    blocks: tuple[Block, ...]


@dataclass(frozen=True, slots=True)
class ItemList:
    """A list, numbered from ``start`` unless that is ``None``.

    The items of ``is_references`` are what a :class:`Citation` points to.
    """

    items: tuple[tuple[Block, ...], ...]
    start: int | None = None
    is_references: bool = False


class Alignment(StrEnum):
    """Where the text of a column stands."""

    LEFT = "left"
    CENTER = "center"
    RIGHT = "right"


@dataclass(frozen=True, slots=True)
class Table:
    """A table with one header row. Every row has one cell for each of ``alignments``.

    ``widths`` are the columns' shares of the full width; their sum is 1.
    """

    alignments: tuple[Alignment, ...]
    header: tuple[Inlines, ...]
    rows: tuple[tuple[Inlines, ...], ...]
    widths: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Image:
    """A figure of the document: a checked PNG or SVG file.

    ``png`` is the same figure as a PNG, where there is one.
    """

    name: str
    data: bytes
    png: bytes | None

    @property
    def is_svg(self) -> bool:
        """Whether ``data`` is SVG; else it is PNG."""
        return self.name.endswith(".svg")


@dataclass(frozen=True, slots=True)
class Figure:
    """An image on a line of its own, with what it shows."""

    image: Image
    caption: Inlines


@dataclass(frozen=True, slots=True)
class Rule:
    """A line across."""


Block: TypeAlias = Heading | Paragraph | CodeBlock | Quote | ItemList | Table | Figure | Rule
Blocks: TypeAlias = tuple[Block, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """What is shown: a title and blocks."""

    title: Inlines
    language: Language
    dated: datetime
    blocks: Blocks


def plain(children: Inlines) -> str:
    """The words of ``children`` without their styles and notes."""
    return "".join(map(_plain, children))


def _plain(inline: Inline) -> str:
    match inline:
        case Text(text) | Code(text):
            return text
        case Styled(children=children) | Link(children=children):
            return plain(children)
        case Citation(number):
            return f"[{number}]"
        case LineBreak():
            return " "
        case Note():
            return ""
