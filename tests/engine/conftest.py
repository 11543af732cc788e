from __future__ import annotations

from pathlib import Path

import pytest

from aigenflow.core.clock import SystemClock
from aigenflow.engine.local import LocalEngine, LocalSession
from tests.engine.sessions import STEP, a_record, a_spec, answering


@pytest.fixture
def engine(tmp_path: Path) -> LocalEngine:
    return LocalEngine(tmp_path / "output", SystemClock())


@pytest.fixture
async def session(engine: LocalEngine) -> LocalSession:
    session = engine.create(a_spec())
    await session.run(STEP, answering(a_record(STEP)))
    return session
