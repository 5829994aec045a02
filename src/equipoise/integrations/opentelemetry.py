"""OpenTelemetry: the gateway's spans to a collector, by OTLP over HTTP."""

from __future__ import annotations

from collections.abc import Callable

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Tracer

from equipoise.telemetry import INSTRUMENTATION

__all__ = ["exporting"]


def exporting(service: str) -> tuple[Tracer, Callable[[], None]]:
    """A tracer whose spans go to the collector that `OTEL_EXPORTER_OTLP_ENDPOINT` names, and how to stop it.

    The OpenTelemetry SDK reads its own variables: endpoint, headers, sampler, resource. Spans are sent in batches
    by a thread; those that a collector does not take in time are dropped, and nobody waits for them.

    >>> tracer, stop = exporting("gateway")
    >>> stop()
    """
    provider = TracerProvider(resource=Resource.create({"service.name": service}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return provider.get_tracer(INSTRUMENTATION), provider.shutdown
