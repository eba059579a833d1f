"""A collector of OpenTelemetry: a real local HTTP server that decodes the spans it receives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .webhook_receiver import Receiver


@dataclass(frozen=True)
class Span:
    """A received span; ids are hexadecimal, *links* are ids of spans."""

    name: str
    kind: str
    service: str
    trace_id: str
    span_id: str
    parent_id: str
    links: tuple[str, ...]
    attributes: dict[str, Any]
    error: bool
    started_ns: int


class Collector(Receiver):
    """Receives spans at :attr:`endpoint`, the value of ``OTEL_EXPORTER_OTLP_ENDPOINT``."""

    @property
    def endpoint(self) -> str:
        return self.url("")

    @property
    def spans(self) -> list[Span]:
        from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

        received = [ExportTraceServiceRequest.FromString(request.body) for request in self.requests]
        return [
            _span(span, _attributes(resource.resource)["service.name"])
            for request in received
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]


def _span(span: Any, service: str) -> Span:
    return Span(
        span.name,
        {2: "server", 4: "producer", 5: "consumer"}.get(span.kind, "internal"),
        service,
        span.trace_id.hex(),
        span.span_id.hex(),
        span.parent_span_id.hex(),
        tuple(link.span_id.hex() for link in span.links),
        _attributes(span),
        span.status.code == 2,
        span.start_time_unix_nano,
    )


def _attributes(owner: Any) -> dict[str, Any]:
    return {each.key: getattr(each.value, str(each.value.WhichOneof("value"))) for each in owner.attributes}
