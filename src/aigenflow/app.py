"""The program put together: settings in, sessions and answers out."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack, closing
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from gettext import gettext as _
from pathlib import Path
from types import TracebackType
from typing import Self

from aigenflow.agents.casting import AgentCheck, Casting
from aigenflow.agents.job_books import MeteredJobs, UnmeteredJobs
from aigenflow.agents.metering import Meter
from aigenflow.agents.notices import describe_cast, mixing_notices, unwatched_notice
from aigenflow.agents.processing import Dispatcher
from aigenflow.agents.router import Answer, Router
from aigenflow.agents.routes import Cast
from aigenflow.batch.job_store import Job, JobStore, jobs_url
from aigenflow.batch.jobs import JobDesk
from aigenflow.batch.models import BatchLimits
from aigenflow.batch.processor import BatchProcessor
from aigenflow.cache.manager import CacheManager
from aigenflow.cache.models import Explanation
from aigenflow.cache.opening import open_cache_if_possible
from aigenflow.core.clock import Clock, SystemClock
from aigenflow.core.config import AgentSettings, Settings
from aigenflow.core.errors import (
    ConfigError,
    InputError,
)
from aigenflow.core.events import OnEvent, Warned, ignore_event
from aigenflow.core.files import is_safe_name
from aigenflow.core.keys import find_key
from aigenflow.core.models import (
    AgentRequest,
    GatewayResponse,
    Language,
    ProcessingChoice,
    Route,
)
from aigenflow.engine.local import LocalEngine, LocalSession
from aigenflow.engine.models import SessionSpec, StepRecord
from aigenflow.engine.runner import Runner
from aigenflow.engine.session_files import STATE_FILE
from aigenflow.export.formats import check_formats
from aigenflow.gateway.registry import Gateways, OpenLimiter
from aigenflow.gateway.retry import Attempt
from aigenflow.monitoring.async_tracker import AsyncTracker
from aigenflow.monitoring.opening import open_tracker
from aigenflow.monitoring.price_book import PriceBook
from aigenflow.monitoring.telemetry import Telemetry
from aigenflow.monitoring.tracker import TokenTracker
from aigenflow.pipeline.assignment import Assignment, check_topic, is_like
from aigenflow.pipeline.base import PhaseContext
from aigenflow.pipeline.orchestrator import PHASES, document_name, run_pipeline, task_titles
from aigenflow.pipeline.planner import Plan, gather_knowledge, make_plan
from aigenflow.pipeline.publishing import Exported, export_session
from aigenflow.pipeline.quotation import Quotation, add_up
from aigenflow.pipeline.recollection import Recalled, recall_questions
from aigenflow.pipeline.rehearsal import Rehearsal
from aigenflow.pipeline.scheduling import ALL_LIVE, Schedule, plan_waves, published_at
from aigenflow.templates.drafting import Drafter
from aigenflow.templates.loader import TemplateInfo, list_templates, load_outline
from aigenflow.templates.prompt_library import PromptLibrary


class App:
    """Everything a command or a caller needs, opened once and closed at the end.

    ``refresh`` buys every answer anew, and remembers it in place of the old one;
    ``allow_unpriced`` makes calls whose price nobody knows, which budgets then do not count.
    ``open_limiter`` keeps the providers' limits where more than this process is held to them.
    ``processing`` and ``deadline`` (aware) are for new sessions, and win over what one that goes
    on was begun with. ``jobs`` is where batch jobs are; ``jobs_left`` are those that were still
    open when an error or a signal ended the work.

    In short::

        async with App(load_settings(home), home=home) as app:
            path = await app.write(app.start(Assignment(topic=topic, ...)))
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
        self._clock = clock or SystemClock()
        self.engine = LocalEngine(settings.output_dir, self._clock)
        self._home = home
        self._templates = home / "templates"
        self._on_event = on_event
        self._refresh = refresh
        self._telemetry = Telemetry(settings, home, self._clock, on_event)
        self.cache = self._open_cache(home) if settings.features.caching_enabled else None
        self._meter = (
            self._open_meter(home, allow_unpriced) if settings.features.monitoring_enabled else None
        )
        self._earlier_books = UnmeteredJobs(lambda: self._open_meter(home, allow_unpriced))
        self._gateways = self._open_gateways(open_limiter)
        self._casting = Casting(settings, self._gateways, self._find_key)
        self.jobs = self._open_desk(home)
        self._dispatcher = self._open_dispatcher()
        self._processor = (
            self._open_processor() if settings.features.batch_processing_enabled else None
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
            stack.push_async_callback(self._earlier_books.aclose)
            if self.cache is not None:
                stack.callback(self.cache.close)
            stack.push_async_callback(self._gateways.aclose)
            stack.push_async_callback(self.jobs.aclose)
            if kind is not None:
                self.jobs_left = tuple(self.jobs.open_jobs())

    def start(self, assignment: Assignment) -> LocalSession:
        """Begin a session. Raises :class:`~aigenflow.core.errors.InputError`."""
        return self.engine.create(self.specify(assignment))

    def specify(self, assignment: Assignment, parent: str = "", from_phase: int = 1) -> SessionSpec:
        """What a session of ``assignment`` would be; none is begun. Raises as :meth:`start`."""
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

    def branch(self, assignment: Assignment, from_phase: int, parent: str = "") -> LocalSession:
        """Begin a session that keeps the results of an earlier one before ``from_phase``.

        Without ``parent``, it is the newest session with the same assignment; without a brief of
        its own, the assignment keeps the earlier one's. Raises
        :class:`~aigenflow.core.errors.InputError` where there is none that got so far, or where
        ``parent`` was asked for something else.
        """
        wanted, _kept = self._results_before(from_phase, assignment, parent)
        return self.engine.branch(wanted, self.specify(assignment, wanted, from_phase))

    async def write(self, session: LocalSession, on_event: OnEvent | None = None) -> Path:
        """Do what is left of ``session``; return the path of the finished document.

        ``on_event`` is told of this session alone; several can be written at the same time.
        """
        with self._telemetry.watch(on_event or self._on_event) as told:
            return await self._write(session, told)

    async def write_with(self, runner: Runner, on_event: OnEvent | None = None) -> Path:
        """:meth:`write` for a session that another engine remembers."""
        with self._telemetry.watch(on_event or self._on_event) as told:
            cast = await self._casting.cast()
            notices = (*describe_cast(cast), *unwatched_notice(self.settings))
            return await run_pipeline(self._context(runner, cast, told), notices)

    async def _write(self, session: LocalSession, told: OnEvent) -> Path:
        cast = await self._casting.cast()
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
            router = self._router(await self._casting.cast(), told)
            with router.expecting(1) as (asker,), asker:
                return await router.ask(request)

    async def why(self, request: AgentRequest) -> Explanation:
        """Whether ``request`` would be answered from the cache, and what it differs in."""
        if self.cache is None:
            raise ConfigError(
                _("Caching is switched off."),
                hint=_("Switch it on: aigenflow config set caching_enabled true"),
            )
        cast = await self._casting.cast()
        return self.cache.why_request(request, cast.routes[request.agent])

    async def cast(self) -> Cast:
        """Who plays whom in this run, decided once."""
        return await self._casting.cast()

    async def check(self) -> tuple[AgentCheck, ...]:
        """Try every agent's address and key with a call that costs nothing."""
        return await self._casting.check()

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
            await self._casting.cast(),
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
            *mixing_notices(session.records(), cast),
            *unwatched_notice(self.settings),
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

    def _open_gateways(self, open_limiter: OpenLimiter | None) -> Gateways:
        return Gateways(
            self.settings,
            self._find_key,
            Drafter(self._templates),
            self._clock,
            wrap=self._meter.wrap if self._meter else lambda gateway: gateway,
            on_attempt=self._on_attempt,
            open_limiter=open_limiter,
        )

    def _open_dispatcher(self) -> Dispatcher:
        return Dispatcher(
            self._gateways,
            self.jobs,
            self._clock,
            unfinished=self.settings.batch.unfinished,
            is_on=self.settings.features.batch_processing_enabled,
            on_event=self._on_event,
        )

    def _open_processor(self) -> BatchProcessor:
        batch = self.settings.batch
        return BatchProcessor(
            self._dispatcher,
            limits=BatchLimits(
                max_batch_size=batch.max_batch_size, max_wait_s=batch.max_wait_seconds
            ),
            clock=self._clock,
            on_event=self._on_event,
        )

    def _open_desk(self, home: Path) -> JobDesk:
        return JobDesk(
            JobStore(jobs_url(self.settings.ledger.url, home), home),
            self._gateways.jobs,
            MeteredJobs(self._meter) if self._meter else self._earlier_books,
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

    def _find_key(self, agent: AgentSettings) -> str | None:
        return find_key(agent.api_key_env, use_keyring=self.settings.use_keyring)

    def _results_before(
        self, from_phase: int, assignment: Assignment, parent: str
    ) -> tuple[str, tuple[StepRecord, ...]]:
        """The session to go on from, and its results before ``from_phase``."""
        wanted = parent or self._newest_like(assignment, from_phase)
        if not is_like(self.engine.read(wanted).spec, assignment):
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
                if is_like(state.spec, assignment) and from_phase - 1 <= len(state.completed_phases)
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
        spec = self.specify(assignment, parent, from_phase)
        cast = await self._casting.cast()
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
            notices=(*describe_cast(cast), *unwatched_notice(self.settings)),
            bought=bought,
            schedule=self._schedule(spec.processing, spec.deadline, cast),
        )

    def _peek(self, request: AgentRequest, route: Route) -> GatewayResponse | None:
        if self.cache is None or self._refresh:
            return None
        found = self.cache.peek(request, route)
        return found.response if found else None
