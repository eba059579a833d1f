"""``/metrics``: what the web processes counted, and what the server knows, in Prometheus' format."""

from collections import Counter
from collections.abc import Iterator, Mapping
from functools import partial
from hmac import compare_digest
from time import monotonic
from typing import Any

from flask import Blueprint, Response, current_app, g, request
from prometheus_client.metrics_core import GaugeMetricFamily

from avtomatika import metrics
from avtomatika.core.plan import FILES, REPLIES, REQUESTS, TIMERS, WEBHOOKS, WORKERS
from avtomatika.errors import ForbiddenError
from avtomatika.store import Overview

from .auth import token_of
from .services import Services, services

_OWN_QUEUES = {FILES, REPLIES, REQUESTS, TIMERS, WEBHOOKS, WORKERS}
routes = Blueprint("metrics", __name__)


@routes.get("/metrics")
def show_metrics() -> Response:
    """Show metrics to an operator, or for METRICS_TOKEN."""
    given, token = token_of(request), current_app.config["METRICS_TOKEN"]
    is_scraper = token is not None and compare_digest(given.encode(), token.encode())
    if not is_scraper and not services().clients.identify(given).is_operator:
        raise ForbiddenError("this is for operators: use METRICS_TOKEN or the token of an operator")
    return Response(metrics.exposition(partial(_read, services())), content_type=metrics.CONTENT_TYPE_PLAIN_0_0_4)


def count_request(response: Response) -> Response:
    """Count a request by its route: paths contain ids. The access log has its start."""
    method, endpoint = (request.method, request.endpoint) if request.endpoint else ("other", "other")
    metrics.HTTP_REQUESTS.labels(method, endpoint, response.status_code).inc()
    metrics.HTTP_SECONDS.labels(endpoint).observe(monotonic() - g.began)
    return response


def _read(found: Services) -> Iterator[GaugeMetricFamily]:
    """Read what the server knows, in a number of commands that does not depend on the number of jobs."""
    now = found.store.overview.read()
    by_blueprint, unfinished, timers = found.store.overview.read_blueprints(list(found.plans), now.jobs)
    statuses = Counter(metrics.bounded("worker status", each.status) for each in now.workers)
    yield _gauge("jobs", "Stored jobs by status", now.jobs, "status")
    yield _gauge("blueprint_jobs", "Stored jobs by blueprint", by_blueprint, "blueprint")
    yield _gauge("unfinished_jobs", "Jobs that have not ended", unfinished, "blueprint", "status")
    yield _gauge("timers", "Timers that are set", {(): timers})
    yield _gauge("workers", "Registered workers by status", statuses, "status")
    skills = [plan.task_types for plan in found.plans.values()] + [tuple(worker.skills) for worker in now.workers]
    yield from _queues(now, _OWN_QUEUES.union(*skills), blueprints={*found.plans})


def _gauge(name: str, text: str, found: Mapping[Any, float], *labels: str) -> GaugeMetricFamily:
    gauge = GaugeMetricFamily(f"avtomatika_{name}", text, labels=labels)
    for values, number in found.items():
        gauge.add_metric([values] if isinstance(values, str) else values, number)
    return gauge


def _queues(now: Overview, known: set[str], *, blueprints: set[str]) -> Iterator[GaugeMetricFamily]:
    """Yield the gauges of queues: those of all plans of a blueprint, and all that are not *known*, as one."""

    def label(queue: str) -> str:
        name = queue.partition("@")[0]
        is_known = name in known or name.removeprefix("steps.") in blueprints
        return metrics.bounded("queue", name) if is_known else "other"

    messages, dead, oldest = Counter[tuple[str, ...]](), Counter[str](), dict[str, float]()
    for each in now.queues:
        name = label(each.name)
        messages.update({(name, "waiting"): each.waiting, (name, "leased"): each.held, (name, "delayed"): each.delayed})
        oldest[name] = max(oldest.get(name, 0.0), each.waited_ms / 1000)
    for queue, number in now.dead_letters.items():
        dead[label(queue)] += number
    yield _gauge("queue_messages", "Messages that are waiting, leased or delayed", messages, "queue", "state")
    yield _gauge("queue_oldest_seconds", "Time that the first waiting message has waited", oldest, "queue")
    yield _gauge("dead_letters", "Dead letters", dead, "queue")
