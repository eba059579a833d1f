"""Sends tasks of one library, and prints what that cost as JSON: wall and CPU seconds.

    python benchmarks/task_sender.py LIBRARY one|batch|ping COUNT [WARM_UP]

It runs in the environment of the library, which ``tasks.py`` sets up.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from time import monotonic, monotonic_ns, process_time, sleep
from typing import Any

#: Tasks in one call of ``map``, jobs in one of ``submit_many``.
BATCH = 1000


def pings(count: int) -> Iterator[tuple[int, bool]]:
    """Yield when the next task is sent, and whether it is the last: first slowly while the worker starts."""
    for _ in range(20):
        yield monotonic_ns(), False
        sleep(0.2)
    for number in range(count):
        sleep(0.01)
        yield monotonic_ns(), number == count - 1


class Ours:
    """Single tasks, straight on the server in ``AVTOMATIKA_URL``, or through a web process."""

    def __init__(self) -> None:
        app = importlib.import_module("one_task")
        self._echo, self._clock = app.echo, app.clock

    def one(self, count: int) -> None:
        for n in range(count):
            self._echo.send(n=n)

    def batch(self, count: int) -> None:
        for first in range(0, count, BATCH):
            self._echo.map([{"n": n} for n in range(first, min(first + BATCH, count))])

    def ping(self, count: int) -> None:
        for sent_ns, is_last in pings(count):
            self._clock.send(sent_ns=sent_ns, is_last=is_last)


class OursByBlueprint:
    """Jobs of a blueprint with one task, through the same server."""

    def __init__(self) -> None:
        self._client = importlib.import_module("avtomatika").Client.from_environment()

    def one(self, count: int) -> None:
        for n in range(count):
            self._client.submit("one", {"n": n})

    def batch(self, count: int) -> None:
        for first in range(0, count, BATCH):
            jobs = [{"initial_data": {"n": n}} for n in range(first, min(first + BATCH, count))]
            self._client.submit_many("one", jobs)


class Celery:
    def __init__(self) -> None:
        self._app = importlib.import_module("celery_app")

    def one(self, count: int) -> None:
        for n in range(count):
            self._app.echo.delay(n)

    def ping(self, count: int) -> None:
        for sent_ns, is_last in pings(count):
            self._app.clock.delay(sent_ns, is_last)


class Huey:
    def __init__(self) -> None:
        self._app = importlib.import_module("huey_app")

    def one(self, count: int) -> None:
        for n in range(count):
            self._app.echo(n)

    def ping(self, count: int) -> None:
        for sent_ns, is_last in pings(count):
            self._app.clock(sent_ns, is_last)


class Taskiq:
    def __init__(self) -> None:
        self._app = importlib.import_module("taskiq_app")
        self._loop = asyncio.new_event_loop()
        self._loop.run_until_complete(self._app.broker.startup())

    def one(self, count: int) -> None:
        self._loop.run_until_complete(self._one(count))

    async def _one(self, count: int) -> None:
        for n in range(count):
            await self._app.echo.kiq(n)

    def ping(self, count: int) -> None:
        self._loop.run_until_complete(self._ping(count))

    async def _ping(self, count: int) -> None:
        for sent_ns, is_last in pings(count):
            await self._app.clock.kiq(sent_ns, is_last)


SENDERS: dict[str, Any] = {
    "ours": Ours,
    "blueprint": OursByBlueprint,
    "celery": Celery,
    "huey": Huey,
    "taskiq": Taskiq,
}


def main(library: str, action: str, count: int, warm_up: int = 0) -> None:
    sys.path.insert(0, str(Path(__file__).parent))
    sender = SENDERS[library]()
    send = getattr(sender, action)
    if warm_up:
        send(warm_up)
    began, cpu = monotonic(), process_time()
    send(count)
    print(json.dumps([monotonic() - began, process_time() - cpu]), flush=True)
    os._exit(0)  # without closing connections, for which some libraries wait


if __name__ == "__main__":
    main(*sys.argv[1:3], *map(int, sys.argv[3:]))
