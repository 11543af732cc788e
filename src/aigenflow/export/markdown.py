"""The finished document as Markdown. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from aigenflow.core.models import Citation, Language

_FENCE = re.compile(r"\A\s*```(?:markdown|md)?[ \t]*\n(.*)\n```\s*\Z", re.DOTALL)
_WORDS = {
    Language.EN: ("References", "About this document"),
    Language.KO: ("참고 자료", "이 문서에 대하여"),
}
_ACCESSED = {Language.EN: "accessed {day}", Language.KO: "열람일 {day}"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """One entry of the list of references; ``accessed`` is the day on which it was read."""

    number: int
    citation: Citation
    accessed: date


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentParts:
    """What a document is made of.

    ``references`` are numbered as in ``body``. ``references_heading`` is the body's own last
    heading where it is made for them, and empty otherwise.
    """

    title: str
    body: str
    references: Sequence[Reference]
    statement: str
    language: Language
    references_heading: str = ""


def assemble(parts: DocumentParts) -> str:
    """The whole document, ending in a line break."""
    references, about = _WORDS[parts.language]
    body = unfenced(parts.body).strip()
    blocks = [body if body.startswith("# ") else f"# {parts.title}\n\n{body}"]
    if parts.references:
        if not parts.references_heading or not _ends_with_section(body, parts.references_heading):
            blocks.append(f"## {references}")
        blocks.append("\n".join(_reference(each, parts.language) for each in parts.references))
    if parts.statement:
        blocks.append(f"---\n\n**{about}.** {parts.statement}")
    return "\n\n".join(blocks) + "\n"


def unfenced(text: str) -> str:
    """``text`` without a code fence around all of it, which some models add."""
    match = _FENCE.match(text)
    return match[1] if match and "\n```" not in match[1] else text


def headings(text: str) -> tuple[str, ...]:
    """The headings of a Markdown text, without their number signs, in order."""
    found = []
    fenced = False
    for line in text.splitlines():
        if line.lstrip().startswith("```"):
            fenced = not fenced
        elif not fenced and line.startswith("#"):
            found.append(line.lstrip("#").strip())
    return tuple(found)


def _ends_with_section(body: str, heading: str) -> bool:
    found = headings(body)
    return bool(found) and found[-1] == heading


def _reference(reference: Reference, language: Language) -> str:
    citation = reference.citation
    title = " ".join((citation.title or citation.url).split()).replace("[", "(").replace("]", ")")
    dated = f", {citation.date}" if citation.date else ""
    accessed = _ACCESSED[language].format(day=reference.accessed.isoformat())
    return f"{reference.number}. {title}{dated}. <{citation.url}> ({accessed})"
