"""A worker whose skills do nothing but count, and say what the work around them cost."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from lap import Lap, Waits

from avtomatika import Worker

worker = Worker()
lap = Lap(int(os.environ.get("LAP_TASKS", "0")), Path(os.environ.get("LAP", "lap.json")))
waits = Waits()


@worker.skill()
def noop(params: dict[str, Any]) -> None:
    lap.count()


@worker.skill()
async def async_noop(params: dict[str, Any]) -> None:
    lap.count()


@worker.skill()
def clock(params: dict[str, Any]) -> None:
    waits.add(params["sent_ns"], params["is_last"])
