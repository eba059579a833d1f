"""The huey application of the benchmarks: tasks on Redis, with a result store if ``HUEY_RESULTS`` is set."""

from __future__ import annotations

import os
from pathlib import Path

from huey import RedisHuey
from lap import Lap, Waits

huey = RedisHuey("benchmark", url=os.environ["HUEY_URL"], results="HUEY_RESULTS" in os.environ)
waits = Waits()
lap = Lap(int(os.environ.get("LAP_TASKS", "0")), Path(os.environ.get("LAP", "lap.json")))


@huey.task()
def noop() -> None:
    lap.count()


@huey.task()
def echo(n: int) -> int:
    return n


@huey.task()
def clock(sent_ns: int, is_last: bool) -> None:
    waits.add(sent_ns, is_last)
