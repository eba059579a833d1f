"""All metrics, in Prometheus' format; docs/metrics.md describes them.

A process counts what it does, and the web reads what the server knows when it is scraped (``web/metrics.py``). If
PROMETHEUS_MULTIPROC_DIR is set, as gunicorn's configuration does, the web processes share their counts in files there.
"""

import logging
import os
from collections.abc import Callable, Iterable
from functools import lru_cache
from hmac import compare_digest
from threading import Thread
from typing import Any, TypeVar
from wsgiref.simple_server import WSGIRequestHandler, make_server

import prometheus_client as prometheus
from prometheus_client import CollectorRegistry, Counter, Histogram, values
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4 as CONTENT_TYPE_PLAIN_0_0_4, ThreadingWSGIServer
from prometheus_client.metrics_core import Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from avtomatika.environment import text
from avtomatika.transport import LEASE_OBSERVERS

logger = logging.getLogger(__name__)
M = TypeVar("M", Counter, Histogram)
_SHARED = "PROMETHEUS_MULTIPROC_DIR"
_SECONDS = (0.005, 0.025, 0.1, 0.25, 0.5, 1, 5, 15, 60, 300, 900, 3600, 14_400, 86_400)

# The place of a web process among those of its gunicorn: a new one continues the file of the one that it replaces.
if _SHARED in os.environ and (_place := text("AVTOMATIKA_WEB_PLACE")) is not None:
    values.ValueClass = values.MultiProcessValue(lambda: _place)  # type: ignore[no-untyped-call]
prometheus.disable_created_metrics()  # type: ignore[no-untyped-call]
REGISTRY = CollectorRegistry()
prometheus.ProcessCollector(registry=REGISTRY)


def _counter(name: str, text: str, *labels: str) -> Counter:
    return Counter(f"avtomatika_{name}", text, labels, registry=REGISTRY)


def _seconds(name: str, text: str, *labels: str) -> Histogram:
    return Histogram(f"avtomatika_{name}_duration_seconds", text, labels, buckets=_SECONDS, registry=REGISTRY)


HTTP_REQUESTS = _counter("http_requests", "Requests, by the name of their route", "method", "endpoint", "status")
HTTP_SECONDS = _seconds("http_request", "Time until the response to a request", "endpoint")
COMMITS = _counter("commits", "Answers of the server to commits of steps", "answer")
STEPS = _counter("steps", "Committed steps of jobs", "blueprint")
JOBS_STARTED = _counter("jobs_started", "Jobs whose first step was committed", "blueprint")
JOBS_ENDED = _counter("jobs_ended", "Jobs that ended", "blueprint", "status")
JOB_SECONDS = _seconds("job", "Time from the creation of a job to its end", "blueprint")
TASK_RESULTS = _counter("task_results", "Results of tasks that jobs accepted", "skill", "outcome")
TASK_SECONDS = _seconds("task", "Durations of these tasks, as workers report them", "skill")
TASK_RETRIES = _counter("task_retries", "Failed tasks that get another attempt", "skill")
TAKEOVERS = _counter("plan_takeovers", "Plans taken over because no orchestrator served them")
WORKER_TASKS = _counter("worker_tasks", "Attempts of tasks that the worker completed", "skill", "outcome")
_SIZES = [1 << power for power in range(10)]
BATCH_SIZE = Histogram(
    "avtomatika_worker_batch_tasks", "Tasks in a batch", ["skill"], buckets=_SIZES, registry=REGISTRY
)
LINK_SWITCHES = _counter("worker_link_switches", "Failovers of the worker to another address")
FILES = _counter("worker_files", "Files that tasks downloaded and uploaded", "direction")
FILE_BYTES = _counter("worker_file_bytes", "Bytes of these files", "direction")
LEASES = _counter("leases", "Leases of messages that are renewed, lost, or taken over from dead consumers", "event")
LEASE_OBSERVERS.append(lambda event, number: LEASES.labels(event).inc(number))
_known: dict[str, set[str]] = {}


def bounded(label: str, value: str) -> str:
    """Return *value*, or ``other`` if *label* has 500 others already."""
    known = _known.setdefault(label, set())
    if len(known) < 500:
        known.add(value)
    return value if value in known else "other"


@lru_cache(4096)
def series(metric: M, *labels: str) -> M:
    """Return the series of *metric* with *labels*, bounded; ten times faster than ``metric.labels``."""
    return metric.labels(*(bounded(f"{metric} {place}", value) for place, value in enumerate(labels)))


def exposition(more: Callable[[], Iterable[Metric]] = tuple) -> bytes:
    """Return the counts of this process, or of all that share theirs, and *more* metrics, as text."""
    registry = CollectorRegistry()
    if _SHARED in os.environ:
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    else:
        registry.register(REGISTRY)
    registry.register(type("More", (Collector,), {"collect": staticmethod(more)})())
    return prometheus.generate_latest(registry)


def serve(port: int | None, host: str, token: str | None, is_alive: Callable[[], bool] | None = None) -> None:
    """Serve the counts of this process at *port*, if given, until it ends; requests need *token*, if given. A port that
    is not available is logged: the work of the process matters more. ``/livez`` answers *is_alive*, to everybody."""

    def answer(request: dict[str, Any], start: Any) -> Iterable[bytes]:
        if is_alive is not None and request["PATH_INFO"] == "/livez":
            start("200 OK" if is_alive() else "503 Service Unavailable", [("Content-Type", "text/plain")])
            return []
        given, wanted = request.get("HTTP_AUTHORIZATION", ""), f"Bearer {token}"
        is_allowed = token is None or compare_digest(given.encode(), wanted.encode())
        start("200 OK" if is_allowed else "401 Unauthorized", [("Content-Type", CONTENT_TYPE_PLAIN_0_0_4)])
        return [exposition() if is_allowed else b"METRICS_TOKEN is required as Authorization: Bearer\n"]

    if port is not None:
        try:
            server = make_server(host, port, answer, ThreadingWSGIServer, _Handler)
        except OSError as error:
            logger.error("no metrics: cannot listen on METRICS_HOST=%s METRICS_PORT=%d: %s", host, port, error)
        else:
            Thread(target=server.serve_forever, name="metrics", daemon=True).start()
            logger.info("metrics at http://%s:%d/metrics", host, port)


class _Handler(WSGIRequestHandler):
    timeout = 10

    def log_message(self, format: str, *args: object) -> None:
        logger.debug(format, *args)
