"""What a run would buy and cost, worked out before it buys anything. Pure but for the rehearsal.

Money is in US dollars, ``None`` where the price is not known; durations are in seconds. The worst
case takes every limit in a call that is made once: retries, and going on with an answer that was
cut, come on top.
"""

from __future__ import annotations

import math
from collections import Counter
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
from aigenflow.core.canonical import fingerprint
from aigenflow.core.clock import Clock
from aigenflow.core.events import ignore_event
from aigenflow.core.models import (
    AgentRequest,
    AgentType,
    Backend,
    DocumentType,
    Language,
    Processing,
    ProcessingChoice,
    Route,
    ServedFrom,
    what_matters,
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
from aigenflow.pipeline.base import PhaseContext
from aigenflow.pipeline.context import BYTES_PER_TOKEN
from aigenflow.pipeline.models import Phase
from aigenflow.pipeline.orchestrator import PHASES, run_phases, task_titles
from aigenflow.pipeline.quality import rehearse_revisions
from aigenflow.pipeline.rehearsal import (
    CalibrationOf,
    Length,
    Question,
    Rehearsal,
    expected_length,
    usual_lengths,
)
from aigenflow.pipeline.scheduling import ALL_LIVE, Schedule, can_be, live_seconds
from aigenflow.templates.models import Outline
from aigenflow.templates.prompt_library import PromptLibrary

FLEX_WAIT_S = 300.0
BATCH_S = 7 * 60.0
"""What flex adds to a live answer, and the median of a batch job."""

WORST_FLEX_S = 15 * 60.0
WORST_BATCH_S = 24 * 3600.0
"""The limits that providers publish for flex and batch."""

MODES = (ServedFrom.LIVE, ServedFrom.FLEX, ServedFrom.BATCH)
"""What a run can be bought at."""


class Supply(StrEnum):
    """Where an answer would come from.

    An earlier session, the cache, a provider (``SHARED``: bought once, by an earlier document of
    the same list), or our rules.
    """

    KEPT = "kept"
    CACHED = "cached"
    SHARED = "shared"
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
    price. Tokens of an answer that is there already are those it was bought with. ``processing``
    is how the run would buy it.
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
    processing: Processing = Processing.LIVE
    price_source: RateSource | None = None
    price_is_estimate: bool = False
    cliffs: tuple[Cliff, ...] = ()
    omissions: tuple[str, ...] = ()
    saved: Decimal = ZERO

    def offer(self, mode: ServedFrom) -> Offer | None:
        """The offer in ``mode``, else the live one; ``None`` where nothing is bought."""
        by_mode = {offer.mode: offer for offer in self.offers}
        return by_mode.get(mode, by_mode.get(ServedFrom.LIVE))

    @property
    def chosen(self) -> Offer | None:
        """The offer that the run would take; flex can be refused, and then costs the live price."""
        offer, live = self.offer(ServedFrom(self.processing.value)), self.offer(ServedFrom.LIVE)
        if offer is None or live is None or offer.mode is not ServedFrom.FLEX:
            return offer
        return replace(offer, worst=live.worst)


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
class ChosenTotal:
    """The run as it would be made: every call bought as ``processing`` and the deadline say.

    ``calls`` counts them by the way they are bought.
    """

    choice: ProcessingChoice
    deadline: datetime | None
    calls: Mapping[str, int]
    expected: Decimal | None
    worst: Decimal | None
    expected_seconds: float
    worst_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetOutlook:
    """One budget before the run, and whether the run fits into what is left of it.

    ``refused`` names the task whose worst case would find no room, if all before it cost what is
    expected: there the run would stop. From ``cut_short`` on, research would be asked for less,
    so that the rest is left for writing and review.
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
    cut_short: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a run would do and cost. ``notices`` say who plays whom.

    ``revisions`` is how often the document may be written anew where it fails its quality gates,
    and ``revisions_worst`` what that costs at most: it is in no total.
    """

    topic: str
    document_type: DocumentType
    template: str
    language: Language
    tasks: tuple[TaskPlan, ...]
    totals: tuple[ModeTotal, ...]
    budgets: tuple[BudgetOutlook, ...]
    saved: Decimal
    chosen: ChosenTotal
    notices: tuple[str, ...] = ()
    revisions: int = 0
    revisions_worst: Decimal | None = ZERO

    @property
    def live(self) -> ModeTotal:
        """The run with everything at the full price."""
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
    bought: set[str] | None = None,
    schedule: Schedule = ALL_LIVE,
    revisions: int = 0,
) -> Plan:
    """Rehearse the run and work out what it costs.

    ``bought`` names the questions that other documents buy, which the cache then answers here;
    those bought here are added. ``schedule`` says how answers would be bought.

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
        revisions=revisions,
    )
    records = await run_phases(run)
    questions = rehearsal.questions
    tasks = tuple(
        plan_task(phase, record, questions.get((record.phase, record.task)), known, bought)
        for phase in PHASES
        for record in records
        if record.phase == phase.number
    )
    tasks = as_scheduled(tasks, schedule, clock.now())
    revised = await _plan_revisions(records, rehearsal, run, known) if _has_ai(tasks) else ()
    return Plan(
        topic=spec.topic,
        document_type=spec.document_type,
        template=spec.template,
        language=spec.language,
        tasks=tasks,
        totals=total_by_mode(tasks, PHASES),
        budgets=tuple(outlook(account, tasks, known.ring_fence) for account in known.accounts),
        saved=sum((task.saved for task in tasks), ZERO),
        chosen=total_as_chosen(tasks, PHASES, schedule),
        notices=notices,
        revisions=len(revised),
        revisions_worst=add_amounts(task.offers[0].worst for task in revised if task.offers),
    )


def _has_ai(tasks: Iterable[TaskPlan]) -> bool:
    return any(task.supply is not Supply.OFFLINE for task in tasks)


async def _plan_revisions(
    records: Sequence[StepRecord], rehearsal: Rehearsal, run: PhaseContext, known: Knowledge
) -> tuple[TaskPlan, ...]:
    """The revisions that may follow. What they would revise is not known, nor how long it is."""
    plans = []
    for record in await rehearse_revisions(records, run):
        question = rehearsal.questions.get((record.phase, record.task))
        if question is not None:
            longest = question.request.max_output_tokens
            question = replace(question, answer=None, key_known=False, guessed=longest)
        plans.append(plan_task(PHASES[-1], record, question, known))
    return tuple(plans)


# Costs of one task


def plan_task(
    phase: Phase,
    record: StepRecord,
    question: Question | None,
    known: Knowledge,
    bought: set[str] | None = None,
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
    if bought is not None:
        name = _name_of(question)
        if name in bought:
            return replace(asked, supply=Supply.SHARED)
        bought.add(name)
    return _purchase(asked, question, known)


def _name_of(question: Question) -> str:
    """The same for questions that the cache takes for the same."""
    route = question.route
    reached = [route.actor, route.backend, route.model, route.base_url or ""]
    return fingerprint({"asked": what_matters(question.request), "of": reached})


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
    finds = may_search(request, route)
    rates = {
        mode: rate
        for mode in MODES
        if can_be(Processing(mode.value), route, searches=finds)
        and (rate := _published(route, mode, known))
    }
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
    searches = may_search(question.request, question.route)
    live_s = live_seconds(expected.output_tokens, searches=searches)
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


def as_scheduled(
    tasks: Sequence[TaskPlan], schedule: Schedule, now: datetime
) -> tuple[TaskPlan, ...]:
    """The tasks with the way each would be bought, if the run began now."""
    ways = schedule.choose(schedule.only({task.task for task in tasks if task.offers}), now)
    return tuple(replace(task, processing=ways.get(task.task, Processing.LIVE)) for task in tasks)


def total_as_chosen(
    tasks: Sequence[TaskPlan], phases: Sequence[Phase], schedule: Schedule
) -> ChosenTotal:
    """The run with every call bought in its own way."""
    offers = {task.task: offer for task in tasks if (offer := task.chosen)}
    waves = _in_waves(offers, phases)
    return ChosenTotal(
        choice=schedule.choice,
        deadline=schedule.deadline,
        calls=dict(Counter(task.processing.value for task in tasks if task.offers)),
        expected=add_amounts(offer.expected for offer in offers.values()),
        worst=add_amounts(offer.worst for offer in offers.values()),
        expected_seconds=sum(max((o.expected_seconds for o in w), default=0) for w in waves),
        worst_seconds=sum(max((o.worst_seconds for o in w), default=0) for w in waves),
    )


def _in_waves(offers: Mapping[str, Offer], phases: Sequence[Phase]) -> list[list[Offer]]:
    return [
        [offers[task.name] for task in wave if task.name in offers]
        for phase in phases
        for wave in phase.waves()
    ]


def _mode_total(mode: ServedFrom, tasks: Sequence[TaskPlan], phases: Sequence[Phase]) -> ModeTotal:
    offers = {task.task: offer for task in tasks if (offer := task.offer(mode))}
    waves = _in_waves(offers, phases)
    return ModeTotal(
        mode=mode,
        calls=sum(offer.mode is mode for offer in offers.values()),
        expected=add_amounts(offer.expected for offer in offers.values()),
        worst=add_amounts(offer.worst for offer in offers.values()),
        expected_seconds=sum(max((o.expected_seconds for o in w), default=0) for w in waves),
        worst_seconds=sum(max((o.worst_seconds for o in w), default=0) for w in waves),
    )


def add_amounts(amounts: Iterable[Decimal | None]) -> Decimal | None:
    """Unknown plus anything is unknown."""
    total = ZERO
    for amount in amounts:
        if amount is None:
            return None
        total += amount
    return total


def outlook(account: Account, tasks: Sequence[TaskPlan], ring_fence: Decimal) -> BudgetOutlook:
    """Whether the run fits into a budget. Calls of unknown price count nothing there."""
    window = account.window
    calls = [
        (task, offer)
        for task in tasks
        if (offer := task.chosen) and window.phase in (None, task.phase)
    ]
    expected = [(task.phase, offer.expected or ZERO) for task, offer in calls]
    worst = [(task.phase, offer.worst or ZERO) for task, offer in calls]
    spent, refused, cut_short = account.spent, "", ""
    for (phase, likely), (_phase, most), (task, _offer) in zip(expected, worst, calls, strict=True):
        short = shortfalls([replace(account, spent=spent)], most, phase, ring_fence)
        if short and not short[0].ring_fenced:
            refused = task.task
            break
        if short:
            cut_short = cut_short or task.task
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
        cut_short=cut_short,
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
