"""A Markdown document, read once: sections, sentences, tables, references. Pure."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from markdown_it import MarkdownIt
from markdown_it.token import Token

from aigenflow.core.numbers import Figure, find_figures

BLANKS = frozenset(
    {"", "-", "–", "—", "n/a", "tbd", "(작성 필요)", "(to fill in)", "(to be written)"}
)
_MARK = re.compile(r"\[\^?#?(\d{1,3})\](?!\()")
_TAG = re.compile(
    r"\[(?:가정|추정|추산|목표|전제|assum|estimat|target|projected|goal)[^\[\]]{0,80}\]"
    r"|\((?:의뢰인 자료|client's figures?)\)",
    re.IGNORECASE,
)
_CAPTION = re.compile(
    r"^(?:<\s*)?(?:표|그림|table|figure|fig\.)\s*[A-Z]?\d{1,3}(?:[-.]\d{1,3})?\b", re.IGNORECASE
)
_SOURCE_NOTE = re.compile(
    r"^[(*※]*\s*(?:자료|출처|주|비고|source|sources|note|notes|basis)\s*[:：)]", re.IGNORECASE
)
_REFERENCES = re.compile(
    r"참고문헌|참고자료|출처|references|sources?(?!of|for)|workscited|bibliography"
)
_REFERENCE = re.compile(r"^\s*(?:\[\^?(\d{1,3})\]:?|(\d{1,3})[.)])\s+(\S.*)$")
_URL = re.compile(r"https?://[^\s<>)\]\"']+")
_NUMBERING = re.compile(
    r"^(?:[□◦○■●▪*\s]+|(?:제\s?)?\d{1,2}(?:\.\d{1,2})*[.)장절]?\s+|[IVX]{1,4}\.\s+|[가-하]\.\s+)+"
)
_SENTENCE_END = re.compile(r"[.!?。]['\"”’)*]*(?:\s?\[\^?#?\d{1,3}\])*['\"”’)*]*\s+(?=\S)")
_ABBREVIATION = re.compile(
    r"(?:\b(?:e\.g|i\.e|vs|etc|cf|approx|incl|No|Nos|Inc|Ltd|Co|Corp|Dr|Mr|Ms|Prof|St|Fig|U\.S|U\.K"
    r"|a\.m|p\.m|al)|(?<![A-Za-z])[A-Z]|(?<!\d)\d{1,2})\.\s*$"
)


@dataclass(frozen=True, kw_only=True)
class Statement:
    """One sentence, or one body row of a table.

    ``section`` is an index into :attr:`Document.sections`; ``around`` is what also speaks for a
    row: the caption above its table and the note below it.
    """

    text: str
    section: int
    row_of: int | None = None
    around: str = ""

    @cached_property
    def figures(self) -> tuple[Figure, ...]:
        """The figures in it."""
        return find_figures(self.text)

    @cached_property
    def marks(self) -> tuple[int, ...]:
        """The numbers of the sources it cites."""
        return tuple(int(number) for number in _MARK.findall(f"{self.text} {self.around}"))

    @cached_property
    def is_tagged(self) -> bool:
        """It says itself that it is an assumption, an estimate, a target, or the client's."""
        return bool(_TAG.search(f"{self.text} {self.around}"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A table: its cells are plain text. ``caption`` stands above, ``note`` below."""

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    section: int
    caption: str = ""
    note: str = ""

    def column(self, *words: str) -> int | None:
        """The first column whose header has one of ``words``, in lower case."""
        for index, name in enumerate(self.header):
            if any(word in name.lower() for word in words):
                return index
        return None

    def row(self, *words: str) -> tuple[str, ...] | None:
        """The first row whose first cell has one of ``words``, in lower case."""
        for row in self.rows:
            if row and any(word in row[0].lower() for word in words):
                return row
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A heading and what stands under it. ``parents`` are the indices of the headings above."""

    heading: str
    level: int
    parents: tuple[int, ...] = ()
    is_references: bool = False


_ACCESSED = re.compile(
    r"\(?(?:accessed|retrieved|visited)\b[^)]*\)?|\(?(?:접속|열람|조회|검색)일?:?\s*\d[^)]*\)?",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """One entry of the list of references."""

    number: int
    text: str
    url: str

    @property
    def work(self) -> str:
        """What it says of the work itself: without its address and the day of access."""
        return _ACCESSED.sub("", self.text.replace(self.url, ""))


@dataclass(frozen=True, slots=True, kw_only=True)
class Paragraph:
    """One block of running text. ``is_item`` is one of a list."""

    text: str
    section: int
    is_item: bool = False
    is_caption: bool = False


@dataclass(frozen=True, kw_only=True)
class Document:
    """The whole document. ``text`` is the source, in NFC."""

    text: str
    sections: tuple[Section, ...]
    paragraphs: tuple[Paragraph, ...]
    tables: tuple[Table, ...]
    references: tuple[Reference, ...]
    images: tuple[tuple[int, str], ...]
    links: tuple[str, ...]

    @cached_property
    def sentences(self) -> tuple[Statement, ...]:
        """The sentences of the running text, in order."""
        return tuple(
            Statement(text=sentence, section=paragraph.section)
            for paragraph in self.paragraphs
            if not paragraph.is_caption
            for sentence in split_sentences(paragraph.text)
        )

    @cached_property
    def rows(self) -> tuple[Statement, ...]:
        """The body rows of the tables, in order."""
        return tuple(
            Statement(
                text=" | ".join(row),
                section=table.section,
                row_of=index,
                around=f"{table.caption} {table.note}",
            )
            for index, table in enumerate(self.tables)
            for row in table.rows
        )

    @cached_property
    def statements(self) -> tuple[Statement, ...]:
        """Sentences and rows outside the list of references."""
        return tuple(
            each
            for each in (*self.sentences, *self.rows)
            if not self.sections[each.section].is_references or each.row_of is not None
        )

    def heading(self, section: int) -> str:
        """The heading of a section."""
        return self.sections[section].heading


def read_document(markdown: str) -> Document:
    """Read ``markdown``; any text is a document."""
    text = unicodedata.normalize("NFC", markdown)
    reader = _Reader(text)
    reader.read(MarkdownIt("commonmark", {"html": False}).enable("table").parse(text))
    return Document(
        text=text,
        sections=tuple(reader.sections),
        paragraphs=tuple(reader.paragraphs),
        tables=tuple(reader.tables),
        references=tuple(reader.references.values()),
        images=tuple(reader.images),
        links=tuple(dict.fromkeys(_cleaned(url) for url in _URL.findall(text))),
    )


def bare_heading(heading: str) -> str:
    """``heading`` for comparison: without numbering, signs, case and spaces."""
    plain = _NUMBERING.sub("", unicodedata.normalize("NFC", heading).strip())
    return re.sub(r"[^\w]", "", plain.lower())


def split_sentences(text: str) -> Iterator[str]:
    """The sentences of one block; a citation mark behind the full stop belongs to its sentence."""
    start = 0
    for match in _SENTENCE_END.finditer(text):
        piece = text[start : match.end()]
        if _ABBREVIATION.search(piece):
            continue
        yield piece.strip()
        start = match.end()
    if rest := text[start:].strip():
        yield rest


def is_blank(cell: str) -> bool:
    """Whether a cell says nothing."""
    return cell.strip().strip("*_").strip().lower() in BLANKS


class _Reader:
    """Walks over the tokens once."""

    def __init__(self, text: str) -> None:
        self.lines = text.splitlines()
        self.sections = [Section(heading="", level=0)]
        self.paragraphs: list[Paragraph] = []
        self.tables: list[Table] = []
        self.references: dict[int, Reference] = {}
        self.images: list[tuple[int, str]] = []
        self._section = 0

    def read(self, tokens: Sequence[Token]) -> None:
        in_list = 0
        index = 0
        while index < len(tokens):
            token = tokens[index]
            if token.type == "heading_open":
                self._open_section(_plain(tokens[index + 1]), int(token.tag[1:]))
                index += 2
            elif token.type == "table_open":
                index = self._read_table(tokens, index)
            elif token.type in ("bullet_list_open", "ordered_list_open"):
                in_list += 1
            elif token.type in ("bullet_list_close", "ordered_list_close"):
                in_list -= 1
            elif token.type == "inline":
                self._read_inline(token, in_list > 0)
            index += 1
        self._read_references()

    def _open_section(self, heading: str, level: int) -> None:
        above = [i for i in (*self.sections[self._section].parents, self._section) if i]
        parents = tuple(i for i in above if self.sections[i].level < level)
        references = bool(_REFERENCES.match(bare_heading(heading))) or any(
            self.sections[i].is_references for i in parents
        )
        self.sections.append(
            Section(heading=heading, level=level, parents=parents, is_references=references)
        )
        self._section = len(self.sections) - 1

    def _read_inline(self, token: Token, in_list: bool) -> None:
        for child in token.children or ():
            if child.type == "image":
                self.images.append((self._section, child.content))
        text = _plain(token)
        if not text:
            return
        if self.tables and self.tables[-1].section == self._section and _SOURCE_NOTE.match(text):
            self._note(text)
            return
        self.paragraphs.append(
            Paragraph(
                text=text,
                section=self._section,
                is_item=in_list,
                is_caption=bool(_CAPTION.match(text)) and len(text) < 120,
            )
        )

    def _note(self, text: str) -> None:
        last = self.tables[-1]
        self.tables[-1] = replace(last, note=f"{last.note} {text}".strip())

    def _read_table(self, tokens: Sequence[Token], index: int) -> int:
        rows: list[list[str]] = []
        while tokens[index].type != "table_close":
            if tokens[index].type == "tr_open":
                rows.append([])
            elif tokens[index].type == "inline":
                rows[-1].append(_plain(tokens[index]))
            index += 1
        before = self.paragraphs[-1] if self.paragraphs else None
        near = before is not None and before.section == self._section
        caption = before.text if before is not None and near and len(before.text) < 160 else ""
        self.tables.append(
            Table(
                header=tuple(rows[0]),
                rows=tuple(tuple(row) for row in rows[1:]),
                section=self._section,
                caption=caption,
            )
        )
        return index

    def _read_references(self) -> None:
        inside = False
        for line in self.lines:
            if line.startswith("#"):
                inside = bool(_REFERENCES.match(bare_heading(line.lstrip("#"))))
            found = _REFERENCE.match(line)
            if found is None or not (inside or line.startswith(("[^",))):
                continue
            url = _URL.search(found[3])
            if url is None and not line.startswith("["):
                continue
            number = int(found[1] or found[2])
            self.references.setdefault(
                number,
                Reference(number=number, text=found[3], url=_cleaned(url[0]) if url else ""),
            )


def _plain(token: Token) -> str:
    """The text of an inline token: marks kept, emphasis and addresses of links left out."""
    parts = []
    for child in token.children or ():
        if child.type in ("text", "code_inline"):
            parts.append(child.content)
        elif child.type in ("softbreak", "hardbreak"):
            parts.append(" ")
    return " ".join("".join(parts).split())


def _cleaned(url: str) -> str:
    return url.rstrip(".,;:")
