"""The Celery application of the benchmarks, set up by ``CELERY_BROKER``, ``CELERY_RESULTS``, ``CELERY_TRANSPORT``."""

from __future__ import annotations

import os
from pathlib import Path
from time import monotonic, process_time

from celery import Celery
from lap import Waits, write

app = Celery("celery_app", broker=os.environ["CELERY_BROKER"], backend=os.environ.get("CELERY_RESULTS"))
app.conf.update(
    broker_connection_retry_on_startup=True,
    worker_hijack_root_logger=False,
    worker_prefetch_multiplier=100,
)
if transport := os.environ.get("CELERY_TRANSPORT"):
    app.conf.broker_transport = transport


class Lap:
    """Wall and CPU seconds from the first of ``CELERY_TASKS`` tasks to the last, left in the file ``CELERY_LAP``."""

    def __init__(self) -> None:
        self._tasks = self._left = int(os.environ.get("CELERY_TASKS", "0"))
        self._began = (0.0, 0.0)

    def count(self) -> None:
        if self._left == self._tasks:  # a look at the clock of the process costs as much as the task
            self._began = monotonic(), process_time()
        self._left -= 1
        if self._left == 0:
            ended = monotonic(), process_time()
            seconds = [after - before for before, after in zip(self._began, ended, strict=True)]
            write(Path(os.environ["CELERY_LAP"]), seconds)


lap, waits = Lap(), Waits()


@app.task(ignore_result=True)
def noop() -> None:
    lap.count()


@app.task
def step(n: int) -> int:
    return n + 1


@app.task
def echo(n: int) -> int:
    return n


@app.task(ignore_result=True)
def clock(sent_ns: int, is_last: bool) -> None:
    waits.add(sent_ns, is_last)
