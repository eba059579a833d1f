"""Blueprints and worker of the tests of logs and traces: skills and handlers that log, and one that makes a span."""

from __future__ import annotations

import logging
import os
import time
from typing import Any

from avtomatika import Blueprint, Worker

bp = Blueprint(name="photo", api_endpoint="jobs/photo")
fan = Blueprint(name="album", api_endpoint="jobs/album")
worker = Worker()
logger = logging.getLogger("studio")


@bp.handler(is_start=True)
def start(actions: Any) -> None:
    logger.info("a sync handler")
    actions.dispatch_task("shrink", {"secret": "in-the-params"}, transitions={"success": "weigh"})


@bp.handler
async def weigh(actions: Any) -> None:
    logger.info("an async handler")
    actions.dispatch_task("weigh", {}, transitions={"success": "crash"})


@bp.handler
def crash(actions: Any) -> None:
    actions.dispatch_task("crash", {}, transitions={"success": "done", "failure": "done"}, max_retries=0)


@bp.handler(is_end=True)
def done() -> dict[str, str]:
    return {"secret": "in-the-result"}


@fan.handler(is_start=True)
def pages(actions: Any) -> None:
    actions.dispatch_parallel(
        [{"type": "weigh", "params": {"page": page}} for page in range(3)], aggregate_into="joined"
    )


@fan.aggregator(is_end=True)
def joined() -> dict[str, int]:
    return {}


@worker.skill()
def shrink(params: dict[str, Any]) -> dict[str, str]:
    logger.info("a sync skill in process %d", os.getpid(), extra={"photo": "lake.jpg"})
    if "OTEL_EXPORTER_OTLP_ENDPOINT" in os.environ:
        from opentelemetry import trace

        with trace.get_tracer("studio").start_as_current_span("own span"):
            pass
    return {"secret": "in-the-result"}


@worker.skill("weigh")
async def weigh_photo(params: dict[str, Any]) -> dict[str, int]:
    logger.info("an async skill")
    return {}


@worker.skill("crash")
def crash_process(params: dict[str, Any]) -> None:
    time.sleep(1)  # meanwhile the process exports the spans of its earlier tasks
    os._exit(3)
