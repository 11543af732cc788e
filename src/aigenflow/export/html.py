"""HTML: one page that needs nothing else, for the screen and for the printer.

It runs nothing and fetches nothing: no script, figures inside, and a content security policy that
says so to the browser.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable
from functools import cache
from html import escape
from importlib import resources

from aigenflow.core.models import Language
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
    Styled,
    Table,
    Text,
    plain,
)
from aigenflow.export.wording import BACK, CONTENTS, NOTES

_CONTENTS_DEPTH = 2
_ATTRIBUTES = {
    "*": {"id", "class"},
    "a": {"href", "aria-label"},
    "img": {"src", "alt"},
    "ol": {"start"},
    "th": {"scope"},
    "nav": {"aria-labelledby"},
    "section": {"aria-labelledby"},
}
_TAGS = {
    *("header", "main", "nav", "section", "h1", "h2", "h3", "h4", "h5", "h6", "p", "div"),
    *("ul", "ol", "li", "blockquote", "pre", "code", "hr", "br", "em", "strong", "s", "sup", "a"),
    *("table", "thead", "tbody", "tr", "th", "td", "figure", "figcaption", "img"),
}


def to_html(document: Document) -> bytes:
    """``document`` as one HTML page, UTF-8."""
    import nh3

    body = nh3.clean(
        _Page(document.language).render(document),
        tags=_TAGS,
        attributes=_ATTRIBUTES,
        url_schemes={"http", "https", "mailto", "data"},
        attribute_filter=_filtered,
        link_rel="noopener noreferrer nofollow",
        strip_comments=True,
    )
    style = _style_sheet()
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = (
        f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )
    return (
        f'<!DOCTYPE html>\n<html lang="{document.language.value}">\n<head>\n'
        '<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="referrer" content="no-referrer">\n'
        f"<title>{escape(plain(document.title))}</title>\n"
        f"<style>{style}</style>\n</head>\n<body>\n{body}\n</body>\n</html>\n"
    ).encode()


@cache
def _style_sheet() -> str:
    return (resources.files("aigenflow.export") / "assets" / "page.css").read_text("utf-8")


def _filtered(_tag: str, attribute: str, value: str) -> str | None:
    """The second look at addresses: images are ``data:``, links never are."""
    if attribute == "src":
        return value if value.startswith(("data:image/png;", "data:image/svg+xml;")) else None
    if attribute == "href" and value.lower().startswith("data:"):
        return None
    return value


class _Page:
    """Renders one document; counts its footnotes."""

    def __init__(self, language: Language) -> None:
        self._language = language
        self._notes: list[str] = []

    def render(self, document: Document) -> str:
        title = self._inlines(document.title)
        blocks = self._blocks(document.blocks)
        return (
            f"<header><h1>{title}</h1></header>\n{self._contents(document.blocks)}"
            f"<main>\n{blocks}\n</main>\n{self._endnotes()}"
        )

    def _contents(self, blocks: Blocks) -> str:
        headings = [b for b in blocks if isinstance(b, Heading) and b.level <= _CONTENTS_DEPTH]
        if len(headings) < 3:
            return ""
        lines = "\n".join(
            f'<li class="level{h.level}"><a href="#{h.anchor}">{escape(plain(h.children))}</a></li>'
            for h in headings
        )
        word = CONTENTS[self._language]
        return (
            f'<nav aria-labelledby="contents"><p id="contents">{word}</p>\n<ul>\n{lines}\n</ul>'
            "</nav>\n"
        )

    def _endnotes(self) -> str:
        if not self._notes:
            return ""
        items = "\n".join(self._notes)
        return (
            f'<section class="notes" aria-labelledby="notes"><h2 id="notes">'
            f"{NOTES[self._language]}</h2>\n<ol>\n{items}\n</ol></section>"
        )

    def _blocks(self, blocks: Iterable[Block]) -> str:
        return "\n".join(map(self._block, blocks))

    def _block(self, block: Block) -> str:
        match block:
            case Heading(level, anchor, children):
                tag = f"h{min(level + 1, 6)}"
                return f'<{tag} id="{anchor}">{self._inlines(children)}</{tag}>'
            case Paragraph(children, is_caption):
                kind = ' class="caption"' if is_caption else ""
                return f"<p{kind}>{self._inlines(children)}</p>"
            case CodeBlock(text):
                return f"<pre><code>{escape(text)}</code></pre>"
            case Quote(blocks):
                return f"<blockquote>{self._blocks(blocks)}</blockquote>"
            case ItemList():
                return self._list(block)
            case Table():
                return self._table(block)
            case Figure(image, caption):
                alt = escape(plain(caption))
                words = f"<figcaption>{self._inlines(caption)}</figcaption>" if caption else ""
                return f'<figure><img src="{_data_uri(image)}" alt="{alt}">{words}</figure>'
            case Rule():
                return "<hr>"

    def _list(self, items: ItemList) -> str:
        rendered = []
        for number, blocks in enumerate(items.items, start=items.start or 1):
            anchor = f' id="ref-{number}"' if items.is_references else ""
            rendered.append(f"<li{anchor}>{self._item(blocks)}</li>")
        lines = "\n".join(rendered)
        if items.start is None:
            return f"<ul>\n{lines}\n</ul>"
        start = f' start="{items.start}"' if items.start != 1 else ""
        kind = ' class="references"' if items.is_references else ""
        return f"<ol{start}{kind}>\n{lines}\n</ol>"

    def _item(self, blocks: Blocks) -> str:
        """A list item; its first paragraph stands without the space of one."""
        if blocks and isinstance(blocks[0], Paragraph):
            rest = self._blocks(blocks[1:])
            return self._inlines(blocks[0].children) + (f"\n{rest}" if rest else "")
        return self._blocks(blocks)

    def _table(self, table: Table) -> str:
        def row(tag: str, cells: tuple[Inlines, ...]) -> str:
            scope = ' scope="col"' if tag == "th" else ""
            return "".join(
                f"<{tag}{scope}{_alignment(alignment)}>{self._inlines(cell)}</{tag}>"
                for cell, alignment in zip(cells, table.alignments, strict=True)
            )

        rows = "\n".join(f"<tr>{row('td', cells)}</tr>" for cells in table.rows)
        return (
            f'<div class="table"><table>\n<thead><tr>{row("th", table.header)}</tr></thead>\n'
            f"<tbody>\n{rows}\n</tbody></table></div>"
        )

    def _inlines(self, children: Inlines) -> str:
        return "".join(map(self._inline, children))

    def _inline(self, inline: Inline) -> str:
        match inline:
            case Text(text):
                return escape(text, quote=False)
            case Code(text):
                return f"<code>{escape(text, quote=False)}</code>"
            case Styled(style, children):
                return f"<{style.value}>{self._inlines(children)}</{style.value}>"
            case Link(address, children):
                return f'<a href="{escape(address)}">{self._inlines(children)}</a>'
            case Citation(number):
                return f'<a class="citation" href="#ref-{number}">[{number}]</a>'
            case Note(blocks):
                return self._note(blocks)
            case LineBreak():
                return "<br>"

    def _note(self, blocks: Blocks) -> str:
        number = len(self._notes) + 1
        back = (
            f' <a class="back" href="#note-{number}-mark" aria-label="{BACK[self._language]}">↩</a>'
        )
        self._notes.append(f'<li id="note-{number}">{self._item(blocks)}{back}</li>')
        return f'<sup><a id="note-{number}-mark" href="#note-{number}">{number}</a></sup>'


def _alignment(alignment: Alignment) -> str:
    return "" if alignment is Alignment.LEFT else f' class="{alignment.value}"'


def _data_uri(image: Image) -> str:
    kind = "svg+xml" if image.is_svg else "png"
    return f"data:image/{kind};base64,{base64.b64encode(image.data).decode()}"
