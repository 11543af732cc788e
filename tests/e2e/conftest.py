"""Fixtures of the end-to-end tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.program import AGENTS, Program, Wire, clean_environment, through_one_sdk
from tests.support.wire import wire_server


@pytest.fixture(scope="session")
def wire_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with wire_server(tmp_path_factory.mktemp("wire")) as wire:
        yield wire.url


@pytest.fixture
def wire(wire_process: str) -> Wire:
    server = Wire(url=wire_process)
    server.reset()
    return server


@pytest.fixture
def offline(tmp_path: Path) -> Program:
    """The program without keys and without a server."""
    folder = tmp_path / "work"
    folder.mkdir()
    return Program(folder, clean_environment(tmp_path / "home"))


@pytest.fixture
def program(offline: Program, wire: Wire) -> Program:
    """The program with all four agents at the wire-format server."""
    for agent in AGENTS:
        offline.environ[f"AIGENFLOW_AGENTS__{agent}__BASE_URL"] = wire.url
    return offline


@pytest.fixture
def quick(offline: Program, wire: Wire) -> Program:
    """The program with all four agents at the server, through the one SDK that starts fastest."""
    offline.environ.update(through_one_sdk(wire.url))
    return offline
