"""What a document claims, who wrote it, what it rests on, and what the audit said. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

from aigenflow.core.evidence import Evidence, Fact, Origin
from aigenflow.core.markers import renumber
from aigenflow.core.models import Backend, ServedFrom
from aigenflow.core.numbers import Figure, find_figures
from aigenflow.engine.models import SessionSpec, StepRecord
from aigenflow.pipeline.cleaning import Addresses, clean_text
from aigenflow.pipeline.evidence import gather_evidence
from aigenflow.pipeline.facts import shortened, trace_statements
from aigenflow.pipeline.sources import number_sources
from aigenflow.pipeline.statements import Statement, find_statements, find_tables, plain_words

OFFLINE = "offline"
_WRITING = 4
_AUDIT = "verify"
_REVIEW = "final_review"
_SENTENCE_CHARACTERS = 200
_REASON_CHARACTERS = 300
_SHARED_WORDS = 0.6


class Verdict(StrEnum):
    """What the auditing agent found. ``NOT_AUDITED`` is never a pass."""

    SUPPORTED = "supported"
    UNSUPPORTED = "unsupported"
    UNCLEAR = "unclear"
    NOT_AUDITED = "not audited"


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """One figure or one cited statement of the document.

    ``figure`` is empty for a statement that only cites. ``agent`` (``"offline"`` for the drafter)
    and ``task`` (``"phase4.draft"``) say who wrote the words first, and ``call`` by which call;
    they are empty where no agent did. ``source`` is an evidence id, a line of the financial model
    or a key of the brief, ``url`` the address of that evidence; ``cited`` are the evidence ids
    that the statement cites, whether they say it or not. ``section_cost`` is what writing the
    section cost, in US dollars; ``None`` where a price is not known.
    """

    section: str
    sentence: str
    figure: str
    agent: str
    task: str
    call: str
    origin: Origin
    source: str
    url: str
    cited: tuple[str, ...]
    verdict: Verdict
    reason: str
    section_cost: Decimal | None


def list_claims(
    document: str,
    spec: SessionSpec,
    records: Sequence[StepRecord],
    model: Mapping[str, Decimal] | None = None,
) -> tuple[Claim, ...]:
    """Every claim of the finished ``document``, in its order.

    ``records`` are those of the session; ``model`` has the lines of its financial model.
    """
    evidence = gather_evidence(records)
    body = numbered_as_evidence(document, evidence)
    allowed = Addresses.of(evidence, spec.brief, spec.topic)
    texts = number_sources(records).texts
    authors = [
        _Author(record, clean_text(texts[record.phase, record.task], allowed)[0])
        for record in records
        if record.phase >= _WRITING
    ]
    audit = _Audit(a.text for a in authors if a.record.task == _AUDIT)
    by_id = {each.id: each for each in evidence}
    claims = []
    for traced in trace_statements(body, evidence, spec.brief, model, topic=spec.topic):
        statement = traced.statement
        author = next((a for a in authors if _key(statement) in a.statements), None)
        cost = _section_cost(statement.section, authors)
        for fact, figure in _claimed(statement, traced.facts, evidence):
            verdict, reason = audit.verdict(statement, figure)
            url = by_id[fact.source].url if fact.source in by_id else ""
            claims.append(_claim(statement, fact, author, url, verdict, reason, cost))
    return tuple(claims)


def _claimed(
    statement: Statement, facts: Sequence[Fact], evidence: Sequence[Evidence]
) -> Iterator[tuple[Fact, Figure | None]]:
    """The facts of a statement with their figures; one without a figure where it only cites."""
    yield from zip(facts, statement.figures, strict=True)
    if not facts:
        for number in statement.numbers:
            if 1 <= number <= len(evidence):
                source = evidence[number - 1].id
                yield Fact(id="", text="", origin=Origin.EVIDENCE, source=source), None


def _claim(
    statement: Statement,
    fact: Fact,
    author: _Author | None,
    url: str,
    verdict: Verdict,
    reason: str,
    cost: Decimal | None,
) -> Claim:
    record = author.record if author else None
    response = record.response if record else None
    return Claim(
        section=statement.section,
        sentence=shortened(statement.text, _SENTENCE_CHARACTERS),
        figure=fact.text,
        agent=_played_by(record) if record else "",
        task=f"phase{record.phase}.{record.task}" if record else "",
        call=(" ".join(response.call_ids) or response.response_id) if response else "",
        origin=fact.origin,
        source=fact.source,
        url=url,
        cited=tuple(f"e{number}" for number in statement.numbers),
        verdict=verdict,
        reason=reason,
        section_cost=cost,
    )


def _played_by(record: StepRecord) -> str:
    return OFFLINE if record.response.backend is Backend.OFFLINE else record.actor.value


# ---- the document ------------------------------------------------------------------------------


def numbered_as_evidence(document: str, evidence: Iterable[Evidence]) -> str:
    """The body of ``document``, its marks counting the evidence instead of its reference list."""
    by_url = {each.url: each.number for each in evidence}
    own = {
        int(match[1]): by_url[match[2]]
        for match in _REFERENCE.finditer(document)
        if match[2] in by_url
    }
    body = _STATEMENT_AT_THE_END.sub("", _REFERENCE.sub("", document))
    return renumber(body, own) if own else body


_REFERENCE = re.compile(r"^(\d{1,3})\. .*<(https?://[^<>\s]+)>[ \t]*$", re.MULTILINE)
_STATEMENT_AT_THE_END = re.compile(r"\n---\n+\*\*[^*\n]{1,60}\*\*[^\n]*\s*\Z")


# ---- who wrote it, and what that cost ----------------------------------------------------------


class _Author:
    """One answer of the phases that write and review, by its statements."""

    def __init__(self, record: StepRecord, text: str) -> None:
        self.record = record
        self.text = text
        self.statements: set[str] = set()
        self._lengths: dict[str, int] = {}
        for statement in find_statements(text):
            self.statements.add(_key(statement))
            length = self._lengths.get(statement.section, 0) + len(statement.text)
            self._lengths[statement.section] = length

    def cost_of(self, section: str) -> Decimal | None:
        """The section's part of what the answer cost, by length; ``None`` where unknown."""
        part = self._lengths.get(section, 0)
        response = self.record.response
        if not part or response.backend is Backend.OFFLINE:
            return Decimal(0)
        if response.served_from is ServedFrom.CACHE:
            return Decimal(0)
        if response.estimated_cost is None:
            return None
        return response.estimated_cost * part / sum(self._lengths.values())


def _section_cost(section: str, authors: Sequence[_Author]) -> Decimal | None:
    total = Decimal(0)
    for author in authors:
        if author.record.task in (_AUDIT, _REVIEW):
            continue
        cost = author.cost_of(section)
        if cost is None:
            return None
        total += cost
    return total.quantize(Decimal("0.000001"))


def _key(statement: Statement) -> str:
    return " ".join(statement.text.casefold().split())


# ---- the audit ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class _Finding:
    verdict: Verdict
    reason: str
    words: frozenset[str]
    figures: tuple[Figure, ...]

    def is_about(self, words: frozenset[str], figure: Figure | None) -> bool:
        """Whether the auditor's words are those of a statement, and one figure is the same."""
        if len(self.words & words) < _SHARED_WORDS * len(self.words):
            return False
        if figure is None or not self.figures:
            return True
        return any(each.says(figure.quantity) for each in self.figures)


class _Audit:
    """The verdicts in the tables of the auditor's answers."""

    def __init__(self, answers: Iterable[str]) -> None:
        self._findings = [finding for text in answers for finding in _findings(text)]

    def verdict(self, statement: Statement, figure: Figure | None) -> tuple[Verdict, str]:
        """The verdict on one figure of a statement, or on the statement, and the reason."""
        words = _words(statement.text)
        fitting = [f for f in self._findings if f.is_about(words, figure)]
        if not fitting:
            return Verdict.NOT_AUDITED, ""
        best = max(fitting, key=lambda finding: len(finding.words & words))
        return best.verdict, best.reason


def _findings(text: str) -> Iterator[_Finding]:
    for header, rows in find_tables(text):
        columns = {name: _column(header, pattern) for name, pattern in _COLUMNS.items()}
        claim, said = columns["claim"], columns["verdict"]
        if claim is None or said is None:
            continue
        for row in rows:
            verdict = _verdict_in(_cell(row, said))
            if verdict is None:
                continue
            correction = plain_words(_cell(row, columns["reason"]))
            yield _finding(verdict, correction, _cell(row, claim))
            if verdict is Verdict.UNSUPPORTED and correction:  # what stands there now is right
                yield _finding(Verdict.SUPPORTED, correction, correction)


def _finding(verdict: Verdict, reason: str, claim: str) -> _Finding:
    plain = plain_words(claim)
    return _Finding(
        verdict=verdict,
        reason=shortened(reason, _REASON_CHARACTERS),
        words=_words(plain),
        figures=find_figures(plain),
    )


def _column(header: Sequence[str], pattern: re.Pattern[str]) -> int | None:
    return next((n for n, name in enumerate(header) if pattern.search(name)), None)


def _cell(row: Sequence[str], column: int | None) -> str:
    return row[column] if column is not None and column < len(row) else ""


def _verdict_in(cell: str) -> Verdict | None:
    return next((verdict for verdict, words in _VERDICTS if words.search(cell)), None)


def _words(text: str) -> frozenset[str]:
    return frozenset(re.findall(r"\w+", text.casefold()))


_COLUMNS: Mapping[str, re.Pattern[str]] = {
    "claim": re.compile(r"claim|statement|주장|문장", re.IGNORECASE),
    "verdict": re.compile(r"verdict|판정|결과", re.IGNORECASE),
    "reason": re.compile(r"correction|reason|수정|이유|사유", re.IGNORECASE),
}
# The first that fits counts, so that "unsupported" and "확인 불가" are not read as their opposite.
_VERDICTS = (
    (
        Verdict.UNCLEAR,
        re.compile(
            r"not verifiable|unverifiable|cannot be|unclear|unknown|open|확인\s*불가|불명|보류"
            r"|확인할 수 없",
            re.IGNORECASE,
        ),
    ),
    (
        Verdict.UNSUPPORTED,
        re.compile(
            r"refuted|inexact|inaccura|incorrect|outdated|unsupported|not (?:supported|confirmed)"
            r"|false|wrong|untrue|사실\s*아님|사실과 다|부정확|오래|반증|틀림|근거 없음",
            re.IGNORECASE,
        ),
    ),
    (
        Verdict.SUPPORTED,
        re.compile(r"confirmed|supported|correct|true|verified|확인|사실|맞음|정확", re.IGNORECASE),
    ),
)
