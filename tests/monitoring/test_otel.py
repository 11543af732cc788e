"""Spans and metrics as the SDK sees them, without a network."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from aigenflow.core import events
from aigenflow.core.errors import ConfigError, PhaseFailedError, RateLimitedError
from aigenflow.core.models import AgentType, ServedFrom
from aigenflow.monitoring.otel import EXPORT_TIMEOUT_S, OpenTelemetry, open_otel
from aigenflow.testing.clock import ManualClock
from tests.monitoring.calls import ANSWER, REQUEST, ROUTE, STARTED, Attempted

SESSION = REQUEST.session
RUN = events.RunStarted(session=SESSION, topic="t", routes=(ROUTE,), notices=())
PHASE = events.PhaseStarted(phase=2, name="research", tasks=("deep_search",))
TASK = events.TaskStarted(phase=2, task="deep_search", route=ROUTE)
DONE = events.TaskFinished(phase=2, task="deep_search", response=ANSWER, reused=False)
FINISHED = events.RunFinished(session=SESSION, folder=Path("f"), document=Path("d"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """Telemetry whose spans and metrics stay in memory."""

    otel: OpenTelemetry
    clock: ManualClock
    exporter: InMemorySpanExporter
    reader: InMemoryMetricReader

    def spans(self) -> dict[str, ReadableSpan]:
        """The spans that have ended, by name."""
        return {span.name: span for span in self.exporter.get_finished_spans()}

    def points(self, name: str) -> list[tuple[dict[str, object], float, int]]:
        """Attributes, sum and count of each point of a metric."""
        data = self.reader.get_metrics_data()
        assert data is not None
        return [
            (
                dict(point.attributes or {}),
                getattr(point, "value", None) or getattr(point, "sum", 0),
                getattr(point, "count", 1),
            )
            for resource in data.resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
            if metric.name == name
            for point in metric.data.data_points
        ]


@pytest.fixture
def bench() -> Iterator[Bench]:
    exporter, reader, clock = InMemorySpanExporter(), InMemoryMetricReader(), ManualClock(STARTED)
    traces = TracerProvider(shutdown_on_exit=False)
    traces.add_span_processor(SimpleSpanProcessor(exporter))
    metrics = MeterProvider([reader], shutdown_on_exit=False)
    otel = OpenTelemetry(
        traces.get_tracer("test"), metrics.get_meter("test"), clock, shutdown=traces.shutdown
    )
    yield Bench(otel=otel, clock=clock, exporter=exporter, reader=reader)
    traces.shutdown()
    metrics.shutdown()


def parent_of(span: ReadableSpan, spans: dict[str, ReadableSpan]) -> str:
    """The name of the span that ``span`` is inside of; empty for a root."""
    ids = {other.context.span_id: name for name, other in spans.items() if other.context}
    return ids[span.parent.span_id] if span.parent else ""


def test_a_call_is_inside_its_task_phase_and_run(bench: Bench) -> None:
    """One trace, four levels, and times from the clock that was handed in."""
    with bench.otel.watch() as hear:
        for event in (RUN, PHASE, TASK):
            hear(event)
        bench.otel.record(Attempted(response=ANSWER))
        bench.clock.advance(3)
        for event in (DONE, FINISHED):
            hear(event)
    spans = bench.spans()
    call = spans["chat gemini-3.8-flash"]
    assert parent_of(call, spans) == "invoke_agent gemini"
    assert parent_of(spans["invoke_agent gemini"], spans) == "phase research"
    assert parent_of(spans["phase research"], spans) == "invoke_workflow aigenflow"
    assert parent_of(spans["invoke_workflow aigenflow"], spans) == ""
    assert len({span.context.trace_id for span in spans.values() if span.context}) == 1
    assert call.kind is SpanKind.CLIENT
    assert call.start_time == 1_795_342_500_000_000_000
    assert (call.end_time or 0) - (call.start_time or 0) == 2_500_000_000
    run = spans["invoke_workflow aigenflow"]
    assert (run.end_time or 0) - (run.start_time or 0) == 3_000_000_000
    assert (spans["invoke_agent gemini"].attributes or {})["aigenflow.served_from"] == "live"
    assert all(span.status.status_code is StatusCode.UNSET for span in spans.values())


def test_runs_side_by_side_keep_apart(bench: Bench) -> None:
    """Calls find the run of their own session, whatever the order of events."""
    other = replace(RUN, session="other")
    with bench.otel.watch() as hear, bench.otel.watch() as hear_other:
        hear(RUN)
        hear_other(other)
        for told in (hear, hear_other):
            told(PHASE)
            told(TASK)
        bench.otel.record(Attempted(response=ANSWER))
        bench.otel.record(Attempted(response=ANSWER, request=replace(REQUEST, session="other")))
        hear_other(replace(FINISHED, session="other"))
        hear(FINISHED)
    traces: dict[object, set[int]] = {}
    for span in bench.exporter.get_finished_spans():
        session = (span.attributes or {}).get("gen_ai.conversation.id")
        if span.context and session:
            traces.setdefault(session, set()).add(span.context.trace_id)
    assert set(traces) == {SESSION, "other"}
    assert all(len(ids) == 1 for ids in traces.values())
    assert traces[SESSION] != traces["other"]


def test_the_next_phase_ends_the_one_before(bench: Bench) -> None:
    """No event says that a phase is done: the next one does."""
    with bench.otel.watch() as hear:
        hear(RUN)
        hear(PHASE)
        bench.clock.advance(5)
        hear(replace(PHASE, phase=3, name="strategy"))
        research = bench.spans()["phase research"]
        assert (research.end_time or 0) - (research.start_time or 0) == 5_000_000_000


def test_what_ends_a_run_is_on_the_spans_it_left_open(bench: Bench) -> None:
    """A run that stops has no span that never ends, and the kind of its error is on them."""

    def stop() -> None:
        with bench.otel.watch() as hear:
            for event in (RUN, PHASE, TASK):
                hear(event)
            raise PhaseFailedError("the-message")

    with pytest.raises(PhaseFailedError):
        stop()
    spans = bench.spans()
    assert len(spans) == 3
    for span in spans.values():
        assert span.status.status_code is StatusCode.ERROR
        assert (span.attributes or {})["error.type"] == "PhaseFailedError"
        assert "the-message" not in span.to_json()


def test_each_attempt_has_a_span_and_a_failed_one_says_so(bench: Bench) -> None:
    """A retry is two spans inside one task; only the first is an error."""
    with bench.otel.watch() as hear:
        hear(TASK)
        question = replace(REQUEST, session="")
        bench.otel.record(Attempted(request=question, error=RateLimitedError("the-message")))
        bench.otel.record(Attempted(request=question, response=ANSWER, number=2))
    first, second, task = bench.exporter.get_finished_spans()
    assert first.status.status_code is StatusCode.ERROR
    assert second.status.status_code is StatusCode.UNSET
    assert first.parent == second.parent == task.context
    assert task.name == "invoke_agent gemini"
    assert "the-message" not in first.to_json()


def test_a_call_outside_any_run_is_a_trace_of_its_own(bench: Bench) -> None:
    """Nothing is lost where nobody watches."""
    bench.otel.record(Attempted(response=ANSWER))
    [call] = bench.exporter.get_finished_spans()
    assert call.parent is None


def test_a_fallback_is_noted_on_its_task(bench: Bench) -> None:
    """The span of a task says who took it over."""
    with bench.otel.watch() as hear:
        hear(RUN)
        hear(TASK)
        fell_back = events.FellBack(
            phase=2,
            task="deep_search",
            agent=AgentType.GEMINI,
            to=replace(ROUTE, actor=AgentType.PERPLEXITY),
            reason="the-message",
        )
        hear(fell_back)
    task = bench.spans()["invoke_agent gemini"]
    assert (task.attributes or {})["aigenflow.fell_back_to"] == "perplexity"
    assert "the-message" not in task.to_json()


def test_the_histograms_and_counters_add_up(bench: Bench) -> None:
    """Tokens by kind, seconds with their error, dollars, hits and misses."""
    flex = ANSWER.model_copy(update={"served_from": ServedFrom.FLEX})
    with bench.otel.watch() as hear:
        for hit in (True, False, True):
            hear(events.CacheLookedUp(phase=2, task="deep_search", hit=hit))
    bench.otel.record(Attempted(response=ANSWER))
    bench.otel.record(Attempted(response=flex))
    bench.otel.record(Attempted(error=RateLimitedError("busy"), duration_s=0.5))
    tokens = bench.points("gen_ai.client.token.usage")
    by_kind = {at["gen_ai.token.type"]: (total, count) for at, total, count in tokens}
    assert by_kind == {"input": (2400, 2), "output": (600, 2)}
    durations = bench.points("gen_ai.client.operation.duration")
    by_error = {at.get("error.type"): (total, count) for at, total, count in durations}
    assert by_error == {None: (5.0, 2), "RateLimitedError": (0.5, 1)}
    cost = {at["aigenflow.served_from"]: total for at, total, _ in bench.points("aigenflow.cost")}
    assert cost == {"live": 0.0025, "flex": 0.0025}
    lookups = bench.points("aigenflow.cache.lookups")
    assert {at["aigenflow.cache.result"]: n for at, n, _ in lookups} == {"hit": 2, "miss": 1}


def test_without_the_extra_it_is_one_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """Switched on but not installed: the message names the setting, the hint how to install."""
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    with pytest.raises(ConfigError, match=r"telemetry\.otel_enabled") as caught:
        open_otel(ManualClock(), capture_content=False)
    assert 'pip install "aigenflow[otel]"' in caught.value.hint


@pytest.mark.parametrize(
    ("environ", "expected_s"),
    [
        ({}, EXPORT_TIMEOUT_S),
        ({"OTEL_EXPORTER_OTLP_TIMEOUT": "7"}, None),
        ({"OTEL_EXPORTER_OTLP_METRICS_TIMEOUT": "7"}, None),
    ],
)
def test_the_users_own_time_limit_wins(
    environ: dict[str, str], expected_s: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A collector that does not answer holds nobody up, unless the user wants it to."""
    from aigenflow.monitoring.otel import _timeout_s

    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    assert _timeout_s() == expected_s


def test_the_users_own_service_name_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    """Out of the box it is aigenflow."""
    from aigenflow.monitoring.otel import _resource

    assert _resource().attributes["service.name"] == "aigenflow"
    monkeypatch.setenv("OTEL_SERVICE_NAME", "plans")
    assert _resource().attributes["service.name"] == "plans"
