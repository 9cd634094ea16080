"""Spans and durations of calls, as OpenTelemetry's own SDK collects them."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from langgraph_sessionstore import BackendUnavailable, MissingExtra, ObservedBackend, SessionManager
from langgraph_sessionstore.backends.memory import MemoryBackend
from langgraph_sessionstore.observability import opentelemetry_hook
from langgraph_sessionstore.testing import Fault, FaultyBackend


class Telemetry:
    """What was collected."""

    def __init__(self) -> None:
        self._spans, self._reader = InMemorySpanExporter(), InMemoryMetricReader()
        provider = TracerProvider()
        provider.add_span_processor(SimpleSpanProcessor(self._spans))
        self.tracer = provider.get_tracer("test")
        self.meter = MeterProvider([self._reader]).get_meter("test")
        self.hook = opentelemetry_hook(self.tracer, self.meter)

    def spans(self) -> tuple[ReadableSpan, ...]:
        """The spans that have ended."""
        return self._spans.get_finished_spans()

    def points(self) -> list[Any]:
        """The durations by their attributes."""
        data = self._reader.get_metrics_data()
        assert data is not None
        (metric,) = data.resource_metrics[0].scope_metrics[0].metrics
        assert (metric.name, metric.unit) == ("db.client.operation.duration", "s")
        return list(metric.data.data_points)


@pytest.fixture
def telemetry() -> Telemetry:
    return Telemetry()


@pytest.mark.parametrize("form", ["sync", "async"])
def test_spans(telemetry: Telemetry, form: str, tmp_path: Path) -> None:
    async def main() -> None:
        async with SessionManager.from_url(tmp_path, observe=telemetry.hook) as manager:
            with telemetry.tracer.start_as_current_span("request"):
                await manager.acreate_session(title="s3cret")

    if form == "async":
        asyncio.run(main())
    else:
        with (
            SessionManager.from_url(tmp_path, observe=telemetry.hook) as manager,
            telemetry.tracer.start_as_current_span("request"),
        ):
            manager.create_session(title="s3cret")
    *spans, request = telemetry.spans()
    assert spans
    for span in spans:
        assert (span.name, span.kind) == ("sessionstore write", SpanKind.CLIENT)
        assert span.parent is not None
        assert span.parent.span_id == request.context.span_id
        assert None not in (request.start_time, span.start_time, span.end_time)
        assert request.start_time <= span.start_time <= span.end_time  # type: ignore[operator]
        assert span.status.status_code is StatusCode.UNSET
    known = dict(spans[0].attributes or {})
    assert known["db.system.name"] == "sqlite"
    assert known["db.operation.name"] == "write"
    assert known["db.operation.batch.size"] == 2
    assert known["sessionstore.partitions"] == 2
    assert "Put" in known["sessionstore.kinds"]  # type: ignore[operator]
    assert "s3cret" not in repr(known)
    (point,) = telemetry.points()
    assert point.count == len(spans)
    assert dict(point.attributes) == {"db.system.name": "sqlite", "db.operation.name": "write"}
    assert point.explicit_bounds[0] == 0.001


def test_errors(telemetry: Telemetry) -> None:
    backend = ObservedBackend(FaultyBackend(MemoryBackend(), {1: Fault.FAIL}), telemetry.hook)
    with SessionManager(backend) as manager, pytest.raises(BackendUnavailable):
        manager.create_session()
    (span,) = telemetry.spans()
    assert (span.status.status_code, span.status.description) == (StatusCode.ERROR, "BackendUnavailable")
    assert span.parent is None
    assert span.attributes is not None
    assert span.attributes["error.type"] == "BackendUnavailable"
    assert span.attributes["db.system.name"] == "FaultyBackend"
    assert telemetry.points()[0].attributes["error.type"] == "BackendUnavailable"


def test_without_a_provider_nothing_happens() -> None:
    with SessionManager.from_url("memory:", observe=opentelemetry_hook()) as manager:
        assert manager.create_session().metadata == {}


def test_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    with pytest.raises(MissingExtra, match=r'pip install "langgraph-sessionstore\[otel\]"'):
        opentelemetry_hook()
