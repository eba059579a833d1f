"""A worker whose skill writes numbers to its stream, and a blueprint that no test uses."""

from __future__ import annotations

from time import sleep

from avtomatika import Blueprint, Worker
from avtomatika.worker.task_stream import TaskStream

bp = Blueprint("unused")
worker = Worker()


@bp.handler(is_start=True, is_end=True)
def end() -> None: ...


@worker.skill()
def count(to: int, stream: TaskStream) -> int:
    """Write *to* numbers in seven seconds."""
    for number in range(to):
        if number % (to // 140) == 0:
            sleep(0.05)
        stream.write(number)
    return to
