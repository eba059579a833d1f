"""Holding a request until a job changes: only the version is asked for, ever more slowly, up to four times a second."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import BoundedSemaphore
from time import monotonic, sleep

from avtomatika.core.job import Job
from avtomatika.errors import Unavailable
from avtomatika.store import Store

#: First and longest pause between two looks.
SHORTEST_PAUSE_SECONDS = 0.05
LONGEST_PAUSE_SECONDS = 0.25


def changed(job: Job, store: Store, *, wait_seconds: float, waits: BoundedSemaphore) -> bool:
    """Whether *job* changed (or went) within *wait_seconds*. Raises Unavailable at once where too many wait already."""
    with place(waits):
        deadline = monotonic() + wait_seconds
        pause = SHORTEST_PAUSE_SECONDS
        while (left := deadline - monotonic()) > 0:
            sleep(min(pause, left))
            if store.version(job.id) != job.version:
                return True
            pause = min(pause * 1.5, LONGEST_PAUSE_SECONDS)
        return False


@contextmanager
def place(waits: BoundedSemaphore) -> Iterator[None]:
    """One of the places for requests that are held. Raises Unavailable at once where all are taken."""
    if not waits.acquire(blocking=False):
        raise Unavailable("too many requests wait already; ask later, or without waiting")
    try:
        yield
    finally:
        waits.release()
