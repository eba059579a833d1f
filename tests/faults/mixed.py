"""Blueprints of the mixed fault-injection test: fan-outs, timers, approvals and children, a quarter each."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from typing import Any

from avtomatika import Blueprint, TransientError, Worker

bp = Blueprint(name="mixed", api_endpoint="jobs/mixed")
small = Blueprint(name="small")
worker = Worker(worker_type="storm")

#: Branches of a fan-out.
BRANCHES = 5


def states_of(n: int) -> Sequence[str]:
    """Return the states of job *n*, in order."""
    return (
        ["begin", "split", "collect", "done"],
        ["begin", "rest", "add_up", "done"],
        ["begin", "ask", "add_up", "done"],
        ["begin", "family", "done"],
    )[n % 4]


def result_of(n: int) -> dict[str, int]:
    """Return the expected result of job *n*."""
    return {"sum": (BRANCHES * n, 2 * n, 2 * n, 2 * n)[n % 4]}


@bp.handler(is_start=True)
def begin(n: int, actions: Any) -> None:
    if n % 4 == 0:
        actions.go_to("split")
    elif n % 4 == 1:
        actions.go_to("rest")
    elif n % 4 == 2:
        actions.go_to("ask")
    else:
        actions.go_to("family")


@bp.handler(queue="wide")
def split(n: int, actions: Any) -> None:
    tasks = [{"task_type": "add", "params": {"sum": 0, "n": n}} for _ in range(BRANCHES)]
    actions.dispatch_parallel(tasks, aggregate_into="collect")


@bp.aggregator
def collect(aggregation_results: dict[str, Any], state_history: dict[str, Any], actions: Any) -> None:
    state_history["sum"] = sum(each["data"]["sum"] for each in aggregation_results.values())
    actions.go_to("done")


@bp.handler
async def rest(actions: Any) -> None:
    actions.wait(random.uniform(0.5, 3), then="add_up")


@bp.handler
def ask(actions: Any) -> None:
    actions.await_human_approval("storm", "Go on?", {"approved": "add_up"}, timeout=600)


@bp.handler
def add_up(n: int, actions: Any) -> None:
    actions.dispatch_task("add", {"sum": n, "n": n}, transitions={"success": "done"})


@bp.handler
def family(n: int, actions: Any) -> None:
    actions.run_blueprint("small", {"n": n}, transitions={"success": "done"})


@bp.handler(is_end=True)
def done(sum: int) -> dict[str, int]:
    return {"sum": sum}


@small.handler(is_start=True)
def twice(n: int, actions: Any) -> None:
    actions.dispatch_task("add", {"sum": 0, "n": n}, transitions={"success": "both"})
    actions.dispatch_task("add", {"sum": 0, "n": n}, transitions={"success": "both"})


@small.aggregator(is_end=True)
def both(aggregation_results: dict[str, Any]) -> dict[str, int]:
    return {"sum": sum(each["data"]["sum"] for each in aggregation_results.values())}


@worker.skill()
async def add(params: dict[str, Any], attempt: int) -> dict[str, Any]:
    await asyncio.sleep(random.uniform(0.05, 0.5))
    if attempt == 1 and random.random() < 0.1:
        raise TransientError("one in ten")
    return {"sum": params["sum"] + params["n"]}
