"""What workers under measurement tell the benchmark: times, as JSON in a file. Also for environments without ours."""

from __future__ import annotations

import json
import os
from pathlib import Path
from time import monotonic, monotonic_ns, process_time, sleep
from typing import Any

#: Tasks that are not measured: until everything is loaded and connected.
WARM_UP = 500
_LIMIT_SECONDS = 180


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


class Waits:
    """How long tasks were on their way, in nanoseconds; written to the file ``LAP`` when the last one came."""

    def __init__(self) -> None:
        self._waits: list[int] = []

    def add(self, sent_ns: int, is_last: bool) -> None:
        self._waits.append(monotonic_ns() - sent_ns)
        if is_last:
            write(Path(os.environ["LAP"]), self._waits)


def write(place: Path, value: Any) -> None:
    """Write *value* atomically: another process waits for the file."""
    place.with_suffix(".new").write_text(json.dumps(value))
    place.with_suffix(".new").rename(place)


def read(place: Path) -> Any:
    """Wait for the file and return what is in it."""
    deadline = monotonic() + _LIMIT_SECONDS
    while not place.exists():
        if monotonic() > deadline:
            raise SystemExit(f"nothing came within {_LIMIT_SECONDS} s")
        sleep(0.05)
    return json.loads(place.read_text())
