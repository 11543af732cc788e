"""The one retry layer, around any gateway.

The SDKs below do not retry and the pipeline above does not either, so that every attempt that may
be billed is decided here, paid from a budget and reported.

    judge()       is this answer one to keep, or which error is it?
    next_step()   try again, ask again, or stop?
    wait_s()      how long first?
    RetryBudget   can the provider bear another attempt?

These are pure; :class:`ResilientGateway` acts on what they say, and tenacity runs the loop.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import Enum
from gettext import gettext as _
from random import Random
from typing import ClassVar

from tenacity import AsyncRetrying

from aigenflow.core.clock import Clock
from aigenflow.core.errors import (
    CircuitOpenError,
    EmptyAnswerError,
    GatewayError,
    MalformedAnswerError,
    RateLimitedError,
    RefusedError,
    ServerFaultError,
    StalledError,
    TransientError,
)
from aigenflow.core.models import AgentRequest, FinishReason, GatewayResponse, Route
from aigenflow.gateway.base import Gateway, OnText, ignore_text
from aigenflow.gateway.breaker import CircuitBreaker, Outcome, outcome_of
from aigenflow.gateway.limits import (
    NO_LIMITS,
    Limiter,
    Limits,
    RateLimiter,
    estimate_input_tokens,
    estimate_tokens,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """How often and how patiently; durations in seconds.

    ``attempts`` counts the first one. ``reasks`` are attempts of their own, for answers that came
    but cannot be used. A provider that asks for a wait longer than ``longest_retry_after_s`` is
    not waited for.
    """

    attempts: int = 3
    reasks: int = 1
    base_s: float = 1.0
    factor: float = 2.0
    cap_s: float = 60.0
    longest_retry_after_s: float = 120.0

    @property
    def longest_pause_s(self) -> float:
        """How long a call waits, before it goes out, for a pause that the provider asked for."""
        return self.longest_retry_after_s + self.base_s


DEFAULT_POLICY = RetryPolicy()


class Step(Enum):
    """What follows a failed attempt."""

    STOP = "stop"
    RETRY = "retry"
    REASK = "reask"


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One attempt that reached the provider: what a ledger needs to bill it.

    Either ``response`` is the answer, or ``error`` says why there is none to keep; an answer that
    arrived all the same is in ``error.response``. ``request`` is what was sent: a re-ask may
    allow a longer answer than the caller did. ``number`` counts from 1, re-asks included.
    ``started`` is wall time in UTC; ``duration_s`` leaves out all waiting on our side.
    """

    request: AgentRequest
    route: Route
    number: int
    response: GatewayResponse | None
    error: GatewayError | None
    started: datetime
    duration_s: float
    will_retry: bool = False


def ignore_attempt(attempt: Attempt) -> None:
    """An ``on_attempt`` that does nothing."""


def judge(response: GatewayResponse) -> GatewayError | None:
    """Why ``response`` is not one to keep, or ``None``.

    An answer that was cut at its length limit is kept: the caller can ask the model to go on,
    unless there is no text to go on from.
    """
    reason = response.finish_reason
    if reason in (FinishReason.REFUSAL, FinishReason.FILTERED):
        error: type[GatewayError] = RefusedError
        message = _("{model} refused to answer")
        hint = _("Word the topic differently, or let another agent do this task.")
    elif reason in (FinishReason.PAUSED, FinishReason.UNKNOWN):
        error = MalformedAnswerError
        message = _("{model} stopped before its answer was whole")
        hint = _("Try again later, or choose another model.")
    elif reason is FinishReason.EMPTY or not response.content.strip():
        error = EmptyAnswerError
        message = _("{model} answered without any text")
        hint = _("Allow a longer answer, or choose another model.")
    else:
        return None
    provider = response.backend.value if response.backend else ""
    return error(
        message.format(model=response.model or provider or _("The model")),
        hint=hint,
        provider=provider,
        response=response,
    )


def retry_after_s(error: GatewayError) -> float:
    """Seconds the provider asked us to wait; 0 where it named no wait that makes sense."""
    if isinstance(error, RateLimitedError | ServerFaultError):
        asked = error.retry_after_s
        if asked is not None and asked > 0:
            return asked
    return 0.0


def next_step(error: GatewayError, *, attempts: int, reasks: int, policy: RetryPolicy) -> Step:
    """What ``error`` calls for after ``attempts`` attempts and ``reasks`` re-asks beside them."""
    if isinstance(error, TransientError):
        patient = retry_after_s(error) <= policy.longest_retry_after_s
        return Step.RETRY if patient and attempts < policy.attempts else Step.STOP
    if isinstance(error, EmptyAnswerError | MalformedAnswerError) and reasks < policy.reasks:
        return Step.REASK
    return Step.STOP


def backoff_window_s(failures: int, policy: RetryPolicy) -> float:
    """The longest backoff after ``failures`` (from 1) in seconds."""
    return min(policy.cap_s, policy.base_s * policy.factor ** (failures - 1))


def wait_s(error: GatewayError, *, failures: int, policy: RetryPolicy, random: Random) -> float:
    """Seconds to wait before the retry that follows failure number ``failures`` (from 1).

    ``wait_s = retry_after_s + uniform(0, min(cap_s, base_s * factor ** (failures - 1)))``

    That is full jitter: up to 1 s, 2 s, 4 s, ... 60 s with the default policy. Where the provider
    asked for a wait, it is kept in full and the jitter comes on top, so that many clients that
    were turned away together do not come back together.
    """
    return retry_after_s(error) + random.uniform(0.0, backoff_window_s(failures, policy))


def with_longer_limit(request: AgentRequest, route: Route) -> AgentRequest:
    """``request`` with twice the output limit, as far as the context window has room for it."""
    room = route.context_window_tokens - estimate_input_tokens(request)
    longer = min(2 * request.max_output_tokens, room)
    return replace(request, max_output_tokens=max(longer, request.max_output_tokens))


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryBudget:
    """What the retries of one provider may cost, so that they never become a storm.

    Two rules, both must allow a retry. The bucket (``level``, at most 100): a retry takes 5, one
    after a timeout 10, a success gives 1 back. The share: from 50 calls on, retries stay within
    10 % of them. ``calls`` counts requests that reached the provider, not attempts. Re-asks
    count as retries.
    """

    CAPACITY: ClassVar[int] = 100
    RETRY_COST: ClassVar[int] = 5
    TIMEOUT_COST: ClassVar[int] = 10
    SUCCESS_GAIN: ClassVar[int] = 1
    RUN_CALLS: ClassVar[int] = 50
    CALLS_PER_RETRY: ClassVar[int] = 10

    level: int = CAPACITY
    calls: int = 0
    retries: int = 0

    def allows(self, error: GatewayError) -> bool:
        """Whether a retry after ``error`` is within the budget."""
        within_share = (
            self.calls < self.RUN_CALLS or (self.retries + 1) * self.CALLS_PER_RETRY <= self.calls
        )
        return within_share and self._cost(error) <= self.level

    def after_call(self) -> RetryBudget:
        """The budget once one more request has reached the provider."""
        return replace(self, calls=self.calls + 1)

    def after_success(self) -> RetryBudget:
        """The budget once a call has given an answer to keep."""
        return replace(self, level=min(self.CAPACITY, self.level + self.SUCCESS_GAIN))

    def after_retry(self, error: GatewayError) -> RetryBudget:
        """The budget once a retry after ``error`` is decided."""
        return replace(self, level=self.level - self._cost(error), retries=self.retries + 1)

    def _cost(self, error: GatewayError) -> int:
        return self.TIMEOUT_COST if isinstance(error, StalledError) else self.RETRY_COST


@dataclass(slots=True, kw_only=True)
class _Call:
    """One request on its way through its attempts: the state that tenacity is steered by.

    ``attempts`` counts those made and the one under way, ``reasks`` beside them. ``request`` is
    what is sent next. ``step`` and ``wait_s`` (seconds) say what follows the attempt that ended.
    """

    request: AgentRequest
    route: Route
    on_text: OnText
    attempts: int = 1
    reasks: int = 0
    step: Step = Step.STOP
    wait_s: float = 0.0


class ResilientGateway:
    """A :class:`~aigenflow.gateway.base.Gateway` that keeps limits, retries and knows when to stop.

    One instance per provider and event loop; all calls through it share the limits, the retry
    budget and, per model, the circuit breaker. ``limiter`` keeps ``limits`` in its own way, for
    more than this process.

    ``send`` returns only answers worth keeping (whole, or cut at the length limit). It raises the
    error of the last attempt; ``CircuitOpenError`` where the provider was not asked because it
    failed too often lately; ``RateLimitedError`` where it was not asked, or not again, because it
    wants a pause longer than the policy waits for.

    ``on_attempt`` hears of each attempt as it ends, before the wait for the next one. It does not
    hear of a call that was cancelled under way: the canceller knows, and the reservation covers it.
    """

    def __init__(
        self,
        inner: Gateway,
        *,
        provider: str,
        clock: Clock,
        limits: Limits = NO_LIMITS,
        limiter: Limiter | None = None,
        policy: RetryPolicy = DEFAULT_POLICY,
        random: Random | None = None,
        on_attempt: Callable[[Attempt], None] = ignore_attempt,
    ) -> None:
        self._inner = inner
        self._provider = provider
        self._clock = clock
        self._policy = policy
        self._random = Random() if random is None else random  # noqa: S311 (jitter, not a secret)
        self._on_attempt = on_attempt
        self._budget = RetryBudget()
        self._breakers: defaultdict[str, CircuitBreaker] = defaultdict(CircuitBreaker)
        self._limiter = limiter or RateLimiter(
            provider, limits, clock=clock, longest_pause_s=policy.longest_pause_s
        )

    async def send(
        self, request: AgentRequest, route: Route, on_text: OnText = ignore_text
    ) -> GatewayResponse:
        """Ask until there is an answer worth keeping, or no sense in asking again."""
        call = _Call(request=request, route=route, on_text=on_text)
        retrying = AsyncRetrying(
            retry=lambda _state: call.step is not Step.STOP,
            wait=lambda _state: call.wait_s,
            sleep=self._clock.sleep,
            reraise=True,
        )
        return await retrying(self._attempt, call)

    async def list_models(self) -> tuple[str, ...]:
        return await self._inner.list_models()

    async def aclose(self) -> None:
        await self._inner.aclose()

    async def _attempt(self, call: _Call) -> GatewayResponse:
        """Ask once, decide what follows and report both; raises the attempt's error."""
        call.step = Step.STOP
        attempt = await self._ask(call)
        error = attempt.error
        if attempt.number == 1:
            self._budget = self._budget.after_call()
        step = Step.STOP if error is None else self._plan(call, error)
        self._on_attempt(replace(attempt, will_retry=step is not Step.STOP))
        # Only now: where the hook fails, nothing more may be bought.
        call.step = step
        if error is not None:
            raise error
        assert attempt.response is not None
        self._budget = self._budget.after_success()
        return attempt.response

    async def _ask(self, call: _Call) -> Attempt:
        """Wait to be admitted, then ask the inner gateway.

        Raises ``CircuitOpenError`` or ``RateLimitedError`` where it must not be asked.
        """
        breaker = self._breakers[call.route.model]
        if breaker.blocked_for_s(self._clock.monotonic()) is not None:
            raise self._circuit_open(breaker, call.route)
        reserved_tokens = estimate_tokens(call.request)
        async with self._limiter.admit(reserved_tokens):
            ticket = breaker.enter(self._clock.monotonic())
            if ticket is None:
                raise self._circuit_open(breaker, call.route)
            outcome = Outcome.NEUTRAL
            try:
                attempt = await self._measured(call)
                outcome = outcome_of(attempt.error)
            finally:
                breaker.leave(ticket, outcome, self._clock.monotonic())
        answer = attempt.response or (attempt.error and attempt.error.response)
        if answer:
            self._limiter.settle(reserved_tokens=reserved_tokens, used_tokens=answer.tokens_used)
        return attempt

    async def _measured(self, call: _Call) -> Attempt:
        started, start_s = self._clock.now(), self._clock.monotonic()
        response: GatewayResponse | None = None
        try:
            response = await self._inner.send(call.request, call.route, call.on_text)
            error = judge(response)
        except GatewayError as raised:
            # What an SDK raised lies behind it, and holds the request with its key.
            raised.__context__ = None
            error = raised
        return Attempt(
            request=call.request,
            route=call.route,
            number=call.attempts + call.reasks,
            response=response if error is None else None,
            error=error,
            started=started,
            duration_s=self._clock.monotonic() - start_s,
        )

    def _plan(self, call: _Call, error: GatewayError) -> Step:
        """Decide what follows ``error``, pay for it, and make ``call`` ready for it."""
        if isinstance(error, RateLimitedError) and (asked_s := retry_after_s(error)):
            self._limiter.pause(asked_s + self._random.uniform(0.0, self._policy.base_s))
        step = next_step(error, attempts=call.attempts, reasks=call.reasks, policy=self._policy)
        breaker = self._breakers[call.route.model]
        is_open = breaker.blocked_for_s(self._clock.monotonic()) is not None
        if step is Step.STOP or is_open or not self._budget.allows(error):
            return Step.STOP
        self._budget = self._budget.after_retry(error)
        if step is Step.RETRY:
            call.wait_s = wait_s(
                error, failures=call.attempts, policy=self._policy, random=self._random
            )
            call.attempts += 1
        else:
            call.wait_s = 0.0
            call.reasks += 1
            if isinstance(error, EmptyAnswerError):
                call.request = with_longer_limit(call.request, call.route)
        return step

    def _circuit_open(self, breaker: CircuitBreaker, route: Route) -> CircuitOpenError:
        blocked_for_s = breaker.blocked_for_s(self._clock.monotonic()) or 0.0
        again_at = self._clock.now() + timedelta(seconds=blocked_for_s)
        message = _("{provider} failed too often with {model} lately, so it was not asked")
        hint = _("It can be tried again in {seconds:.0f} s, at {time} UTC.")
        if not blocked_for_s:
            hint = _("One call is testing whether it is back: try again when that has ended.")
        return CircuitOpenError(
            message.format(provider=self._provider, model=route.model),
            hint=hint.format(seconds=blocked_for_s, time=f"{again_at:%H:%M:%S}"),
            provider=self._provider,
        )
