"""The huey application of the worker's benchmark: tasks on Redis, without a result store."""

from __future__ import annotations

import os
from pathlib import Path
from time import monotonic_ns

from huey import RedisHuey
from noop_worker import Lap, write

huey = RedisHuey("benchmark", url=os.environ["HUEY_URL"], results=False)
waits: list[int] = []
lap = Lap(int(os.environ.get("LAP_TASKS", "0")), Path(os.environ.get("LAP", "lap.json")))


@huey.task()
def noop() -> None:
    lap.count()


@huey.task()
def clock(sent_ns: int, is_last: bool) -> None:
    waits.append(monotonic_ns() - sent_ns)
    if is_last:
        write(Path(os.environ["LAP"]), waits)
