"""Blueprints whose handlers hang in every possible way, and one whose handlers do not."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Any

from avtomatika import Blueprint, Worker

worker = Worker(worker_type="steady")
steady = Blueprint(name="steady", api_endpoint="jobs/steady")
hangs = Blueprint(name="hangs", api_endpoint="jobs/hangs")
blocks = Blueprint(name="blocks", api_endpoint="jobs/blocks")

_NEVER = threading.Event()


@steady.handler(is_start=True)
async def begin(actions: Any) -> None:
    await asyncio.to_thread(time.sleep, 0.001)
    actions.dispatch_task("work", {}, transitions={"success": "go_on"})


@steady.handler
def go_on(actions: Any) -> None:
    actions.go_to("done")


@steady.handler(is_end=True)
async def done() -> str:
    return "well"


@hangs.handler(is_start=True)
def hang(actions: Any) -> None:
    _NEVER.wait()
    actions.go_to("end")


@hangs.handler("end", is_end=True)
def end_of_hangs() -> None: ...


@blocks.handler(is_start=True)
async def block(initial_data: dict[str, Any], actions: Any) -> None:
    if initial_data["how"] == "loop":
        _NEVER.wait()
    elif initial_data["how"] == "thread":
        await asyncio.to_thread(_NEVER.wait)
    else:
        await asyncio.Event().wait()
    actions.go_to("end")


@blocks.handler("end", is_end=True)
def end_of_blocks() -> None: ...


@worker.skill()
def work(params: dict[str, Any]) -> dict[str, Any]:
    return {}
