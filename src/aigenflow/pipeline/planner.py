"""What a run would buy and cost, worked out before it buys anything. Pure but for the rehearsal.

Money is in US dollars, ``None`` where the price is not known; durations are in seconds. The worst
case takes every limit in a call that is made once: retries, and going on with an answer that was
cut, come on top.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from functools import cache

from aigenflow.agents.metering import (
    MAX_SEARCHES,
    foresee,
    may_search,
    output_limit,
)
from aigenflow.core.clock import Clock
from aigenflow.core.events import ignore_event
from aigenflow.core.models import (
    AgentRequest,
    AgentType,
    Backend,
    DocumentType,
    Language,
    Route,
    ServedFrom,
)
from aigenflow.engine.models import StepRecord
from aigenflow.gateway.limits import count_bytes
from aigenflow.monitoring.budget import RESEARCH_PHASES, shortfalls
from aigenflow.monitoring.cost_calculator import (
    WORST_INPUT_FACTOR,
    avoided_by_cache,
    estimate,
)
from aigenflow.monitoring.models import (
    ZERO,
    Account,
    BudgetKind,
    Calibration,
    Dimension,
    Estimate,
    Rates,
    RateSource,
)
from aigenflow.monitoring.price_book import PriceBook
from aigenflow.monitoring.tracker import TokenTracker
from aigenflow.pipeline.base import PhaseContext, run_phase
from aigenflow.pipeline.context import BYTES_PER_TOKEN
from aigenflow.pipeline.models import Phase
from aigenflow.pipeline.orchestrator import PHASES, task_titles
from aigenflow.pipeline.rehearsal import (
    CalibrationOf,
    Length,
    Question,
    Rehearsal,
    expected_length,
    usual_lengths,
)
from aigenflow.templates.models import Outline
from aigenflow.templates.prompt_library import PromptLibrary

START_S = 5.0
SEARCH_S = 10.0
TOKENS_PER_SECOND = 60.0
"""An answer is expected to take its start, its search, and its tokens at this rate."""

FLEX_WAIT_S = 300.0
BATCH_S = 7 * 60.0
"""What flex adds to a live answer, and the median of a batch job."""

WORST_FLEX_S = 15 * 60.0
WORST_BATCH_S = 24 * 3600.0
"""The limits that providers publish for flex and batch."""

MODES: Mapping[ServedFrom, frozenset[Backend]] = {
    ServedFrom.LIVE: frozenset(Backend),
    ServedFrom.FLEX: frozenset({Backend.OPENAI, Backend.GEMINI}),
    ServedFrom.BATCH: frozenset({Backend.ANTHROPIC, Backend.OPENAI, Backend.GEMINI}),
}
"""Which back-ends serve a mode at all; whether it is cheaper, the price table says."""


class Supply(StrEnum):
    """Where an answer would come from: an earlier session, the cache, a provider, or our rules."""

    KEPT = "kept"
    CACHED = "cached"
    BOUGHT = "bought"
    OFFLINE = "offline"


@dataclass(frozen=True, slots=True, kw_only=True)
class Knowledge:
    """What costs are worked out from.

    ``rates`` prices a route in a mode; ``usual`` is how long the answers to a task have been.
    ``accounts`` are the budgets in force. ``call_timeout_s`` ends a live call.
    """

    rates: Callable[[Route, ServedFrom], Rates | None]
    calibration: CalibrationOf
    usual: Mapping[str, Length]
    accounts: tuple[Account, ...] = ()
    ring_fence: Decimal = ZERO
    call_timeout_s: float = 900.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """What one answer costs and how long it takes in one mode. ``worst`` takes every limit."""

    mode: ServedFrom
    expected: Decimal | None
    worst: Decimal | None
    expected_seconds: float
    worst_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Cliff:
    """A call whose input is above ``above_input_tokens`` pays more for every token.

    ``expected`` says whether that is expected, rather than possible in the worst case only;
    ``factor`` is by how much the input rate grows there.
    """

    above_input_tokens: int
    factor: Decimal
    expected: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskPlan:
    """One question of the run.

    ``key_known`` is false where the question depends on answers that nobody has given yet.
    ``offers`` are empty where nothing is bought; ``saved`` is what the cache saves at the live
    price. Tokens of an answer that is there already are those it was bought with.
    """

    phase: int
    phase_name: str
    task: str
    agent: AgentType
    actor: AgentType
    backend: Backend
    model: str
    supply: Supply
    key_known: bool = True
    input_tokens: int = 0
    worst_input_tokens: int = 0
    output_tokens: int = 0
    max_output_tokens: int = 0
    searches: int = 0
    max_searches: int = 0
    offers: tuple[Offer, ...] = ()
    price_source: RateSource | None = None
    price_is_estimate: bool = False
    cliffs: tuple[Cliff, ...] = ()
    omissions: tuple[str, ...] = ()
    saved: Decimal = ZERO

    def offer(self, mode: ServedFrom) -> Offer | None:
        """The offer in ``mode``, else the live one; ``None`` where nothing is bought."""
        by_mode = {offer.mode: offer for offer in self.offers}
        return by_mode.get(mode, by_mode.get(ServedFrom.LIVE))


@dataclass(frozen=True, slots=True, kw_only=True)
class ModeTotal:
    """The whole run with every call in ``mode`` that has a published rate there, the rest live.

    ``calls`` counts those that have one.
    """

    mode: ServedFrom
    calls: int
    expected: Decimal | None
    worst: Decimal | None
    expected_seconds: float
    worst_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetOutlook:
    """One budget before the run, and whether the run fits into what is left of it.

    ``refused`` names the task whose worst case would find no room, if all before it cost what is
    expected: there the run would stop.
    """

    kind: BudgetKind
    name: str
    cap: Decimal
    spent: Decimal
    reserved: Decimal
    left: Decimal
    exceeded: bool
    worst_exceeded: bool
    refused: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a run would do and cost. ``notices`` say who plays whom."""

    topic: str
    document_type: DocumentType
    template: str
    language: Language
    tasks: tuple[TaskPlan, ...]
    totals: tuple[ModeTotal, ...]
    budgets: tuple[BudgetOutlook, ...]
    saved: Decimal
    notices: tuple[str, ...] = ()

    @property
    def live(self) -> ModeTotal:
        """The run as ``aigenflow run`` makes it."""
        return self.totals[0]

    @property
    def is_over_budget(self) -> bool:
        """What the run is expected to cost does not fit into some budget."""
        return any(budget.exceeded for budget in self.budgets)

    @property
    def unpriced_models(self) -> tuple[str, ...]:
        """Models that would be asked and whose price nobody knows."""
        models = (t.model for t in self.tasks if t.offers and t.offers[0].expected is None)
        return tuple(dict.fromkeys(models))

    def count(self, supply: Supply) -> int:
        """How many answers would come from there."""
        return sum(task.supply is supply for task in self.tasks)


def gather_knowledge(
    prices: PriceBook,
    tracker: TokenTracker | None,
    *,
    session: str,
    at: datetime,
    call_timeout_s: float,
) -> Knowledge:
    """Read prices at a time, and from the ledger, where there is one, what it knows."""

    def rates(route: Route, mode: ServedFrom) -> Rates | None:
        return prices.rates_for(
            route.actor, route.backend, route.model, at, mode, base_url=route.base_url
        )

    @cache
    def calibration(model: str) -> Calibration | None:
        return tracker.calibration(model) if tracker else None

    return Knowledge(
        rates=rates,
        calibration=calibration,
        usual=usual_lengths(tracker.totals(Dimension.TASK)) if tracker else {},
        accounts=_accounts(tracker, session) if tracker else (),
        ring_fence=tracker.limits.ring_fence if tracker else ZERO,
        call_timeout_s=call_timeout_s,
    )


def _accounts(tracker: TokenTracker, session: str) -> tuple[Account, ...]:
    accounts = {
        (account.window.kind, account.window.name): account
        for phase in PHASES
        for account in tracker.accounts(session, phase.number)
    }
    return tuple(accounts.values())


async def make_plan(
    rehearsal: Rehearsal,
    known: Knowledge,
    *,
    prompts: PromptLibrary,
    outline: Outline,
    clock: Clock,
    notices: tuple[str, ...] = (),
) -> Plan:
    """Rehearse the run and work out what it costs.

    Raises what stops a run before its first call: a broken template, a brief that no model of the
    cast can take (:class:`~aigenflow.core.errors.PhaseFailedError`).
    """
    spec = rehearsal.spec
    run = PhaseContext(
        runner=rehearsal,
        asker=rehearsal,
        prompts=prompts,
        outline=outline,
        titles=task_titles(spec.language),
        clock=clock,
        on_event=ignore_event,
    )
    records = await _play(run)
    questions = rehearsal.questions
    tasks = tuple(
        plan_task(phase, record, questions.get((record.phase, record.task)), known)
        for phase in PHASES
        for record in records
        if record.phase == phase.number
    )
    return Plan(
        topic=spec.topic,
        document_type=spec.document_type,
        template=spec.template,
        language=spec.language,
        tasks=tasks,
        totals=total_by_mode(tasks, PHASES),
        budgets=tuple(outlook(account, tasks, known.ring_fence) for account in known.accounts),
        saved=sum((task.saved for task in tasks), ZERO),
        notices=notices,
    )


async def _play(run: PhaseContext) -> tuple[StepRecord, ...]:
    records: tuple[StepRecord, ...] = ()
    for phase in PHASES:
        records += await run_phase(phase, records, run)
    return records


# Costs of one task


def plan_task(
    phase: Phase, record: StepRecord, question: Question | None, known: Knowledge
) -> TaskPlan:
    """What one task takes; without a question it keeps the result of an earlier session."""
    if question is None:
        return _kept(phase, record)
    route = question.route
    asked = TaskPlan(
        phase=phase.number,
        phase_name=phase.name,
        task=record.task,
        agent=route.agent,
        actor=route.actor,
        backend=route.backend,
        model=route.model,
        supply=Supply.BOUGHT,
        key_known=question.key_known,
        omissions=record.omissions,
    )
    if route.backend is Backend.OFFLINE:
        return replace(asked, supply=Supply.OFFLINE)
    if question.answer is not None:
        return replace(
            asked,
            supply=Supply.CACHED,
            input_tokens=question.answer.input_tokens,
            output_tokens=question.answer.output_tokens,
            saved=avoided_by_cache(question.answer, known.rates(route, ServedFrom.LIVE)),
        )
    return _purchase(asked, question, known)


def _kept(phase: Phase, record: StepRecord) -> TaskPlan:
    response = record.response
    return TaskPlan(
        phase=phase.number,
        phase_name=phase.name,
        task=record.task,
        agent=record.agent,
        actor=record.actor,
        backend=response.backend or Backend.OFFLINE,
        model=response.model,
        supply=Supply.KEPT,
        input_tokens=response.input_tokens,
        output_tokens=response.output_tokens,
    )


def _purchase(asked: TaskPlan, question: Question, known: Knowledge) -> TaskPlan:
    request, route = question.request, question.route
    rates = {mode: rate for mode in MODES if (rate := _published(route, mode, known))}
    live = rates.get(ServedFrom.LIVE)
    expected = _expected(question, known, live)
    most = foresee(_at_its_longest(question), route, live).input_tokens * WORST_INPUT_FACTOR
    worst_input = max(expected.input_tokens, min(math.ceil(most), route.context_window_tokens))
    searches = MAX_SEARCHES if may_search(request, route) else 0
    return replace(
        asked,
        input_tokens=expected.input_tokens,
        worst_input_tokens=worst_input,
        output_tokens=expected.output_tokens,
        max_output_tokens=output_limit(request, route),
        searches=min(1, searches),
        max_searches=searches,
        offers=tuple(
            _offer(mode, question, known, rates.get(mode))
            for mode in MODES
            if mode in rates or mode is ServedFrom.LIVE
        ),
        price_source=live.source if live else None,
        price_is_estimate=live is not None and live.estimate,
        cliffs=cliffs(expected.input_tokens, worst_input, live) if live else (),
    )


def _published(route: Route, mode: ServedFrom, known: Knowledge) -> Rates | None:
    """The rates of a mode; of a discounted one only where they are not the full price again."""
    if route.backend not in MODES[mode]:
        return None
    rates = known.rates(route, mode)
    if mode is not ServedFrom.LIVE and rates is not None and rates.estimate:
        return None
    return rates


def _expected(question: Question, known: Knowledge, rates: Rates | None) -> Estimate:
    request, route = question.request, question.route
    return estimate(
        bytes_sent=count_bytes(request),
        max_output_tokens=output_limit(request, route),
        rates=rates,
        max_searches=MAX_SEARCHES if may_search(request, route) else 0,
        calibration=known.calibration(route.model),
        expected_output_tokens=expected_length(request, known.usual).output,
    )


def _at_its_longest(question: Question) -> AgentRequest:
    """The request with every stand-in at its full length, and padding for what these lack.

    A longer context is shortened to the model's window, as in the run.
    """
    request, window = question.request, question.route.context_window_tokens
    room = (window - request.max_output_tokens) * BYTES_PER_TOKEN - count_bytes(request)
    padding = max(0, min(room, question.guessed * BYTES_PER_TOKEN))
    return replace(request, prompt=request.prompt + " " * padding)


def _offer(mode: ServedFrom, question: Question, known: Knowledge, rates: Rates | None) -> Offer:
    """One mode's price; its worst case is what a run would set aside before the call."""
    expected = _expected(question, known, rates)
    worst = foresee(_at_its_longest(question), question.route, rates).worst
    search_s = SEARCH_S if may_search(question.request, question.route) else 0.0
    live_s = START_S + search_s + expected.output_tokens / TOKENS_PER_SECOND
    expected_s, worst_s = {
        ServedFrom.FLEX: (FLEX_WAIT_S + live_s, WORST_FLEX_S),
        ServedFrom.BATCH: (BATCH_S, WORST_BATCH_S),
    }.get(mode, (live_s, known.call_timeout_s))
    return Offer(
        mode=mode,
        expected=expected.expected,
        worst=None if worst is None else max(worst, expected.expected or ZERO),
        expected_seconds=expected_s,
        worst_seconds=max(expected_s, worst_s),
    )


def cliffs(input_tokens: int, worst_input_tokens: int, rates: Rates) -> tuple[Cliff, ...]:
    """The thresholds of the price that the input passes, or may pass in the worst case."""
    base = rates.base.input
    return tuple(
        Cliff(
            above_input_tokens=tier.above_input_tokens,
            factor=tier.rates.input / base if base else Decimal(1),
            expected=input_tokens > tier.above_input_tokens,
        )
        for tier in rates.tiers
        if worst_input_tokens > tier.above_input_tokens
    )


# Sums


def total_by_mode(tasks: Sequence[TaskPlan], phases: Sequence[Phase]) -> tuple[ModeTotal, ...]:
    """The run in each mode that any call has a rate for; live always comes first."""
    offered = {offer.mode for task in tasks for offer in task.offers}
    return tuple(
        _mode_total(mode, tasks, phases)
        for mode in MODES
        if mode in offered or mode is ServedFrom.LIVE
    )


def _mode_total(mode: ServedFrom, tasks: Sequence[TaskPlan], phases: Sequence[Phase]) -> ModeTotal:
    offers = {task.task: offer for task in tasks if (offer := task.offer(mode))}
    waves = [
        [offers[task.name] for task in wave if task.name in offers]
        for phase in phases
        for wave in phase.waves()
    ]
    return ModeTotal(
        mode=mode,
        calls=sum(offer.mode is mode for offer in offers.values()),
        expected=_sum(offer.expected for offer in offers.values()),
        worst=_sum(offer.worst for offer in offers.values()),
        expected_seconds=sum(max((o.expected_seconds for o in w), default=0) for w in waves),
        worst_seconds=sum(max((o.worst_seconds for o in w), default=0) for w in waves),
    )


def _sum(amounts: Iterable[Decimal | None]) -> Decimal | None:
    """Unknown plus anything is unknown."""
    total = ZERO
    for amount in amounts:
        if amount is None:
            return None
        total += amount
    return total


def outlook(account: Account, tasks: Sequence[TaskPlan], ring_fence: Decimal) -> BudgetOutlook:
    """Whether the run fits into a budget, live. Calls of unknown price count nothing there."""
    window = account.window
    calls = [
        (task, offer)
        for task in tasks
        if (offer := task.offer(ServedFrom.LIVE)) and window.phase in (None, task.phase)
    ]
    expected = [(task.phase, offer.expected or ZERO) for task, offer in calls]
    worst = [(task.phase, offer.worst or ZERO) for task, offer in calls]
    spent, refused = account.spent, ""
    for (phase, likely), (_phase, most), (task, _offer) in zip(expected, worst, calls, strict=True):
        if shortfalls([replace(account, spent=spent)], most, phase, ring_fence):
            refused = task.task
            break
        spent += likely
    return BudgetOutlook(
        kind=window.kind,
        name=window.name,
        cap=window.cap,
        spent=account.spent,
        reserved=account.reserved,
        left=window.cap - account.spent - account.reserved,
        exceeded=_exceeds(account, expected, ring_fence),
        worst_exceeded=_exceeds(account, worst, ring_fence),
        refused=refused,
    )


def _exceeds(account: Account, costs: Sequence[tuple[int, Decimal]], ring_fence: Decimal) -> bool:
    """Whether the research, or everything, asks for more than is left of a budget."""
    research = sum((cost for phase, cost in costs if phase in RESEARCH_PHASES), ZERO)
    everything = sum((cost for _phase, cost in costs), ZERO)
    first, last = min(RESEARCH_PHASES), max(phase.number for phase in PHASES)
    return bool(
        shortfalls([account], research, first, ring_fence)
        or shortfalls([account], everything, last, ring_fence)
    )
