"""The wire-format server, and the official SDKs that speak to it under each of its addresses."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import pytest

from aigenflow.testing.server import WireServer

if TYPE_CHECKING:
    import anthropic
    import openai
    from google import genai


@pytest.fixture
async def server() -> AsyncIterator[WireServer]:
    async with WireServer() as running:
        yield running


@pytest.fixture(params=["", "/anthropic"])
async def claude(
    server: WireServer, request: pytest.FixtureRequest
) -> AsyncIterator[anthropic.AsyncAnthropic]:
    from anthropic import AsyncAnthropic

    async with AsyncAnthropic(
        api_key="k", base_url=server.url + request.param, max_retries=0
    ) as client:
        yield client


@pytest.fixture(params=["", "/v1", "/openai/v1"])
async def gpt(
    server: WireServer, request: pytest.FixtureRequest
) -> AsyncIterator[openai.AsyncOpenAI]:
    from openai import AsyncOpenAI

    async with AsyncOpenAI(
        api_key="k", base_url=server.url + request.param, max_retries=0
    ) as client:
        yield client


@pytest.fixture(params=["", "/gemini"])
async def gemini(
    server: WireServer, request: pytest.FixtureRequest
) -> AsyncIterator[genai.client.AsyncClient]:
    import httpx2
    from google import genai
    from google.genai import types

    # Without a client of its own the SDK subclasses aiohttp's session, which warns.
    async with httpx2.AsyncClient() as http:
        options = types.HttpOptions(
            base_url=server.url + request.param, timeout=5000, httpx_async_client=http
        )
        client = genai.Client(api_key="k", http_options=options)
        yield client.aio
        client.close()
