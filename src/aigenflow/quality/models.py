"""What a quality report says, and what it is made from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from enum import StrEnum
from typing import Any, Literal

from aigenflow.core.evidence import Evidence, Fact
from aigenflow.core.models import DocumentType, Json, Language

SCHEMA_VERSION = 1


class State(StrEnum):
    """How a check ended. ``UNVERIFIABLE`` is no pass: what would show it was not given."""

    PASS = "pass"  # noqa: S105 (no password)
    FAIL = "fail"
    WARN = "warn"
    UNVERIFIABLE = "unverifiable"
    NOT_APPLICABLE = "not_applicable"


class Verdict(StrEnum):
    """The whole report: ``FAIL`` as soon as one gate fails, whatever the score."""

    PASS = "pass"  # noqa: S105 (no password)
    FAIL = "fail"
    NOT_VERIFIED = "not_verified"


class Group(StrEnum):
    """What the score is made of."""

    STRUCTURE = "structure"
    EVIDENCE = "evidence"
    NUMBERS = "numbers"
    CONSISTENCY = "consistency"
    LANGUAGE = "language"
    FORMAT = "format"


WEIGHTS: Mapping[Group, int] = {
    Group.STRUCTURE: 15,
    Group.EVIDENCE: 30,
    Group.NUMBERS: 25,
    Group.CONSISTENCY: 15,
    Group.LANGUAGE: 10,
    Group.FORMAT: 5,
}

Severity = Literal["error", "warning"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that is wrong, in the language of the document.

    ``id`` is that of the check; ``quote`` is from the document, ``section`` the heading above it.
    """

    id: str
    severity: Severity
    section: str
    quote: str
    expected: str
    found: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckResult:
    """How one check ended.

    ``metric`` is what was measured, in the unit that ``target`` states; ``None`` where there was
    nothing to measure. ``share`` is how much of it is fulfilled, 0 to 1. ``note`` says why a
    check could not be made.
    """

    id: str
    name: str
    group: Group
    gate: bool
    state: State
    target: str
    metric: float | None = None
    share: float = 1.0
    findings: tuple[Finding, ...] = ()
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TableRule:
    """A table that the form asks for."""

    id: str
    caption: str
    columns: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SectionRule:
    """A section that the form asks for.

    Lengths are in words (English) or characters without spaces (Korean), 0 is no limit.
    ``guidance`` is what the form itself says to the writer, which claims nothing.
    """

    id: str
    heading: str
    level: int = 2
    aliases: tuple[str, ...] = ()
    min_length: int = 0
    max_length: int = 0
    tables: tuple[TableRule, ...] = ()
    guidance: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportFact:
    """What is known about one exported file. ``problems`` are sentences."""

    name: str
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Inputs:
    """Everything a report is made from. ``None`` is "not given", which is not the same as none.

    ``model`` is the content of ``model.json``. ``pages`` counts those of the printed document.
    ``ai_written`` false: no AI wrote any of it. ``exports`` empty: nothing was exported.
    """

    markdown: str
    language: Language
    today: date
    document_type: DocumentType | None = None
    template: str = ""
    sections: tuple[SectionRule, ...] | None = None
    page_limit: int = 0
    ai_policy: Literal["allowed", "disclose", "restricted"] | None = None
    ai_statement: str = ""
    ai_written: bool = True
    evidence: tuple[Evidence, ...] | None = None
    facts: tuple[Fact, ...] | None = None
    brief: str | None = None
    model: Mapping[str, Json] | None = None
    pages: int | None = None
    exports: tuple[ExportFact, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class QualityReport:
    """The document's quality, check by check. ``score`` is 0 to 100."""

    language: Language
    template: str
    verdict: Verdict
    score: float
    scores: Mapping[Group, float]
    checks: tuple[CheckResult, ...] = field(repr=False)

    @property
    def failed_gates(self) -> tuple[CheckResult, ...]:
        """The gates that failed: each alone fails the document."""
        return tuple(each for each in self.checks if each.gate and each.state is State.FAIL)

    @property
    def unverified(self) -> tuple[CheckResult, ...]:
        """What could not be verified."""
        return tuple(each for each in self.checks if each.state is State.UNVERIFIABLE)

    @property
    def findings(self) -> tuple[Finding, ...]:
        """Every finding, in the order of the checks."""
        return tuple(finding for each in self.checks for finding in each.findings)

    def to_json(self) -> dict[str, Any]:
        """The content of ``quality.json``."""
        return {
            "version": SCHEMA_VERSION,
            "template": self.template or None,
            "language": self.language.value,
            "verdict": self.verdict.value,
            "score": self.score,
            "scores": {group.value: score for group, score in self.scores.items()},
            "gates": {each.id: each.state.value for each in self.checks if each.gate},
            "metrics": {
                each.id: {
                    "name": each.name,
                    "group": each.group.value,
                    "gate": each.gate,
                    "state": each.state.value,
                    "metric": each.metric,
                    "target": each.target,
                    "note": each.note or None,
                }
                for each in self.checks
            },
            "findings": [
                {
                    "id": each.id,
                    "severity": each.severity,
                    "section": each.section,
                    "quote": each.quote,
                    "expected": each.expected,
                    "found": each.found,
                }
                for each in self.findings
            ],
        }
