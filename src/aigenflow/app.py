"""The program put together: settings in, sessions and answers out."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack, closing
from dataclasses import dataclass, replace
from datetime import date, datetime
from decimal import Decimal
from gettext import gettext as _
from pathlib import Path
from types import TracebackType
from typing import Self

from aigenflow.agents.job_books import MeteredJobs
from aigenflow.agents.metering import Meter
from aigenflow.agents.processing import Dispatcher
from aigenflow.agents.router import Answer, Router
from aigenflow.agents.routes import Cast, LocalServer, cast_roles
from aigenflow.batch.job_store import Job, JobStore, jobs_url
from aigenflow.batch.jobs import JobDesk
from aigenflow.batch.models import BatchLimits
from aigenflow.batch.processor import BatchProcessor
from aigenflow.cache.manager import CacheManager
from aigenflow.cache.models import Explanation
from aigenflow.cache.opening import open_cache_if_possible
from aigenflow.core.clock import Clock, SystemClock
from aigenflow.core.config import AgentSettings, Settings
from aigenflow.core.errors import AigenflowError, ConfigError, GatewayError, InputError
from aigenflow.core.events import OnEvent, Warned, ignore_event
from aigenflow.core.files import is_safe_name, read_bounded
from aigenflow.core.keys import find_key
from aigenflow.core.models import (
    AgentRequest,
    AgentType,
    Backend,
    DocumentType,
    GatewayResponse,
    Language,
    ProcessingChoice,
    Route,
)
from aigenflow.engine.local import LocalEngine, LocalSession
from aigenflow.engine.models import SessionSpec, StepRecord
from aigenflow.engine.runner import Runner
from aigenflow.engine.session_files import FINAL_FOLDER, MAX_FILE_BYTES, STATE_FILE, read_text
from aigenflow.export.formats import check_formats
from aigenflow.gateway.registry import Gateways, OpenLimiter, can_be_reached, is_listening
from aigenflow.gateway.retry import Attempt
from aigenflow.monitoring.async_tracker import AsyncTracker
from aigenflow.monitoring.opening import open_tracker
from aigenflow.monitoring.price_book import PriceBook
from aigenflow.monitoring.telemetry import Telemetry
from aigenflow.monitoring.tracker import TokenTracker
from aigenflow.pipeline.base import PhaseContext
from aigenflow.pipeline.claims import Claim, list_claims
from aigenflow.pipeline.financials import work_out
from aigenflow.pipeline.orchestrator import PHASES, document_name, run_pipeline, task_titles
from aigenflow.pipeline.planner import Plan, gather_knowledge, make_plan
from aigenflow.pipeline.publishing import Exported, export_session
from aigenflow.pipeline.quality import inputs_for_session, inputs_for_text
from aigenflow.pipeline.quotation import Quotation, add_up
from aigenflow.pipeline.recollection import Recalled, recall_questions
from aigenflow.pipeline.rehearsal import Rehearsal
from aigenflow.pipeline.scheduling import ALL_LIVE, Schedule, plan_waves, published_at
from aigenflow.quality.models import QualityReport
from aigenflow.quality.report import assess
from aigenflow.templates.drafting import Drafter
from aigenflow.templates.loader import TemplateInfo, list_templates, load_outline
from aigenflow.templates.prompt_library import PromptLibrary

MIN_TOPIC_CHARACTERS = 6
MAX_TOPIC_CHARACTERS = 4_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Assignment:
    """What a user asks for, checked by :meth:`App.start`.

    ``processing`` and ``deadline`` (aware) are for this document alone, where they are given.
    """

    topic: str
    document_type: DocumentType
    template: str
    language: Language
    brief: str = ""
    processing: ProcessingChoice | None = None
    deadline: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentCheck:
    """Whether one agent can be used. ``problem`` is empty where it can."""

    route: Route
    has_key: bool
    problem: str = ""
    hint: str = ""


class App:
    """Everything a command or a caller needs, opened once and closed at the end.

    ``refresh`` buys every answer anew, and remembers it in place of the old one;
    ``allow_unpriced`` makes calls whose price nobody knows, which budgets then do not count.
    ``open_limiter`` keeps the providers' limits where more than this process is held to them.
    ``processing`` and ``deadline`` (aware) are for new sessions, and win over what one that goes
    on was begun with. ``jobs`` is where batch jobs are, ``None`` where batch processing is off;
    ``jobs_left`` are those that were still open when an error or a signal ended the work.

    >>> async def write(topic: str) -> Path:
    ...     settings = load_settings(home_directory())
    ...     async with App(settings, home=home_directory()) as app:
    ...         return await app.write(app.start(Assignment(topic=topic, ...)))
    """

    def __init__(
        self,
        settings: Settings,
        *,
        home: Path,
        clock: Clock | None = None,
        refresh: bool = False,
        allow_unpriced: bool = False,
        on_event: OnEvent = ignore_event,
        open_limiter: OpenLimiter | None = None,
        processing: ProcessingChoice | None = None,
        deadline: datetime | None = None,
    ) -> None:
        self.settings = settings
        self.jobs_left: tuple[Job, ...] = ()
        self._processing = processing
        self._deadline = deadline
        self.engine = LocalEngine(settings.output_dir, clock or SystemClock())
        self._clock = clock or SystemClock()
        self._home = home
        self._templates = home / "templates"
        self._on_event = on_event
        self._cast: Cast | None = None
        self._processor: BatchProcessor | None = None
        self._refresh = refresh
        self._telemetry = Telemetry(settings, home, self._clock, on_event)
        self.cache = self._open_cache(home) if settings.features.caching_enabled else None
        self._meter = (
            self._open_meter(home, allow_unpriced) if settings.features.monitoring_enabled else None
        )
        self._gateways = Gateways(
            settings,
            self._find_key,
            Drafter(self._templates),
            self._clock,
            wrap=self._meter.wrap if self._meter else lambda gateway: gateway,
            on_attempt=self._on_attempt,
            open_limiter=open_limiter,
        )
        self.jobs = self._open_desk(home)
        self._dispatcher = Dispatcher(
            self._gateways,
            self.jobs,
            self._clock,
            unfinished=settings.batch.unfinished,
            is_on=settings.features.batch_processing_enabled,
            on_event=on_event,
        )
        if settings.features.batch_processing_enabled:
            self._processor = BatchProcessor(
                self._dispatcher,
                limits=BatchLimits(
                    max_batch_size=settings.batch.max_batch_size,
                    max_wait_s=settings.batch.max_wait_seconds,
                ),
                clock=self._clock,
                on_event=on_event,
            )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        async with AsyncExitStack() as stack:
            stack.push_async_callback(self._telemetry.aclose)
            if self._meter is not None:
                stack.push_async_callback(self._meter.aclose)
            if self.cache is not None:
                stack.callback(self.cache.close)
            stack.push_async_callback(self._gateways.aclose)
            stack.push_async_callback(self.jobs.aclose)
            if kind is not None:
                self.jobs_left = tuple(self.jobs.open_jobs())

    def start(self, assignment: Assignment) -> LocalSession:
        """Begin a session. Raises :class:`~aigenflow.core.errors.InputError`."""
        return self.engine.create(self._spec(assignment))

    def specify(self, assignment: Assignment) -> SessionSpec:
        """What a session of ``assignment`` would be; none is begun. Raises as :meth:`start`."""
        return self._spec(assignment)

    def branch(self, assignment: Assignment, from_phase: int, parent: str = "") -> LocalSession:
        """Begin a session that keeps the results of an earlier one before ``from_phase``.

        Without ``parent``, it is the newest session with the same assignment; without a brief of
        its own, the assignment keeps the earlier one's. Raises
        :class:`~aigenflow.core.errors.InputError` where there is none that got so far, or where
        ``parent`` was asked for something else.
        """
        wanted, _kept = self._results_before(from_phase, assignment, parent)
        return self.engine.branch(wanted, self._spec(assignment, wanted, from_phase))

    async def write(self, session: LocalSession, on_event: OnEvent | None = None) -> Path:
        """Do what is left of ``session``; return the path of the finished document.

        ``on_event`` is told of this session alone; several can be written at the same time.
        """
        with self._telemetry.watch(on_event or self._on_event) as told:
            return await self._write(session, told)

    async def write_with(self, runner: Runner, on_event: OnEvent | None = None) -> Path:
        """:meth:`write` for a session that another engine remembers."""
        with self._telemetry.watch(on_event or self._on_event) as told:
            cast = await self.cast()
            notices = (*describe_cast(cast), *_unwatched_notice(self.settings))
            return await run_pipeline(self._context(runner, cast, told), notices)

    async def _write(self, session: LocalSession, told: OnEvent) -> Path:
        cast = await self.cast()
        nothing_to_ask = session.is_completed and not session.notices
        notices = () if nothing_to_ask else self._notices(session, cast)
        run = self._context(session, cast, told)
        session.watch(lambda notice: told(Warned(message=notice)))
        return await run_pipeline(run, notices, session.notices)

    def _context(self, runner: Runner, cast: Cast, told: OnEvent) -> PhaseContext:
        spec = runner.spec
        check_formats(self.settings.output_formats, spec.language)
        return PhaseContext(
            runner=runner,
            asker=self._router(cast, told),
            prompts=PromptLibrary(self._templates),
            outline=load_outline(
                spec.document_type, spec.template, spec.language, user_dir=self._templates
            ),
            titles=task_titles(spec.language),
            clock=self._clock,
            on_event=told,
            formats=self.settings.output_formats,
            revisions=self.settings.quality.max_rounds,
            schedule=self._schedule(
                self._processing or spec.processing, self._deadline or spec.deadline, cast
            ),
        )

    def _schedule(
        self, choice: ProcessingChoice, deadline: datetime | None, cast: Cast
    ) -> Schedule:
        is_on = self.settings.features.batch_processing_enabled
        if choice is ProcessingChoice.LIVE or not is_on:
            return ALL_LIVE
        prices = self._prices()
        return Schedule(
            choice=choice,
            deadline=deadline,
            waves=plan_waves(PHASES, cast.routes, published_at(prices, self._clock.now())),
        )

    def _prices(self) -> PriceBook:
        return self._meter.prices if self._meter else PriceBook.load(self._home / "pricing.yaml")

    async def ask(self, request: AgentRequest) -> Answer:
        """One request through the whole router."""
        with self._telemetry.watch(self._on_event) as told:
            router = self._router(await self.cast(), told)
            with router.expecting(1) as (asker,), asker:
                return await router.ask(request)

    async def why(self, request: AgentRequest) -> Explanation:
        """Whether ``request`` would be answered from the cache, and what it differs in."""
        if self.cache is None:
            raise ConfigError(
                _("Caching is switched off."),
                hint=_("Switch it on: aigenflow config set caching_enabled true"),
            )
        cast = await self.cast()
        return self.cache.why_request(request, cast.routes[request.agent])

    async def cast(self) -> Cast:
        """Who plays whom in this run, decided once."""
        if self._cast is None:
            self._cast = self._without_local()
            if self._cast.is_offline and self.settings.local.discover:
                local = await self._find_local_server()
                self._cast = cast_roles(self.settings.agents, self._is_reachable, local)
        return self._cast

    async def check(self) -> tuple[AgentCheck, ...]:
        """Try every agent's address and key with a call that costs nothing."""
        cast = await self.cast()
        return tuple([await self._check_route(cast.routes[agent]) for agent in AgentType])

    @property
    def tracker(self) -> TokenTracker | None:
        """The usage ledger and its budgets; ``None`` where monitoring is off."""
        return self._meter.tracker if self._meter else None

    def templates(self, language: Language) -> tuple[TemplateInfo, ...]:
        """Every template that can be used, with its title in ``language`` where it has one.

        Raises ``TemplateError`` on a broken file.
        """

        def titled(info: TemplateInfo) -> TemplateInfo:
            if language not in info.languages:
                return info
            kind, own = info.document_type, self._templates
            return replace(info, title=load_outline(kind, info.name, language, user_dir=own).title)

        return tuple(map(titled, list_templates(self._templates)))

    def session_names(self) -> list[str]:
        """The sessions by name, newest first, without reading any of them."""
        root = self.settings.output_dir
        if not root.is_dir():
            return []
        with os.scandir(root) as found:
            names = [each.name for each in found if (root / each.name / STATE_FILE).is_file()]
        return sorted(filter(is_safe_name, names), reverse=True)

    async def questions(self, session: str) -> Mapping[tuple[int, str], Recalled]:
        """What the tasks of ``session`` were asked, by phase and task. Nobody is asked.

        Raises as ``LocalEngine.read``, and ``TemplateError`` where its template is gone.
        """
        spec, records = self.engine.read(session).spec, self.engine.results(session)
        rehearsal = Rehearsal(
            spec,
            await self.cast(),
            look_up=lambda _request, _route: None,
            calibration=lambda _model: None,
            usual={},
        )
        context = self._context(rehearsal, rehearsal.cast, ignore_event)
        return await recall_questions(records, context, rehearsal)

    def export(self, session: str, formats: Sequence[str]) -> Exported:
        """Bring a finished document into ``formats``, beside it. Raises as ``export_session``."""
        with closing(self.engine.open(session)) as taken:
            return export_session(taken, document_name(taken.spec), formats)

    def _notices(self, session: LocalSession, cast: Cast) -> tuple[str, ...]:
        return (
            *describe_cast(cast),
            *_mixing_notices(session, cast),
            *_unwatched_notice(self.settings),
        )

    def _router(self, cast: Cast, on_event: OnEvent) -> Router:
        return Router(
            cast,
            self._processor or self._dispatcher,
            queue=self._processor,
            cache=self.cache,
            books=self._meter,
            refresh=self._refresh,
            switch_on_refusal=self.settings.retry.switch_on_refusal,
            on_event=on_event,
        )

    def _on_attempt(self, attempt: Attempt) -> None:
        if self._meter is not None:
            self._meter.on_attempt(attempt)
        self._telemetry.on_attempt(attempt)

    def _open_cache(self, home: Path) -> CacheManager | None:
        return open_cache_if_possible(
            self.settings.cache,
            home,
            self._clock,
            use_keyring=self.settings.use_keyring,
            on_warning=lambda message: self._on_event(Warned(message=message)),
        )

    def _open_desk(self, home: Path) -> JobDesk:
        return JobDesk(
            JobStore(jobs_url(self.settings.ledger.url, home), home),
            self._gateways.jobs,
            MeteredJobs(self._meter) if self._meter else None,
            self._clock,
            linger_s=self.settings.batch.max_wait_seconds,
            on_event=self._on_event,
        )

    def _open_meter(self, home: Path, allow_unpriced: bool) -> Meter:
        return Meter(
            AsyncTracker(open_tracker(self.settings, home, self._clock)),
            PriceBook.load(home / "pricing.yaml"),
            self._clock,
            on_event=self._on_event,
            allow_unpriced=allow_unpriced,
        )

    def _without_local(self) -> Cast:
        return cast_roles(self.settings.agents, self._is_reachable)

    def _find_key(self, agent: AgentSettings) -> str | None:
        return find_key(agent.api_key_env, use_keyring=self.settings.use_keyring)

    def _is_reachable(self, agent: AgentSettings) -> bool:
        return can_be_reached(agent, self._find_key)

    async def _find_local_server(self) -> LocalServer | None:
        """The local server and its model; ``None`` where nothing answers."""
        local = self.settings.local
        if not await is_listening(local.base_url):
            return None
        probe = Route(
            agent=AgentType.CLAUDE,
            actor=AgentType.CLAUDE,
            backend=Backend.COMPATIBLE,
            model="",
            base_url=local.base_url,
        )
        try:
            models = await self._gateways.of(probe).list_models()
        except GatewayError:
            return None
        model = local.model or next(iter(models), None)
        return LocalServer(base_url=local.base_url, model=model) if model else None

    async def _check_route(self, route: Route) -> AgentCheck:
        settings = self.settings.agents.of(route.actor)
        has_key = self._find_key(settings) is not None
        try:
            models = await self._gateways.of(route).list_models()
        except AigenflowError as error:
            return AgentCheck(route=route, has_key=has_key, problem=error.message, hint=error.hint)
        if models and route.model not in models and route.backend is not Backend.OFFLINE:
            return AgentCheck(
                route=route,
                has_key=has_key,
                problem=_("The server does not list the model {model}.").format(model=route.model),
                hint=_("Set agents.{agent}.model to one of: {models}").format(
                    agent=route.actor, models=", ".join(models[:8])
                ),
            )
        return AgentCheck(route=route, has_key=has_key)

    def _spec(self, assignment: Assignment, parent: str = "", from_phase: int = 1) -> SessionSpec:
        topic = check_topic(assignment.topic)
        check_formats(self.settings.output_formats, assignment.language)
        load_outline(
            assignment.document_type,
            assignment.template,
            assignment.language,
            user_dir=self._templates,
        )
        return SessionSpec(
            session=self.engine.new_id(),
            topic=topic,
            document_type=assignment.document_type,
            template=assignment.template,
            language=assignment.language,
            brief=assignment.brief or (self.engine.read(parent).spec.brief if parent else ""),
            created=self._clock.now(),
            parent=parent,
            from_phase=from_phase,
            processing=self._processing or assignment.processing or self.settings.batch.processing,
            deadline=self._deadline or assignment.deadline,
        )

    def _results_before(
        self, from_phase: int, assignment: Assignment, parent: str
    ) -> tuple[str, tuple[StepRecord, ...]]:
        """The session to go on from, and its results before ``from_phase``."""
        wanted = parent or self._newest_like(assignment, from_phase)
        if not _is_like(self.engine.read(wanted).spec, assignment):
            raise InputError(
                _(
                    "Session {id} is on another topic, or of another type, template or language."
                ).format(id=wanted),
                hint=_("`aigenflow status {id}` shows it.").format(id=wanted),
            )
        kept = tuple(r for r in self.engine.results(wanted) if r.phase < from_phase)
        missing = set(range(1, from_phase)) - {record.phase for record in kept}
        if missing:
            raise InputError(
                _("Session {id} has no results of phase {phase} yet.").format(
                    id=wanted, phase=min(missing)
                ),
                hint=_("`aigenflow resume {id}` finishes it.").format(id=wanted),
            )
        return wanted, kept

    def _newest_like(self, assignment: Assignment, from_phase: int) -> str:
        found = next(
            (
                state.spec.session
                for state in self.engine.sessions()
                if _is_like(state.spec, assignment)
                and from_phase - 1 <= len(state.completed_phases)
            ),
            None,
        )
        if found is None:
            raise InputError(
                _("No earlier session on this topic has finished phase {phase}.").format(
                    phase=from_phase - 1
                ),
                hint=_("Name one with --session, or run without --from-phase."),
            )
        return found

    async def plan_all(self, assignments: Sequence[Assignment], *, at_once: int) -> Quotation:
        """What many documents would cost together, ``at_once`` of them written side by side.

        With the cache, a question that several of them ask is bought once. Raises
        :class:`~aigenflow.core.errors.InputError` as :meth:`start` does.
        """
        shares = self.cache is not None and not self._refresh
        bought: set[str] | None = set() if shares else None
        plans = [await self.plan(assignment, bought=bought) for assignment in assignments]
        tracker = self._meter.tracker if self._meter else None
        return add_up(
            plans,
            tracker.accounts() if tracker else (),
            tracker.limits.ring_fence if tracker else Decimal(0),
            at_once=at_once,
        )

    async def plan(
        self,
        assignment: Assignment,
        from_phase: int = 1,
        parent: str = "",
        bought: set[str] | None = None,
    ) -> Plan:
        """What a run would ask, buy and cost. Nobody is asked and no session is made.

        ``bought`` is as in :func:`~aigenflow.pipeline.planner.make_plan`.

        Raises :class:`~aigenflow.core.errors.InputError` as :meth:`start` and :meth:`branch` do.
        """
        kept: tuple[StepRecord, ...] = ()
        if from_phase > 1:
            parent, kept = self._results_before(from_phase, assignment, parent)
        spec = self._spec(assignment, parent, from_phase)
        cast = await self.cast()
        known = gather_knowledge(
            self._prices(),
            self._meter.tracker if self._meter else None,
            session=spec.session,
            at=self._clock.now(),
            call_timeout_s=self.settings.timeouts.total_seconds,
        )
        return await make_plan(
            Rehearsal(
                spec,
                cast,
                look_up=self._peek,
                calibration=known.calibration,
                usual=known.usual,
                kept=kept,
            ),
            known,
            prompts=PromptLibrary(self._templates),
            outline=load_outline(
                spec.document_type, spec.template, spec.language, user_dir=self._templates
            ),
            clock=self._clock,
            revisions=self.settings.quality.max_rounds,
            notices=(*describe_cast(cast), *_unwatched_notice(self.settings)),
            bought=bought,
            schedule=self._schedule(spec.processing, spec.deadline, cast),
        )

    def _peek(self, request: AgentRequest, route: Route) -> GatewayResponse | None:
        if self.cache is None or self._refresh:
            return None
        found = self.cache.peek(request, route)
        return found.response if found else None


def _is_like(spec: SessionSpec, assignment: Assignment) -> bool:
    """Whether a session was asked for the same document; the brief may differ."""
    return (
        spec.topic == assignment.topic.strip()
        and spec.document_type is assignment.document_type
        and spec.template == assignment.template
        and spec.language is assignment.language
    )


def read_claims(engine: LocalEngine, session: str) -> tuple[Claim, ...]:
    """What the finished document of ``session`` claims, as its file is now. Nobody is asked.

    Raises :class:`~aigenflow.core.errors.InputError` where there is no document yet, and as
    ``LocalEngine.read``.
    """
    spec = engine.read(session).spec
    document = read_text(engine.folder(session) / FINAL_FOLDER / document_name(spec))
    if document is None:
        raise InputError(
            _("Session {id} has no document yet.").format(id=session),
            hint=_("`aigenflow resume {id}` finishes it.").format(id=session),
        )
    records = engine.results(session)
    return list_claims(document, spec, records, work_out(records, spec.language).lines())


def assess_session(engine: LocalEngine, session: str, templates: Path) -> QualityReport:
    """The quality of the finished document of ``session``, as its file is now. Nobody is asked.

    Raises as :func:`read_claims`, and ``TemplateError`` where its template is gone.
    """
    spec = engine.read(session).spec
    final = engine.folder(session) / FINAL_FOLDER
    document = read_text(final / document_name(spec))
    if document is None:
        raise InputError(
            _("Session {id} has no document yet.").format(id=session),
            hint=_("`aigenflow resume {id}` finishes it.").format(id=session),
        )
    outline = load_outline(spec.document_type, spec.template, spec.language, user_dir=templates)
    stem = Path(document_name(spec)).stem
    files = {
        path.name: read_bounded(path, MAX_FILE_BYTES)
        for path in sorted(final.glob(f"{stem}.*"))
        if path.suffix != ".md"
    }
    return assess(inputs_for_session(document, spec, engine.results(session), outline, files))


def assess_file(
    path: Path, template: str, language: Language | None, templates: Path, today: date
) -> QualityReport:
    """The quality of any Markdown file. Without ``template``, the form is not known.

    Raises :class:`~aigenflow.core.errors.InputError` where it is no text, and ``TemplateError``.
    """
    try:
        text = read_bounded(path, MAX_FILE_BYTES).decode("utf-8-sig")
    except (OSError, ValueError) as error:
        raise InputError(
            _("{path} cannot be read: {problem}").format(path=path, problem=error),
            hint=_("Give a Markdown file in UTF-8, or the id of a session."),
        ) from error
    inputs = inputs_for_text(text, today, language=language)
    if template:
        kind = next(
            (info.document_type for info in list_templates(templates) if info.name == template),
            DocumentType.BIZPLAN,
        )
        outline = load_outline(kind, template, inputs.language, user_dir=templates)
        inputs = inputs_for_text(text, today, outline=outline)
    return assess(inputs)


def check_topic(topic: str) -> str:
    """``topic`` without white space around it.

    Raises :class:`~aigenflow.core.errors.InputError` where no document can come of it.
    """
    text = topic.strip()
    hint = _('For example: --topic "Subscription meal kits for people with diabetes"')
    if len(text) < MIN_TOPIC_CHARACTERS:
        raise InputError(
            _("The topic has {count} characters; at least {least} are needed.").format(
                count=len(text), least=MIN_TOPIC_CHARACTERS
            ),
            hint=hint,
        )
    if len(text) > MAX_TOPIC_CHARACTERS:
        raise InputError(
            _("The topic has {count} characters; at most {most} are taken.").format(
                count=len(text), most=MAX_TOPIC_CHARACTERS
            ),
            hint=_("Put details into a file and give it with --brief FILE."),
        )
    try:
        text.encode()
    except UnicodeEncodeError:
        raise InputError(
            _("The topic has characters that are not valid Unicode."),
            hint=_("Type it again, or check the encoding of your terminal (UTF-8)."),
        ) from None
    if any((ord(c) < 32 and c not in "\n\t") or ord(c) == 127 for c in text):
        raise InputError(_("The topic has control characters in it."), hint=hint)
    return text


def describe_cast(cast: Cast) -> tuple[str, ...]:
    """Sentences for the user on who plays whom, where that is not what they would assume."""
    if cast.is_offline:
        return (
            _(
                "No AI model can be reached, so the offline drafter writes a working draft. "
                "No AI wrote it."
            ),
        )
    by_route: dict[str, list[str]] = {}
    for agent, route in cast.routes.items():
        if route.actor is not agent or route.backend is Backend.OFFLINE:
            name = route.actor.value if route.backend is not Backend.OFFLINE else "offline"
            by_route.setdefault(name, []).append(agent.value)
    notices = [
        _("{actor} plays {roles}, which cannot be reached (no key).").format(
            actor=actor, roles=", ".join(roles)
        )
        for actor, roles in by_route.items()
    ]
    places = {(route.backend, route.model, route.base_url) for route in cast.routes.values()}
    if len(places) == 1:
        _backend, model, url = places.pop()
        if url is not None:
            notices.append(
                _("All roles are played by {model} at {url}.").format(model=model, url=url)
            )
    if cast.is_mixed:
        notices.append(_("Some answers come from the offline drafter, which is not an AI."))
    return tuple(notices)


def _unwatched_notice(settings: Settings) -> tuple[str, ...]:
    """Said when budgets are set that nobody watches."""
    budget = settings.budget
    limits = (budget.daily_usd, budget.weekly_usd, budget.monthly_usd, budget.session_usd)
    is_set = any(limit is not None for limit in limits) or bool(budget.phase_usd)
    if settings.features.monitoring_enabled or not is_set:
        return ()
    return (_("Monitoring is switched off, so budgets are off too."),)


def _mixing_notices(session: LocalSession, cast: Cast) -> tuple[str, ...]:
    """Said when a session goes on with other means than it began with."""
    records = session.records()
    before = {record.response.backend for record in records}
    now = {route.backend for route in cast.routes.values()}
    if records and (Backend.OFFLINE in before) != (Backend.OFFLINE in now):
        return (
            _(
                "This session's earlier results and its next ones do not come from the same kind "
                "of author: one of them is the offline drafter."
            ),
        )
    last = {record.agent: record for record in records}
    return tuple(
        _("{agent} was played by {before} so far and is played by {now} from here on.").format(
            agent=agent, before=record.response.model, now=cast.routes[agent].model
        )
        for agent, record in last.items()
        if not _is_the_same_model(record.response.model, cast.routes[agent].model)
        and not record.fell_back_because
    )


def _is_the_same_model(answered: str, asked: str) -> bool:
    """Providers answer with the dated name of the model that was asked for, or its short one."""
    short = asked.rpartition("/")[2]
    return not answered or answered.startswith((asked, short))
