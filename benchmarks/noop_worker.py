"""A worker whose skills do nothing but count, and say what the work around them cost."""

from __future__ import annotations

import json
import os
from pathlib import Path
from time import monotonic, monotonic_ns, process_time
from typing import Any

from avtomatika import Worker

#: Tasks that are not measured: until everything is loaded and connected.
WARM_UP = 500

worker = Worker()


class Lap:
    """CPU and wall seconds from the end of the warm-up to the last of *tasks*, written to *place*."""

    def __init__(self, tasks: int, place: Path) -> None:
        self._tasks = tasks
        self._place = place
        self._count = 0
        self._begun = (0.0, 0.0)

    def count(self) -> None:
        self._count += 1
        if self._count == WARM_UP:
            self._begun = monotonic(), process_time()
        elif self._count == WARM_UP + self._tasks:
            wall, cpu = monotonic() - self._begun[0], process_time() - self._begun[1]
            write(self._place, [wall, cpu])


def write(place: Path, value: Any) -> None:
    """Write *value* atomically: another process waits for the file."""
    place.with_suffix(".new").write_text(json.dumps(value))
    place.with_suffix(".new").rename(place)


lap = Lap(int(os.environ.get("LAP_TASKS", "0")), Path(os.environ.get("LAP", "lap.json")))
waits: list[int] = []


@worker.skill()
def noop(params: dict[str, Any]) -> None:
    lap.count()


@worker.skill()
async def async_noop(params: dict[str, Any]) -> None:
    lap.count()


@worker.skill()
def clock(params: dict[str, Any]) -> None:
    """How long the task was on its way, in nanoseconds; written when the last one came."""
    waits.append(monotonic_ns() - params["sent_ns"])
    if params["is_last"]:
        write(Path(os.environ["LAP"]), waits)
