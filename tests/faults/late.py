"""A blueprint whose tasks take far longer than its jobs wait, and one whose tasks end at once."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from avtomatika import Blueprint, Worker

bp = Blueprint(name="late", api_endpoint="jobs/late")
worker = Worker(worker_type="storm")


@bp.handler(is_start=True)
def start(initial_data: dict[str, Any], actions: Any) -> None:
    actions.dispatch_task(
        initial_data["skill"], {}, transitions={"success": "done"}, result_timeout=initial_data["result_timeout"]
    )


@bp.handler(is_end=True)
def done() -> None: ...


@worker.skill()
def linger(params: dict[str, Any], job_id: str) -> None:
    with Path(os.environ["BEGUN_LOG"]).open("a") as log:
        log.write(f"{job_id} {time.time()}\n")
    time.sleep(600)


@worker.skill()
def end(params: dict[str, Any]) -> None: ...
