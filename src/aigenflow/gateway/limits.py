"""How fast, and how many at once, one provider may be asked.

The limits are kept on our side, because a call that the provider turns away costs a round trip,
part of its own rate limit and, after a few, its patience.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from dataclasses import dataclass, fields
from gettext import gettext as _
from typing import Protocol

from aiolimiter import AsyncLimiter

from aigenflow.core.clock import Clock
from aigenflow.core.errors import ConfigError, RateLimitedError
from aigenflow.core.models import AgentRequest

BYTES_PER_TOKEN = 3
"""UTF-8 bytes; errs on the side of more tokens for English prose and is about right for Korean."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one provider allows; ``None`` means no limit.

    No minute sees more than ``requests_per_minute`` requests, wherever it begins: a quarter of
    them may go out at once, the rest follow evenly. ``tokens_per_minute`` counts input and output
    together; a full minute's worth may be spent at once, as the providers' own buckets allow, so
    that one long request fits. Raises ``ConfigError`` on numbers below 1.
    """

    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    concurrency: int | None = None

    def __post_init__(self) -> None:
        for field in fields(self):
            value: int | None = getattr(self, field.name)
            if value is not None and value < 1:
                raise ConfigError(
                    _("{name} is {value}, but must be at least 1").format(
                        name=field.name, value=value
                    ),
                    hint=_("Leave it out for no limit."),
                )


NO_LIMITS = Limits()


def count_bytes(request: AgentRequest) -> int:
    """UTF-8 bytes of everything the model hears."""
    texts = [request.system, request.prompt, request.answer_so_far]
    for document in request.context:
        texts += (document.title, document.text)
    # A lone surrogate is a fault for the adapter to report, not for an estimate to die of.
    return sum(len(text.encode("utf-8", "surrogatepass")) for text in texts)


def estimate_input_tokens(request: AgentRequest) -> int:
    """Tokens that the request sends, from its size alone: ``ceil(utf8_bytes / 3)``."""
    return math.ceil(count_bytes(request) / BYTES_PER_TOKEN)


def estimate_tokens(request: AgentRequest) -> int:
    """Tokens to reserve for one attempt: the estimated input and the whole output limit."""
    return estimate_input_tokens(request) + request.max_output_tokens


class Limiter(Protocol):
    """Lets calls out no faster, and no more at once, than one provider allows."""

    def admit(self, tokens: int) -> AbstractAsyncContextManager[None]:
        """Wait until one call that may use ``tokens`` fits, and hold its slot while it runs.

        Raises ``RateLimitedError`` where the provider asked for a pause that is too long.
        """
        ...

    def settle(self, *, reserved_tokens: int, used_tokens: int) -> None:
        """Correct the estimate once the real count is known."""
        ...

    def pause(self, seconds: float) -> None:
        """Let no further call out for ``seconds``; a pause is never shortened."""
        ...


class RateLimiter:
    """The limits of one provider, shared by every call to it. One event loop only.

    First come, first served: without that, small requests would pass a large one for ever.

    ``longest_pause_s`` is how long a call waits for a pause that the provider asked for; where
    the pause still lasts longer, the call fails at once instead.
    """

    def __init__(
        self, provider: str, limits: Limits, *, clock: Clock, longest_pause_s: float
    ) -> None:
        self._provider = provider
        self._clock = clock
        self._longest_pause_s = longest_pause_s
        self._not_before = -math.inf
        self._turn = asyncio.Lock()
        self._slots: AbstractAsyncContextManager[None] = (
            nullcontext() if limits.concurrency is None else asyncio.Semaphore(limits.concurrency)
        )
        self._requests = _requests_limiter(limits.requests_per_minute)
        self._tokens = _tokens_limiter(limits.tokens_per_minute)
        self._overdraft_tokens = 0

    @asynccontextmanager
    async def admit(self, tokens: int) -> AsyncIterator[None]:
        """Wait until one call that may use ``tokens`` fits, and hold its slot while it runs.

        More tokens than a minute allows count as a whole minute's worth: the call goes out when
        the bucket is full, and it is for the provider to say no.

        Raises ``RateLimitedError`` where the provider asked for a pause that is too long.
        """
        async with self._slots:
            async with self._turn:
                await self._take_tokens(tokens)
                if self._requests is not None:
                    await self._requests.acquire()
                await self._wait_out_pause()
            yield

    def settle(self, *, reserved_tokens: int, used_tokens: int) -> None:
        """Correct the estimate once the real count is known.

        What was used beyond the reservation (pages read by a web search, say) is added to the
        next call's reservation. What was reserved too much is not given back: providers too
        count the output limit, not the output, and the bucket refills within the minute anyway.
        """
        self._overdraft_tokens += max(0, used_tokens - reserved_tokens)

    def pause(self, seconds: float) -> None:
        """Let no further call out for ``seconds``; a pause is never shortened."""
        self._not_before = max(self._not_before, self._clock.monotonic() + seconds)

    async def _take_tokens(self, tokens: int) -> None:
        if self._tokens is None:
            return
        overdraft = self._overdraft_tokens
        await self._tokens.acquire(min(tokens + overdraft, self._tokens.max_rate))
        # Not zero: another call may have been settled during the wait.
        self._overdraft_tokens -= overdraft

    async def _wait_out_pause(self) -> None:
        while (rest_s := self._not_before - self._clock.monotonic()) > 0:
            if rest_s > self._longest_pause_s:
                raise RateLimitedError(
                    _("{provider} asks for a pause of {seconds:.0f} s").format(
                        provider=self._provider, seconds=rest_s
                    ),
                    hint=_("Resume later, or use another agent until then."),
                    provider=self._provider,
                    retry_after_s=rest_s,
                )
            await self._clock.sleep(rest_s)


def request_bucket(per_minute: int) -> tuple[int, float]:
    """The size of the bucket, and the seconds in which all of it refills.

    Size and a minute's refill together are what a minute allows (one a minute: one, then one).
    """
    burst = max(1, per_minute // 4)
    rest = max(1, per_minute - burst)
    return burst, 60 * burst / rest


def _requests_limiter(per_minute: int | None) -> AsyncLimiter | None:
    return None if per_minute is None else AsyncLimiter(*request_bucket(per_minute))


def _tokens_limiter(per_minute: int | None) -> AsyncLimiter | None:
    return None if per_minute is None else AsyncLimiter(per_minute, time_period=60)
