from __future__ import annotations

import asyncio
from contextlib import aclosing

import pytest

from aigenflow.core.clock import SystemClock
from aigenflow.core.config import Settings
from aigenflow.core.errors import AddressError, AuthenticationError
from aigenflow.core.jobs import JobItem
from aigenflow.core.models import AgentRequest, AgentType, Backend, Route
from aigenflow.gateway.limits import Limiter, Limits, RateLimiter
from aigenflow.gateway.registry import Gateways, is_listening
from aigenflow.gateway.retry import RetryPolicy
from aigenflow.testing.server import WireServer


class NoDrafter:
    """Nothing here is drafted offline."""

    def compose(self, request: AgentRequest) -> str:
        raise AssertionError


def gateways(key: str | None = None) -> Gateways:
    return Gateways(Settings(), lambda _agent: key, NoDrafter(), SystemClock())


def route_to(backend: Backend, base_url: str | None = None) -> Route:
    agent = {
        Backend.ANTHROPIC: AgentType.CLAUDE,
        Backend.GEMINI: AgentType.GEMINI,
        Backend.PERPLEXITY: AgentType.PERPLEXITY,
    }.get(backend, AgentType.CHATGPT)
    return Route(agent=agent, actor=agent, backend=backend, model="m", base_url=base_url)


@pytest.mark.parametrize(
    "url",
    ["http://127.0.0.1:1/v1", "http://127.0.0.1:99999/", "http://[::1", f"http://{'a' * 70}.b"],
)
async def test_an_address_that_nobody_has_is_no_server(url: str) -> None:
    """Whatever is wrong with it: nothing listens there."""
    assert not await is_listening(url)


async def test_a_server_is_seen() -> None:
    """A port that takes connections is enough."""
    server = await asyncio.start_server(lambda _reader, writer: writer.close(), "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        assert await is_listening(f"http://127.0.0.1:{port}/v1")


@pytest.mark.parametrize("backend", Backend)
async def test_who_takes_batch_jobs(backend: Backend) -> None:
    """Three providers do; the others say so instead of failing."""
    async with aclosing(gateways("k")) as opened:
        jobs = opened.jobs(route_to(backend, "http://127.0.0.1:1"))
    takers = {Backend.ANTHROPIC, Backend.OPENAI, Backend.GEMINI}
    assert (jobs is not None) is (backend in takers)


async def test_an_address_that_needs_leave_gets_no_jobs() -> None:
    """The same rule as for live calls: keys and prompts go nowhere unasked."""
    async with aclosing(gateways("k")) as opened:
        with pytest.raises(AddressError):
            opened.jobs(route_to(Backend.OPENAI, "https://example.com/v1"))


async def test_jobs_without_a_key() -> None:
    """Nothing is sent; the error names no job that may exist."""
    route = route_to(Backend.OPENAI)
    item = JobItem(
        id="i",
        request=AgentRequest(agent=AgentType.CHATGPT, phase=1, task="t", prompt="p"),
        route=route,
    )
    async with aclosing(gateways()) as opened:
        jobs = opened.jobs(route)
        assert jobs is not None
        with pytest.raises(AuthenticationError) as caught:
            await jobs.submit([item], "tag")
    assert not caught.value.possibly_billed


@pytest.mark.parametrize(
    ("backend", "path"),
    [
        (Backend.ANTHROPIC, "/anthropic"),
        (Backend.OPENAI, "/openai/v1"),
        (Backend.GEMINI, "/gemini"),
    ],
)
async def test_jobs_and_live_calls_share_a_client(backend: Backend, path: str) -> None:
    """One connection of one account, whichever is asked for first, and closed with the rest."""
    async with WireServer() as server:
        route = route_to(backend, server.url + path)
        request = AgentRequest(agent=route.agent, phase=1, task="t", prompt="p")
        opened = gateways()
        jobs = opened.jobs(route)
        assert jobs is not None
        job = await jobs.submit([JobItem(id="i", request=request, route=route)], "tag")
        await opened.send(request, route)
        assert len(opened._adapters) == 1
        await opened.aclose()
        reopened = gateways()
        again = reopened.jobs(route)
        assert again is not None
        assert (await again.status(job.job)).job == job.job
        await reopened.aclose()


async def test_a_connection_keeps_the_limits_that_are_shared():
    """Where somebody opens limiters, each place has one: for its name, limits and patience."""
    opened: list[tuple[str, Limits, float]] = []

    def open_limiter(place: str, limits: Limits, longest_pause_s: float) -> Limiter:
        opened.append((place, limits, longest_pause_s))
        return RateLimiter(place, limits, clock=SystemClock(), longest_pause_s=longest_pause_s)

    settings = Settings()
    shared = Gateways(
        settings, lambda _agent: "k", NoDrafter(), SystemClock(), open_limiter=open_limiter
    )
    async with aclosing(shared):
        for _ in range(2):
            shared.of(route_to(Backend.ANTHROPIC, "http://127.0.0.1:1"))
        shared.of(route_to(Backend.OPENAI))
    claude, chatgpt = settings.agents.claude, settings.agents.chatgpt
    assert [place for place, _limits, _pause in opened] == [
        f"anthropic http://127.0.0.1:1 {claude.api_key_env}",
        f"openai  {chatgpt.api_key_env}",
    ]
    assert opened[0][1].concurrency == claude.concurrency
    assert opened[0][2] == RetryPolicy().longest_pause_s
