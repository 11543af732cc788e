"""A wire-format server for the tests of this folder."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.program import Wire
from tests.support.wire import wire_server


@pytest.fixture(scope="session")
def wire_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Wire]:
    with wire_server(tmp_path_factory.mktemp("wire")) as server:
        yield server


@pytest.fixture(scope="module")
def wire(wire_process: Wire) -> Wire:
    wire_process.reset()
    return wire_process
