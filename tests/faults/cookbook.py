"""A workflow of one task, and a worker that records its tasks."""

from __future__ import annotations

import os
import time
from typing import Any

from avtomatika import Blueprint, Worker

bp = Blueprint(name="cookbook")
worker = Worker(worker_type="video")


@bp.handler(is_start=True)
def start(initial_data: dict[str, Any], actions: Any) -> None:
    actions.dispatch_task("work", initial_data, transitions={"success": "done"})


@bp.handler(is_end=True)
def done(n: int) -> dict[str, int]:
    return {"n": n}


@worker.skill()
def work(params: dict[str, Any]) -> dict[str, Any]:
    ledger = os.open(os.environ["LEDGER"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(ledger, f"{time.monotonic()} {params['of']} {params['n']}\n".encode())
    os.close(ledger)
    time.sleep(0.04)
    return {"n": params["n"]}
