"""Spans and metrics for an OpenTelemetry collector. The SDK is imported when this is opened.

    run -> phase -> task -> one span per attempt at a provider

The SDK's providers are private: nothing global is set, so that neither a vendor's SDK nor a program
that embeds this one is made to send anything.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from gettext import gettext as _
from types import TracebackType
from typing import TYPE_CHECKING, Self, TypeAlias

from aigenflow.core import events
from aigenflow.core.clock import Clock
from aigenflow.core.errors import ConfigError
from aigenflow.core.events import Event, OnEvent
from aigenflow.monitoring import semantics
from aigenflow.monitoring.semantics import Attributes, ProviderCall

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.metrics import Meter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.trace import Span, Tracer

EXPORT_TIMEOUT_S = 3.0
"""How long a collector that does not answer is tried, unless the environment says otherwise."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

_Key: TypeAlias = tuple[str | int, ...]
"""``(session,)``, ``(session, phase)`` or ``(session, phase, task)``: each is inside the former."""


class SpanTree:
    """The open spans of one run, begun and ended by its events.

    What is still open when the run is left is ended then, with the error that ended the run.
    """

    def __init__(self, tracer: Tracer, clock: Clock, *, capture_content: bool) -> None:
        self._tracer = tracer
        self._clock = clock
        self._capture_content = capture_content
        self._session = ""
        self._open: dict[_Key, Span] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._end((), error)

    def hear(self, event: Event) -> None:
        """Begin or end the spans that ``event`` is about."""
        match event:
            case events.RunStarted():
                self._session = event.session
                attributes = semantics.run_attributes(event, capture_content=self._capture_content)
                self._begin((event.session,), "invoke_workflow aigenflow", attributes)
            case events.PhaseStarted():
                self._end((self._session, event.phase - 1))
                attributes = {"aigenflow.phase": event.phase}
                self._begin((self._session, event.phase), f"phase {event.name}", attributes)
            case events.TaskStarted():
                key = (self._session, event.phase, event.task)
                attributes = semantics.task_attributes(event, self._session)
                self._begin(key, f"invoke_agent {event.route.agent}", attributes)
            case events.FellBack():
                key = (self._session, event.phase, event.task)
                self._note(key, "aigenflow.fell_back_to", event.to.actor.value)
            case events.TaskFinished():
                key = (self._session, event.phase, event.task)
                self._note(key, "aigenflow.served_from", event.response.served_from.value)
                self._end(key)
            case _:
                pass

    def around(self, key: _Key) -> Context | None:
        """The context of the innermost open span that ``key`` is inside of."""
        from opentelemetry.trace import set_span_in_context

        found = [each for each in self._open if each == key[: len(each)]]
        return set_span_in_context(self._open[max(found, key=len)]) if found else None

    def _begin(self, key: _Key, name: str, attributes: Attributes) -> None:
        self._end(key)
        self._open[key] = self._tracer.start_span(
            name,
            context=self.around(key),
            attributes=attributes,
            start_time=_nanoseconds(self._clock.now()),
        )

    def _note(self, key: _Key, name: str, value: str) -> None:
        if key in self._open:
            self._open[key].set_attribute(name, value)

    def _end(self, key: _Key, error: BaseException | None = None) -> None:
        """End the span at ``key`` and those inside it, the innermost first."""
        from opentelemetry.trace import StatusCode

        ending = [each for each in self._open if each[: len(key)] == key]
        for each in sorted(ending, key=len, reverse=True):
            span = self._open.pop(each)
            if error is not None:
                span.set_attributes(semantics.error_attributes(error))
                span.set_status(StatusCode.ERROR)
            span.end(_nanoseconds(self._clock.now()))


class OpenTelemetry:
    """The spans of every run and attempt, and the metrics of all together.

    ``shutdown`` sends what is left; it blocks, at most about twice :data:`EXPORT_TIMEOUT_S`.
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
        self.shutdown = shutdown
        self._tracer = tracer
        self._clock = clock
        self._capture_content = capture_content
        self._trees: list[SpanTree] = []
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

    @contextmanager
    def watch(self) -> Iterator[OnEvent]:
        """What to tell the events of one run, until it is left."""
        with SpanTree(self._tracer, self._clock, capture_content=self._capture_content) as tree:

            def hear(event: Event) -> None:
                tree.hear(event)
                if isinstance(event, events.CacheLookedUp):
                    result = "hit" if event.hit else "miss"
                    self._lookups.add(1, {"aigenflow.cache.result": result})

            self._trees.append(tree)
            try:
                yield hear
            finally:
                self._trees.remove(tree)

    def record(self, call: ProviderCall) -> None:
        """Write down one attempt, now that it has ended."""
        from opentelemetry.trace import SpanKind, StatusCode

        started_ns = _nanoseconds(call.started)
        span = self._tracer.start_span(
            f"chat {call.route.model}",
            context=self._around(call),
            kind=SpanKind.CLIENT,
            attributes=semantics.call_attributes(call, capture_content=self._capture_content),
            start_time=started_ns,
        )
        if call.error is not None:
            span.set_status(StatusCode.ERROR)
        span.end(started_ns + round(call.duration_s * 1e9))
        self._measure(call)

    def _around(self, call: ProviderCall) -> Context | None:
        request = call.request
        key = (request.session, request.phase, request.task)
        contexts = (tree.around(key) for tree in reversed(self._trees))
        return next((context for context in contexts if context is not None), None)

    def _measure(self, call: ProviderCall) -> None:
        self._durations.record(call.duration_s, semantics.duration_attributes(call))
        for kind, count in semantics.token_counts(call).items():
            self._tokens.record(count, semantics.token_attributes(call, kind))
        answer = semantics.answer_to(call)
        if answer is not None and answer.estimated_cost is not None:
            self._cost.add(float(answer.estimated_cost), semantics.cost_attributes(call, answer))


class ExportProblems(logging.Handler):
    """What the SDK complains of: kept for the end, not printed into the middle of a run."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.first = ""

    def install(self) -> None:
        """Listen, which also keeps the complaints off standard error."""
        logging.getLogger("opentelemetry").addHandler(self)

    def remove(self) -> None:
        """Listen no more."""
        logging.getLogger("opentelemetry").removeHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        """Keep the first."""
        self.first = self.first or record.getMessage()


def open_otel(clock: Clock, *, capture_content: bool) -> OpenTelemetry:
    """Ready to send to the collector that the ``OTEL_EXPORTER_OTLP_*`` variables name.

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
            _("telemetry.otel_enabled is set, but OpenTelemetry is not installed."),
            hint=_(
                'Install it: pip install "aigenflow[otel]"; '
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
        traces.get_tracer("aigenflow"),
        metrics.get_meter("aigenflow"),
        clock,
        capture_content=capture_content,
        shutdown=shutdown,
    )


def _resource() -> Resource:
    """Who sends: the user's ``OTEL_SERVICE_NAME`` and ``OTEL_RESOURCE_ATTRIBUTES`` win."""
    from importlib.metadata import version

    from opentelemetry.sdk.resources import OTELResourceDetector, Resource

    ours = {"service.name": "aigenflow", "service.version": version("aigenflow")}
    return Resource.create(ours).merge(OTELResourceDetector().detect())


def _timeout_s() -> float | None:
    """``None`` leaves the choice to the SDK, which reads the variables itself."""
    chosen = any(
        name.startswith("OTEL_EXPORTER_OTLP_") and name.endswith("TIMEOUT") for name in os.environ
    )
    return None if chosen else EXPORT_TIMEOUT_S


def _nanoseconds(when: datetime) -> int:
    """Since 1970, exactly: a float has no room for so many."""
    return (when - _EPOCH) // timedelta(microseconds=1) * 1000
