"""Traces: spans of requests, created jobs, steps and tasks. OpenTelemetry is imported only if it is enabled.

A job keeps the W3C ``traceparent`` of its creation. The ids of the spans of its steps and tasks are derived from the
names of these, so that no message has to carry them.
"""

import atexit
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import nullcontext
from contextvars import ContextVar
from dataclasses import replace
from hashlib import blake2b
from itertools import islice
from threading import Thread
from typing import Any

from avtomatika import environment
from avtomatika.errors import SettingsError

_ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
_TRACEPARENT = re.compile("00-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})")
#: Time for the last spans of a process that exits.
_CLOSE_SECONDS = 3.0
#: Maximum number of links of a span.
_MAX_LINKS = 128
#: Names the step (id of the job, version) or the task (id, "attempt", number) of a span.
Key = tuple[str | int, ...]
_chosen_id: ContextVar[int | None] = ContextVar("span_id", default=None)
#: OpenTelemetry's API, the provider and the tracer of this process; None if it exports no spans.
_api: Any = None
_provider: Any = None
_tracer: Any = None


def load() -> bool:
    """Import OpenTelemetry if spans are exported, so that a process can do it before it forks; return whether they are.
    Raises SettingsError if it is not installed."""
    if not any(map(environment.text, _ENDPOINTS)):
        return False
    try:
        import opentelemetry.exporter.otlp.proto.http.trace_exporter
        import opentelemetry.sdk.trace.export  # noqa: F401
    except ImportError as error:
        problem = f"{' or '.join(_ENDPOINTS)} is set, but {error.name} is not installed"
        raise SettingsError(f"{problem}: pip install 'avtomatika[otel]'") from None
    return True


def start(service: str) -> None:
    """Export the spans of this process as those of *service* if an endpoint is set; to be called after forks. Raises
    SettingsError."""
    global _api, _provider, _tracer
    if not load():
        return
    from opentelemetry import trace
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk import resources, trace as sdk
    from opentelemetry.sdk.trace import export, id_generator

    class Ids(id_generator.RandomIdGenerator):
        def generate_span_id(self) -> int:
            return _chosen_id.get() or int(super().generate_span_id())

    resource = resources.Resource.create({"service.name": environment.text("OTEL_SERVICE_NAME") or service})
    _provider = sdk.TracerProvider(resource=resource, id_generator=Ids(), shutdown_on_exit=False)
    _provider.add_span_processor(export.BatchSpanProcessor(OTLPSpanExporter()))
    _api, _tracer = trace, _provider.get_tracer("avtomatika")
    if isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider):
        trace.set_tracer_provider(_provider)  # spans of skills and handlers are exported too
    atexit.register(stop)


def stop() -> None:
    """Export the remaining spans, as far as the time suffices; later calls do nothing."""
    if _provider is not None:
        closing = Thread(target=_provider.shutdown, name="last-spans", daemon=True)
        closing.start()
        closing.join(_CLOSE_SECONDS)
        atexit.unregister(stop)


def checked(traceparent: object) -> str | None:
    """Return the value of the header ``traceparent`` if it is valid (W3C Trace Context, version 00), else None."""
    return traceparent if isinstance(traceparent, str) and _TRACEPARENT.fullmatch(traceparent) else None


def trace_id(traceparent: object) -> str:
    """Return the id of its trace as 32 hexadecimal digits, "" without one."""
    return (checked(traceparent) or "")[3:35]


def current() -> str | None:
    """Return the traceparent of the current span, also of a program that uses OpenTelemetry itself; None without."""
    api = sys.modules.get("opentelemetry.trace")
    found = None if api is None else api.get_current_span().get_span_context()
    if found is None or not found.is_valid:
        return None
    return f"00-{found.trace_id:032x}-{found.span_id:016x}-{found.trace_flags & 1:02x}"


def task_context(job: Any, *, version: int, now_ms: int) -> dict[str, str] | None:
    """Return the trace context for a task that the commit of *version* of *job* sends: ``traceparent``, that of the
    step, and ``sent_ms``, the server's time in ms since the epoch. None if the job has no trace."""
    if job.traceparent is None:
        return None
    is_step = _tracer is not None and version > 1  # version 1 is the creation
    span = f"{_span_id((job.id, version)):016x}" if is_step else job.traceparent[36:52]
    return {"traceparent": f"{job.traceparent[:36]}{span}{job.traceparent[52:]}", "sent_ms": str(now_ms)}


def begin(
    operation: str,
    target: str,
    *,
    parent: str | None,
    key: Key | None = None,
    links: Iterable[Key] = (),
    attributes: Mapping[str, Any],
) -> Any:
    """Begin the span of an *operation* (``create``, ``process`` or a method of HTTP) on *target* below *parent*; None
    if spans are not exported.

    With a *key* its id is derived; such a span needs a parent. *links* are keys of spans in the same trace. The caller
    ends it.
    """
    if _tracer is None or (key is not None and parent is None):
        return None
    kind = {"create": _api.SpanKind.PRODUCER, "process": _api.SpanKind.CONSUMER}.get(operation, _api.SpanKind.SERVER)
    if kind is not _api.SpanKind.SERVER:
        names = {"messaging.operation.name": operation, "messaging.operation.type": operation}
        attributes = {"messaging.system": "avtomatika", **names, **attributes}
    numbers = [int(number, 16) for number in (parent or "00-0-0-0").split("-")[1:]]
    trace, flags = numbers[0], _api.TraceFlags(numbers[2])
    above, *linked = [
        _api.SpanContext(trace, each, is_remote=True, trace_flags=flags)
        for each in (numbers[1], *(_span_id(each) for each in islice(links, _MAX_LINKS)))
    ]
    context = _api.set_span_in_context(_api.NonRecordingSpan(above))
    outer = _chosen_id.set(None if key is None else _span_id(key))
    try:
        return _tracer.start_span(
            f"{operation} {target}", context, kind, attributes=attributes, links=[_api.Link(each) for each in linked]
        )
    finally:
        _chosen_id.reset(outer)


def inside(span: Any) -> Any:
    """Return a context manager in which *span*, which may be None, is the current one."""
    if span is None:
        return nullcontext()
    return _api.use_span(span, record_exception=False, set_status_on_exception=False)


def end(span: Any, *, error: str | None = None, attributes: Mapping[str, Any] | None = None) -> None:
    """End *span*, which may be None, with the code of an *error*."""
    if span is None:
        return
    span.set_attributes(attributes or {})
    if error is not None:
        span.set_attribute("error.type", error)
        span.set_status(_api.StatusCode.ERROR)
    span.end()


def created(news: Sequence[Any]) -> Sequence[Any]:
    """Return new jobs with a trace context: that of a span for all of them, else the current one of the program, else
    their own."""
    name, parent = news[0].skill or news[0].plan.blueprint, current() or news[0].traceparent
    attributes = {"messaging.destination.name": name, "messaging.batch.message_count": len(news)}
    span = begin("create", name, parent=parent, attributes=attributes)
    with inside(span):
        parent = current() or parent
    end(span)
    return news if parent == news[0].traceparent else [replace(new, traceparent=parent) for new in news]


def _span_id(key: Key) -> int:
    return int.from_bytes(blake2b("\n".join(map(str, key)).encode(), digest_size=8).digest()) or 1
