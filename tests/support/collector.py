"""An OpenTelemetry collector on loopback: it keeps what arrives."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrived:
    """One span, ids in hexadecimal."""

    name: str
    trace: str
    id: str
    parent: str
    error: bool
    attributes: dict[str, object]


@dataclass(kw_only=True)
class Collector:
    """What arrived, in order: ``(path, body)``."""

    url: str = ""
    bodies: list[tuple[str, bytes]] = field(default_factory=list)

    def spans(self) -> list[Arrived]:
        """Every span."""
        exports = (
            ExportTraceServiceRequest.FromString(body)
            for path, body in self.bodies
            if path == "/v1/traces"
        )
        return [
            Arrived(
                name=span.name,
                trace=span.trace_id.hex(),
                id=span.span_id.hex(),
                parent=span.parent_span_id.hex(),
                error=span.status.code == 2,
                attributes=_plain(span.attributes),
            )
            for export in exports
            for resource in export.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]

    def sums(self, metric: str, label: str) -> dict[object, float]:
        """The sums of a histogram or counter by one of its attributes."""
        totals: dict[object, float] = {}
        for found in self._metrics():
            if found.name == metric:
                for point in found.histogram.data_points:
                    key = _plain(point.attributes).get(label)
                    totals[key] = totals.get(key, 0) + point.sum
                for number in found.sum.data_points:
                    key = _plain(number.attributes).get(label)
                    totals[key] = totals.get(key, 0) + (number.as_double or number.as_int)
        return totals

    def _metrics(self) -> Iterator[Metric]:
        for path, body in self.bodies:
            if path == "/v1/metrics":
                export = ExportMetricsServiceRequest.FromString(body)
                for resource in export.resource_metrics:
                    for scope in resource.scope_metrics:
                        yield from scope.metrics


@contextmanager
def collecting() -> Iterator[Collector]:
    """A collector that listens until it is left."""
    collector = Collector()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            collector.bodies.append((self.path, body))
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    collector.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield collector
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _plain(attributes: object) -> dict[str, object]:
    pairs: list[KeyValue] = list(attributes)  # type: ignore[call-overload]
    return {pair.key: _value(pair.value) for pair in pairs}


def _value(value: AnyValue) -> object:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [_value(each) for each in value.array_value.values]
    return getattr(value, str(kind))
