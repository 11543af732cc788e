from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from click.testing import CliRunner

from aigenflow.cli.status import command
from aigenflow.core.clock import SystemClock
from aigenflow.core.models import DocumentType, Language
from aigenflow.engine.local import LocalEngine
from aigenflow.engine.models import SessionSpec


@pytest.fixture
def output(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An output folder with a good session and a damaged one."""
    monkeypatch.setenv("AIGENFLOW_HOME", str(tmp_path / "home"))
    engine = LocalEngine(tmp_path / "output", SystemClock())
    for name in ("good", "bad"):
        spec = SessionSpec(
            session=name,
            topic="a topic to write on",
            document_type=DocumentType.BIZPLAN,
            template="default",
            language=Language.EN,
            created=datetime(2026, 11, 22, tzinfo=UTC),
        )
        engine.create(spec).close()
    (tmp_path / "output" / "bad" / "pipeline_state.json").write_text("{")
    return tmp_path / "output"


def test_a_damaged_session_is_shown_as_such(output: Path) -> None:
    """It has its row, and what is wrong with it is said beside the table."""
    result = CliRunner().invoke(command, ["--output-dir", str(output)])
    rows = {line.split()[0]: line.split()[1] for line in result.stdout.splitlines()[1:]}
    assert rows == {"good": "interrupted", "bad": "damaged"}
    assert "pipeline_state.json" in result.stderr


def test_a_damaged_session_has_the_same_fields_for_scripts(output: Path) -> None:
    """What is not known is null."""
    result = CliRunner().invoke(command, ["--output-dir", str(output), "--json"])
    good, bad = json.loads(result.stdout)
    assert good.keys() == bad.keys()
    assert (bad["session"], bad["status"], bad["topic"]) == ("bad", "damaged", None)
    assert "pipeline_state.json" in bad["message"]
