"""HWPX, experimental: a plain Hancom document, made with python-hwpx from its own skeleton.

It has headings, paragraphs, lists, tables, figures, links and footnotes. Its limits: a list item
begins with a typed mark, a table cell and a footnote are plain text, and column alignment is left
to the reader. It was never opened in Hancom Office, which has no version for our machines; what
could be checked is checked in :func:`broken_parts`.
"""

from __future__ import annotations

import io
import struct
import zipfile
from gettext import gettext as _
from typing import TYPE_CHECKING
from xml.etree import ElementTree

from aigenflow.core.errors import ExportError
from aigenflow.export.models import (
    Block,
    Blocks,
    Citation,
    Code,
    CodeBlock,
    Document,
    Figure,
    Heading,
    Image,
    Inline,
    Inlines,
    ItemList,
    LineBreak,
    Link,
    Note,
    Paragraph,
    Quote,
    Rule,
    Style,
    Styled,
    Table,
    Text,
    plain,
)

if TYPE_CHECKING:
    from hwpx import HwpxDocument
    from hwpx.oxml.paragraph import HwpxOxmlParagraph

_MARKS = ("◦", "-", "·")
_INDENT = "\u3000"
_TEXT_WIDTH_MM = 150.0
_TABLE_WIDTH = 42_520
"""In HWP units, 7,200 to the inch: the width between the margins."""
_HEADER_FILL = "#E9EEF5"
_ZIP_EPOCH = (1980, 1, 1, 0, 0, 0)
_MIMETYPE = b"application/hwp+zip"
_PARTS = (
    *("mimetype", "version.xml", "META-INF/container.xml", "META-INF/manifest.xml"),
    *("Contents/content.hpf", "Contents/header.xml", "Contents/section0.xml", "settings.xml"),
)
_NAMESPACES = {
    "Contents/header.xml": "{http://www.hancom.co.kr/hwpml/2011/head}head",
    "Contents/section0.xml": "{http://www.hancom.co.kr/hwpml/2011/section}sec",
}


def to_hwpx(document: Document) -> bytes:
    """``document`` for Hancom Office. Raises :class:`~aigenflow.core.errors.ExportError`."""
    from hwpx import HwpxDocument

    hwpx = HwpxDocument.new()
    try:
        writer = _Writer(hwpx)
        writer.title(document)
        writer.blocks(document.blocks)
        data = _with_fixed_times(hwpx.to_bytes())
    finally:
        hwpx.close()
    if problems := broken_parts(data):
        raise ExportError(
            _("The HWPX came out damaged: {problems}").format(problems=", ".join(problems)),
            hint=_("Export it as DOCX: Hancom Office opens that too."),
        )
    return data


def broken_parts(hwpx: bytes) -> list[str]:
    """What Hancom Office would refuse the file for."""
    with zipfile.ZipFile(io.BytesIO(hwpx)) as archive:
        names = archive.namelist()
        problems = [name for name in _PARTS if name not in names]
        first = archive.infolist()[0]
        if (
            first.filename != "mimetype"
            or first.compress_type != zipfile.ZIP_STORED
            or archive.read(first) != b"application/hwp+zip"
        ):
            problems.append("mimetype")
        for name, root in _NAMESPACES.items():
            # Written a moment ago by python-hwpx, from text: no entity of others is in it.
            if name in names and ElementTree.fromstring(archive.read(name)).tag != root:  # noqa: S314
                problems.append(name)
    return problems


class _Writer:
    def __init__(self, hwpx: HwpxDocument) -> None:
        self._hwpx = hwpx

    def title(self, document: Document) -> None:
        paragraph = self._hwpx.add_paragraph("", include_run=False, inherit_style=False)
        paragraph.add_run(plain(document.title), bold=True, size=20)
        self._hwpx.add_paragraph("", inherit_style=False)

    def blocks(self, blocks: Blocks, depth: int = 0) -> None:
        for block in blocks:
            self._block(block, depth)

    def _block(self, block: Block, depth: int) -> None:
        match block:
            case Heading(level, _anchor, children):
                self._heading(level, children)
            case Paragraph(children):
                self._paragraph(children, prefix=_INDENT * depth)
            case CodeBlock(text):
                for line in text.split("\n"):
                    self._paragraph((Code(line),), prefix=_INDENT * depth)
            case Quote(blocks):
                self.blocks(blocks, depth + 1)
            case ItemList():
                self._list(block, depth)
            case Table():
                self._table(block)
            case Figure():
                self._figure(block)
            case Rule():
                self._hwpx.add_paragraph("─" * 30, inherit_style=False)

    def _heading(self, level: int, children: Inlines) -> None:
        paragraph = self._hwpx.add_heading("", level=min(level, 10))
        paragraph.add_run(plain(children), bold=True, size=max(16 - 2 * level, 11) + 2)
        self._notes(paragraph, children)

    def _paragraph(self, children: Inlines, prefix: str = "") -> None:
        paragraph = self._hwpx.add_paragraph("", include_run=False, inherit_style=False)
        if prefix:
            paragraph.add_run(prefix)
        for inline in children:
            self._inline(paragraph, inline)

    def _inline(
        self, paragraph: HwpxOxmlParagraph, inline: Inline, styles: frozenset[Style] = frozenset()
    ) -> None:
        match inline:
            case Text(text) | Code(text):
                self._run(paragraph, text, styles)
            case Styled(style, children):
                for child in children:
                    self._inline(paragraph, child, styles | {style})
            case Link(address, children):
                paragraph.add_hyperlink(address, plain(children))
            case Citation(number):
                self._run(paragraph, f"[{number}]", styles)
            case LineBreak():
                self._run(paragraph, " ", styles)
            case Note(blocks):
                paragraph.add_footnote(_plain_blocks(blocks))

    def _run(self, paragraph: HwpxOxmlParagraph, text: str, styles: frozenset[Style]) -> None:
        paragraph.add_run(
            text,
            bold=Style.STRONG in styles,
            italic=Style.EMPHASIS in styles,
            strike=True if Style.STRUCK in styles else None,
        )

    def _notes(self, paragraph: HwpxOxmlParagraph, children: Inlines) -> None:
        """The footnotes of a text whose words were written as plain text."""
        for inline in children:
            match inline:
                case Note(blocks):
                    paragraph.add_footnote(_plain_blocks(blocks))
                case Styled(children=inner) | Link(children=inner):
                    self._notes(paragraph, inner)

    def _list(self, items: ItemList, depth: int) -> None:
        mark = _MARKS[min(depth, len(_MARKS) - 1)]
        for number, blocks in enumerate(items.items, start=items.start or 1):
            prefix = f"{_INDENT * depth}{mark if items.start is None else f'{number}.'} "
            rest = blocks
            if blocks and isinstance(blocks[0], Paragraph):
                self._paragraph(blocks[0].children, prefix)
                rest = blocks[1:]
            self.blocks(rest, depth + 1)

    def _table(self, table: Table) -> None:
        rows = (table.header, *table.rows)
        paragraph = self._hwpx.add_paragraph("", include_run=False, inherit_style=False)
        made = paragraph.add_table(len(rows), len(table.alignments), width=_TABLE_WIDTH)
        made.set_column_widths(table.widths)
        for y, row in enumerate(rows):
            for x, cell in enumerate(row):
                if text := plain(cell):
                    made.set_cell_text(y, x, text)
                self._notes(paragraph, cell)
        for x in range(len(table.alignments)):
            made.set_cell_shading(0, x, _HEADER_FILL)
        self._hwpx.add_paragraph("", inherit_style=False)

    def _figure(self, figure: Figure) -> None:
        png = _png(figure.image)
        width, height = struct.unpack(">II", png[16:24])
        self._hwpx.add_picture(
            png,
            "png",
            width_mm=_TEXT_WIDTH_MM,
            height_mm=_TEXT_WIDTH_MM * height / max(width, 1),
            align="CENTER",
        )
        if figure.caption:
            self._paragraph(figure.caption)


def _png(image: Image) -> bytes:
    if image.png or not image.is_svg:
        return image.png or image.data
    from aigenflow.export.pdf import to_png

    return to_png(image.data)


def _plain_blocks(blocks: Blocks) -> str:
    """The words of a footnote."""
    return " ".join(
        plain(block.children) if isinstance(block, Paragraph) else _plain_block(block)
        for block in blocks
    )


def _plain_block(block: Block) -> str:
    match block:
        case Heading(children=children) | Figure(caption=children):
            return plain(children)
        case CodeBlock(text):
            return text.replace("\n", " ")
        case Quote(blocks):
            return _plain_blocks(blocks)
        case ItemList(items):
            return " ".join(map(_plain_blocks, items))
        case Table(header=header, rows=rows):
            return " ".join(plain(cell) for row in (header, *rows) for cell in row)
        case _:
            return ""


def _with_fixed_times(data: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(out, "w") as new:
        for item in old.infolist():
            info = zipfile.ZipInfo(item.filename, _ZIP_EPOCH)
            new.writestr(info, old.read(item), item.compress_type)
    return out.getvalue()
