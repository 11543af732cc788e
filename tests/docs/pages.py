"""Reading the documentation as data: pages, links, tables, and commands to type."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"

_FENCE = re.compile(
    r'^```(?P<kind>\w*)(?: title="(?P<title>[^"\n]+)")?\n(?P<text>.*?)^```$',
    re.MULTILINE | re.DOTALL,
)
_LINK = re.compile(r"(?<!\!)\[[^\]]*\]\(([^)\s]+)\)|!\[[^\]]*\]\(([^)\s]+)\)")
_CODE = re.compile(r"`([^`]+)`")


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """One command that a page tells to type, and the lines of output shown below it."""

    command: str
    output: tuple[str, ...]
    line: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownFile:
    """A file that a page shows in full: the title of its block is where it belongs."""

    path: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A piece of Python that runs as it stands."""

    text: str
    line: int


Step: TypeAlias = Example | ShownFile | Source
"""What a reader does: type a command, save a file, run a piece of Python."""


def pages() -> list[Path]:
    """Every page of Markdown that people read, the examples of briefs left out."""
    return [*sorted(ROOT.glob("*.md")), *sorted(DOCS.rglob("*.md"))]


def blocks(text: str, kind: str) -> Iterator[tuple[int, str]]:
    """The fenced blocks of a kind: the line each begins at, and its text."""
    for line, found in _fences(text):
        if found["kind"] == kind:
            yield line, found["text"]


def steps(text: str) -> Iterator[Step]:
    """What a page tells its reader to do, from top to bottom."""
    for line, found in _fences(text):
        if found["title"]:
            yield ShownFile(path=found["title"], text=found["text"])
        elif found["kind"] == "console":
            yield from _commands(found["text"], line)
        elif found["kind"] == "python":
            yield Source(text=found["text"], line=line)


def _fences(text: str) -> Iterator[tuple[int, re.Match[str]]]:
    for found in _FENCE.finditer(text):
        yield text.count("\n", 0, found.start()) + 2, found


def _commands(block: str, start: int) -> Iterator[Example]:
    """The commands of a block; a line that ends in a backslash goes on in the next."""
    lines = block.splitlines()
    at = 0
    while at < len(lines):
        assert lines[at].startswith("$ "), f"line {start + at}: a block begins with a command"
        first, command = at, lines[at][2:]
        while command.endswith("\\"):
            at += 1
            command = f"{command[:-1].rstrip()} {lines[at].strip()}"
        at += 1
        output = []
        while at < len(lines) and not lines[at].startswith("$ "):
            output.append(lines[at])
            at += 1
        yield Example(command=command, output=tuple(output), line=start + first)


def without_code(text: str) -> str:
    """``text`` without its fenced blocks, whose brackets are not links."""
    return _FENCE.sub("", text)


def links(text: str) -> Iterator[str]:
    """The targets of links and images."""
    for found in _LINK.finditer(without_code(text)):
        yield found[1] or found[2]


def anchors(text: str) -> set[str]:
    """The anchors of a page: its headings, as GitHub and MkDocs make them, and its objects."""
    headings = re.findall(r"^#+ +(.+)$", without_code(text), re.MULTILINE)
    slugs = {re.sub(r"\s", "-", re.sub(r"[^\w\- ]", "", h.strip().lower())) for h in headings}
    return slugs | set(re.findall(r"^::: (\S+)$", text, re.MULTILINE))


def rows(text: str) -> Iterator[tuple[str, ...]]:
    """The cells of every table's rows, rulers left out."""
    for line in without_code(text).splitlines():
        if line.startswith("|") and not re.fullmatch(r"[|\s:-]+", line):
            yield tuple(cell.strip() for cell in line.strip("|").split("|"))


def code(cell: str) -> tuple[str, ...]:
    """What stands in backticks in a cell."""
    return tuple(_CODE.findall(cell))
