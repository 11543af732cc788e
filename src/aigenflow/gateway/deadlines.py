"""Limits on waiting for an answer, and the choice between one piece and a stream.

All durations are in seconds. A stream shows signs of life, so that a stalled one is told from a
slow one; a plain call costs less per answer and shows none.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable
from dataclasses import replace
from gettext import gettext as _
from typing import TypeVar

from aigenflow.core.errors import StalledError
from aigenflow.core.models import AgentRequest
from aigenflow.gateway.base import Timeouts

T = TypeVar("T")

FLEX_WAIT_S = 900.0
"""How long an answer at the flex rate may take, also to its first event: it stands in a queue.

Both providers that have the rate advise clients to wait this long before they give up.
"""

_LONGEST_PLAIN_ANSWER = 2048
"""Output tokens up to which an answer comes soon enough to wait for it in one piece."""


def should_stream(request: AgentRequest) -> bool:
    """Whether the answer may take long enough to need signs of life."""
    return request.max_output_tokens > _LONGEST_PLAIN_ANSWER or request.web_search


async def watched(
    events: AsyncIterator[T], timeouts: Timeouts, *, provider: str
) -> AsyncGenerator[T, None]:
    """The same events, as long as they keep coming.

    The clock for ``first_event_s`` starts with the first ``anext``, so an iterator that opens the
    connection itself has that time counted too. Only events that reach the iterator are signs of
    life: SDKs swallow keep-alive pings and comment lines, so a stream of nothing else counts as
    silent. Time the consumer spends between two events is not silence, but is part of the total.

    Raises ``StalledError`` (possibly billed). Closes ``events`` in every case.
    """
    loop = asyncio.get_running_loop()
    end = loop.time() + timeouts.total_s
    patience = timeouts.first_event_s
    try:
        while True:
            now = loop.time()
            try:
                async with asyncio.timeout_at(min(now + patience, end)) as limit:
                    event = await anext(events)
            except StopAsyncIteration:
                return
            except TimeoutError:
                if not limit.expired():  # somebody else's timeout
                    raise
                waited = timeouts.total_s if end <= now + patience else patience
                raise _stalled(provider, waited) from None
            yield event
            patience = timeouts.idle_s
    finally:
        if isinstance(events, AsyncGenerator):
            await events.aclose()


async def within(awaitable: Awaitable[T], seconds: float, *, provider: str) -> T:
    """The result of ``awaitable``, or ``StalledError`` (possibly billed) after ``seconds``.

    The answer of a plain call is its first and only event: its limit is :func:`plain_limit`.
    """
    try:
        async with asyncio.timeout(seconds) as limit:
            return await awaitable
    except TimeoutError:
        if not limit.expired():
            raise
        raise _stalled(provider, seconds) from None


def for_flex(timeouts: Timeouts) -> Timeouts:
    """``timeouts`` with the patience that an answer at the flex rate needs."""
    return replace(
        timeouts,
        first_event_s=max(timeouts.first_event_s, FLEX_WAIT_S),
        total_s=max(timeouts.total_s, FLEX_WAIT_S),
    )


def plain_limit(timeouts: Timeouts) -> float:
    """Seconds a call without a stream may take."""
    return min(timeouts.first_event_s, timeouts.total_s)


def _stalled(provider: str, seconds: float) -> StalledError:
    message = _("{provider} sent nothing usable within {seconds:g} s.")
    return StalledError(
        message.format(provider=provider, seconds=seconds),
        hint=_("Wait and try again; the provider may charge for the answer that did not come."),
        provider=provider,
        possibly_billed=True,
    )
