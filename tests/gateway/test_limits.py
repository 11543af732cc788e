"""Rate limits and concurrency of one provider.

The buckets run on the event loop's time, so these tests ask for rates at which a wait lasts
hundredths of a second, and check that it was waited, not how long.
"""

import asyncio
import contextlib
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aigenflow.core.errors import ConfigError, RateLimitedError
from aigenflow.core.models import AgentRequest, AgentType, ContextDocument
from aigenflow.gateway.limits import (
    NO_LIMITS,
    Limits,
    RateLimiter,
    estimate_input_tokens,
    estimate_tokens,
    request_bucket,
)
from aigenflow.testing.clock import ManualClock


def request(prompt: str = "abc", **fields: object) -> AgentRequest:
    """A small request."""
    return AgentRequest(
        agent=AgentType.CLAUDE,
        phase=1,
        task="t",
        prompt=prompt,
        **fields,  # type: ignore[arg-type]
    )


def limiter(limits: Limits = NO_LIMITS, *, clock: ManualClock | None = None) -> RateLimiter:
    """A limiter that waits for pauses of up to 120 seconds."""
    return RateLimiter("acme", limits, clock=clock or ManualClock(), longest_pause_s=120.0)


async def call(limiter: RateLimiter, tokens: int = 1) -> None:
    """One call that is over at once."""
    async with limiter.admit(tokens):
        pass


async def settle() -> None:
    """Let every task that can run, run."""
    for _ in range(10):
        await asyncio.sleep(0)


async def passes_at_once(limiter: RateLimiter, tokens: int) -> bool:
    """Whether a call is admitted without waiting."""
    task = asyncio.create_task(call(limiter, tokens))
    await settle()
    if task.done():
        await task
        return True
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    return False


@pytest.mark.parametrize("name", ["requests_per_minute", "tokens_per_minute", "concurrency"])
@pytest.mark.parametrize("value", [0, -1])
def test_a_limit_below_one_is_a_mistake_of_the_configuration(name: str, value: int) -> None:
    """It would stop the provider for ever; the message names the setting."""
    with pytest.raises(ConfigError, match=name) as caught:
        Limits(**{name: value})
    assert caught.value.hint


@pytest.mark.parametrize(
    ("text", "tokens"),
    [("", 0), ("a", 1), ("abc", 1), ("abcd", 2), ("한국어", 3), ("\ud800", 1)],
)
def test_input_is_estimated_from_its_bytes(text: str, tokens: int) -> None:
    """A third of the UTF-8 bytes, rounded up; a lone surrogate is counted, not a crash."""
    assert estimate_input_tokens(request(text)) == tokens


@given(*[st.text() for _ in range(5)], st.integers(0, 9999))
def test_everything_that_is_sent_is_counted_once(
    prompt: str, system: str, so_far: str, title: str, text: str, output: int
) -> None:
    """Prompt, system, context and the answer so far; the output limit is reserved whole."""
    document = ContextDocument(id="d", title=title, text=text)
    asked = request(
        prompt,
        system=system,
        answer_so_far=so_far,
        context=(document, document),
        max_output_tokens=output,
    )
    size = len((prompt + system + so_far + 2 * (title + text)).encode("utf-8", "surrogatepass"))
    assert estimate_input_tokens(asked) == math.ceil(size / 3)
    assert estimate_tokens(asked) == math.ceil(size / 3) + output


async def test_without_limits_nothing_waits() -> None:
    """``None`` means no limit, for any number of calls and tokens."""
    free = limiter()
    async with contextlib.AsyncExitStack() as stack:
        for _ in range(100):
            await stack.enter_async_context(free.admit(10**9))


async def test_concurrency_is_kept_and_the_rest_wait() -> None:
    """The third of two calls starts when one has ended."""
    two = limiter(Limits(concurrency=2))
    async with two.admit(1):
        async with two.admit(1):
            assert not await passes_at_once(two, 1)
        assert await passes_at_once(two, 1)


async def test_requests_beyond_the_burst_wait() -> None:
    """A quarter of a minute's requests may go at once, the next waits for the bucket to refill."""
    slow = limiter(Limits(requests_per_minute=12))
    assert [await passes_at_once(slow, 1) for _ in range(4)] == [True, True, True, False]


@given(st.integers(2, 100_000))
def test_no_minute_sees_more_requests_than_allowed(per_minute: int) -> None:
    """What may go at once, and what refills within a minute, add up to the limit."""
    burst, seconds = request_bucket(per_minute)
    assert burst >= 1
    assert burst + 60 * burst / seconds == pytest.approx(per_minute)


async def test_a_waiting_call_goes_when_the_bucket_has_drained() -> None:
    """At 6,000 tokens a minute, ten drain in a tenth of a second."""
    quick = limiter(Limits(tokens_per_minute=6000))
    assert await passes_at_once(quick, 6000)
    assert not await passes_at_once(quick, 10)
    async with asyncio.timeout(10), quick.admit(10):
        pass


async def test_tokens_beyond_the_minute_wait() -> None:
    """Tokens are counted together over the calls."""
    slow = limiter(Limits(tokens_per_minute=100))
    assert await passes_at_once(slow, 60)
    assert not await passes_at_once(slow, 60)
    assert await passes_at_once(slow, 40)


async def test_a_call_larger_than_a_minute_goes_when_the_bucket_is_full() -> None:
    """It neither fails nor hangs: it takes the whole minute's worth."""
    slow = limiter(Limits(tokens_per_minute=100))
    assert await passes_at_once(slow, 10**9)
    assert not await passes_at_once(slow, 40)


async def test_a_large_call_is_not_overtaken_by_small_ones() -> None:
    """First come, first served: the small call waits behind the large one."""
    slow = limiter(Limits(tokens_per_minute=100))
    assert await passes_at_once(slow, 50)
    order: list[str] = []

    async def named(name: str, tokens: int) -> None:
        async with slow.admit(tokens):
            order.append(name)

    large = asyncio.create_task(named("large", 80))
    await settle()
    small = asyncio.create_task(named("small", 1))
    await settle()
    assert order == []
    large.cancel()
    await settle()
    assert order == ["small"]
    await small


async def test_tokens_used_beyond_the_estimate_are_charged_to_the_next_call() -> None:
    """Once: the call after that pays for itself alone."""
    slow = limiter(Limits(tokens_per_minute=100))
    assert await passes_at_once(slow, 10)
    slow.settle(reserved_tokens=10, used_tokens=50)
    assert not await passes_at_once(slow, 90)
    assert await passes_at_once(slow, 50)
    assert not await passes_at_once(slow, 40)


async def test_an_overdraft_is_charged_once() -> None:
    """What one call has paid off, the next does not pay again."""
    slow = limiter(Limits(tokens_per_minute=100))
    slow.settle(reserved_tokens=0, used_tokens=40)
    assert [await passes_at_once(slow, tokens) for tokens in (20, 40)] == [True, True]


async def test_an_overdraft_that_arises_during_a_wait_is_not_lost() -> None:
    """The call that waits has its price already; the next one pays."""
    quick = limiter(Limits(tokens_per_minute=6000))
    assert await passes_at_once(quick, 6000)
    waiting = asyncio.create_task(call(quick, 10))
    await settle()
    quick.settle(reserved_tokens=0, used_tokens=5000)
    async with asyncio.timeout(10):
        await waiting
    assert quick._overdraft_tokens == 5000


async def test_an_overdraft_larger_than_a_minute_waits_for_one_full_bucket() -> None:
    """A huge correction delays, it does not block for ever."""
    slow = limiter(Limits(tokens_per_minute=100))
    slow.settle(reserved_tokens=0, used_tokens=10**9)
    assert await passes_at_once(slow, 1)
    assert not await passes_at_once(slow, 40)


async def test_tokens_reserved_too_much_are_not_given_back() -> None:
    """Providers count the output limit, not the output."""
    slow = limiter(Limits(tokens_per_minute=100))
    assert await passes_at_once(slow, 90)
    slow.settle(reserved_tokens=90, used_tokens=5)
    assert not await passes_at_once(slow, 60)


async def test_a_cancelled_wait_takes_nothing() -> None:
    """Whoever gives up in the queue leaves slot, turn and tokens to the others."""
    slow = limiter(Limits(tokens_per_minute=100, concurrency=1))
    async with slow.admit(50):
        assert not await passes_at_once(slow, 10)
    assert not await passes_at_once(slow, 90)
    assert await passes_at_once(slow, 50)


async def test_a_failing_call_gives_its_slot_back() -> None:
    """Also when it ends with an exception."""
    single = limiter(Limits(concurrency=1))
    with pytest.raises(ZeroDivisionError):
        async with single.admit(1):
            raise ZeroDivisionError
    assert await passes_at_once(single, 1)


async def test_a_pause_holds_everybody_back_until_it_is_over() -> None:
    """Calls that were waiting go on by themselves."""
    clock = ManualClock()
    paused = limiter(clock=clock)
    paused.pause(30)
    waiting = [asyncio.create_task(call(paused)) for _ in range(3)]
    await settle()
    clock.advance(29)
    await settle()
    assert not any(task.done() for task in waiting)
    clock.advance(1)
    await settle()
    assert all(task.done() for task in waiting)


async def test_a_pause_is_never_shortened() -> None:
    """A second, shorter one changes nothing."""
    clock = ManualClock()
    paused = limiter(clock=clock)
    paused.pause(30)
    paused.pause(5)
    clock.advance(29)
    assert not await passes_at_once(paused, 1)


async def test_a_pause_may_be_prolonged_while_it_is_waited_for() -> None:
    """Whoever wakes looks again before going on."""
    clock = ManualClock()
    paused = limiter(clock=clock)
    paused.pause(30)
    waiting = asyncio.create_task(call(paused))
    await settle()
    clock.advance(20)
    paused.pause(50)
    clock.advance(10)
    await settle()
    assert not waiting.done()
    clock.advance(40)
    await settle()
    assert waiting.done()


async def test_a_pause_that_is_too_long_fails_at_once_until_the_rest_is_bearable() -> None:
    """The error tells how long it still lasts, and nothing stays taken."""
    clock = ManualClock()
    paused = limiter(Limits(concurrency=1), clock=clock)
    paused.pause(3600)
    clock.advance(600)
    with pytest.raises(RateLimitedError, match="acme asks for a pause of 3000 s") as caught:
        await passes_at_once(paused, 1)
    assert caught.value.retry_after_s == 3000
    assert caught.value.provider == "acme"
    assert caught.value.hint
    clock.advance(2880)
    assert not await passes_at_once(paused, 1)
    clock.advance(120)
    assert await passes_at_once(paused, 1)


async def test_a_pause_without_end_is_an_error_too() -> None:
    """An absurd Retry-After does not break the message."""
    paused = limiter()
    paused.pause(math.inf)
    with pytest.raises(RateLimitedError):
        await passes_at_once(paused, 1)
