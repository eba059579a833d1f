"""A worker as a script, and tokens of workers."""

from __future__ import annotations

from pathlib import Path

from .waiting import wait_until

#: A worker whose task can be kept waiting.
SCRIPT = """
import os
import time
from pathlib import Path
from avtomatika import Worker

worker = Worker(worker_type="test")

@worker.skill()
def work(params, progress, cancelled):
    if "tell" in params:
        progress(params["tell"], "as told")
    if "gate" in params:
        Path(params["gate"] + ".begun").touch()
    deadline = time.monotonic() + 60
    while "gate" in params and not Path(params["gate"]).exists() and time.monotonic() < deadline and not cancelled():
        time.sleep(0.01)
    if cancelled():
        return "cancelled"
    if "kill" in params:
        os.kill(os.getpid(), params["kill"])
    return {"by": params.get("by")} | ({"pid": os.getpid()} if "pid" in params else {})

if __name__ == "__main__":
    worker.run()
"""
#: The token that all workers of a test share.
WORKER_TOKEN = "the-workers-token"
WORKERS_TOML = """
# workers.toml
[worker-video-1]
token = "unique-secret-token-for-video-1"

[worker-audio-5]
token = "another-secret-for-audio-5"
"""


def wait_until_begun(gate: Path) -> None:
    """Wait for the skill that blocks at *gate*. The announcement of the task arrives a moment earlier."""
    wait_until(Path(f"{gate}.begun").exists, 30, f"a skill waits for {gate}")
