"""Fixtures of the fault tests: one server process, and a line to one provider for each test."""

from __future__ import annotations

import functools
import itertools
import json
import logging
import ssl
from collections.abc import AsyncIterator, Iterator
from importlib import import_module

import httpcore2
import pytest

from aigenflow.testing import WireServerProcess
from tests.gateway.faults.line import Line, Way, holds_secret
from tests.support.program import Wire

_NUMBERS = itertools.count(1)
_CERTIFICATES = functools.cache(ssl.create_default_context)
_CERTIFICATES_OF_HTTPX = functools.cache(httpcore2.default_ssl_context)


@pytest.fixture(scope="session")
def fault_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of the wire-format server, one process for all tests."""
    with WireServerProcess(state_dir=tmp_path_factory.mktemp("wire")) as server:
        yield server.url


@pytest.fixture(scope="session", autouse=True)
def _sdks() -> None:
    """Loaded before any limit on waiting runs: that takes seconds on a busy machine."""
    for name in ("anthropic", "openai", "google.genai"):
        import_module(name)


@pytest.fixture(autouse=True)
def _one_set_of_certificates(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading the machine's certificates takes longer than most tests: once is enough."""
    monkeypatch.setattr(ssl, "create_default_context", _CERTIFICATES)
    monkeypatch.setattr(httpcore2, "default_ssl_context", _CERTIFICATES_OF_HTTPX)


@pytest.fixture
async def line(
    fault_server: str, way: Way, caplog: pytest.LogCaptureFixture
) -> AsyncIterator[Line]:
    """A line to the provider of ``way``; afterwards, no key was seen where none belongs."""
    caplog.set_level(logging.DEBUG)
    wire = Wire(url=fault_server)
    wire.reset()
    line = Line(wire, way, f"question-{next(_NUMBERS):06d}")
    yield line
    await line.aclose()
    assert not holds_secret(json.dumps(wire.requests(), ensure_ascii=False))
    logged = "\n".join(record.getMessage() for record in caplog.get_records("call"))
    assert not holds_secret(logged)
