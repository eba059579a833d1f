"""Kill what tests started when pytest itself is killed: servers, workers and all their children.

Every process that tests start inherits the environment variable ``RUN_VARIABLE``. One helper process waits for the end
of pytest, and then sends SIGKILL to all processes with this variable.
"""

from __future__ import annotations

import os
import select
import signal
import sys
from pathlib import Path

RUN_VARIABLE = "TEST_RUN_ID"


def start() -> None:
    """Mark this process's future children, and start the helper process."""
    run = f"{os.getpid()}-{os.urandom(4).hex()}"
    environ = {name: value for name, value in os.environ.items() if name != RUN_VARIABLE}
    command = [sys.executable, "-S", __file__, run]
    os.posix_spawn(sys.executable, command, environ, setsid=True)
    os.environ[RUN_VARIABLE] = run


def marked(run: str) -> list[int]:
    """Return the ids of all processes of *run*, from ``/proc``; none on other systems than Linux."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            environ = (folder / "environ").read_bytes()
        except OSError:
            continue
        if f"{RUN_VARIABLE}={run}".encode() in environ.split(b"\0"):
            found.append(int(folder.name))
    return found


def _kill_all(run: str) -> None:
    while pids := marked(run):
        for pid in pids:
            try:
                os.kill(pid, signal.SIGKILL)
            except OSError:
                continue


def _wait_for_end(pid: int) -> None:
    try:
        process = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    select.select([process], [], [])


if __name__ == "__main__":
    _wait_for_end(int(sys.argv[1].partition("-")[0]))
    _kill_all(sys.argv[1])
