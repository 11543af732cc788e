"""The command line in this process, at a fixed time, in a folder of its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from aigenflow.core.clock import Clock
from aigenflow.main import main
from aigenflow.testing.clock import ManualClock
from tests.support.commands import NOON, Outcome, Run


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> ManualClock:
    """Stands in for the machine's clock."""
    manual = ManualClock(NOON)
    monkeypatch.setattr("aigenflow.core.clock.SystemClock", lambda: manual)
    return manual


@pytest.fixture
def aigenflow(
    clock: Clock,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Run:
    """Run one command to its end."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AIGENFLOW_BUDGET__TIMEZONE", "UTC")

    def run(*arguments: str) -> Outcome:
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        printed = capsys.readouterr()
        code = ended.value.code
        assert isinstance(code, int)
        return Outcome(code=code, out=printed.out, err=printed.err)

    return run
