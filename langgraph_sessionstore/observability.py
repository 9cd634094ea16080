"""Hooks that tell logs and OpenTelemetry of calls to a storage: `SessionManager.from_url(url, observe=log_calls)`."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from .backends.observed import BackendCall, Hook
from .errors import MissingExtra

if TYPE_CHECKING:
    from opentelemetry.metrics import Meter
    from opentelemetry.trace import Tracer

_LOG = logging.getLogger(__name__)
_SYSTEMS = {"RedisBackend": "redis", "FilesystemBackend": "sqlite", "MemoryBackend": "memory"}
_BOUNDARIES = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10)  # seconds, as OpenTelemetry's conventions want them


def log_calls(call: BackendCall) -> None:
    """Log a call in one line, at level DEBUG, to the logger "langgraph_sessionstore.observability"."""
    _LOG.debug(
        "%s %s in %.2f ms: %s; batches %d, partitions %d, sent %d, received %d, retries %d, conflicts %d, error %s",
        call.backend,
        call.operation,
        call.seconds * 1000,
        ",".join(call.kinds),
        call.calls,
        call.partitions,
        call.sent,
        call.received,
        call.retries,
        call.conflicts,
        call.error,
    )


def opentelemetry_hook(tracer: Tracer | None = None, meter: Meter | None = None) -> Hook:
    """A hook that makes a span of each call, below the current one, and records how long it took.

    Without a tracer or a meter they are those of the global providers. Names follow OpenTelemetry's conventions for
    database clients; what these do not know is `sessionstore.`something.
    """
    try:
        from opentelemetry import metrics, trace
    except ModuleNotFoundError as exc:
        raise MissingExtra(
            'spans need the package "opentelemetry-api": python -m pip install "langgraph-sessionstore[otel]"'
        ) from exc
    from . import __version__

    name = __name__.partition(".")[0]
    spans = tracer or trace.get_tracer(name, __version__)
    durations = (meter or metrics.get_meter(name, __version__)).create_histogram(
        "db.client.operation.duration",
        unit="s",
        description="Duration of database client operations.",
        explicit_bucket_boundaries_advisory=_BOUNDARIES,
    )

    def hook(call: BackendCall) -> None:
        known: dict[str, Any] = {
            "db.system.name": _SYSTEMS.get(call.backend, call.backend),
            "db.operation.name": call.operation,
            **({} if call.error is None else {"error.type": call.error}),
        }
        durations.record(call.seconds, known)
        more: dict[str, Any] = {
            **({"db.operation.batch.size": call.calls} if call.calls > 1 else {}),
            "sessionstore.kinds": call.kinds,
            "sessionstore.partitions": call.partitions,
            "sessionstore.sent": call.sent,
            "sessionstore.received": call.received,
            "sessionstore.retries": call.retries,
            "sessionstore.conflicts": call.conflicts,
        }
        span = spans.start_span(
            f"sessionstore {call.operation}",
            kind=trace.SpanKind.CLIENT,
            attributes={**known, **more},
            start_time=call.started,
        )
        if call.error is not None:
            span.set_status(trace.StatusCode.ERROR, call.error)
        span.end(call.started + round(call.seconds * 1e9))

    return hook
