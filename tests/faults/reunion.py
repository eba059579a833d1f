"""Blueprints of the fault-injection test of child branches: many child jobs and tasks in one fan-out."""

from __future__ import annotations

import asyncio
import random
from typing import Any

from avtomatika import Blueprint, TransientError, Worker

bp = Blueprint(name="reunion", api_endpoint="jobs/reunion")
guest = Blueprint(name="guest")
worker = Worker(worker_type="storm")

#: Branches of a fan-out that are child jobs, and those that are tasks: more than one commit sends.
CHILDREN, TASKS = 200, 100


@bp.handler(is_start=True)
def split(n: int, actions: Any) -> None:
    guests = [{"blueprint": "guest", "initial_data": {"n": n + place}} for place in range(CHILDREN)]
    tasks = [{"task_type": "add", "params": {"sum": 0, "n": n}} for _ in range(TASKS)]
    actions.dispatch_parallel([*guests, *tasks], aggregate_into="collect", on_failure="finish_all")


@bp.aggregator(is_end=True)
def collect(aggregation_results: dict[str, Any]) -> dict[str, int]:
    return {"sum": sum(each["data"]["sum"] for each in aggregation_results.values())}


@guest.handler(is_start=True)
def arrive(n: int, actions: Any) -> None:
    actions.dispatch_task("add", {"sum": 0, "n": n}, transitions={"success": "leave"})


@guest.handler(is_end=True)
def leave(sum: int) -> dict[str, int]:
    return {"sum": sum}


@worker.skill()
async def add(params: dict[str, Any], attempt: int) -> dict[str, Any]:
    await asyncio.sleep(random.uniform(0.1, 0.6))
    if attempt == 1 and random.random() < 0.1:
        raise TransientError("one in ten")
    return {"sum": params["sum"] + params["n"]}
