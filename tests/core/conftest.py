"""Two blueprints: one with every kind of outcome, one with every kind of action; and jobs of the first."""

from __future__ import annotations

from typing import Any

import pytest

from avtomatika import Blueprint, F
from avtomatika.core.job import Job
from avtomatika.core.job_request import JobRequest
from avtomatika.core.machine.creation import new_job
from avtomatika.core.plan import Plan

VIDEO = Blueprint("video", api_endpoint="jobs/video")


@VIDEO.handler(is_start=True)
async def start(actions: Any) -> None:
    actions.go_to("encode")


@VIDEO.handler("encode", F.initial_data["quality"] == "low")
def encode_low(actions: Any) -> None:
    actions.dispatch_task("encode_fast", transitions={"success": "publish", "failure": "failed"})


@VIDEO.handler("encode")
def encode(actions: Any) -> None:
    actions.dispatch_task(
        "encode",
        transitions={
            "success": "publish",
            "failure": "failed",
            "needs_review": "review",
            "timeout": "review",
            "cancelled": "review",
        },
    )


@VIDEO.handler(queue="heavy")
def review(actions: Any) -> None:
    actions.go_to("publish")


@VIDEO.handler(is_end=True)
def publish(output: str = "") -> str:
    return output


@VIDEO.handler(is_end="failed")
def failed() -> None: ...


ORDER = Blueprint("order")


@ORDER.handler(is_start=True)
def check(actions: Any) -> None:
    actions.dispatch_task("check_stock", transitions={"success": "pay", "sold_out": "reorder", "failure": "failed"})


@ORDER.handler
def reorder(actions: Any) -> None:
    actions.wait(3600, then="check")


@ORDER.handler
def pay(actions: Any) -> None:
    actions.run_blueprint("payment", {}, transitions={"success": "review", "failure": "failed"})


@ORDER.handler("review", F.initial_data["total"] > 1000)
def large(actions: Any) -> None:
    decisions = {"approved": "pack", "rejected": "failed", "timeout": "failed"}
    actions.await_human_approval("mail", "Send it?", transitions=decisions, timeout=86400)


@ORDER.handler("review")
def small(actions: Any) -> None:
    actions.go_to("pack")


@ORDER.handler(queue="heavy")
def pack(initial_data: dict[str, Any], actions: Any) -> None:
    tasks = [{"task_type": "pack_item", "params": {"item": item}} for item in initial_data["items"]]
    actions.dispatch_parallel(tasks, aggregate_into="label")


@ORDER.aggregator
def label(actions: Any) -> None:
    actions.dispatch_task("print_label", transitions={"success": "sent", "failure": "failed"})


@ORDER.handler(is_end=True)
def sent() -> None: ...


@ORDER.handler("failed", is_end="failed")
def order_failed() -> None: ...


@pytest.fixture(scope="session")
def video() -> Blueprint:
    return VIDEO


@pytest.fixture(scope="session")
def plan() -> Plan:
    return VIDEO.plan


@pytest.fixture
def pending(plan: Plan) -> Job:
    """A job that was just created."""
    return new_job(plan, JobRequest(initial_data={"path": "a.mov"}), job_id="g0-1", client="acme").job
