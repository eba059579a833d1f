"""Blueprint and worker of the process test: three sync tasks in a row that keep a file open."""

from __future__ import annotations

import random
import time
from typing import Any

from avtomatika import Blueprint, RetryPolicy, Worker

#: Retries are unlimited because kills are random here. By default, a task whose third delivery is killed counts as
#: poison.
OFTEN: dict[str, Any] = {"max_retries": 100, "delay": 0.05, "max_delay": 0.5}
RETRY = RetryPolicy(**OFTEN, by_code={"PERMANENT_ERROR": RetryPolicy(**OFTEN)})

bp = Blueprint(name="forks", api_endpoint="jobs/forks", retry=RETRY)
worker = Worker(worker_type="storm")

#: States in the order of a job.
STATES = ["first", "second", "third", "done"]


@bp.handler(is_start=True)
def first(n: int, actions: Any) -> None:
    actions.dispatch_task("add", {"sum": 0, "n": n}, transitions={"success": "second"})


@bp.handler
def second(sum: int, n: int, actions: Any) -> None:
    actions.dispatch_task("add", {"sum": sum, "n": n}, transitions={"success": "third"})


@bp.handler
def third(sum: int, n: int, actions: Any) -> None:
    actions.dispatch_task("add", {"sum": sum, "n": n}, transitions={"success": "done"})


@bp.handler(is_end=True)
def done(sum: int) -> dict[str, int]:
    return {"sum": sum}


@worker.skill()
def add(params: dict[str, Any], files: Any) -> dict[str, Any]:
    note = files.path("note.txt")
    note.write_text(str(params["sum"] + params["n"]))
    time.sleep(random.uniform(0.1, 0.6))
    return {"sum": int(note.read_text())}
