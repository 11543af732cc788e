"""One numbering of sources for the whole document. Pure.

Every agent numbers its own sources from 1. Here they get the number under which the document
lists them: in order of phases and tasks, the same address only once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date

from aigenflow.core.markers import from_shared, renumber, used_numbers
from aigenflow.core.models import Citation
from aigenflow.engine.models import StepRecord
from aigenflow.pipeline.cleaning import plain_line, usable_address

_TITLE_CHARACTERS = 300
_QUOTE_CHARACTERS = 2_000
_DATE_CHARACTERS = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """All sources found so far, and each step's text with the document's numbers.

    ``citations[n - 1]`` is source ``[n]``, which an agent read by the day ``accessed[n - 1]``;
    ``texts`` is keyed by ``(phase, task)``.
    """

    citations: tuple[Citation, ...]
    accessed: tuple[date, ...]
    texts: Mapping[tuple[int, str], str]


def number_sources(records: Iterable[StepRecord]) -> Sources:
    """Number the sources of ``records``, which are in order of phases and tasks.

    Every agent hears the document's sources as ``[#n]``, because some number sources of their own
    as ``[n]`` even where they were not asked to search. A text that has no sources of its own can
    only mean the document's, however it writes them. What is no web page is no source.
    """
    numbers: dict[str, int] = {}
    citations: list[Citation] = []
    accessed: list[date] = []
    texts: dict[tuple[int, str], str] = {}
    for record in records:
        own: dict[int, int] = {}
        for n, named in enumerate(record.response.citations, start=1):
            citation = usable(named)
            if citation is None:
                continue
            if citation.url not in numbers:
                citations.append(citation.model_copy(update={"agent": record.actor}))
                numbers[citation.url] = len(citations)
                accessed.append(record.finished.date())
            own[n] = numbers[citation.url]
        text = renumber(record.content, own) if record.response.citations else record.content
        texts[record.phase, record.task] = from_shared(text)
    return Sources(citations=tuple(citations), accessed=tuple(accessed), texts=texts)


def cited(text: str, sources: Sources) -> tuple[tuple[int, Citation], ...]:
    """The sources that ``text`` refers to, with their numbers."""
    count = len(sources.citations)
    return tuple((n, sources.citations[n - 1]) for n in used_numbers(text) if 1 <= n <= count)


def unresolved(text: str, sources: Sources) -> tuple[int, ...]:
    """Numbers in ``text`` that no source has."""
    count = len(sources.citations)
    return tuple(n for n in used_numbers(text) if not 1 <= n <= count)


def usable(citation: Citation) -> Citation | None:
    """``citation`` as plain lines of bounded length; ``None`` where it is no web page.

    A title or a quotation is text from that page, so it brings along no address but its own.
    """
    url = usable_address(citation.url)
    if url is None:
        return None
    title = citation.title.strip()
    return citation.model_copy(
        update={
            "url": url,
            "title": "" if title == citation.url else plain_line(title, _TITLE_CHARACTERS),
            "quote": plain_line(citation.quote, _QUOTE_CHARACTERS),
            "date": plain_line(citation.date, _DATE_CHARACTERS),
        }
    )
