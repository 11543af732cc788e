"""Judging the document of a run, and sending what can be mended back to the writer.

Decisions are pure; :func:`improve` asks. A revision is a step like any other: durable, resumable,
cached, and inside the budget. Where it cannot be bought, or makes nothing better, the best text
there is becomes the document.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from gettext import gettext as _
from typing import Any

from aigenflow.core.errors import (
    AigenflowError,
    BudgetExceededError,
    PauseRequestedError,
    PhaseFailedError,
)
from aigenflow.core.events import Warned
from aigenflow.core.evidence import Evidence, Fact
from aigenflow.core.markers import as_shared
from aigenflow.core.models import AgentType, Backend, ContextDocument, Json, Language
from aigenflow.engine.models import SessionSpec, StepRecord
from aigenflow.pipeline import phase5_review
from aigenflow.pipeline.base import PhaseContext, run_phase
from aigenflow.pipeline.claims import numbered_as_evidence
from aigenflow.pipeline.evidence import gather_evidence
from aigenflow.pipeline.facts import trace_facts
from aigenflow.pipeline.file_checks import count_pages, look_at
from aigenflow.pipeline.financials import work_out
from aigenflow.pipeline.models import Task
from aigenflow.pipeline.sources import number_sources
from aigenflow.quality.models import (
    CheckResult,
    Inputs,
    QualityReport,
    SectionRule,
    TableRule,
)
from aigenflow.quality.report import assess, summary
from aigenflow.templates.drafting import length_line
from aigenflow.templates.models import Outline

QUALITY_FILE = "quality.json"
SUMMARY_FILE = "quality.md"
MAX_ROUNDS = 2
REVISIONS = tuple(
    Task(
        name=f"revise_{number}",
        title_en="Revised document",
        title_ko="고친 문서",
        agent=AgentType.CLAUDE,
        reads=("verify", "final_review", "polish", *(f"revise_{n}" for n in range(1, number))),
        max_output_tokens=32_000,
    )
    for number in range(1, MAX_ROUNDS + 1)
)
_NOT_FOR_WRITERS = frozenset({"Q03", "Q07", "Q29", "Q30"})
"""Gates that code or the printed form decides: writing anew would not help."""

_WORTH_REVISING = 0.5
_MUST_KEEP = 0.8
"""A revision that is much shorter dropped what it should have mended."""

_FINDINGS_PER_CHECK = 20
_HANGUL_SHARE = 10
_MARK = re.compile(r"\s?\[#?\d{1,3}\]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Edition:
    """One text of the document: ``body`` with the numbers of the sources, ``document`` whole."""

    body: str
    document: str
    facts: tuple[Fact, ...]
    remarks: tuple[str, ...] = ()
    removed_links: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """The best edition and what is known about it; ``rounds`` counts the revisions asked for."""

    edition: Edition
    report: QualityReport
    records: tuple[StepRecord, ...]
    inputs: Inputs
    rounds: int = 0
    remarks: tuple[str, ...] = ()

    def with_files(
        self, document: str, files: Mapping[str, bytes], failures: Mapping[str, AigenflowError]
    ) -> Judged:
        """The same of ``document``, which has its figures, once it is exported.

        Its pages are counted, and the files looked at.
        """
        problems = {name: error.message for name, error in failures.items()}
        inputs = replace(
            self.inputs,
            markdown=document,
            exports=look_at(files, document, problems),
            pages=count_pages(files),
        )
        return replace(self, inputs=inputs, report=assess(inputs))

    def files(self) -> dict[str, bytes]:
        """``quality.json``, and the summary on one page."""
        return {
            QUALITY_FILE: report_json(self.report),
            SUMMARY_FILE: summary(self.report, self.report.language).encode(),
        }

    def describe(self) -> dict[str, Json]:
        """What the metadata say."""
        return {
            "quality": {
                "verdict": self.report.verdict.value,
                "score": self.report.score,
                "failed_gates": [each.id for each in self.report.failed_gates],
                "not_verified": [each.id for each in self.report.unverified],
                "revisions": self.rounds,
            }
        }


Edit = Callable[[str, Sequence[StepRecord]], Edition]
"""Makes an edition of a text, with the numbering of sources that the records give."""


def report_json(report: QualityReport) -> bytes:
    """The content of ``quality.json``."""
    return f"{json.dumps(report.to_json(), ensure_ascii=False, indent=2)}\n".encode()


def section_rules(outline: Outline) -> tuple[SectionRule, ...]:
    """What the form asks for, in the words of the quality report."""
    return tuple(
        SectionRule(
            id=section.id,
            heading=section.heading,
            level=section.level,
            min_length=section.min_length,
            max_length=section.max_length,
            guidance=(*section.asks, *section.checks, length_line(section, outline.language)),
            tables=tuple(
                TableRule(
                    id=table.id,
                    caption=table.caption,
                    columns=tuple(column.name for column in table.columns),
                )
                for table in section.tables
            ),
        )
        for section in outline.sections
    )


def inputs_for(
    edition: Edition,
    evidence: Sequence[Evidence],
    model: Mapping[str, Any] | None,
    run: PhaseContext,
    *,
    ai_written: bool,
) -> Inputs:
    """What an edition is judged by. Its day is that of the session, so that resuming agrees."""
    spec, outline = run.spec, run.outline
    return Inputs(
        markdown=edition.document,
        language=spec.language,
        today=spec.created.date(),
        document_type=spec.document_type,
        template=outline.name,
        sections=section_rules(outline),
        page_limit=outline.page_limit,
        ai_policy=outline.ai_policy,
        ai_statement=outline.ai_statement,
        ai_written=ai_written,
        evidence=tuple(evidence),
        facts=edition.facts,
        brief=f"{spec.topic}\n{spec.brief}",
        model=model,
    )


def inputs_for_session(
    document: str,
    spec: SessionSpec,
    records: Sequence[StepRecord],
    outline: Outline,
    files: Mapping[str, bytes],
) -> Inputs:
    """What the finished document of a session is judged by, as its file is now.

    ``files`` are the exported ones that stand beside it.
    """
    evidence = gather_evidence(records)
    financials = work_out(records, spec.language)
    body = numbered_as_evidence(document, evidence)
    lines = financials.lines()
    return Inputs(
        markdown=document,
        language=spec.language,
        today=spec.created.date(),
        document_type=spec.document_type,
        template=outline.name,
        sections=section_rules(outline),
        page_limit=outline.page_limit,
        ai_policy=outline.ai_policy,
        ai_statement=outline.ai_statement,
        ai_written=any(each.response.backend is not Backend.OFFLINE for each in records),
        evidence=evidence,
        facts=trace_facts(body, evidence, spec.brief, lines, topic=spec.topic),
        brief=f"{spec.topic}\n{spec.brief}",
        model=financials.as_json(),
        pages=count_pages(files),
        exports=look_at(files, document),
    )


def inputs_for_text(
    text: str, today: date, *, language: Language | None = None, outline: Outline | None = None
) -> Inputs:
    """What a Markdown file without a session can be judged by; nothing was exported of it."""
    hangul = sum("가" <= character <= "힣" for character in text)
    spoken = language or (Language.KO if hangul > len(text) / _HANGUL_SHARE else Language.EN)
    if outline is None:
        return Inputs(markdown=text, language=spoken, today=today, exports=())
    return Inputs(
        markdown=text,
        language=outline.language,
        today=today,
        document_type=outline.document_type,
        template=outline.name,
        sections=section_rules(outline),
        page_limit=outline.page_limit,
        ai_policy=outline.ai_policy,
        ai_statement=outline.ai_statement,
        exports=(),
    )


def to_mend(report: QualityReport) -> tuple[CheckResult, ...]:
    """The failed gates that another writing may mend.

    None where most sections are missing: that is another document, and no revision away.
    """
    if _coverage(report) < _WORTH_REVISING:
        return ()
    return tuple(each for each in report.failed_gates if each.id not in _NOT_FOR_WRITERS)


def is_better(one: QualityReport, other: QualityReport) -> bool:
    """No section lost, and fewer failed gates, fewer unverified checks, or a higher score.

    A text that lost sections has less that can be wrong, and is no better for it.
    """
    if _coverage(one) < _coverage(other):
        return False
    return _rank(one) > _rank(other)


def _coverage(report: QualityReport) -> float:
    return next(each.share for each in report.checks if each.id == "Q01")


def _rank(report: QualityReport) -> tuple[int, int, float]:
    return -len(report.failed_gates), -len(report.unverified), report.score


def as_list(checks: Sequence[CheckResult], language: Language) -> str:
    """What is to be mended, as the writer hears it. Citation marks in quotes are left out."""
    expected, found, more = (
        ("기대", "실제", "외 {count}건")
        if language is Language.KO
        else ("expected", "found", "and {count} more of this kind")
    )
    lines = []
    for check in checks:
        lines.append(f"{check.id} {check.name} ({check.target}):")
        for each in check.findings[:_FINDINGS_PER_CHECK]:
            place = f"[{each.section}] " if each.section else ""
            quote = f"“{_MARK.sub('', each.quote)}” " if each.quote else ""
            lines.append(f"- {place}{quote}— {expected}: {each.expected}; {found}: {each.found}")
        rest = len(check.findings) - _FINDINGS_PER_CHECK
        if rest > 0:
            lines.append(f"- {more.format(count=rest)}")
    return "\n".join(lines)


async def improve(
    first: Edition,
    edit: Edit,
    inputs_of: Callable[[Edition], Inputs],
    records: Sequence[StepRecord],
    run: PhaseContext,
) -> Judged:
    """Judge ``first``, and have it revised while failed gates remain, it helps, and money is left.

    Raises what stops a run (journal, dead letters), as :func:`~aigenflow.pipeline.base.run_phase`.
    """
    inputs = inputs_of(first)
    best = Judged(edition=first, report=assess(inputs), records=tuple(records), inputs=inputs)
    for task in REVISIONS[: run.revisions]:
        wanted = to_mend(best.report)
        if not wanted:
            break
        try:
            [record] = await ask_for_revision(task, best.edition.body, wanted, best.records, run)
        except (BudgetExceededError, PhaseFailedError, PauseRequestedError) as error:
            remark = _("The document was not revised once more: {problem}").format(problem=error)
            run.on_event(Warned(message=remark))
            return replace(best, remarks=(remark,))
        heard = (*best.records, record)
        text = number_sources(heard).texts[record.phase, record.task]
        edition = edit(text, heard)
        inputs = inputs_of(edition)
        report = assess(inputs)
        is_whole = len(edition.body) >= len(best.edition.body) * _MUST_KEEP
        if not is_whole or not is_better(report, best.report):
            await run.asker.discard(record.response)
            return replace(best, records=heard, rounds=best.rounds + 1)
        best = Judged(
            edition=edition, report=report, records=heard, inputs=inputs, rounds=best.rounds + 1
        )
    return best


async def rehearse_revisions(
    records: Sequence[StepRecord], run: PhaseContext
) -> tuple[StepRecord, ...]:
    """Every revision that a run may ask for, one after the other, of the text there is."""
    heard = tuple(records)
    for task in REVISIONS[: run.revisions]:
        heard += await ask_for_revision(task, heard[-1].content, (), heard, run)
    return heard[len(records) :]


async def ask_for_revision(
    task: Task,
    body: str,
    wanted: Sequence[CheckResult],
    records: Sequence[StepRecord],
    run: PhaseContext,
) -> tuple[StepRecord, ...]:
    """One revision. The writer hears the text and the list, and not what led to them."""
    korean = run.spec.language is Language.KO
    told = (
        ContextDocument(
            id="document",
            title="고칠 문서" if korean else "The document to revise",
            text=as_shared(body),
        ),
        ContextDocument(
            id="findings",
            title="품질 검사에서 지적된 것" if korean else "Findings of the quality checks",
            text=as_list(wanted, run.spec.language),
        ),
    )
    silent = frozenset(record.task for record in records)
    heard_alone = replace(run, added=(*run.added, *told), silent=silent)
    phase = replace(phase5_review.PHASE, tasks=(task,))
    return await run_phase(phase, records, heard_alone)
