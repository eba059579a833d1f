"""Blueprint and worker of the kill tests: three tasks in a row, each long enough to be killed in."""

from __future__ import annotations

import asyncio
import random
from typing import Any

from avtomatika import Blueprint, Worker

bp = Blueprint(name="three", api_endpoint="jobs/three")
worker = Worker(worker_type="storm")

#: States in the order of a job.
STATES = ["first", "second", "third", "done"]


@bp.handler(is_start=True)
async def first(initial_data: dict[str, Any], actions: Any) -> None:
    actions.dispatch_task("add", {"sum": 0, "n": initial_data["n"]}, transitions={"success": "second"})


@bp.handler
def second(sum: int, initial_data: dict[str, Any], actions: Any) -> None:
    actions.dispatch_task("add", {"sum": sum, "n": initial_data["n"]}, transitions={"success": "third"})


@bp.handler
async def third(sum: int, initial_data: dict[str, Any], actions: Any) -> None:
    actions.dispatch_task("add", {"sum": sum, "n": initial_data["n"]}, transitions={"success": "done"})


@bp.handler(is_end=True)
def done(sum: int) -> dict[str, int]:
    return {"sum": sum}


@worker.skill()
async def add(params: dict[str, Any]) -> dict[str, Any]:
    await asyncio.sleep(random.uniform(0.1, 0.6))
    return {"sum": params["sum"] + params["n"]}
