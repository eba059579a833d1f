"""Web processes and workers as processes of their own."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from time import monotonic, sleep
from typing import Any

REPOSITORY = Path(__file__).parents[2]
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
WORKERS_TOML = """
# workers.toml
[worker-video-1]
token = "unique-secret-token-for-video-1"

[worker-audio-5]
token = "another-secret-for-audio-5"
"""
BLUEPRINT = """
from avtomatika import Blueprint

bp = Blueprint(name="hello", api_endpoint="jobs/hello")

@bp.handler(is_start=True, is_end=True)
def greet():
    return "hello"
"""


class Program:
    """A process whose output goes to a file; it ends with the test."""

    def __init__(self, command: list[str], folder: Path, environ: dict[str, str], *, log: Path) -> None:
        self._log = log
        with log.open("a") as output:
            self.process = subprocess.Popen(
                command,
                cwd=folder,
                env={
                    "PATH": os.environ["PATH"],
                    "PYTHONPATH": str(REPOSITORY),
                    "AVTOMATIKA_PARENT": str(os.getpid()),
                    **environ,
                },
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    @property
    def log(self) -> str:
        return self._log.read_text()

    def says(self, words: str, *, within_seconds: float = 20) -> float:
        """Wait for *words* in the log; answers how long it took."""
        begun = monotonic()
        while words not in self.log:
            assert monotonic() - begun < within_seconds, f"{words!r} is not in:\n{self.log}"
            sleep(0.05)
        return monotonic() - begun

    def kill(self) -> None:
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


class Web:
    """A web process at a port that it keeps."""

    def __init__(self, folder: Path, environ: dict[str, str]) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.address = f"127.0.0.1:{free.getsockname()[1]}"
        (folder / "blueprints").mkdir(parents=True, exist_ok=True)
        (folder / "blueprints" / "hello.py").write_text(BLUEPRINT)
        self.folder = folder
        self._environ = {"CLIENT_TOKEN": "planted-client-token", **environ}
        self.start()

    def start(self) -> None:
        command = [
            *(sys.executable, "-m", "gunicorn"),
            *("-c", "python:avtomatika.cli.gunicorn_config", "avtomatika.web.wsgi:create()"),
            *("--bind", self.address, "--graceful-timeout", "1"),
        ]
        self.program = Program(command, self.folder, self._environ, log=self.folder / "web.log")
        self.program.says("Booting worker")

    def kill(self) -> None:
        self.program.kill()


def in_time(find: Callable[[], Any], *, within_seconds: float = 20) -> Any:
    """What *find* answers once it is something."""
    deadline = monotonic() + within_seconds
    while (found := find()) is None:
        assert monotonic() < deadline, f"nothing came within {within_seconds} s"
        sleep(0.05)
    return found
