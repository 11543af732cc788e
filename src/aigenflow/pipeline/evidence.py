"""What the agents found, as records: heard by later phases, kept in ``evidence.jsonl``. Pure.

One record per source of the document, under the number of :mod:`aigenflow.pipeline.sources`.
Every field is text from a web page, so it travels as a quoted string of bounded length.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from gettext import gettext as _

from pydantic import ValidationError

from aigenflow.core.errors import SessionDamagedError
from aigenflow.core.evidence import Evidence
from aigenflow.core.models import Citation
from aigenflow.core.numbers import Figure, find_figures
from aigenflow.engine.models import StepRecord
from aigenflow.pipeline.sources import number_sources, usable

EVIDENCE_FILE = "evidence.jsonl"
_QUOTE_CHARACTERS = 2_000
_HEARD_CHARACTERS = 500
_NUMBERS = 40


def gather_evidence(records: Sequence[StepRecord]) -> tuple[Evidence, ...]:
    """The sources that ``records`` brought, in the order of their numbers.

    Where several answers name one address, the first title and date count, and every quotation.
    """
    citations = number_sources(records).citations
    places = {citation.url: index for index, citation in enumerate(citations)}
    named: list[list[tuple[StepRecord, Citation]]] = [[] for _citation in citations]
    for record in records:
        for citation in map(usable, record.response.citations):
            if citation is not None:
                named[places[citation.url]].append((record, citation))
    return tuple(_merged(number, found) for number, found in enumerate(named, start=1))


def _merged(number: int, found: Sequence[tuple[StepRecord, Citation]]) -> Evidence:
    citations = [citation for _record, citation in found]
    first = found[0][0]
    title = next((c.title for c in citations if c.title), "")
    quotes = dict.fromkeys(c.quote for c in citations if c.quote)
    quote = " … ".join(quotes)[:_QUOTE_CHARACTERS]
    return Evidence(
        id=f"e{number}",
        number=number,
        url=citations[0].url,
        title=title,
        date=next((c.date for c in citations if c.date), ""),
        quote=quote,
        numbers=tuple(dict.fromkeys(figure.text for figure in said(title, quote)))[:_NUMBERS],
        agent=first.actor,
        tasks=tuple(dict.fromkeys(f"phase{r.phase}.{r.task}" for r, _c in found)),
    )


def said(*texts: str) -> tuple[Figure, ...]:
    """The figures of a source's texts, none of which runs on into the next."""
    return tuple(figure for text in texts for figure in find_figures(text))


def as_records(evidence: Iterable[Evidence]) -> str:
    """What the agents hear: one record per source, each field a quoted string on one line.

    The id is as they cite it, ``[#12]``. Fields that are empty are left out.
    """
    return "\n".join(_record(each) for each in evidence)


def _record(evidence: Evidence) -> str:
    quote = evidence.quote
    if len(quote) > _HEARD_CHARACTERS:
        quote = quote[: _HEARD_CHARACTERS - 1].rstrip() + "…"
    fields = {
        "url": evidence.url,
        "title": evidence.title,
        "date": evidence.date,
        "quote": quote,
        "numbers": list(evidence.numbers),
    }
    lines = (f"  {name}: {_quoted(value)}" for name, value in fields.items() if value)
    return "\n".join((f"- id: [#{evidence.number}]", *lines))


def _quoted(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


def as_jsonl(evidence: Iterable[Evidence]) -> bytes:
    """The content of ``evidence.jsonl``: one JSON object a line, UTF-8."""
    lines = (_quoted(each.model_dump(mode="json")) + "\n" for each in evidence)
    return "".join(lines).encode("utf-8", "replace")


def read_evidence(text: str) -> tuple[Evidence, ...]:
    """The records of an ``evidence.jsonl``. Raises ``SessionDamagedError`` naming the line."""
    records = []
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            records.append(Evidence.model_validate_json(line))
        except ValidationError as error:
            raise SessionDamagedError(
                _("Line {number} of {file} cannot be read: {problem}").format(
                    number=number, file=EVIDENCE_FILE, problem=error.errors()[0]["msg"]
                ),
                hint=_("`aigenflow resume` writes the file anew, without any call."),
            ) from error
    return tuple(records)
