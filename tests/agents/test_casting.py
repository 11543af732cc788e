"""Who plays whom is found out once, however many ask."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from aigenflow.agents import casting
from aigenflow.agents.casting import Casting
from aigenflow.core.config import load_settings
from aigenflow.core.errors import ConnectionFailedError
from aigenflow.core.models import Backend


class _Server:
    """Lists its models, slowly; it stands in for all connections, too."""

    def __init__(self, models: tuple[str, ...] | None) -> None:
        self.models = models
        self.asked = 0

    def of(self, _route: object) -> Any:
        return self

    async def list_models(self) -> tuple[str, ...]:
        self.asked += 1
        await asyncio.sleep(0.01)
        if self.models is None:
            raise ConnectionFailedError("It is no such server.")
        return self.models


def _casting(server: _Server, home: Path, monkeypatch: pytest.MonkeyPatch) -> Casting:
    async def listens(_url: str) -> bool:
        await asyncio.sleep(0)
        return True

    monkeypatch.setattr(casting, "is_listening", listens)
    flags = {"local": {"discover": True}}
    settings = load_settings(home, None, flags)
    return Casting(settings, server, lambda _agent: None)  # type: ignore[arg-type]


async def test_all_who_ask_at_once_are_told_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody is sent to the offline drafter because another is still looking for the server."""
    server = _Server(("llama",))
    cast = _casting(server, tmp_path, monkeypatch)
    told = await asyncio.gather(*(cast.cast() for _asker in range(5)))
    assert all(each is told[0] for each in told)
    assert {route.backend for route in told[0].routes.values()} == {Backend.COMPATIBLE}
    assert {route.model for route in told[0].routes.values()} == {"llama"}
    assert server.asked == 1


@pytest.mark.parametrize("models", [None, ()])
async def test_what_is_no_server_of_models_plays_nobody(
    models: tuple[str, ...] | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Something else listens there, or it has no model: the drafter plays, and it is no error."""
    cast = await _casting(_Server(models), tmp_path, monkeypatch).cast()
    assert cast.is_offline


async def test_a_look_that_was_cancelled_is_taken_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that is cancelled at its very start decides nothing for the next one."""
    server = _Server(("llama",))
    cast = _casting(server, tmp_path, monkeypatch)
    first = asyncio.create_task(cast.cast())
    await asyncio.sleep(0.005)
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    assert not (await cast.cast()).is_offline
