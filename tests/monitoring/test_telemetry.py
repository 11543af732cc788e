"""Telemetry as the app holds it."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from aigenflow.core.config import FeatureSettings, Settings, TelemetrySettings
from aigenflow.core.events import Event, OnEvent, Warned, ignore_event
from aigenflow.monitoring.telemetry import Telemetry
from aigenflow.testing.clock import ManualClock
from tests.monitoring.calls import ANSWER, Attempted


def open_telemetry(
    home: Path,
    chosen: TelemetrySettings,
    on_event: OnEvent = ignore_event,
    *,
    monitoring: bool = True,
) -> Telemetry:
    settings = Settings.model_construct(
        telemetry=chosen, features=FeatureSettings(monitoring_enabled=monitoring)
    )
    return Telemetry(settings, home, ManualClock(), on_event)


def missing(path: Path) -> bool:
    """Whether nothing is there."""
    return not path.exists()


async def test_off_means_nothing_at_all(own_home: Path) -> None:
    """The events go straight to whoever watches, and no file appears."""
    telemetry = open_telemetry(own_home, TelemetrySettings())
    events: list[Event] = []
    with telemetry.watch(events.append) as told:
        assert told == events.append
    telemetry.on_attempt(Attempted(response=ANSWER))
    await telemetry.aclose()
    assert missing(own_home)


async def test_a_file_that_cannot_be_written_is_a_warning(own_home: Path, tmp_path: Path) -> None:
    """Watching never stops a run."""
    (tmp_path / "file").touch()
    path = tmp_path / "file" / "aigenflow.prom"
    events: list[Event] = []
    telemetry = open_telemetry(own_home, TelemetrySettings(prometheus_textfile=path), events.append)
    with telemetry.watch(ignore_event):
        pass
    await telemetry.aclose()
    [warned] = events
    assert isinstance(warned, Warned)
    assert str(path) in warned.message


async def test_without_a_ledger_there_is_no_file_and_that_is_said(
    own_home: Path, tmp_path: Path
) -> None:
    """With monitoring off there are no sums, so an old file stays as it is."""
    path = tmp_path / "aigenflow.prom"
    events: list[Event] = []
    telemetry = open_telemetry(
        own_home, TelemetrySettings(prometheus_textfile=path), events.append, monitoring=False
    )
    with telemetry.watch(ignore_event):
        pass
    await telemetry.aclose()
    assert missing(path)
    assert [type(event) for event in events] == [Warned]


async def test_only_a_run_writes_the_file(own_home: Path, tmp_path: Path) -> None:
    """A command that asks nobody anything leaves the file alone."""
    path = tmp_path / "aigenflow.prom"
    await open_telemetry(own_home, TelemetrySettings(prometheus_textfile=path)).aclose()
    assert missing(path)


async def test_a_collector_that_is_down_is_a_warning(
    own_home: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Nothing is printed in between; at the end one warning says that spans were lost."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        endpoint = f"http://127.0.0.1:{unused.getsockname()[1]}"
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "0.2")
    events: list[Event] = []
    telemetry = open_telemetry(own_home, TelemetrySettings(otel_enabled=True), events.append)
    telemetry.on_attempt(Attempted(response=ANSWER))
    await telemetry.aclose()
    [warned] = events
    assert isinstance(warned, Warned)
    assert "could not all be sent" in warned.message
    assert capfd.readouterr() == ("", "")
