"""From Markdown to the document that every format shows. Pure.

Read once, for all formats: what is not understood stays text, what could act is not taken over.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from gettext import gettext as _
from itertools import pairwise, zip_longest
from typing import Any

from markdown_it.token import Token

from aigenflow.core.errors import InputError
from aigenflow.export.figures import find_image
from aigenflow.export.models import (
    Alignment,
    Block,
    Blocks,
    Citation,
    Code,
    CodeBlock,
    Document,
    ExportInput,
    Figure,
    Heading,
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
from aigenflow.export.parsing import FOOTNOTES, make_parser
from aigenflow.export.text import cleaned, defused, safe_address
from aigenflow.export.widths import column_widths

MAX_CHARACTERS = 20_000_000
_MAX_CAPTION = 160
_STYLES = {"em": Style.EMPHASIS, "strong": Style.STRONG, "s": Style.STRUCK}
_BREAK = re.compile(r"<br\s*/?>", re.IGNORECASE)
_TASK = re.compile(r"\[([ xX])\] ")
_MARKER = re.compile(r"\[(\d{1,3})\]")
_NUMBER = re.compile(r"[-+\u2212△▲(]?\d[\d,.]*\s?[%)]?")
_BLANKS = frozenset({"", "-", "–", "—"})
_FIGURE_CAPTION = re.compile(r"(?:Figure|그림) \d+\b")
_NOT_IN_ANCHOR = re.compile(r"[^\w-]+")


def read_document(source: ExportInput) -> Document:
    """The document in ``source``. Raises :class:`~aigenflow.core.errors.InputError`.

    Its title is the first heading, where that is of the first level, else ``source.title``.
    """
    if len(source.markdown) > MAX_CHARACTERS:
        raise InputError(
            _("The document has {count} characters; at most {most} can be exported.").format(
                count=len(source.markdown), most=MAX_CHARACTERS
            ),
            hint=_("Split it into several documents."),
        )
    blocks = _Reader(source.figures).read(cleaned(source.markdown))
    title: Inlines = (Text(cleaned(source.title)),)
    if blocks and isinstance(blocks[0], Heading) and blocks[0].level == 1:
        title, blocks = blocks[0].children, blocks[1:]
    return Document(
        title=title,
        language=source.language,
        dated=source.dated,
        blocks=_anchored(_with_references(_with_captions(blocks))),
    )


class _Reader:
    """Reads blocks; footnotes are read where their marks stand."""

    def __init__(self, figures: Mapping[str, bytes]) -> None:
        self._figures = figures
        self._parser = make_parser()
        self._notes: Mapping[str, str] = {}

    def read(self, markdown: str) -> Blocks:
        env: dict[str, Any] = {}
        tokens = self._parser.parse(markdown, env)
        self._notes = env.get(FOOTNOTES, {})
        return self._blocks(iter(tokens))

    def _note(self, label: str) -> Note:
        known, self._notes = self._notes, {}
        tokens = self._parser.parse(known[label])
        note = Note(self._blocks(iter(tokens)))
        self._notes = known
        return note

    def _blocks(self, tokens: Iterator[Token], until: str = "") -> Blocks:
        blocks: list[Block] = []
        for token in tokens:
            if token.type == until:
                break
            blocks.extend(self._block(token, tokens))
        return tuple(blocks)

    def _block(self, token: Token, tokens: Iterator[Token]) -> Iterable[Block]:
        match token.type:
            case "heading_open":
                children = self._inlines(next(tokens))
                yield Heading(int(token.tag[1:]), "", children)
            case "paragraph_open":
                yield from self._paragraph(next(tokens))
            case "fence" | "code_block":
                yield CodeBlock(token.content.rstrip("\n"))
            case "blockquote_open":
                yield Quote(self._blocks(tokens, "blockquote_close"))
            case "bullet_list_open":
                yield ItemList(self._items(tokens, "bullet_list_close"))
            case "ordered_list_open":
                start = int(token.attrs.get("start", 1))
                yield ItemList(self._items(tokens, "ordered_list_close"), start)
            case "table_open":
                yield self._table(tokens)
            case "hr":
                yield Rule()

    def _paragraph(self, inline: Token) -> Iterator[Block]:
        """A paragraph; images in it become figures, in their place."""
        rest: list[Token] = []
        for child in inline.children or ():
            image = find_image(str(child.attrs["src"]), self._figures) if _is_image(child) else None
            if image is None:
                rest.append(child)
                continue
            if children := self._styled(iter(rest)):
                yield Paragraph(children)
            rest = []
            yield Figure(image, self._styled(iter(child.children or ())))
        if children := self._styled(iter(rest)):
            yield Paragraph(children)

    def _items(self, tokens: Iterator[Token], until: str) -> tuple[Blocks, ...]:
        items = []
        for token in tokens:
            if token.type == until:
                break
            items.append(_with_box(self._blocks(tokens, "list_item_close")))
        return tuple(items)

    def _table(self, tokens: Iterator[Token]) -> Table:
        alignments: list[Alignment] = []
        rows: list[tuple[Inlines, ...]] = []
        cells: list[Inlines] = []
        for token in tokens:
            match token.type:
                case "table_close":
                    break
                case "th_open" | "td_open":
                    if not rows:
                        alignments.append(_alignment(token))
                    cells.append(_defused(self._inlines(next(tokens))))
                case "tr_close":
                    rows.append(tuple(cells))
                    cells = []
        header, *body = rows
        aligned = tuple(
            Alignment.RIGHT if each is Alignment.LEFT and _has_numbers(column) else each
            for each, column in zip(alignments, zip_longest(*body, fillvalue=()), strict=False)
        )
        return Table(aligned or tuple(alignments), header, tuple(body), column_widths(rows))

    def _inlines(self, inline: Token) -> Inlines:
        return self._styled(iter(inline.children or ()))

    def _styled(self, tokens: Iterator[Token], until: str = "") -> Inlines:
        found: list[Inline] = []
        for token in tokens:
            if token.type == until:
                break
            found.extend(self._inline(token, tokens))
        return _trimmed(found)

    def _inline(self, token: Token, tokens: Iterator[Token]) -> Iterable[Inline]:
        match token.type:
            case "text" | "text_special":
                yield from _words(token.content)
            case "code_inline":
                yield Code(token.content)
            case "softbreak":
                yield Text(" ")
            case "hardbreak":
                yield LineBreak()
            case "em_open" | "strong_open" | "s_open":
                style = _STYLES[token.tag]
                yield Styled(style, self._styled(tokens, f"{token.type[:-5]}_close"))
            case "link_open":
                children = self._styled(tokens, "link_close")
                address = safe_address(str(token.attrs["href"]))
                yield from (Link(address, children),) if address and children else children
            case "image":
                yield from self._styled(iter(token.children or ()))
            case "footnote":
                yield self._note(token.content)


def _is_image(token: Token) -> bool:
    return token.type == "image"


def _with_box(item: Blocks) -> Blocks:
    """``item`` with the box of a task (``[ ]``, ``[x]``) drawn."""
    if not item or not isinstance(item[0], Paragraph):
        return item
    first, *rest = item[0].children
    if not isinstance(first, Text) or not (match := _TASK.match(first.text)):
        return item
    box = Text(("□ " if match[1] == " " else "■ ") + first.text[match.end() :])
    return (replace(item[0], children=(box, *rest)), *item[1:])


def _alignment(token: Token) -> Alignment:
    return Alignment(str(token.attrs.get("style", "")).removeprefix("text-align:") or "left")


def _has_numbers(column: Iterable[Inlines]) -> bool:
    """Whether a column has numbers and no words, as a statement's columns do."""
    cells = [text for cell in column if (text := plain(cell).strip()) not in _BLANKS]
    return bool(cells) and all(map(_NUMBER.fullmatch, cells))


def _words(text: str) -> Iterator[Inline]:
    """``text`` with the line breaks that people write into table cells."""
    for number, line in enumerate(_BREAK.split(text)):
        if number:
            yield LineBreak()
        if line := line.replace("\n", " "):
            yield Text(line)


def _trimmed(found: list[Inline]) -> Inlines:
    """``found`` without line breaks at its ends, and with neighbouring texts in one piece."""
    while found and isinstance(found[0], LineBreak):
        found.pop(0)
    while found and isinstance(found[-1], LineBreak):
        found.pop()
    joined: list[Inline] = []
    for inline in found:
        last = joined[-1] if joined else None
        if isinstance(inline, Text) and isinstance(last, Text):
            joined[-1] = Text(last.text + inline.text)
        else:
            joined.append(inline)
    return tuple(joined)


def _defused(cell: Inlines) -> Inlines:
    text = plain(cell)
    return cell if defused(text) == text else (Text("'"), *cell)


def _with_captions(blocks: Blocks) -> Blocks:
    """``blocks`` with captions at their tables and figures.

    The short paragraph above a table is kept together with it; the numbered line below a figure
    is its caption, in place of the image's own text.
    """
    blocks = tuple(_with_numbered_captions(blocks))
    found = list(blocks)
    for n, (block, following) in enumerate(pairwise(blocks)):
        if (
            isinstance(block, Paragraph)
            and isinstance(following, Table)
            and len(plain(block.children)) <= _MAX_CAPTION
        ):
            found[n] = replace(block, is_caption=True)
    return tuple(found)


def _with_numbered_captions(blocks: Blocks) -> Iterator[Block]:
    figure: Figure | None = None
    for block in blocks:
        if figure is not None:
            shown, figure = figure, None
            if isinstance(block, Paragraph) and _FIGURE_CAPTION.match(plain(block.children)):
                yield Figure(shown.image, block.children)
                continue
            yield shown
        if isinstance(block, Figure):
            figure = block
        else:
            yield block
    if figure is not None:
        yield figure


def _with_references(blocks: Blocks) -> Blocks:
    """``blocks`` where ``[n]`` leads to the entry of the last numbered list of links."""
    last = next((b for b in reversed(blocks) if isinstance(b, ItemList)), None)
    if last is None or last.start is None or not all(map(_has_link, last.items)):
        return blocks
    numbers = range(last.start, last.start + len(last.items))
    return tuple(
        replace(block, is_references=True) if block is last else _cited(block, numbers)
        for block in blocks
    )


def _has_link(item: Blocks) -> bool:
    return any(
        isinstance(inline, Link)
        for block in item
        if isinstance(block, Paragraph)
        for inline in block.children
    )


def _cited(block: Block, numbers: range) -> Block:
    match block:
        case Paragraph(children):
            return replace(block, children=_cited_inlines(children, numbers))
        case Figure(image, caption):
            return Figure(image, _cited_inlines(caption, numbers))
        case Quote(blocks):
            return Quote(tuple(_cited(each, numbers) for each in blocks))
        case ItemList(items):
            cited = tuple(tuple(_cited(each, numbers) for each in item) for item in items)
            return replace(block, items=cited)
        case Table(rows=rows):
            return replace(
                block,
                rows=tuple(tuple(_cited_inlines(cell, numbers) for cell in row) for row in rows),
            )
        case _:
            return block


def _cited_inlines(children: Inlines, numbers: range) -> Inlines:
    return tuple(each for inline in children for each in _cited_inline(inline, numbers))


def _cited_inline(inline: Inline, numbers: range) -> Iterator[Inline]:
    match inline:
        case Text(text):
            end = 0
            for marker in _MARKER.finditer(text):
                if int(marker[1]) in numbers:
                    if marker.start() > end:
                        yield Text(text[end : marker.start()])
                    yield Citation(int(marker[1]))
                    end = marker.end()
            if end < len(text):
                yield Text(text[end:])
        case Styled(style, children):
            yield Styled(style, _cited_inlines(children, numbers))
        case Note(blocks):
            yield Note(tuple(_cited(each, numbers) for each in blocks))
        case _:
            yield inline


def _anchored(blocks: Blocks) -> Blocks:
    """``blocks`` with levels from 1 on, and an anchor for each heading."""
    top = min((b.level for b in blocks if isinstance(b, Heading)), default=1)
    taken: set[str] = set()
    found: list[Block] = []
    for block in blocks:
        if isinstance(block, Heading):
            anchor = _anchor(plain(block.children), taken)
            found.append(replace(block, level=block.level - top + 1, anchor=anchor))
        else:
            found.append(block)
    return tuple(found)


def _anchor(text: str, taken: set[str]) -> str:
    """A name for a heading that is not ``taken`` yet, and is from now on."""
    name = _NOT_IN_ANCHOR.sub("-", unicodedata.normalize("NFC", text).lower()).strip("-")[:80]
    stem = f"s-{name}" if name else "s"
    number, free = 1, stem
    while free in taken:
        number += 1
        free = f"{stem}-{number}"
    taken.add(free)
    return free
