"""Spans and metrics, sent to an OpenTelemetry collector. The SDK is imported when this is opened.

    run -> phase -> task -> one span per attempt at a provider

The providers are private: nothing global is set, so that neither a vendor's SDK nor a program that
embeds this one is made to send anything.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from contextvars import ContextVar
from datetime import datetime
from gettext import gettext as _
from importlib.metadata import version
from typing import TYPE_CHECKING, TypeAlias

from aigenflow.core import events
from aigenflow.core.clock import Clock
from aigenflow.core.errors import ConfigError
from aigenflow.core.models import Backend
from aigenflow.monitoring import semantics
from aigenflow.monitoring.semantics import Attributes, ProviderCall

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.metrics import Meter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.trace import Span, Tracer

EXPORT_TIMEOUT_S = 3
"""The longest wait for a collector at the end of a run, unless the environment says otherwise."""

_Key: TypeAlias = tuple[str] | tuple[str, int] | tuple[str, int, str]
"""A session, a phase of it, or a task of that: each is the parent of what it begins."""

_session: ContextVar[str] = ContextVar("session", default="")


class OpenTelemetry:
    """Hears what happens and turns it into spans and metrics.

    ``shutdown`` sends what is left; it blocks. Concurrent runs in one program keep apart, because
    each hears its events in a context of its own.
    """

    def __init__(
        self,
        tracer: Tracer,
        meter: Meter,
        clock: Clock,
        *,
        capture_content: bool = False,
        shutdown: Callable[[], None],
    ) -> None:
        self._tracer = tracer
        self._clock = clock
        self._capture_content = capture_content
        self._open: dict[_Key, Span] = {}
        self._tokens = meter.create_histogram(
            "gen_ai.client.token.usage",
            unit="{token}",
            description="Number of input and output tokens used.",
            explicit_bucket_boundaries_advisory=semantics.TOKEN_BOUNDARIES,
        )
        self._durations = meter.create_histogram(
            "gen_ai.client.operation.duration",
            unit="s",
            description="Duration of one attempt at a provider.",
            explicit_bucket_boundaries_advisory=semantics.DURATION_BOUNDARIES_S,
        )
        self._cost = meter.create_counter(
            "aigenflow.cost", unit="USD", description="What answers cost, where it is known."
        )
        self._lookups = meter.create_counter(
            "aigenflow.cache.lookups",
            unit="{lookup}",
            description="Looks into the response cache, by result.",
        )
        self.shutdown = shutdown

    def heard(self, event: events.Event) -> None:
        """Begin or end the spans that ``event`` is about."""
        match event:
            case events.TextArrived():
                return
            case events.RunStarted():
                _session.set(event.session)
                attributes = semantics.run_attributes(event, capture_content=self._capture_content)
                self._begin((event.session,), f"invoke_workflow {semantics.WORKFLOW}", attributes)
            case events.PhaseStarted():
                self._end((_session.get(), event.phase - 1))
                attributes = {"aigenflow.phase": event.phase}
                self._begin((_session.get(), event.phase), f"phase {event.name}", attributes)
            case events.TaskStarted():
                self._begin(
                    (_session.get(), event.phase, event.task),
                    f"invoke_agent {event.route.agent}",
                    semantics.task_attributes(event, _session.get()),
                )
            case events.CacheLookedUp():
                self._lookups.add(1, {"aigenflow.cache.result": "hit" if event.hit else "miss"})
            case events.FellBack():
                self._note(event.phase, event.task, "aigenflow.fell_back_to", event.to.actor.value)
            case events.TaskFinished():
                served_from = event.response.served_from.value
                self._note(event.phase, event.task, "aigenflow.served_from", served_from)
                self._end((_session.get(), event.phase, event.task))
            case events.RunFinished():
                self._end((event.session,))
                _session.set("")
            case _:
                pass

    def attempted(self, call: ProviderCall) -> None:
        """Write down one attempt, now that it has ended."""
        from opentelemetry.trace import SpanKind, StatusCode

        request = call.request
        started_ns = _nanoseconds(call.started)
        span = self._tracer.start_span(
            f"chat {call.route.model}",
            context=self._inside((request.session, request.phase, request.task)),
            kind=SpanKind.CLIENT,
            attributes=semantics.call_attributes(call, capture_content=self._capture_content),
            start_time=started_ns,
        )
        if call.error is not None:
            span.set_status(StatusCode.ERROR)
        span.end(started_ns + round(call.duration_s * 1e9))
        self._measure(call)

    def close(self, error: BaseException | None = None) -> None:
        """End what is still open; ``error`` is what stopped it."""
        self._end((), error)

    def _measure(self, call: ProviderCall) -> None:
        self._durations.record(call.duration_s, semantics.duration_attributes(call))
        for kind, count in semantics.token_counts(call).items():
            self._tokens.record(count, semantics.token_attributes(call, kind))
        answer = semantics.answer_to(call)
        if answer is not None and answer.estimated_cost is not None:
            self._cost.add(float(answer.estimated_cost), semantics.cost_attributes(call, answer))

    def _begin(self, key: _Key, name: str, attributes: Attributes) -> None:
        self._end(key)
        self._open[key] = self._tracer.start_span(
            name, context=self._inside(key[:-1]), attributes=attributes, start_time=self._now()
        )

    def _note(self, phase: int, task: str, name: str, value: str) -> None:
        span = self._open.get((_session.get(), phase, task))
        if span is not None:
            span.set_attribute(name, value)

    def _end(self, key: _Key | tuple[()], error: BaseException | None = None) -> None:
        """End the span at ``key`` and all inside it, the innermost first."""
        from opentelemetry.trace import StatusCode

        ending = [each for each in self._open if each[: len(key)] == key]
        for each in sorted(ending, key=len, reverse=True):
            span = self._open.pop(each)
            if error is not None:
                span.set_attributes(semantics.error_attributes(error))
                span.set_status(StatusCode.ERROR)
            span.end(self._now())

    def _inside(self, key: tuple[object, ...]) -> Context | None:
        """The context of the innermost open span around ``key``."""
        from opentelemetry.trace import set_span_in_context

        around = [each for each in self._open if each == key[: len(each)]]
        return set_span_in_context(self._open[max(around, key=len)]) if around else None

    def _now(self) -> int:
        return _nanoseconds(self._clock.now())


class ExportProblems(logging.Handler):
    """Collects what the SDK would print to standard error in the middle of a run."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.first = ""

    def emit(self, record: logging.LogRecord) -> None:
        """Keep the first."""
        self.first = self.first or record.getMessage()

    def install(self) -> None:
        """Listen, which also keeps the messages off standard error."""
        logging.getLogger("opentelemetry").addHandler(self)

    def remove(self) -> None:
        """Listen no more."""
        logging.getLogger("opentelemetry").removeHandler(self)


def open_otel(clock: Clock, *, capture_content: bool) -> OpenTelemetry:
    """Connect to the collector that the ``OTEL_EXPORTER_OTLP_*`` variables name.

    Raises :class:`~aigenflow.core.errors.ConfigError` where the SDK is not installed.
    """
    try:
        from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.metrics import MeterProvider
        from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError as error:
        raise ConfigError(
            _("Telemetry is switched on, but OpenTelemetry is not installed."),
            hint=_(
                'Install it with: pip install "aigenflow[otel]", '
                "or switch it off: aigenflow config set otel_enabled false"
            ),
        ) from error
    resource, timeout_s = _resource(), _timeout_s()
    traces = TracerProvider(resource=resource, shutdown_on_exit=False)
    traces.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(timeout=timeout_s)))
    metrics = MeterProvider(
        [PeriodicExportingMetricReader(OTLPMetricExporter(timeout=timeout_s))],
        resource=resource,
        shutdown_on_exit=False,
    )

    def shutdown() -> None:
        traces.shutdown()
        metrics.shutdown()

    return OpenTelemetry(
        traces.get_tracer(WORKFLOW_SCOPE),
        metrics.get_meter(WORKFLOW_SCOPE),
        clock,
        capture_content=capture_content,
        shutdown=shutdown,
    )
