"""Every call to a provider, paid for in the open: reserved before, settled after.

    worst case -> reserve (refused: the call is not made) -> call -> settle, whatever came of it

This stands around each single attempt, below the retries, so that an attempt that failed after the
provider had worked is on the books as well.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal
from gettext import gettext as _
from typing import TypedDict

from aigenflow.core.clock import Clock
from aigenflow.core.errors import GatewayError, JournalWriteError
from aigenflow.core.events import OnEvent, Warned
from aigenflow.core.models import (
    AgentRequest,
    Backend,
    FinishReason,
    GatewayResponse,
    Route,
    ServedFrom,
    TokenUsage,
)
from aigenflow.gateway.base import Gateway, OnText, ignore_text
from aigenflow.gateway.limits import count_bytes
from aigenflow.gateway.retry import Attempt
from aigenflow.monitoring.async_tracker import AsyncTracker
from aigenflow.monitoring.budget import describe_alert
from aigenflow.monitoring.cost_calculator import (
    BYTES_PER_TOKEN,
    avoided_by_cache,
    bill,
    estimate,
    worst_case,
)
from aigenflow.monitoring.models import (
    Alert,
    CallDetails,
    Estimate,
    Purpose,
    Rates,
    Reservation,
    Waste,
)
from aigenflow.monitoring.price_book import PriceBook
from aigenflow.monitoring.tracker import TokenTracker

MAX_SEARCHES = 8
"""The most searches of one turn, for the worst case; see the adapters."""

MAX_TURNS = 4
"""Anthropic pauses long searches: its adapter lets a turn go on three times within one call."""

TOKENS_PER_SEARCH = 2_000
"""What a search may add to the input, for the worst case: providers bill what they find there."""

_NOTHING = Decimal(0)
_USABLE = frozenset({FinishReason.COMPLETE, FinishReason.LENGTH})
_OUTPUT_LIMITS = frozenset(
    {"max_tokens", "max_output_tokens", "max_completion_tokens", "maxOutputTokens"}
)


class Meter:
    """Knows what calls cost, sets the money aside, and writes down what became of it."""

    def __init__(
        self,
        tracker: AsyncTracker,
        prices: PriceBook,
        clock: Clock,
        *,
        on_event: OnEvent,
        allow_unpriced: bool = False,
    ) -> None:
        self._tracker = tracker
        self._prices = prices
        self._clock = clock
        self._on_event = on_event
        self._allow_unpriced = allow_unpriced
        self._warnings: set[str] = set()

    @property
    def tracker(self) -> TokenTracker:
        """The ledger."""
        return self._tracker.tracker

    @property
    def prices(self) -> PriceBook:
        """What calls cost."""
        return self._prices

    def wrap(self, gateway: Gateway) -> Gateway:
        """``gateway``, with every call through it reserved and settled."""
        return MeteredGateway(gateway, self)

    def foresee(self, request: AgentRequest, route: Route, mode: ServedFrom) -> Estimate:
        """What one attempt will probably and at worst cost at the rates of ``mode``."""
        return foresee(request, route, self._rates(route, mode))

    async def reserve(
        self, request: AgentRequest, route: Route, mode: ServedFrom | None = None
    ) -> tuple[Reservation, Estimate]:
        """Set the worst case of one attempt aside: at the rates of ``mode``, else the dearest.

        Raises :class:`~aigenflow.core.errors.BudgetExceededError` where a budget has no room for
        it, and :class:`~aigenflow.core.errors.ConfigError` where its price is not known.
        """
        foreseen = self.foresee(request, route, mode or dearest_mode(request, route))
        reservation = await self._tracker.reserve(
            foreseen, Purpose(**_place(request, route)), allow_unpriced=self._allow_unpriced
        )
        if reservation.shortfalls:
            self._warn_once(_("A budget has no room left; going on as you set."))
        return reservation, foreseen

    async def settle(
        self,
        reservation: Reservation | str,
        request: AgentRequest,
        route: Route,
        response: GatewayResponse,
        *,
        whole: bool = True,
    ) -> GatewayResponse:
        """Write down what an answer cost; return it with its cost and the id of its row.

        The calls of one answer are one row: they were reserved together, and a ledger that cannot
        be written loses all of them or none.

        ``whole`` is false where its counts may not be all that is billed.
        """
        response = counted(request, response)
        full = self._rates(route, ServedFrom.LIVE)
        charged = bill(response, self._rates(route, response.served_from), full)
        wasted = response.finish_reason not in _USABLE
        usage = replace(
            self._usage(request, route, response),
            billed_cost=charged.billed,
            avoided_cost=charged.discount_saving,
            waste=wasted,
        )
        details = CallDetails(
            waste=Waste.DISCARDED if wasted else None,
            price_is_estimate=charged.is_estimate or not (whole and response.usage_reported),
            prompt_cache_saving=charged.prompt_cache_saving,
            estimate=None
            if response.usage_reported
            else _unmeasured(foresee(request, route, full)),
        )
        if charged.is_estimate and response.served_from is ServedFrom.PRIORITY:
            told = _("The priority price of {model} is not known: its cost is an estimate.")
            self._warn_once(told.format(model=route.model))
        if charged.billed and not response.usage_reported:
            told = _("{model} did not say what it used: its cost is an estimate.")
            self._warn_once(told.format(model=route.model))
        self._tell(await self._tracker.settle(reservation, usage, details=details))
        return response.model_copy(
            update={"estimated_cost": charged.billed, "call_ids": (_id_of(reservation),)}
        )

    async def lose(
        self,
        reservation: Reservation | str,
        request: AgentRequest,
        route: Route,
        foreseen: Estimate,
    ) -> None:
        """Write down a call that may be billed although its answer was lost, as it was foreseen."""
        usage = TokenUsage(
            **_place(request, route),
            input_tokens=foreseen.input_tokens,
            output_tokens=foreseen.output_tokens,
            billed_cost=foreseen.expected,
            waste=True,
            when=self._clock.now(),
        )
        details = CallDetails(
            waste=Waste.LOST, price_is_estimate=True, estimate=_unmeasured(foreseen)
        )
        self._tell(await self._tracker.settle(reservation, usage, details=details))

    async def release(self, reservation: Reservation | str) -> None:
        """Set the money of a call free that cannot have been billed."""
        await self._tracker.release(reservation)

    async def hand_over(self, reservation: str, job: str) -> None:
        """Let a batch job answer for a reservation, whatever becomes of this process."""
        await self._tracker.hand_over(reservation, job)

    async def hit(self, request: AgentRequest, route: Route, response: GatewayResponse) -> None:
        """Write down an answer from the response cache: nothing billed, and what was avoided."""
        usage = replace(
            self._usage(request, route, response),
            billed_cost=_NOTHING,
            avoided_cost=avoided_by_cache(response, self._rates(route, ServedFrom.LIVE)),
            served_from=ServedFrom.CACHE,
        )
        self._tell(await self._tracker.track(usage))

    async def wasted(self, response: GatewayResponse, why: Waste) -> None:
        """Write down that what was paid for ``response`` bought nothing that is used."""
        if response.call_ids:
            await self._tracker.mark_wasted(response.call_ids, why)

    def on_attempt(self, attempt: Attempt) -> None:
        """Told of each attempt as it ends: an answer that is asked for again was paid for twice."""
        answer = attempt.error.response if attempt.will_retry and attempt.error else None
        if answer is not None and answer.call_ids:
            self._tracker.mark_wasted_soon(answer.call_ids, Waste.RETRY)

    async def aclose(self) -> None:
        """Wait until everything is in the ledger, and close it."""
        await self._tracker.aclose()
        self._tracker.tracker.close()

    def _usage(self, request: AgentRequest, route: Route, response: GatewayResponse) -> TokenUsage:
        """What ``response`` used; its cost is still to be said."""
        return TokenUsage(
            **_place(request, route),
            input_tokens=response.input_tokens,
            output_tokens=response.output_tokens,
            cached_input_tokens=response.cached_input_tokens,
            cache_write_tokens=response.cache_write_tokens,
            reasoning_tokens=response.reasoning_tokens,
            served_from=response.served_from,
            when=self._clock.now(),
        )

    def _rates(self, route: Route, mode: ServedFrom) -> Rates | None:
        return self._prices.rates_for(
            route.actor,
            route.backend,
            route.model,
            self._clock.now(),
            mode,
            base_url=route.base_url,
        )

    def _warn_once(self, message: str) -> None:
        if message not in self._warnings:
            self._warnings.add(message)
            self._on_event(Warned(message=message))

    def _tell(self, alerts: tuple[Alert, ...]) -> None:
        for alert in alerts:
            self._on_event(Warned(message=describe_alert(alert)))


class MeteredGateway:
    """A gateway whose every call is reserved before and settled after."""

    def __init__(self, inner: Gateway, meter: Meter) -> None:
        self._inner = inner
        self._meter = meter

    async def send(
        self, request: AgentRequest, route: Route, on_text: OnText = ignore_text
    ) -> GatewayResponse:
        """Ask once, if every budget has room for the worst case."""
        reservation, foreseen = await self._meter.reserve(request, route)
        try:
            response = await self._inner.send(request, route, on_text)
        except GatewayError as error:
            if error.response is not None:
                # Of a paused turn that could not go on, only the turns before are counted.
                whole = error.response.finish_reason is not FinishReason.PAUSED
                error.response = await self._meter.settle(
                    reservation, request, route, error.response, whole=whole
                )
            elif error.possibly_billed:
                await self._meter.lose(reservation, request, route, foreseen)
            else:
                await self._meter.release(reservation)
            raise
        except BaseException:  # cancelled, or a bug: the provider may have begun to work
            await self._meter.lose(reservation, request, route, foreseen)
            raise
        try:
            return await self._meter.settle(reservation, request, route, response)
        except JournalWriteError as error:  # one error may be told to many calls at once
            raise JournalWriteError(error.message, hint=error.hint, paid_answer=response) from error

    async def list_models(self) -> tuple[str, ...]:
        """Costs nothing."""
        return await self._inner.list_models()

    async def aclose(self) -> None:
        """Close the connections."""
        await self._inner.aclose()


class _Place(TypedDict):
    provider: str
    model: str
    phase: int
    task: str
    session: str


def _place(request: AgentRequest, route: Route) -> _Place:
    return _Place(
        provider=route.actor.value,
        model=route.model,
        phase=request.phase,
        task=request.task,
        session=request.session,
    )


def foresee(request: AgentRequest, route: Route, rates: Rates | None) -> Estimate:
    """What one attempt will probably and at worst cost. Pure.

    The worst case of a search counts what is found as input and, at Anthropic, all the turns that
    it may take, each of which hears again what the ones before it said.
    """
    limit = output_limit(request, route)
    searches = MAX_SEARCHES if may_search(request, route) else 0
    once = estimate(
        bytes_sent=count_bytes(request),
        max_output_tokens=limit,
        rates=rates,
        max_searches=searches,
    )
    if rates is None or not searches:
        return once
    turns = MAX_TURNS if route.backend is Backend.ANTHROPIC else 1
    heard = once.input_tokens + searches * TOKENS_PER_SEARCH
    worst = sum(
        (worst_case(heard + turn * limit, limit, rates, searches) for turn in range(turns)),
        _NOTHING,
    )
    return replace(once, worst=worst)


def dearest_mode(request: AgentRequest, route: Route) -> ServedFrom:
    """How a call may be served at worst: options can ask for priority, which costs more."""
    asked = {**route.options, **request.options}.get("service_tier")
    return ServedFrom.PRIORITY if asked == ServedFrom.PRIORITY else ServedFrom.LIVE


def output_limit(request: AgentRequest, route: Route) -> int:
    """The most tokens of an answer: options, which go on top of a request, may allow more."""
    options = {**route.options, **request.options}
    config = options.get("generationConfig")
    named = [*options.items(), *(config.items() if isinstance(config, Mapping) else ())]
    allowed = [value for name, value in named if name in _OUTPUT_LIMITS and isinstance(value, int)]
    return max(request.max_output_tokens, *allowed, 0)


def may_search(request: AgentRequest, route: Route) -> bool:
    """Whether a call may be charged for searches: Perplexity searches without being asked to."""
    return (
        request.web_search
        or route.backend is Backend.PERPLEXITY
        or "tools" in route.options
        or "tools" in request.options
    )


def counted(request: AgentRequest, response: GatewayResponse) -> GatewayResponse:
    """``response`` with a count of our own where the provider sent none, or none for its text."""
    if response.usage_reported and (response.tokens_used or not response.content):
        return response
    input_tokens = math.ceil(count_bytes(request) / BYTES_PER_TOKEN)
    output_tokens = math.ceil(_size(response.content) / BYTES_PER_TOKEN)
    return response.model_copy(
        update={
            "usage_reported": False,
            "reported_cost": response.reported_cost or None,
            "input_tokens": input_tokens,
            "output_tokens": output_tokens,
            "tokens_used": input_tokens + output_tokens,
        }
    )


def _unmeasured(foreseen: Estimate) -> Estimate:
    """``foreseen`` without its size, so that no estimate is calibrated by another."""
    return replace(foreseen, bytes_sent=0)


def _id_of(reservation: Reservation | str) -> str:
    return reservation if isinstance(reservation, str) else reservation.id


def _size(text: str) -> int:
    return len(text.encode("utf-8", "replace"))
