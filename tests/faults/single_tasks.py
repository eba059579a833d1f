"""The built-in plan of single tasks, and a worker whose skill records each run in the file ``runs``."""

from __future__ import annotations

import os
from time import sleep

from avtomatika import Worker
from avtomatika.core.blueprint.single_tasks import SINGLE_TASKS as SINGLE_TASKS

worker = Worker()


@worker.skill()
def record(place: int, task_id: str, seconds: float = 0.0) -> dict[str, int]:
    line = os.open("runs", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(line, f"{task_id}\n".encode())
    os.close(line)
    sleep(seconds)
    return {"place": place}
