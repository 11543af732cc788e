"""What the program tells those who watch it from outside. Watching changes nothing.

Off unless switched on; what is off is not imported. What goes wrong here is told as a warning and
never stops a run.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from gettext import gettext as _
from pathlib import Path

from aigenflow.core.clock import Clock
from aigenflow.core.config import Settings
from aigenflow.core.errors import ConfigError
from aigenflow.core.events import Event, OnEvent, Warned
from aigenflow.monitoring.opening import looking_at_tracker
from aigenflow.monitoring.otel import ExportProblems, open_otel
from aigenflow.monitoring.semantics import ProviderCall

_LONGEST_PROBLEM = 200


class Telemetry:
    """Spans and metrics for OpenTelemetry, and the textfile for Prometheus, as the settings say.

    Raises :class:`~aigenflow.core.errors.ConfigError` where OpenTelemetry is switched on but not
    installed.
    """

    def __init__(self, settings: Settings, home: Path, clock: Clock, on_event: OnEvent) -> None:
        self._settings = settings
        self._home = home
        self._clock = clock
        self._on_event = on_event
        chosen = settings.telemetry
        self._watched = False
        self._problems = ExportProblems()
        self._otel = None
        if chosen.otel_enabled:
            self._otel = open_otel(clock, capture_content=chosen.capture_content)
            self._problems.install()

    @contextmanager
    def watch(self, on_event: OnEvent) -> Iterator[OnEvent]:
        """``on_event`` for one run, with telemetry told as well until the run is left."""
        self._watched = True
        if self._otel is None:
            yield on_event
            return
        with self._otel.watch() as hear:

            def told(event: Event) -> None:
                hear(event)
                on_event(event)

            yield told

    def on_attempt(self, call: ProviderCall) -> None:
        """Told of each attempt at a provider as it ends."""
        if self._otel is not None:
            self._otel.record(call)

    async def aclose(self) -> None:
        """Send and write what is left. The ledger must have been closed before."""
        if self._otel is not None:
            await asyncio.to_thread(self._otel.shutdown)
            self._problems.remove()
        if self._problems.first:
            self._warn(
                _(
                    "Spans and metrics could not all be sent. Does a collector listen where "
                    "OTEL_EXPORTER_OTLP_ENDPOINT says? {problem}"
                ).format(problem=self._problems.first[:_LONGEST_PROBLEM])
            )
        path = self._settings.telemetry.prometheus_textfile
        if path is not None and self._watched:
            self._write_textfile(path.expanduser())

    def _write_textfile(self, path: Path) -> None:
        from aigenflow.monitoring.textfile import write_textfile

        if not self._settings.features.monitoring_enabled:
            self._warn(_("Monitoring is switched off, so {path} is not written.").format(path=path))
            return
        try:
            with looking_at_tracker(self._settings, self._home, self._clock) as tracker:
                write_textfile(path, tracker, self._home)
        except (OSError, ConfigError) as error:
            self._warn(_("{path} cannot be written: {problem}").format(path=path, problem=error))

    def _warn(self, message: str) -> None:
        self._on_event(Warned(message=message))
