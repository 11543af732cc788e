"""One phase, whichever it is: ask its tasks in waves, remember every answer."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from gettext import gettext as _
from typing import Protocol

from aigenflow.agents.router import Answer, Company, Fit
from aigenflow.agents.routes import Cast
from aigenflow.core.canonical import fingerprint
from aigenflow.core.clock import Clock
from aigenflow.core.errors import (
    AigenflowError,
    GatewayError,
    JournalWriteError,
    PauseRequestedError,
    PhaseFailedError,
    RateLimitedError,
)
from aigenflow.core.events import (
    ContextShortened,
    OnEvent,
    PhaseStarted,
    TaskFinished,
    Warned,
)
from aigenflow.core.markers import as_shared
from aigenflow.core.models import (
    AgentRequest,
    ContextDocument,
    ContextKind,
    GatewayResponse,
    Language,
    Route,
    what_matters,
)
from aigenflow.engine.models import SessionSpec, StepRecord, digest
from aigenflow.engine.runner import Runner, Step
from aigenflow.monitoring.budget import RingFencedError
from aigenflow.pipeline.cleaning import LINK_REMOVED, Addresses, clean_text
from aigenflow.pipeline.context import fit_request
from aigenflow.pipeline.economies import smaller_requests
from aigenflow.pipeline.evidence import as_records, gather_evidence
from aigenflow.pipeline.models import Phase, Task
from aigenflow.pipeline.scheduling import ALL_LIVE, Schedule
from aigenflow.pipeline.sources import number_sources
from aigenflow.templates.models import Outline
from aigenflow.templates.prompt_library import PromptLibrary, PromptVariables


class Asker(Protocol):
    """Brings a request to its agent: the router."""

    @property
    def cast(self) -> Cast:
        """Who plays whom."""
        ...

    def expecting(self, requests: int) -> Company:
        """Announce requests that are asked at the same time."""
        ...

    async def ask(self, request: AgentRequest, fit: Fit) -> Answer:
        """One whole answer to the request, cut by ``fit`` to the model that is asked."""
        ...

    async def discard(self, response: GatewayResponse) -> None:
        """Say of an answer that was given that it is not used after all."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class PhaseContext:
    """What every phase of a run needs.

    ``added`` is heard beside the answers, and those to the tasks ``silent`` are not heard: what
    was added says the same. ``revisions`` is how often the finished text may be written anew.
    """

    runner: Runner
    asker: Asker
    prompts: PromptLibrary
    outline: Outline
    titles: Mapping[str, str]
    clock: Clock
    on_event: OnEvent
    formats: Sequence[str] = ()
    added: tuple[ContextDocument, ...] = ()
    silent: frozenset[str] = frozenset()
    revisions: int = 0
    schedule: Schedule = ALL_LIVE

    @property
    def spec(self) -> SessionSpec:
        """What was asked for."""
        return self.runner.spec


async def run_phase(
    phase: Phase, earlier: Sequence[StepRecord], run: PhaseContext
) -> tuple[StepRecord, ...]:
    """Do every task of ``phase`` that is not done; return its records in order.

    Tasks of one wave run at the same time; one that fails does not disturb the others, whose
    answers are kept. Raises :class:`~aigenflow.core.errors.PhaseFailedError` where an agent and
    its fallback are both down (:class:`~aigenflow.core.errors.PauseRequestedError` where the
    provider only asks for a longer pause than we wait), and passes on what else stops a run
    (budget, journal).
    """
    names = tuple(task.name for task in phase.tasks)
    run.on_event(PhaseStarted(phase=phase.number, name=phase.name, tasks=names))
    done: list[StepRecord] = []
    for wave in phase.waves():
        heard = (*earlier, *done)
        with run.asker.expecting(len(wave)) as company:
            outcomes = await asyncio.gather(
                *(
                    _run_in_company(asker, _run_task(phase, task, heard, run))
                    for asker, task in zip(company, wave, strict=True)
                ),
                return_exceptions=True,
            )
        _raise_failures(phase, wave, outcomes)
        done.extend(outcome for outcome in outcomes if isinstance(outcome, StepRecord))
    run.runner.phase_done(phase.number)
    return tuple(done)


def build_request(
    task: Task, phase: int, earlier: Sequence[StepRecord], run: PhaseContext
) -> AgentRequest:
    """The question that ``task`` asks, with everything it hears."""
    spec = run.spec
    manner = run.schedule.manner_of(task.name, run.clock.now())
    own_phase = set(task.reads)
    heard = [r for r in earlier if r.phase < phase or r.task in own_phase]
    context = _context(heard, run)
    rendered = run.prompts.render(
        spec.document_type,
        task.name,
        spec.language,
        PromptVariables(
            topic=spec.topic,
            outline=run.outline,
            language=spec.language,
            document_type=spec.document_type,
            has_brief=bool(spec.brief),
            has_sources=any(doc.kind is ContextKind.SOURCES for doc in context),
            reads=tuple((doc.id, doc.title) for doc in context if doc.kind is ContextKind.RESULT),
        ),
    )
    return AgentRequest(
        agent=task.agent,
        phase=phase,
        task=task.name,
        prompt=rendered.prompt,
        system=rendered.system,
        context=context,
        max_output_tokens=task.max_output_tokens,
        web_search=task.web_search,
        language=spec.language,
        session=spec.session,
        processing=manner.processing,
        complete_by=manner.complete_by,
    )


async def _run_in_company(
    asker: AbstractContextManager[None], work: Awaitable[StepRecord]
) -> StepRecord:
    with asker:
        return await work


async def _run_task(
    phase: Phase, task: Task, earlier: Sequence[StepRecord], run: PhaseContext
) -> StepRecord:
    request = build_request(task, phase.number, earlier, run)
    step = Step(
        phase=phase.number,
        phase_name=phase.name,
        task=task.name,
        fingerprint=fingerprint(what_matters(request)),
    )
    record = run.runner.recall(step)
    reused = record is not None
    if record is None:
        record = await _ask_durably(request, step, run)
    run.on_event(
        TaskFinished(phase=phase.number, task=task.name, response=record.response, reused=reused)
    )
    return record


async def _ask_durably(request: AgentRequest, step: Step, run: PhaseContext) -> StepRecord:
    """Ask, and remember the answer; one that was paid for is also kept if the ledger failed."""
    failure: JournalWriteError | None = None

    async def action() -> StepRecord:
        nonlocal failure
        try:
            return await _ask(request, step, run)
        except JournalWriteError as error:
            if error.paid_answer is None or not error.paid_answer.success:
                raise
            failure = error
            route = run.asker.cast.routes[request.agent]
            paid = error.paid_answer.model_copy(
                update={"agent": route.actor, "backend": route.backend}
            )
            return _record(Answer(response=paid, route=route), request, step, (), run)

    record = await run.runner.run(step, action)
    if failure is not None:
        raise failure
    return record


async def _ask(request: AgentRequest, step: Step, run: PhaseContext) -> StepRecord:
    omissions: tuple[str, ...] = ()

    def fit(whole: AgentRequest, route: Route) -> AgentRequest:
        nonlocal omissions
        fitted = fit_request(whole, route)
        omissions = fitted.omissions
        if omissions:
            run.on_event(ContextShortened(phase=step.phase, task=step.task, omissions=omissions))
        return fitted.request

    answer, given_up = await _ask_for_what_is_left(request, fit, run)
    return _record(answer, request, step, (*given_up, *omissions), run)


async def _ask_for_what_is_left(
    request: AgentRequest, fit: Fit, run: PhaseContext
) -> tuple[Answer, tuple[str, ...]]:
    """The answer, and what was given up so that the money of later phases was not touched.

    Raises :class:`~aigenflow.monitoring.budget.RingFencedError` where nothing smaller fits either.
    """
    try:
        return await run.asker.ask(request, fit), ()
    except RingFencedError as error:
        refused = error
    for smaller in smaller_requests(request, run.asker.cast.routes[request.agent]):
        try:
            answer = await run.asker.ask(smaller.request, fit)
        except RingFencedError as error:
            refused = error
            continue
        message = _(
            "The rest of the budget is kept for writing and review, so {task} gave up: {what}."
        )
        what = "; ".join(smaller.given_up)
        run.on_event(Warned(message=message.format(task=request.task, what=what)))
        return answer, smaller.given_up
    raise refused


def _record(
    answer: Answer,
    request: AgentRequest,
    step: Step,
    omissions: tuple[str, ...],
    run: PhaseContext,
) -> StepRecord:
    content = answer.response.content.encode("utf-8", "replace").decode()
    return StepRecord(
        phase=step.phase,
        task=step.task,
        agent=request.agent,
        actor=answer.route.actor,
        fingerprint=step.fingerprint,
        content=content,
        content_sha256=digest(content),
        response=answer.response.model_copy(update={"content": content}),
        fell_back_because=answer.fell_back_because,
        omissions=omissions,
        finished=run.clock.now(),
    )


def _context(heard: Sequence[StepRecord], run: PhaseContext) -> tuple[ContextDocument, ...]:
    korean = run.spec.language is Language.KO
    documents = [_assignment(run.spec, korean)]
    if run.spec.brief:
        documents.append(
            ContextDocument(
                id="brief",
                title="의뢰인이 준 자료" if korean else "Brief given by the client",
                text=run.spec.brief,
                kind=ContextKind.BRIEF,
            )
        )
    sources = number_sources(heard)
    evidence = gather_evidence(heard)
    allowed = Addresses.of(evidence, run.spec.brief, run.spec.topic)
    if evidence:
        documents.append(
            ContextDocument(
                id="sources",
                title="번호가 붙은 출처" if korean else "Numbered sources",
                text=as_records(evidence),
                kind=ContextKind.SOURCES,
            )
        )
    documents.extend(
        ContextDocument(
            id=f"phase{record.phase}.{record.task}",
            title=run.titles.get(record.task, record.task),
            text=_heard(sources.texts[record.phase, record.task], allowed),
        )
        for record in heard
        if record.task not in run.silent
    )
    added = (replace(each, text=_heard(each.text, allowed)) for each in run.added)
    return (*documents, *added)


def _heard(text: str, allowed: Addresses) -> str:
    """A colleague's answer as others hear it: nothing in it leads to where no source is."""
    cleaned, _removals = clean_text(text, allowed, gap=LINK_REMOVED)
    return as_shared(cleaned)


def _assignment(spec: SessionSpec, korean: bool) -> ContextDocument:
    lines = {
        "topic": spec.topic,
        "document_type": spec.document_type.value,
        "template": spec.template,
        "language": spec.language.value,
    }
    return ContextDocument(
        id="assignment",
        title="의뢰" if korean else "Assignment",
        text="\n".join(f"{key}: {_yaml_string(value)}" for key, value in lines.items()),
        kind=ContextKind.ASSIGNMENT,
    )


def _yaml_string(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _raise_failures(
    phase: Phase, wave: Sequence[Task], outcomes: Sequence[StepRecord | BaseException]
) -> None:
    failures = [
        (task, outcome)
        for task, outcome in zip(wave, outcomes, strict=True)
        if isinstance(outcome, BaseException)
    ]
    for _task, failure in failures:
        if not isinstance(failure, GatewayError):
            raise failure
    if not failures:
        return
    problems = "; ".join(f"{task.name}: {_explained(error)}" for task, error in failures)
    first = failures[0][1]
    slowed_down = all(isinstance(error, RateLimitedError) for _task, error in failures)
    kind = PauseRequestedError if slowed_down else PhaseFailedError
    raise kind(
        _("Phase {number} ({name}) could not be finished. {problems}").format(
            number=phase.number, name=phase.name, problems=problems
        ),
        hint=first.hint if isinstance(first, AigenflowError) else "",
    ) from first


def _explained(error: BaseException) -> str:
    return " ".join([str(error), *getattr(error, "__notes__", [])])
