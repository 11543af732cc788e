"""From a topic to a document: five phases, then the pieces put together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from gettext import gettext as _
from pathlib import Path

from aigenflow.core.errors import AigenflowError
from aigenflow.core.events import RunFinished, RunStarted
from aigenflow.core.markers import renumber
from aigenflow.core.models import AgentType, DocumentType, Language
from aigenflow.engine.models import SessionSpec, StepRecord
from aigenflow.export.markdown import DocumentParts, Reference, assemble, headings
from aigenflow.pipeline import (
    phase1_framing,
    phase2_research,
    phase3_strategy,
    phase4_writing,
    phase5_review,
)
from aigenflow.pipeline.base import PhaseContext, run_phase
from aigenflow.pipeline.cleaning import Addresses, Removal, RemovalKind, clean_text
from aigenflow.pipeline.evidence import EVIDENCE_FILE, as_jsonl, gather_evidence
from aigenflow.pipeline.facts import FACTS_FILE, as_yaml, count_origins, trace_facts
from aigenflow.pipeline.financials import (
    AGAIN,
    Financials,
    ask_again,
    with_figures,
    with_model,
    with_tables,
    work_out,
)
from aigenflow.pipeline.metadata import describe_run, is_offline
from aigenflow.pipeline.publishing import export_beside
from aigenflow.pipeline.quality import REVISIONS, Edition, Judged, improve, inputs_for
from aigenflow.pipeline.sources import Sources, cited, number_sources, unresolved
from aigenflow.quality.models import Inputs

PHASES = (
    phase1_framing.PHASE,
    phase2_research.PHASE,
    phase3_strategy.PHASE,
    phase4_writing.PHASE,
    phase5_review.PHASE,
)

FILE_NAMES: Mapping[DocumentType, str] = {
    DocumentType.BIZPLAN: "business_plan",
    DocumentType.RD: "rd_proposal",
}

_POLISH_MUST_KEEP = 0.8


def task_titles(language: Language) -> dict[str, str]:
    """What each task's result is called, by task."""
    tasks = (*(task for phase in PHASES for task in phase.tasks), AGAIN, *REVISIONS)
    return {task.name: task.title(language) for task in tasks}


async def run_pipeline(
    run: PhaseContext, notices: Sequence[str] = (), warnings: Sequence[str] = ()
) -> Path:
    """Do what is left of the session and publish its document; return the document's path.

    ``notices`` are told at the start; ``warnings`` may grow during the run. Both are kept in the
    metadata. Whatever stops the run is written into the session before it is passed on.
    """
    spec = run.spec
    routes = tuple(run.asker.cast.routes[agent] for agent in AgentType)
    run.on_event(
        RunStarted(session=spec.session, topic=spec.topic, routes=routes, notices=(*notices,))
    )
    try:
        records = await run_phases(run)
        financials = work_out(records, spec.language)
        judged = await _best_edition(records, financials, run)
    except AigenflowError as error:
        run.runner.stopped(error.message, error.hint)
        raise
    records, edition = judged.records, judged.edition
    sources = number_sources(records)
    body, figures = with_figures(edition.body, financials, run.outline)
    remarks = (*edition.remarks, *financials.remarks, *figures.remarks, *judged.remarks)
    name = document_name(spec)
    document = _document(body, records, sources, run)
    documents = {
        name: document.encode(),
        FACTS_FILE: as_yaml(edition.facts),
        **financials.files(),
        **figures.files,
    }
    exports = await export_beside(documents, name, spec, run.formats)
    judged = judged.with_files(document, exports.files, exports.failures)
    told = (*notices, *warnings, *remarks)
    metadata = describe_run(records, sources, body, told, run) | {
        "removed_links": list(edition.removed_links),
        "facts": count_origins(edition.facts),
        **financials.describe(),
        **judged.describe(),
    }
    folder = run.runner.publish(
        {**documents, **exports.files, **judged.files()},
        metadata,
        {EVIDENCE_FILE: as_jsonl(gather_evidence(records))},
    )
    run.on_event(RunFinished(session=spec.session, folder=folder.parent, document=folder / name))
    exports.check(spec, folder.parent)
    return folder / name


async def _best_edition(
    records: Sequence[StepRecord], financials: Financials, run: PhaseContext
) -> Judged:
    """The text of the document, judged, and revised where that helps."""
    wanted = [section.heading for section in run.outline.sections]
    text, remarks = choose_body(records, number_sources(records), wanted)
    if remarks:  # the draft is the document, and polishing was for nothing
        [polished] = [record for record in records if record.task == "polish"]
        await run.asker.discard(polished.response)
    ai_written = not is_offline(records)

    def edit(text: str, records: Sequence[StepRecord]) -> Edition:
        return _edition(text, records, financials, run)

    def inputs_of(edition: Edition) -> Inputs:
        evidence = gather_evidence(records)
        return inputs_for(edition, evidence, financials.as_json(), run, ai_written=ai_written)

    first = edit(text, records)
    return await improve(
        replace(first, remarks=(*remarks, *first.remarks)),
        edit,
        inputs_of,
        records,
        with_model(records, run) if ai_written else replace(run, revisions=0),
    )


def _edition(
    text: str, records: Sequence[StepRecord], financials: Financials, run: PhaseContext
) -> Edition:
    """``text`` with computed tables, without foreign addresses, and what its figures rest on."""
    spec = run.spec
    sources, evidence = number_sources(records), gather_evidence(records)
    body, unplaced = with_tables(text, financials, run.outline)
    body, removals = clean_text(body, Addresses.of(evidence, spec.brief, spec.topic))
    return Edition(
        body=body,
        document=_document(body, records, sources, run),
        facts=trace_facts(body, evidence, spec.brief, financials.lines(), topic=spec.topic),
        remarks=(*_remark_on_markers(records, sources, body), *_remark_on(removals), *unplaced),
        removed_links=tuple(each.text for each in removals if each.kind is not RemovalKind.HTML),
    )


def document_name(spec: SessionSpec) -> str:
    """What the document of a session is called."""
    return f"{FILE_NAMES[spec.document_type]}.md"


async def run_phases(run: PhaseContext) -> tuple[StepRecord, ...]:
    """Do every task that is not done. Who writes hears the model computed from the strategy."""
    records: tuple[StepRecord, ...] = ()
    for phase in PHASES:
        records += await run_phase(phase, records, run)
        if phase is phase3_strategy.PHASE:
            records += await ask_again(phase, records, run)
            run = with_model(records, run)
    return records


def choose_body(
    records: Sequence[StepRecord], sources: Sources, wanted: Sequence[str]
) -> tuple[str, tuple[str, ...]]:
    """The text of the document, and remarks about the choice.

    It is the polished text, unless polishing lost sections that the draft has: then the draft.
    """
    texts = {record.task: sources.texts[record.phase, record.task] for record in records}
    kept, had = (_coverage(texts[task], wanted) for task in ("polish", "draft"))
    if kept >= had * _POLISH_MUST_KEEP:
        return texts["polish"], ()
    return texts["draft"], (
        _("The polished text had lost sections ({kept} of {had}), so the draft is used.").format(
            kept=kept, had=had
        ),
    )


def _coverage(text: str, wanted: Sequence[str]) -> int:
    found = set(headings(text))
    return sum(heading in found for heading in wanted)


def _document(body: str, records: Sequence[StepRecord], sources: Sources, run: PhaseContext) -> str:
    used = cited(body, sources)
    order = {number: n for n, (number, _citation) in enumerate(used, start=1)}
    last = run.outline.sections[-1]
    return assemble(
        DocumentParts(
            title=run.spec.topic,
            body=body if is_offline(records) else renumber(body, order),
            references=[
                Reference(
                    number=order[number], citation=citation, accessed=sources.accessed[number - 1]
                )
                for number, citation in used
            ],
            statement="" if is_offline(records) else run.outline.ai_statement,
            language=run.spec.language,
            references_heading=last.heading if last.id == "sources" else "",
        )
    )


def _remark_on_markers(
    records: Sequence[StepRecord], sources: Sources, body: str
) -> tuple[str, ...]:
    invented = unresolved(body, sources)
    if not invented or is_offline(records):
        return ()
    return (
        _("Citation marks that no source has were removed: {numbers}").format(
            numbers=", ".join(str(number) for number in invented)
        ),
    )


def _remark_on(removals: Sequence[Removal]) -> tuple[str, ...]:
    links = [each.text for each in removals if each.kind is not RemovalKind.HTML]
    elements = [each.text for each in removals if each.kind is RemovalKind.HTML]
    remarks = []
    if links:
        remarks.append(
            _("Addresses that no agent returned as a source were removed: {addresses}").format(
                addresses=", ".join(links)
            )
        )
    if elements:
        remarks.append(
            _("HTML was removed from the text: {elements}").format(elements=", ".join(elements))
        )
    return tuple(remarks)
