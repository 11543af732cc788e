"""The one retry layer."""

import asyncio
import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import timedelta
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aigenflow.core.errors import (
    AddressError,
    AuthenticationError,
    CapacityError,
    CircuitOpenError,
    ConnectionFailedError,
    EmptyAnswerError,
    GatewayError,
    JournalWriteError,
    MalformedAnswerError,
    ModelNotFoundError,
    QuotaExhaustedError,
    RateLimitedError,
    RefusedError,
    RejectedError,
    ServerFaultError,
    StalledError,
    TooLargeError,
    TruncatedAnswerError,
)
from aigenflow.core.models import (
    AgentRequest,
    AgentType,
    Backend,
    FinishReason,
    GatewayResponse,
    Route,
)
from aigenflow.gateway.base import Gateway, OnText, ignore_text
from aigenflow.gateway.breaker import FAILURES_IN_A_ROW, OPEN_S
from aigenflow.gateway.limits import NO_LIMITS, Limits
from aigenflow.gateway.retry import (
    DEFAULT_POLICY,
    Attempt,
    ResilientGateway,
    RetryBudget,
    Step,
    backoff_window_s,
    judge,
    next_step,
    retry_after_s,
    wait_s,
    with_longer_limit,
)
from aigenflow.testing.clock import START, ManualClock
from aigenflow.testing.scripted import Script, ScriptedGateway, default_answer

REQUEST = AgentRequest(agent=AgentType.CLAUDE, phase=1, task="validate", prompt="Is it any good?")
ROUTE = Route(
    agent=AgentType.CLAUDE, actor=AgentType.CLAUDE, backend=Backend.ANTHROPIC, model="claude-1"
)
FINE = GatewayResponse(content="fine")
EMPTY = GatewayResponse(content="", finish_reason=FinishReason.EMPTY, output_tokens=4096)

FAULT = ServerFaultError("down", status=503)
BROKEN = ConnectionFailedError("reset", possibly_billed=True)
STALLED = StalledError("silence")
LIMITED = RateLimitedError("slow down")

TRANSIENT = [FAULT, BROKEN, STALLED, LIMITED, ServerFaultError("conflict", status=409)]
REJECTED = [
    RejectedError("400", status=400),
    AuthenticationError("401", status=401),
    QuotaExhaustedError("402", status=402),
    ModelNotFoundError("404", status=404),
    TooLargeError("413", status=413),
]


class LargestJitter(Random):
    """Randomness at its upper end, which shows the window."""

    def uniform(self, a: float, b: float) -> float:
        return b


@dataclass
class Bench:
    """A resilient gateway around a script, with everything that can be watched."""

    script: Script
    limits: Limits = NO_LIMITS
    latency_s: float = 0.0
    auto_advance: bool = True
    attempts: list[Attempt] = field(default_factory=list)
    on_attempt: Callable[[Attempt], None] | None = None

    def __post_init__(self) -> None:
        self.clock = ManualClock(auto_advance=self.auto_advance)
        self.inner = ScriptedGateway(self.script, latency_s=self.latency_s, clock=self.clock)
        self.gateway = ResilientGateway(
            self.inner,
            provider="acme",
            limits=self.limits,
            clock=self.clock,
            random=LargestJitter(),
            on_attempt=self.on_attempt or self.attempts.append,
        )

    async def ask(self, request: AgentRequest = REQUEST, route: Route = ROUTE) -> GatewayResponse:
        return await self.gateway.send(request, route)

    async def fail(self, request: AgentRequest = REQUEST, route: Route = ROUTE) -> GatewayError:
        with pytest.raises(GatewayError) as caught:
            await self.ask(request, route)
        return caught.value

    @property
    def waits(self) -> list[float]:
        """What was slept between attempts, in seconds."""
        return [seconds for seconds in self.clock.sleeps if seconds]


async def settle() -> None:
    """Let every task that can run, run."""
    for _ in range(30):
        await asyncio.sleep(0)


# judge


@pytest.mark.parametrize(
    ("reason", "content", "kind"),
    [
        (FinishReason.COMPLETE, "text", None),
        (FinishReason.LENGTH, "text", None),
        (FinishReason.COMPLETE, " \n", EmptyAnswerError),
        (FinishReason.LENGTH, "", EmptyAnswerError),
        (FinishReason.EMPTY, "", EmptyAnswerError),
        (FinishReason.REFUSAL, "I cannot", RefusedError),
        (FinishReason.REFUSAL, "", RefusedError),
        (FinishReason.FILTERED, "half", RefusedError),
        (FinishReason.PAUSED, "half", MalformedAnswerError),
        (FinishReason.UNKNOWN, "text", MalformedAnswerError),
    ],
)
def test_judge_knows_which_answers_to_keep(
    reason: FinishReason, content: str, kind: type[GatewayError] | None
) -> None:
    """Whole answers, and cut ones that have a beginning; the error carries the billed answer."""
    response = GatewayResponse(
        content=content, finish_reason=reason, model="m-1", backend=Backend.OPENAI
    )
    error = judge(response)
    if kind is None:
        assert error is None
        return
    assert type(error) is kind
    assert error.response is response
    assert error.provider == "openai"
    assert "m-1" in error.message
    assert error.hint


def test_judge_has_an_opinion_on_every_finish_reason() -> None:
    """Only complete and cut answers with text pass."""
    kept = {r for r in FinishReason if judge(FINE.model_copy(update={"finish_reason": r})) is None}
    assert kept == {FinishReason.COMPLETE, FinishReason.LENGTH}


# next_step, wait_s


@pytest.mark.parametrize("error", TRANSIENT)
def test_what_may_pass_is_tried_three_times_in_all(error: GatewayError) -> None:
    """Re-asks are counted apart."""
    steps = [next_step(error, attempts=n, reasks=1, policy=DEFAULT_POLICY) for n in range(1, 5)]
    assert steps == [Step.RETRY, Step.RETRY, Step.STOP, Step.STOP]


@pytest.mark.parametrize(
    "error",
    [
        *REJECTED,
        RefusedError("no"),
        TruncatedAnswerError("cut"),
        CircuitOpenError("open"),
        CapacityError("no room", status=503),
    ],
)
def test_what_will_not_pass_is_not_tried_again(error: GatewayError) -> None:
    """Rejections, refusals and an open circuit end the call."""
    assert next_step(error, attempts=1, reasks=0, policy=DEFAULT_POLICY) is Step.STOP


@pytest.mark.parametrize("error", [EmptyAnswerError("empty"), MalformedAnswerError("broken")])
@pytest.mark.parametrize("attempts", [1, 3])
def test_an_unusable_answer_is_asked_for_once_more(error: GatewayError, attempts: int) -> None:
    """One re-ask, whatever number of attempts came before."""
    assert next_step(error, attempts=attempts, reasks=0, policy=DEFAULT_POLICY) is Step.REASK
    assert next_step(error, attempts=attempts, reasks=1, policy=DEFAULT_POLICY) is Step.STOP


@pytest.mark.parametrize(
    ("asked", "heard"),
    [(None, 0.0), (0, 0.0), (-5, 0.0), (math.nan, 0.0), (0.5, 0.5), (120, 120.0)],
)
def test_a_wait_that_makes_no_sense_is_none(asked: float | None, heard: float) -> None:
    """Zero, negative and not-a-number are as good as absent, for 429 and for 5xx."""
    assert retry_after_s(RateLimitedError("x", retry_after_s=asked)) == heard
    assert retry_after_s(ServerFaultError("x", retry_after_s=asked)) == heard


@pytest.mark.parametrize(
    ("asked", "step"),
    [(120.0, Step.RETRY), (120.1, Step.STOP), (3600.0, Step.STOP), (math.inf, Step.STOP)],
)
def test_a_longer_wait_than_two_minutes_is_not_waited(asked: float, step: Step) -> None:
    """The caller decides whether to pause the run or to ask another agent."""
    for error in (
        RateLimitedError("x", retry_after_s=asked),
        ServerFaultError("x", retry_after_s=asked),
    ):
        assert next_step(error, attempts=1, reasks=0, policy=DEFAULT_POLICY) is step


def test_the_backoff_window_doubles_up_to_a_minute() -> None:
    """1, 2, 4, 8, 16, 32, 60, 60 seconds."""
    windows = [backoff_window_s(failures, DEFAULT_POLICY) for failures in range(1, 9)]
    assert windows == [1, 2, 4, 8, 16, 32, 60, 60]


@given(st.integers(1, 200), st.floats(0, 120), st.integers())
def test_the_wait_lies_within_its_window_above_what_was_asked(
    failures: int, asked: float, seed: int
) -> None:
    """Never shorter than Retry-After, never longer than that and the window."""
    error = RateLimitedError("x", retry_after_s=asked)
    waited = wait_s(error, failures=failures, policy=DEFAULT_POLICY, random=Random(seed))
    assert asked <= waited <= asked + backoff_window_s(failures, DEFAULT_POLICY)


def test_the_jitter_is_full() -> None:
    """Waits spread over the whole window, so that clients do not come back together."""
    random = Random(7)
    waits = [wait_s(FAULT, failures=7, policy=DEFAULT_POLICY, random=random) for _ in range(500)]
    assert min(waits) < 3
    assert max(waits) > 57
    assert 25 < sum(waits) / len(waits) < 35


# with_longer_limit


@pytest.mark.parametrize(
    ("limit", "window", "longer"),
    [(1000, 100_000, 2000), (1000, 1505, 1500), (1000, 1005, 1000), (1000, 10, 1000)],
)
def test_the_longer_limit_is_double_as_far_as_the_window_allows(
    limit: int, window: int, longer: int
) -> None:
    """The prompt of 5 tokens must fit too; the limit never shrinks."""
    request = replace(REQUEST, max_output_tokens=limit)
    route = replace(ROUTE, context_window_tokens=window)
    assert with_longer_limit(request, route) == replace(request, max_output_tokens=longer)


# RetryBudget


def test_the_bucket_pays_for_twenty_retries_or_ten_after_timeouts() -> None:
    """100 in the bucket, 5 a retry, 10 after a timeout."""
    for error, times in ((FAULT, 20), (STALLED, 10), (EmptyAnswerError("x"), 20)):
        budget = RetryBudget()
        for _ in range(times):
            assert budget.allows(error)
            budget = budget.after_retry(error)
        assert budget.level == 0
        assert not budget.allows(error)


def test_a_success_gives_one_back_and_never_more_than_the_bucket_holds() -> None:
    """Five successes pay for one retry."""
    budget = RetryBudget(level=0)
    for _ in range(5):
        assert not budget.allows(FAULT)
        budget = budget.after_success()
    assert budget.allows(FAULT)
    assert not budget.allows(STALLED)
    assert RetryBudget().after_success() == RetryBudget()


@pytest.mark.parametrize(
    ("calls", "retries", "allowed"),
    [(1, 0, True), (49, 30, True), (50, 4, True), (50, 5, False), (59, 5, False), (60, 5, True)],
)
def test_from_fifty_calls_on_retries_stay_within_a_tenth(
    calls: int, retries: int, allowed: bool
) -> None:
    """A short run is left to the bucket."""
    assert RetryBudget(calls=calls, retries=retries).allows(FAULT) is allowed


@given(st.lists(st.sampled_from(["call", "success", "retry", "timeout"]), max_size=400))
def test_the_budget_is_never_overdrawn(events: list[str]) -> None:
    """The level stays between 0 and 100, and a retry allowed in a long run keeps the share."""
    budget = RetryBudget()
    for event in events:
        if event == "call":
            budget = budget.after_call()
        elif event == "success":
            budget = budget.after_success()
        else:
            error = STALLED if event == "timeout" else FAULT
            if budget.allows(error):
                budget = budget.after_retry(error)
                assert budget.calls < 50 or budget.retries <= budget.calls / 10
        assert 0 <= budget.level <= 100


# ResilientGateway: answers and attempts


def test_is_a_gateway() -> None:
    """It can stand wherever a gateway is asked for."""
    gateway: Gateway = Bench([]).gateway
    assert gateway


async def test_a_good_answer_passes_through() -> None:
    """Once asked, nothing waited, the listener heard, one attempt reported."""
    bench = Bench([], latency_s=2.0)
    heard: list[int] = []
    response = await bench.gateway.send(REQUEST, ROUTE, heard.append)
    assert response.content == default_answer(REQUEST).content
    assert heard == [len(response.content)]
    assert bench.inner.requests == [REQUEST]
    assert bench.attempts == [
        Attempt(
            request=REQUEST,
            route=ROUTE,
            number=1,
            response=response,
            error=None,
            started=START,
            duration_s=2.0,
        )
    ]


async def test_an_answer_cut_at_its_limit_passes_through() -> None:
    """Going on from there is for the caller."""
    cut = GatewayResponse(content="half", finish_reason=FinishReason.LENGTH)
    bench = Bench([cut])
    assert (await bench.ask()).finish_reason is FinishReason.LENGTH
    assert len(bench.attempts) == 1


@pytest.mark.parametrize("error", TRANSIENT)
async def test_the_third_attempt_may_succeed(error: GatewayError) -> None:
    """Two failures, each followed by its backoff."""
    bench = Bench([error, error, FINE])
    assert (await bench.ask()).content == "fine"
    assert bench.waits == [1.0, 2.0]
    assert [(each.number, each.will_retry) for each in bench.attempts] == [
        (1, True),
        (2, True),
        (3, False),
    ]
    assert [each.error for each in bench.attempts] == [error, error, None]


@pytest.mark.parametrize("error", TRANSIENT)
async def test_after_three_attempts_the_last_error_is_raised(error: GatewayError) -> None:
    """The error itself, not a wrapper of the retry library."""
    bench = Bench(lambda request: error)
    assert await bench.fail() is error
    assert len(bench.inner.calls) == 3
    assert [each.will_retry for each in bench.attempts] == [True, True, False]


@pytest.mark.parametrize("error", REJECTED)
async def test_a_rejected_request_is_sent_once(error: GatewayError) -> None:
    """Another attempt would only cost money."""
    bench = Bench([error])
    assert await bench.fail() is error
    assert len(bench.inner.calls) == 1
    assert [each.will_retry for each in bench.attempts] == [False]


@pytest.mark.parametrize("reason", [FinishReason.REFUSAL, FinishReason.FILTERED])
async def test_a_refusal_is_never_retried(reason: FinishReason) -> None:
    """The billed answer travels with the error, to the caller and to the ledger."""
    refusal = GatewayResponse(content="no", finish_reason=reason, tokens_used=12)
    bench = Bench([refusal])
    error = await bench.fail()
    assert isinstance(error, RefusedError)
    assert error.response is not None
    assert error.response.tokens_used == 12
    assert [each.error for each in bench.attempts] == [error]
    assert bench.attempts[0].response is None


async def test_an_empty_answer_is_asked_for_again_with_a_longer_limit() -> None:
    """At once, and each attempt reports the request that was really sent."""
    bench = Bench([EMPTY, FINE])
    assert (await bench.ask()).content == "fine"
    longer = replace(REQUEST, max_output_tokens=2 * REQUEST.max_output_tokens)
    assert bench.inner.requests == [REQUEST, longer]
    assert [each.request for each in bench.attempts] == [REQUEST, longer]
    assert [each.number for each in bench.attempts] == [1, 2]
    assert bench.waits == []


@pytest.mark.parametrize("reason", [FinishReason.PAUSED, FinishReason.UNKNOWN])
async def test_a_malformed_answer_is_asked_for_again_as_it_was(reason: FinishReason) -> None:
    """Its length was not the trouble."""
    bench = Bench([GatewayResponse(content="half", finish_reason=reason), FINE])
    await bench.ask()
    assert bench.inner.requests == [REQUEST, REQUEST]


async def test_a_malformed_answer_that_an_adapter_raises_is_asked_for_again() -> None:
    """Whether judged here or there."""
    bench = Bench([MalformedAnswerError("not JSON"), FINE])
    await bench.ask()
    assert len(bench.inner.calls) == 2


async def test_there_is_one_reask() -> None:
    """The second empty answer is the end, and both are billed."""
    bench = Bench([EMPTY, EMPTY, FINE])
    error = await bench.fail()
    assert isinstance(error, EmptyAnswerError)
    assert [bool(each.error and each.error.response) for each in bench.attempts] == [True, True]


async def test_reasks_and_retries_are_counted_apart() -> None:
    """Three attempts and one re-ask are the most that one request can cost."""
    bench = Bench([FAULT, EMPTY, FAULT, FAULT, FINE])
    assert await bench.fail() is FAULT
    assert [each.number for each in bench.attempts] == [1, 2, 3, 4]
    assert bench.waits == [1.0, 2.0]
    limits = [request.max_output_tokens for request in bench.inner.requests]
    assert limits == [4096, 4096, 8192, 8192]


async def test_what_is_no_fault_of_a_provider_passes_straight_through() -> None:
    """A mistake of the user, or a bug, is not an attempt and is not tried again."""
    for error in (AddressError("no leave"), ZeroDivisionError("bug")):
        bench = Bench([error])
        with pytest.raises(type(error)):
            await bench.ask()
        assert len(bench.inner.calls) == 1
        assert bench.attempts == []


async def test_a_hook_that_fails_stops_everything() -> None:
    """What cannot be written into the ledger must not be bought again."""

    def refuse(attempt: Attempt) -> None:
        raise JournalWriteError("disk full")

    bench = Bench(lambda request: FAULT, on_attempt=refuse)
    with pytest.raises(JournalWriteError):
        await bench.ask()
    assert len(bench.inner.calls) == 1
    assert bench.waits == []


async def test_each_attempt_tells_when_it_started_and_how_long_it_took() -> None:
    """Waiting between attempts is not part of either."""
    bench = Bench([FAULT, FINE], latency_s=10.0)
    await bench.ask()
    assert [(each.started - START, each.duration_s) for each in bench.attempts] == [
        (timedelta(0), 10.0),
        (timedelta(seconds=11), 10.0),
    ]


async def test_the_rest_of_the_contract_goes_to_the_inner_gateway() -> None:
    """Listing models and closing are neither limited nor retried."""
    bench = Bench([])
    assert await bench.gateway.list_models() == ("scripted",)
    await bench.gateway.aclose()
    assert bench.inner.closed


# Retry-After


async def test_the_wait_a_provider_asks_for_is_kept_with_jitter_on_top() -> None:
    """At least that long, and not everybody at the same moment."""
    bench = Bench([RateLimitedError("x", retry_after_s=20), FINE])
    await bench.ask()
    assert bench.waits == [21.0]


async def test_a_longer_wait_is_raised_at_once_and_holds_for_everybody() -> None:
    """Others are told how long it still lasts, without being sent; later all is well again."""
    bench = Bench([RateLimitedError("x", retry_after_s=600), FINE])
    first = await bench.fail()
    assert isinstance(first, RateLimitedError)
    assert first.retry_after_s == 600
    bench.clock.advance(100)
    second = await bench.fail()
    assert isinstance(second, RateLimitedError)
    assert second.retry_after_s == 501
    assert bench.waits == []
    assert len(bench.inner.calls) == len(bench.attempts) == 1
    bench.clock.advance(501)
    assert (await bench.ask()).content == "fine"


async def test_the_longest_wait_is_waited_by_everybody() -> None:
    """At two minutes sharp, the jitter on top does not turn the wait into an error."""
    bench = Bench([RateLimitedError("x", retry_after_s=120)], latency_s=1.0)

    async def ask_later() -> None:
        await bench.clock.sleep(2)
        await bench.ask()

    await asyncio.gather(bench.ask(), ask_later())
    assert len(bench.inner.calls) == 3


async def test_a_rate_limit_wastes_one_call() -> None:
    """Whoever comes after the 429 waits for its end instead of trying."""
    bench = Bench([RateLimitedError("x", retry_after_s=30)], auto_advance=False)
    calls = [asyncio.create_task(bench.ask())]
    await settle()
    calls += [asyncio.create_task(bench.ask()) for _ in range(20)]
    await settle()
    bench.clock.advance(29)
    await settle()
    assert len(bench.inner.calls) == 1
    bench.clock.advance(2)
    await settle()
    await asyncio.gather(*calls)
    assert len(bench.inner.calls) == 22


async def test_a_server_fault_with_a_wait_holds_nobody_else_back() -> None:
    """Only a rate limit is about all calls to the provider."""
    bench = Bench([ServerFaultError("x", status=503, retry_after_s=30)], auto_advance=False)
    first = asyncio.create_task(bench.ask())
    await settle()
    second = asyncio.create_task(bench.ask())
    await settle()
    assert (first.done(), second.done()) == (False, True)
    first.cancel()


# limits


async def test_a_call_that_waits_between_attempts_holds_no_slot() -> None:
    """With one slot, another call goes through during the backoff."""
    bench = Bench([FAULT], limits=Limits(concurrency=1), auto_advance=False)
    first = asyncio.create_task(bench.ask())
    await settle()
    second = asyncio.create_task(bench.ask())
    await settle()
    assert (first.done(), second.done()) == (False, True)
    bench.clock.advance(1)
    await first


async def test_concurrency_is_kept_over_many_calls() -> None:
    """Never more than three at the provider; twelve calls of 10 s take 40 s."""
    bench = Bench([], limits=Limits(concurrency=3), latency_s=10.0)
    await asyncio.gather(*(bench.ask() for _ in range(12)))
    assert bench.inner.most_in_flight == 3
    assert bench.clock.monotonic() == 40.0
    assert {each.duration_s for each in bench.attempts} == {10.0}


async def test_tokens_beyond_the_reservation_slow_the_next_call_down() -> None:
    """The real count reaches the limiter, also that of an answer not kept."""
    for answer in (
        GatewayResponse(content="x", tokens_used=10**6),
        GatewayResponse(content="x", tokens_used=10**6, finish_reason=FinishReason.REFUSAL),
    ):
        bench = Bench([answer], limits=Limits(tokens_per_minute=10_000))
        await asyncio.gather(bench.ask(), return_exceptions=True)
        second = asyncio.create_task(bench.ask())
        await settle()
        assert not second.done()
        second.cancel()


# cancellation


@pytest.mark.parametrize("latency_s", [0.0, 30.0])
async def test_cancellation_passes_through_and_releases_everything(latency_s: float) -> None:
    """Under way or between two attempts, slot and all."""
    bench = Bench([FAULT], limits=Limits(concurrency=1), latency_s=latency_s, auto_advance=False)
    call = asyncio.create_task(bench.ask())
    await settle()
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    bench.inner._latency_s = 0.0
    async with asyncio.timeout(5):
        assert (await bench.ask()).content
    assert len(bench.inner.calls) == 2


async def test_a_cancelled_probe_makes_room_for_the_next() -> None:
    """Otherwise nobody would ever find out that the provider is back."""
    bench = Bench(lambda request: FAULT, auto_advance=False)
    await open_circuit(bench)
    bench.clock.advance(OPEN_S)
    bench.inner._latency_s = 30.0
    probe = asyncio.create_task(bench.ask())
    await settle()
    other = await bench.fail()
    assert isinstance(other, CircuitOpenError)
    assert "testing" in other.hint
    probe.cancel()
    with pytest.raises(asyncio.CancelledError):
        await probe
    bench.inner._latency_s = 0.0
    bench.inner._script = default_answer
    assert (await bench.ask()).content


# circuit breaker


async def open_circuit(bench: Bench, route: Route = ROUTE) -> None:
    """Fail often enough, with a clock that is moved by hand or by itself."""
    while not isinstance(await pushed(bench, route), CircuitOpenError):
        pass


async def pushed(bench: Bench, route: Route) -> GatewayError:
    call = asyncio.create_task(bench.fail(REQUEST, route))
    while not call.done():
        await settle()
        if not call.done() and not bench.auto_advance:
            bench.clock.advance(1)
    return call.result()


async def test_the_circuit_opens_and_says_when_to_try_again() -> None:
    """After five failures in a row nothing is sent, and the hint names the time."""
    bench = Bench(lambda request: FAULT)
    assert await bench.fail() is FAULT
    assert await bench.fail() is FAULT
    assert len(bench.inner.calls) == FAILURES_IN_A_ROW
    assert not bench.attempts[-1].will_retry
    error = await bench.fail()
    assert isinstance(error, CircuitOpenError)
    assert error.provider == "acme"
    assert "acme" in error.message
    assert "claude-1" in error.message
    # Three backoffs: 1 s and 2 s in the first call, 1 s in the second.
    assert error.hint == "It can be tried again in 30 s, at 00:00:34 UTC."
    assert len(bench.inner.calls) == len(bench.attempts) == FAILURES_IN_A_ROW


async def test_each_model_has_its_own_circuit() -> None:
    """One model that is down does not stop its siblings."""
    bench = Bench(lambda request: FAULT)
    await open_circuit(bench)
    bench.inner._script = default_answer
    assert (await bench.ask(REQUEST, replace(ROUTE, model="claude-2"))).content
    assert isinstance(await bench.fail(), CircuitOpenError)


async def test_one_probe_brings_the_provider_back() -> None:
    """After the rest one call goes out while the others are turned away; then all go again."""
    bench = Bench(lambda request: FAULT)
    await open_circuit(bench)
    bench.clock.advance(OPEN_S)
    bench.inner._script = default_answer
    sent = len(bench.inner.calls)
    results = await asyncio.gather(*(bench.ask() for _ in range(5)), return_exceptions=True)
    assert len(bench.inner.calls) == sent + 1
    assert [isinstance(each, CircuitOpenError) for each in results].count(True) == 4
    await asyncio.gather(*(bench.ask() for _ in range(5)))


@pytest.mark.parametrize("error", [*REJECTED, LIMITED])
async def test_answers_of_a_provider_that_is_alive_never_open_the_circuit(
    error: GatewayError,
) -> None:
    """Refusals and 4xx, however many."""
    bench = Bench(lambda request: error)
    for _ in range(FAILURES_IN_A_ROW * 2):
        assert await bench.fail() is error


async def test_an_open_circuit_turns_calls_away_before_they_queue() -> None:
    """Nobody waits for a slot only to hear that it is of no use."""
    bench = Bench([*[FAULT] * FAILURES_IN_A_ROW], limits=Limits(concurrency=1))
    for _ in range(2):
        await bench.fail()
    bench.inner._latency_s = 500.0
    other_model = asyncio.create_task(bench.ask(REQUEST, replace(ROUTE, model="claude-2")))
    await asyncio.sleep(0)
    before_s = bench.clock.monotonic()
    assert isinstance(await bench.fail(), CircuitOpenError)
    assert bench.clock.monotonic() == before_s
    assert bench.inner.in_flight == 1
    await other_model


async def test_a_call_that_queued_when_the_circuit_opened_is_not_sent() -> None:
    """It learns of it when its turn comes."""
    bench = Bench(lambda request: FAULT, limits=Limits(concurrency=1), latency_s=1.0)
    calls = [asyncio.create_task(bench.fail()) for _ in range(30)]
    errors = await asyncio.gather(*calls)
    assert len(bench.inner.calls) == FAILURES_IN_A_ROW
    assert any(isinstance(error, CircuitOpenError) for error in errors)


# retry budget


async def test_an_empty_retry_budget_ends_the_retries() -> None:
    """Twenty retries for one provider, over all its models; then each call is made once."""
    bench = Bench(lambda request: LIMITED)
    for number in range(14):
        await bench.fail(REQUEST, replace(ROUTE, model=f"claude-{number}"))
    assert sum(each.will_retry for each in bench.attempts) == 20
    assert len(bench.inner.calls) == 14 + 20


async def test_successes_fill_the_budget_up_again() -> None:
    """Five good answers pay for one retry."""
    bench = Bench([LIMITED] * 34 + [FINE] * 5 + [LIMITED] * 3)
    for _ in range(14):
        await bench.fail()
    for _ in range(5):
        await bench.ask()
    await bench.fail()
    assert [each.will_retry for each in bench.attempts[-2:]] == [True, False]


async def test_a_long_run_retries_at_most_a_tenth_of_its_calls() -> None:
    """Although every second answer is a failure."""
    answers = iter(range(10**6))
    bench = Bench(lambda request: FINE if next(answers) % 2 else LIMITED)
    for _ in range(300):
        await asyncio.gather(bench.ask(), return_exceptions=True)
    retries = sum(each.will_retry for each in bench.attempts)
    assert 20 <= retries <= 30


async def test_reasks_are_paid_from_the_budget() -> None:
    """Empty answers too can become a storm."""
    bench = Bench(lambda request: EMPTY)
    for _ in range(30):
        await bench.fail()
    assert sum(each.will_retry for each in bench.attempts) == 20


@given(
    st.lists(st.sampled_from([*TRANSIENT, *REJECTED, EMPTY, FINE, RefusedError("no")]), max_size=40)
)
def test_whatever_happens_is_reported_and_bounded(
    script: list[GatewayResponse | Exception],
) -> None:
    """Every call that reached the provider is one attempt; no request costs more than four."""

    async def run() -> None:
        bench = Bench(script)
        for _ in range(5):
            before = len(bench.attempts)
            await asyncio.gather(bench.ask(), return_exceptions=True)
            attempts = bench.attempts[before:]
            assert len(attempts) <= DEFAULT_POLICY.attempts + DEFAULT_POLICY.reasks
            assert [each.number for each in attempts] == list(range(1, len(attempts) + 1))
            assert [each.will_retry for each in attempts[:-1]] == [True] * (len(attempts) - 1)
            assert not attempts or not attempts[-1].will_retry
            assert all((each.response is None) != (each.error is None) for each in attempts)
        assert len(bench.attempts) == len(bench.inner.calls)
        assert [each.request for each in bench.attempts] == bench.inner.requests

    asyncio.run(run())


async def test_without_a_seed_it_brings_its_own_randomness() -> None:
    """Two clients of one provider do not wait alike."""
    waits = []
    for _ in range(2):
        clock = ManualClock(auto_advance=True)
        inner = ScriptedGateway([FAULT, FAULT], clock=clock)
        await ResilientGateway(inner, provider="acme", clock=clock).send(REQUEST, ROUTE)
        waits.append([seconds for seconds in clock.sleeps if seconds])
    assert waits[0] != waits[1]


class Overtaken:
    """A gateway that is cancelled from within, as a timeout of the caller would."""

    async def send(
        self, request: AgentRequest, route: Route, on_text: OnText = ignore_text
    ) -> GatewayResponse:
        raise asyncio.CancelledError

    async def list_models(self) -> tuple[str, ...]:
        return ()

    async def aclose(self) -> None:
        return None


async def test_cancellation_is_not_an_attempt_to_repeat() -> None:
    """It is not a failure of the provider."""
    attempts: list[Attempt] = []
    gateway = ResilientGateway(
        Overtaken(), provider="acme", clock=ManualClock(), on_attempt=attempts.append
    )
    with pytest.raises(asyncio.CancelledError):
        await gateway.send(REQUEST, ROUTE)
    assert attempts == []
