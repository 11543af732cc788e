"""A document for pandoc, and pandoc as a process that can reach nothing.

Pandoc gets the finished tree (its JSON), not the Markdown: none of its readers, and none of the
markup that they would obey, ever sees text from a model or from the web.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from datetime import datetime
from gettext import gettext as _
from itertools import zip_longest
from pathlib import Path
from typing import Any, TypeAlias

from aigenflow.core.errors import ExportError
from aigenflow.export.models import (
    Alignment,
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
)
from aigenflow.export.wording import LOCALES

TIMEOUT_S = 120.0
_SHORT_TABLE_ROWS = 8
"""A table of so few rows is kept on one page."""
_API_VERSION = [1, 23, 1]
_STYLES = {Style.EMPHASIS: "Emph", Style.STRONG: "Strong", Style.STRUCK: "Strikeout"}
_ALIGNMENTS = {
    Alignment.LEFT: "AlignLeft",
    Alignment.CENTER: "AlignCenter",
    Alignment.RIGHT: "AlignRight",
}
_Node: TypeAlias = dict[str, Any]
ImageTarget: TypeAlias = Callable[[Image], str]


def run_pandoc(tree: str, arguments: Sequence[str], dated: datetime) -> bytes:
    """What pandoc makes of ``tree`` (see :func:`pandoc_tree`).

    It runs in an empty folder of its own, with nothing of our environment. Raises
    :class:`~aigenflow.core.errors.ExportError`.
    """
    import pypandoc  # type: ignore[import-untyped]

    with tempfile.TemporaryDirectory(prefix="aigenflow-") as folder:
        target = Path(folder) / "document"
        command = [
            *(pypandoc.get_pandoc_path(), "--sandbox", "--from=json", f"--data-dir={folder}"),
            *(*arguments, f"--output={target}"),
        ]
        environ = {
            "HOME": folder,
            "LC_ALL": "C.UTF-8",
            "SOURCE_DATE_EPOCH": str(int(dated.timestamp())),
            "TMPDIR": folder,
        }
        try:
            done = subprocess.run(  # noqa: S603 (our own arguments, and no shell)
                command,
                input=tree.encode(),
                capture_output=True,
                cwd=folder,
                env=environ,
                timeout=TIMEOUT_S,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise _failed(str(error)) from error
        if done.returncode != 0 or not target.exists():
            raise _failed(done.stderr.decode("utf-8", "replace").strip()[-500:])
        return target.read_bytes()


def _failed(problem: str) -> ExportError:
    return ExportError(
        _("Pandoc could not convert the document: {problem}").format(problem=problem),
        hint=_("Reinstall it: pip install --force-reinstall pypandoc-binary"),
    )


def pandoc_tree(document: Document, image_target: ImageTarget) -> str:
    """The JSON that ``pandoc --from=json`` reads.

    ``image_target`` says under which name pandoc finds an image.
    """
    writer = _Writer(image_target)
    meta = {
        "title": _node("MetaInlines", writer.inlines(document.title)),
        "lang": _node("MetaString", LOCALES[document.language]),
    }
    blocks = writer.blocks(document.blocks)
    return json.dumps({"pandoc-api-version": _API_VERSION, "meta": meta, "blocks": blocks})


class _Writer:
    """Turns our nodes into pandoc's (``Text.Pandoc.Definition``)."""

    def __init__(self, image_target: ImageTarget) -> None:
        self._image_target = image_target

    def blocks(self, blocks: Blocks) -> list[_Node]:
        return [
            self._with_next(block) if _leads(block, following) else self._block(block)
            for block, following in zip_longest(blocks, blocks[1:])
        ]

    def _with_next(self, block: Block) -> _Node:
        return _node("Div", [_STICKY, [self._block(block)]])

    def _block(self, block: Block) -> _Node:
        match block:
            case Heading(level, _anchor, children):
                return _node("Header", [min(level, 6), _attributes(), self.inlines(children)])
            case Paragraph(children, is_caption):
                paragraph = _node("Para", self.inlines(children))
                return _node("Div", [_CAPTION, [paragraph]]) if is_caption else paragraph
            case CodeBlock(text):
                return _node("CodeBlock", [_attributes(), text])
            case Quote(blocks):
                return _node("BlockQuote", self.blocks(blocks))
            case ItemList():
                return self._list(block)
            case Table():
                table = self._table(block)
                is_short = len(block.rows) <= _SHORT_TABLE_ROWS
                return _node("Div", [_UNBROKEN, [table]]) if is_short else table
            case Figure():
                return self._figure(block)
            case Rule():
                return {"t": "HorizontalRule"}

    def _list(self, items: ItemList) -> _Node:
        rendered = [
            self._item(blocks, f"ref-{number}" if items.is_references else "")
            for number, blocks in enumerate(items.items, start=items.start or 1)
        ]
        if items.start is None:
            return _node("BulletList", rendered)
        return _node("OrderedList", [[items.start, {"t": "Decimal"}, {"t": "Period"}], rendered])

    def _item(self, blocks: Blocks, anchor: str) -> list[_Node]:
        """A list item; its first paragraph stands without the space of one."""
        if not blocks or not isinstance(blocks[0], Paragraph):
            return self.blocks(blocks)
        first = self.inlines(blocks[0].children)
        if anchor:
            first = [_node("Span", [_attributes(anchor), first])]
        return [_node("Plain", first), *self.blocks(blocks[1:])]

    def _table(self, table: Table) -> _Node:
        columns = [
            [{"t": _ALIGNMENTS[alignment]}, _node("ColWidth", width)]
            for alignment, width in zip(table.alignments, table.widths, strict=True)
        ]
        rows = [self._row(row) for row in table.rows]
        return _node(
            "Table",
            [
                _attributes(),
                [None, []],
                columns,
                [_attributes(), [self._row(table.header)]],
                [[_attributes(), 0, [], rows]],
                [_attributes(), []],
            ],
        )

    def _row(self, cells: tuple[Inlines, ...]) -> list[Any]:
        return [
            _attributes(),
            [
                [_attributes(), {"t": "AlignDefault"}, 1, 1, [_node("Plain", self.inlines(cell))]]
                for cell in cells
            ],
        ]

    def _figure(self, figure: Figure) -> _Node:
        target = [self._image_target(figure.image), ""]
        caption = self.inlines(figure.caption)
        image = _node("Image", [_attributes("", width="100%"), caption, target])
        shown = [_node("Plain", caption)] if caption else []
        return _node("Figure", [_attributes(), [None, shown], [_node("Plain", [image])]])

    def inlines(self, children: Inlines) -> list[_Node]:
        return [node for inline in children for node in self._inline(inline)]

    def _inline(self, inline: Inline) -> list[_Node]:
        match inline:
            case Text(text):
                return _words(text)
            case Code(text):
                return [_node("Code", [_attributes(), text])]
            case Styled(style, children):
                return [_node(_STYLES[style], self.inlines(children))]
            case Link(address, children):
                return [_node("Link", [_attributes(), self.inlines(children), [address, ""]])]
            case Citation(number):
                words = [_node("Str", f"[{number}]")]
                return [_node("Link", [_attributes(), words, [f"#ref-{number}", ""]])]
            case Note(blocks):
                return [_node("Note", self.blocks(blocks))]
            case LineBreak():
                return [{"t": "LineBreak"}]


def _leads(block: Block, following: Block | None) -> bool:
    """Whether ``block`` is a label in bold for the list below it, to stay on the same page."""
    return (
        isinstance(block, Paragraph)
        and isinstance(following, ItemList)
        and all(
            isinstance(inline, Styled) and inline.style is Style.STRONG for inline in block.children
        )
    )


def _node(kind: str, content: Any) -> _Node:
    return {"t": kind, "c": content}


def _attributes(name: str = "", **values: str) -> list[Any]:
    return [name, [], [list(pair) for pair in values.items()]]


_UNBROKEN = ["", [], [["typst:breakable", "false"]]]
_STICKY = ["", [], [["typst:sticky", "true"]]]
_CAPTION = ["", [], [["custom-style", "Table Caption"], ["typst:sticky", "true"]]]


def _words(text: str) -> list[_Node]:
    """``text`` word by word: pandoc's writers look for markup to escape in each of them."""
    nodes: list[_Node] = []
    for number, word in enumerate(text.split(" ")):
        if number:
            nodes.append({"t": "Space"})
        if word:
            nodes.append(_node("Str", word))
    return nodes
