from __future__ import annotations

import asyncio

import pytest

from aigenflow.gateway.registry import is_listening


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
