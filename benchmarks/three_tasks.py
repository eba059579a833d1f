"""Three no-op tasks in a row: what the workflow benchmark runs."""

from __future__ import annotations

from typing import Any

from avtomatika import Blueprint, Worker

bp = Blueprint(name="three", api_endpoint="jobs/three")
worker = Worker(worker_type="bench")


@bp.handler(is_start=True)
async def first(actions: Any) -> None:
    actions.dispatch_task("noop", {"n": 1}, transitions={"success": "second"})


@bp.handler
async def second(actions: Any) -> None:
    actions.dispatch_task("noop", {"n": 2}, transitions={"success": "third"})


@bp.handler
async def third(actions: Any) -> None:
    actions.dispatch_task("noop", {"n": 3}, transitions={"success": "done"})


@bp.handler(is_end=True)
async def done(n: int) -> dict[str, int]:
    return {"n": n}


@worker.skill()
async def noop(params: dict[str, Any]) -> dict[str, Any]:
    return {"n": params["n"]}
