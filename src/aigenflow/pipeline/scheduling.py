"""When answers are needed, and how each is bought so that they are there in time. Pure.

A run is a row of waves; the tasks of one wave are asked together, and the next wave waits for
all of them. So the critical path is the longest task of every wave. ``auto`` takes, per task, the
cheapest way with which the whole path still ends before the deadline; this is decided anew when a
wave begins, from the time that is left then. Durations are in seconds.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, time, timedelta, tzinfo
from decimal import Decimal
from gettext import gettext as _

from aigenflow.core.errors import InputError
from aigenflow.core.models import (
    AgentType,
    Backend,
    Processing,
    ProcessingChoice,
    Route,
    ServedFrom,
)
from aigenflow.monitoring.models import Rates
from aigenflow.monitoring.price_book import PriceBook
from aigenflow.pipeline.models import Phase, Task

START_S = 5.0
SEARCH_S = 10.0
TOKENS_PER_SECOND = 60.0
"""A live answer is expected to take its start, its search, and its tokens at this rate."""

OUTPUT_SHARE = 0.5
"""How much of its length limit an answer is expected to use."""

FLEX_S = 10 * 60.0
"""What is planned for the wait at the flex rate: providers name 1 to 15 minutes."""

BATCH_S = 60 * 60.0
"""What is planned for a batch job: 90 % of 230,000 jobs took less (openrouter.ai, Batch API)."""

TAIL_FACTOR = 2.0
"""How many times its expected duration a live answer gets where a deadline depends on it."""

OFFERED_BY: Mapping[Processing, frozenset[Backend]] = {
    Processing.LIVE: frozenset(Backend),
    Processing.FLEX: frozenset({Backend.OPENAI, Backend.GEMINI}),
    Processing.BATCH: frozenset({Backend.ANTHROPIC, Backend.OPENAI, Backend.GEMINI}),
}
"""Which back-ends serve a way at all; whether it is cheaper, the price table says."""

SEARCHES_IN_BATCH: frozenset[Backend] = frozenset()
"""Back-ends whose batch jobs can search the web.

None yet. Anthropic takes tools in batches, but a turn that pauses cannot be gone on with there;
grounding at Gemini and web search at OpenAI are not documented for batches.
"""

FLEX_HANDICAP = Decimal("1.001")
"""Flex can be refused and then costs the full price: at the same price, a batch job is taken."""

_CLOCK_TIME = re.compile(r"([01]?\d|2[0-3]):([0-5]\d)")
_DURATION = re.compile(r"(?:(\d{1,4})\s*h)?\s*(?:(\d{1,5})\s*m(?:in)?)?", re.IGNORECASE)

RatesOf = Callable[[Route, ServedFrom], Rates | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """One way to buy an answer: how long it is planned to take, and its price.

    Prices only compare: they are dollars for the expected answer where the rates are known.
    """

    processing: Processing
    seconds: float
    price: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class Errand:
    """A task with every way to buy it; live is always one of them."""

    task: str
    ways: tuple[Way, ...]

    @property
    def live_s(self) -> float:
        """How long it takes live."""
        return next(way.seconds for way in self.ways if way.processing is Processing.LIVE)

    def way(self, processing: Processing) -> Way | None:
        """That way, if it is offered."""
        return next((way for way in self.ways if way.processing is processing), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Manner:
    """How a request is bought; from ``complete_by`` on (aware) only live."""

    processing: Processing = Processing.LIVE
    complete_by: datetime | None = None


LIVE = Manner()

Waves = tuple[tuple[Errand, ...], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """How the tasks of a run are bought. Without waves, all of them live."""

    choice: ProcessingChoice = ProcessingChoice.LIVE
    deadline: datetime | None = None
    waves: Waves = ()

    def manner_of(self, task: str, now: datetime) -> Manner:
        """How ``task`` is bought if its wave begins now."""
        place = next((n for n, wave in enumerate(self.waves) if _errand(wave, task)), None)
        if place is None:
            return LIVE
        processing = self.choose(self.waves[place:], now)[task]
        if processing is Processing.LIVE or self.deadline is None:
            return Manner(processing=processing)
        tail = TAIL_FACTOR * sum(_live_s(wave) for wave in self.waves[place:])
        by = self.deadline - timedelta(seconds=tail)
        # On the minute, so that requests of different documents can share a job.
        return Manner(processing=processing, complete_by=by.replace(second=0, microsecond=0))

    def choose(self, waves: Waves, now: datetime) -> dict[str, Processing]:
        """The way of every task of ``waves``, which are all that is left of the run."""
        errands = [errand for wave in waves for errand in wave]
        if self.choice is ProcessingChoice.AUTO:
            if self.deadline is None:
                return {errand.task: Processing.LIVE for errand in errands}
            return cheapest_in_time(waves, (self.deadline - now).total_seconds())
        wanted = Processing(self.choice.value)
        return {
            errand.task: wanted if errand.way(wanted) else Processing.LIVE for errand in errands
        }

    def only(self, tasks: Collection[str]) -> Waves:
        """The waves with no other tasks than these."""
        kept = (tuple(one for one in wave if one.task in tasks) for wave in self.waves)
        return tuple(wave for wave in kept if wave)


ALL_LIVE = Schedule()


def plan_waves(
    phases: Sequence[Phase], routes: Mapping[AgentType, Route], rates: RatesOf | None = None
) -> Waves:
    """Every wave of a run with the ways to buy its tasks. Without ``rates``, half is half."""
    return tuple(
        tuple(_errand_of(task, routes[task.agent], rates) for task in wave)
        for phase in phases
        for wave in phase.waves()
    )


def published_at(prices: PriceBook, moment: datetime) -> RatesOf:
    """The rates that somebody has published for a time; a guess is no discount."""

    def rates_of(route: Route, mode: ServedFrom) -> Rates | None:
        rates = prices.rates_for(
            route.actor, route.backend, route.model, moment, mode, base_url=route.base_url
        )
        return None if rates and rates.estimate and mode is not ServedFrom.LIVE else rates

    return rates_of


def live_seconds(output_tokens: float, *, searches: bool) -> float:
    """How long a live answer is expected to take."""
    return START_S + (SEARCH_S if searches else 0.0) + output_tokens / TOKENS_PER_SECOND


def can_be(processing: Processing, route: Route, *, searches: bool) -> bool:
    """Whether a request can be bought that way."""
    if route.backend not in OFFERED_BY[processing]:
        return False
    return processing is not Processing.BATCH or not searches or route.backend in SEARCHES_IN_BATCH


def cheapest_in_time(waves: Waves, seconds_left: float) -> dict[str, Processing]:
    """The cheapest ways with which all waves, one after the other, end in time; else all live.

    Time for the longest live answer is kept free, for what a discounted way does not bring.
    """
    tail = TAIL_FACTOR * max(map(_live_s, waves), default=0.0)
    plans = [_Plan(seconds=0.0, price=Decimal(0), choices={})]
    for wave in waves:
        plans = _best([plan.then(step) for plan in plans for step in _steps(wave)])
    in_time = [plan for plan in plans if plan.seconds + tail <= seconds_left]
    if not in_time:
        return {errand.task: Processing.LIVE for wave in waves for errand in wave}
    return dict(min(in_time, key=lambda plan: (plan.price, plan.seconds)).choices)


def parse_deadline(text: str, now: datetime, zone: tzinfo) -> datetime:
    """``09:00`` (the next one), ``2h``, ``90m``, ``1h30m``, or an ISO date and time.

    Times without an offset are in ``zone``. Raises :class:`~aigenflow.core.errors.InputError`.
    """
    wanted = text.strip()
    if clock_time := _CLOCK_TIME.fullmatch(wanted):
        return _next(time(int(clock_time[1]), int(clock_time[2])), now, zone)
    duration = _DURATION.fullmatch(wanted)
    if duration and any(duration.groups()):
        return now + timedelta(hours=int(duration[1] or 0), minutes=int(duration[2] or 0))
    try:
        moment = datetime.fromisoformat(wanted)
    except ValueError:
        raise InputError(
            _("{text!r} is no deadline.").format(text=wanted[:40]),
            hint=_("For example: --deadline 09:00, 2h, 90m, or 2026-11-23T09:00"),
        ) from None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=zone)
    if moment <= now:
        raise InputError(
            _("The deadline {text} has passed.").format(text=wanted),
            hint=_("For example: --deadline 09:00 is the next 09:00."),
        )
    return moment


def _next(at: time, now: datetime, zone: tzinfo) -> datetime:
    today = now.astimezone(zone).date()
    moment = datetime.combine(today, at, zone)
    return moment if moment > now else datetime.combine(today + timedelta(days=1), at, zone)


def _errand_of(task: Task, route: Route, rates: RatesOf | None) -> Errand:
    output = task.max_output_tokens * OUTPUT_SHARE
    searches = task.web_search or route.backend is Backend.PERPLEXITY
    live_s = live_seconds(output, searches=searches)
    waits = {Processing.LIVE: 0.0, Processing.FLEX: FLEX_S, Processing.BATCH: BATCH_S}
    return Errand(
        task=task.name,
        ways=tuple(
            Way(
                processing=processing,
                seconds=live_s + waits[processing],
                price=_price(output, route, processing, rates),
            )
            for processing in Processing
            if can_be(processing, route, searches=searches)
        ),
    )


def _price(
    output_tokens: float, route: Route, processing: Processing, rates: RatesOf | None
) -> Decimal:
    handicap = FLEX_HANDICAP if processing is Processing.FLEX else Decimal(1)
    known = rates(route, ServedFrom(processing.value)) if rates else None
    if known is None:
        share = 1 if processing is Processing.LIVE or rates else 2
        return Decimal(output_tokens) / share * handicap
    return Decimal(output_tokens) * known.base.output * handicap


@dataclass(frozen=True, slots=True, kw_only=True)
class _Plan:
    """Ways for some waves in a row, how long they take together, and what they cost."""

    seconds: float
    price: Decimal
    choices: Mapping[str, Processing]

    def then(self, step: _Plan) -> _Plan:
        return _Plan(
            seconds=self.seconds + step.seconds,
            price=self.price + step.price,
            choices={**self.choices, **step.choices},
        )


def _steps(wave: Sequence[Errand]) -> list[_Plan]:
    """For each duration that a wave can have, the cheapest ways that keep to it."""
    limits = {way.seconds for errand in wave for way in errand.ways}
    steps = []
    for limit in sorted(limits):
        fitting = [[way for way in one.ways if way.seconds <= limit] for one in wave]
        if all(fitting):
            chosen = [min(ways, key=lambda way: way.price) for ways in fitting]
            choices = {one.task: way.processing for one, way in zip(wave, chosen, strict=True)}
            price = sum((way.price for way in chosen), Decimal(0))
            seconds = max(way.seconds for way in chosen)
            steps.append(_Plan(seconds=seconds, price=price, choices=choices))
    return _best(steps)


def _best(plans: Sequence[_Plan]) -> list[_Plan]:
    """Those that no other is both faster and at most as dear as; fastest first."""
    best: list[_Plan] = []
    for plan in sorted(plans, key=lambda one: (one.seconds, one.price)):
        if not best or plan.price < best[-1].price:
            best.append(plan)
    return best


def _errand(wave: Sequence[Errand], task: str) -> Errand | None:
    return next((errand for errand in wave if errand.task == task), None)


def _live_s(wave: Sequence[Errand]) -> float:
    return max((errand.live_s for errand in wave), default=0.0)
