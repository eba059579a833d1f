"""Traces of real processes over both links, received by an OTLP collector; and the rules of trace contexts."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from avtomatika import tracing
from avtomatika.client.http import Endpoint
from avtomatika.client.steps import Request
from avtomatika.core.job import Job
from avtomatika.errors import SettingsError

from .support.collector import Collector, Span
from .support.installation import Installation
from .support.processes import REPOSITORY

pytest.importorskip("opentelemetry.exporter.otlp.proto.http", reason="the extra avtomatika[otel] is not installed")

#: A trace context of a caller.
TRACE = "0af7651916cd43dd8448eb211c80319c"
CALLER = f"00-{TRACE}-b7ad6b7169203331-01"


@pytest.fixture
def collector() -> Iterator[Collector]:
    receiver = Collector()
    yield receiver
    receiver.close()


def installation(url: str, folder: Path, collector: Collector, link: str) -> Installation:
    made = Installation(
        url,
        folder,
        blueprint="traced",
        WORKER_TOKEN="token-of-the-workers",
        OTEL_EXPORTER_OTLP_ENDPOINT=collector.endpoint,
        OTEL_BSP_SCHEDULE_DELAY="200",
    )
    if link == "http":
        made._env["ORCHESTRATOR_URL"] = made.base_url
    return made


def submit(running: Installation, endpoint: str) -> str:
    """Create a job as a caller that has a trace, and return its id."""
    headers = {"X-Client-Token": running.token, "traceparent": CALLER}
    url = f"{running.base_url}/api/v1/jobs/{endpoint}"
    answer = requests.post(url, json={"initial_data": {"secret": "in-the-request"}}, headers=headers, timeout=30)
    return str(answer.json()["job_id"])


def spans_of_job(running: Installation, endpoint: str, collector: Collector) -> list[Span]:
    """Return the spans of a finished job, after all processes have ended."""
    job = running.client().wait(submit(running, endpoint), timeout=60)
    assert job["status"] == "finished", job
    for role in ("worker", "orchestrator", "web"):
        assert running.stop(role) == 0
    spans = [span for span in collector.spans if span.trace_id == TRACE]
    return sorted(spans, key=lambda span: span.started_ns)


@pytest.mark.parametrize("link", ["broker", "http"])
def test_a_job_is_one_trace_over_every_step_and_task(
    redis_url: str, tmp_path: Path, collector: Collector, link: str
) -> None:
    with installation(redis_url, tmp_path, collector, link) as running:
        spans = spans_of_job(running, "photo", collector)
    [request] = [span for span in spans if span.kind == "server"]
    [created] = [span for span in spans if span.kind == "producer"]
    steps = [span for span in spans if span.name == "process steps.photo"]
    [own] = [span for span in spans if span.name == "own span"]
    tasks = {span.name: span for span in spans if span.service == "avtomatika-worker" and span is not own}
    assert len({span.span_id for span in spans}) == len(spans) == 1 + 1 + len(steps) + len(tasks) + 1
    assert (request.name, request.parent_id) == ("POST /api/v1/jobs/photo", CALLER.split("-")[2])
    assert (created.name, created.parent_id) == ("create photo", request.span_id)
    assert {step.parent_id for step in steps} == {created.span_id}
    assert [(step.attributes["avtomatika.from"], step.attributes["avtomatika.to"]) for step in steps] == [
        ("start", "start"),
        ("start", "weigh"),
        ("weigh", "crash"),
        ("crash", "done"),
    ]
    assert list(tasks) == ["process shrink", "process weigh", "process crash"]
    for task, before, after in zip(tasks.values(), steps, steps[1:], strict=False):
        assert (task.parent_id, after.links) == (before.span_id, (task.span_id,))
        assert task.kind == "consumer"
        assert task.attributes["messaging.operation.type"] == "process"
        assert task.attributes["avtomatika.worker.id"] == "storm"
        assert 0 <= task.attributes["avtomatika.queue.wait_ms"] < 60_000
    assert own.parent_id == tasks["process shrink"].span_id
    assert [task.error for task in tasks.values()] == [False, False, True]
    assert "in-the" not in repr(spans)


def test_the_aggregator_is_linked_to_all_branches(redis_url: str, tmp_path: Path, collector: Collector) -> None:
    with installation(redis_url, tmp_path, collector, "broker") as running:
        spans = spans_of_job(running, "album", collector)

    branches = [span for span in spans if span.name == "process weigh"]
    first, joined = (span for span in spans if span.name == "process steps.album")
    assert {branch.parent_id for branch in branches} == {first.span_id}
    assert len(branches) == 3
    assert set(joined.links) == {branch.span_id for branch in branches}


def test_without_an_endpoint_nothing_is_imported() -> None:
    code = """
import sys
from avtomatika import logs, tracing
tracing.start("test")
assert tracing.current() is None
assert not [name for name in sys.modules if name.startswith("opentelemetry")]
"""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    subprocess.run([sys.executable, "-c", code], env=environment, cwd=REPOSITORY, check=True, timeout=60)


@pytest.mark.parametrize(
    "value",
    [None, 1, "", "00", CALLER.upper(), f"{CALLER}-1", f"01{CALLER[2:]}", f"00-{'0' * 32}{CALLER[35:]}", CALLER + "\n"],
)
def test_an_invalid_trace_context_is_ignored(value: object) -> None:
    assert tracing.checked(value) is None
    assert tracing.trace_id(value) == ""


def test_a_task_of_a_process_without_spans_continues_the_trace_of_its_job() -> None:
    job = Job("g0-1", "photo", "0a1b2c3d", traceparent=CALLER)

    assert tracing.task_context(job, version=3, now_ms=5) == {"traceparent": CALLER, "sent_ms": "5"}
    assert tracing.task_context(Job("g0-1", "photo", "0a1b2c3d"), version=3, now_ms=5) is None


def test_a_client_sends_the_current_span_of_its_program() -> None:
    from opentelemetry import trace

    endpoint = Endpoint("http://localhost", "token-of-the-program")
    span = trace.NonRecordingSpan(trace.SpanContext(int(TRACE, 16), 0xB7AD6B7169203331, False, trace.TraceFlags(1)))

    outside = endpoint.arguments(Request("GET", "/"))["headers"]
    with trace.use_span(span):
        inside = endpoint.arguments(Request("GET", "/"))["headers"]

    assert inside == {**outside, "traceparent": CALLER}
    assert outside == {"X-Client-Token": "token-of-the-program"}


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://localhost:4318")
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace.export", None)

    with pytest.raises(SettingsError, match=r"is not installed: pip install 'avtomatika\[otel\]'"):
        tracing.load()
