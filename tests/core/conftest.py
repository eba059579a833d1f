"""One blueprint that has a bit of everything, and its jobs."""

from __future__ import annotations

from typing import Any

import pytest

from avtomatika import Blueprint, F
from avtomatika.core import machine
from avtomatika.core.job import Job
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


@pytest.fixture(scope="session")
def video() -> Blueprint:
    return VIDEO


@pytest.fixture(scope="session")
def plan() -> Plan:
    return VIDEO.plan


@pytest.fixture
def pending(plan: Plan) -> Job:
    """A job that was just created."""
    return machine.new_job(plan, job_id="g0-1", client="acme", initial_data={"path": "a.mov"}).job
