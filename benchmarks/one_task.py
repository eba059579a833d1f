"""A task that returns its parameter, and a blueprint that runs it: what the benchmark of single tasks compares."""

from __future__ import annotations

from typing import Any

from lap import Waits

from avtomatika import Blueprint, Worker

bp = Blueprint(name="one", api_endpoint="jobs/one")
worker = Worker(worker_type="bench")
waits = Waits()


@bp.handler(is_start=True)
async def first(actions: Any, initial_data: dict[str, int]) -> None:
    actions.dispatch_task("echo", {"n": initial_data["n"]}, transitions={"success": "done"})


@bp.handler(is_end=True)
async def done(n: int) -> dict[str, int]:
    return {"n": n}


@worker.skill()
async def echo(n: int) -> dict[str, int]:
    return {"n": n}


@worker.skill()
async def clock(sent_ns: int, is_last: bool) -> None:
    waits.add(sent_ns, is_last)
