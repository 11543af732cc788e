from __future__ import annotations

import asyncio
from contextlib import aclosing

import pytest

from aigenflow.core.clock import SystemClock
from aigenflow.core.config import Settings
from aigenflow.core.errors import AddressError, AuthenticationError
from aigenflow.core.jobs import JobItem
from aigenflow.core.models import AgentRequest, AgentType, Backend, Route
from aigenflow.gateway.registry import Gateways, is_listening
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
