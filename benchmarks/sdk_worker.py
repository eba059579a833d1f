"""The same no-op skills for the public SDK, in its own environment: nothing of ours is there."""

import os
from pathlib import Path

from avtomatika_worker import Worker
from lap import Lap, Waits

worker = Worker()
lap = Lap(int(os.environ.get("LAP_TASKS", "0")), Path(os.environ["LAP"]))
waits = Waits()


@worker.skill("noop")
async def noop(params: dict):
    lap.count()
    return {}


@worker.skill("clock")
async def clock(params: dict):
    waits.add(params["sent_ns"], params["is_last"])
    return {}


if __name__ == "__main__":
    worker.run()
