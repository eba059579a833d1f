"""A worker whose skill records each run in the file ``runs``, and a blueprint that no test uses."""

from __future__ import annotations

import os
from time import sleep

from avtomatika import Blueprint, Worker

bp = Blueprint("unused")
worker = Worker()


@bp.handler(is_start=True, is_end=True)
def end() -> None: ...


@worker.skill()
def record(place: int, task_id: str, seconds: float = 0.0) -> dict[str, int]:
    line = os.open("runs", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(line, f"{task_id}\n".encode())
    os.close(line)
    sleep(seconds)
    return {"place": place}
