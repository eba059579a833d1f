"""The Celery application of test_celery: only the transport is configured."""

from __future__ import annotations

import os
from pathlib import Path
from time import monotonic, sleep, time

from celery import Celery

app = Celery("celery_app", broker=os.environ["CELERY_BROKER"], backend=os.environ["CELERY_RESULTS"])
app.conf.broker_transport = "avtomatika.transport:Transport"
app.conf.broker_transport_options = {"lease_seconds": 2, "sweep_interval_seconds": 0.2}
if "CELERY_SPREAD" in os.environ:
    app.conf.broker_transport_options["spread"] = int(os.environ["CELERY_SPREAD"])
app.conf.broker_connection_retry_on_startup = True
app.conf.worker_prefetch_multiplier = int(os.environ.get("CELERY_PREFETCH", "1"))
app.conf.worker_disable_prefetch = bool(os.environ.get("CELERY_DISABLE_PREFETCH"))


@app.task
def add(x: int, y: int) -> int:
    return x + y


@app.task
def total(numbers: list[int]) -> int:
    return sum(numbers)


@app.task
def now() -> float:
    return time()


@app.task(acks_late=True)
def late(x: int) -> int:
    return x


@app.task
def note(place: str, word: str) -> None:
    """Append *word* to the file *place*."""
    with Path(place).open("a") as file:
        file.write(f"{word}\n")


@app.task(acks_late=True)
def work(place: str, seconds: float) -> int:
    """Record the start and the end of the task."""
    note.run(place, f"begin {os.getpid()}")
    sleep(seconds)
    note.run(place, f"end {os.getpid()}")
    return os.getpid()


@app.task(acks_late=True)
def block(place: str, seconds: float) -> None:
    """Record the start, then block the whole process."""
    note.run(place, "begin")
    until = monotonic() + seconds
    while monotonic() < until:
        pass
