"""The command line in the folder of a user's project."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from click.testing import CliRunner

from avtomatika.cli.main import cli

from .processes import AVTOMATIKA, Process, processes_in

#: Prefixes of environment variables that may not influence a test.
OUR_VARIABLES = (
    "API_",
    "AVTOMATIKA",
    "BLUEPRINTS",
    "CLIENT",
    "HISTORY_",
    "LOG_",
    "NOTIFY_",
    "ORCHESTRATOR",
    "PORT",
    "REDIS",
    "SECRET_KEY",
    "WEBHOOK",
    "WORKER",
)

#: A workflow that needs nothing: one task for every way a job can go.
GREETINGS = """
from avtomatika import Blueprint, F

bp = Blueprint(name="greetings", api_endpoint="jobs/greetings")

@bp.handler("start", F.initial_data["name"] == "nobody", is_start=True)
def refuse(actions):
    actions.go_to("failed")

@bp.handler("start", is_start=True)
def start(initial_data, actions):
    actions.dispatch_task("greet", {"name": initial_data["name"]}, transitions={"success": "done"})

@bp.handler(is_end=True)
def done(greeting):
    return greeting

@bp.handler(is_end="failed")
def failed():
    return {"reason": "there is nobody to greet"}
"""
WORKER = """
import asyncio
from pathlib import Path

from avtomatika import Worker

worker = Worker(worker_type="greeter")

@worker.skill()
async def greet(params: dict, progress):
    if params["name"] == "sloth":
        progress(0.1, "getting up")
        try:
            await asyncio.sleep(600)
        except asyncio.CancelledError:
            Path("sloth-sleeps").touch()
            raise
    return {"greeting": "hello, " + params["name"]}
"""


def clean_environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith(OUR_VARIABLES)}


def write_project(folder: Path) -> Path:
    (folder / "blueprints").mkdir(parents=True)
    (folder / "blueprints" / "greetings.py").write_text(GREETINGS)
    (folder / "worker.py").write_text(WORKER)
    return folder


@dataclass(frozen=True)
class Done:
    """Exit code and output of a command."""

    code: int
    stdout: str
    stderr: str


Run = Callable[..., Done]


def in_process(folder: Path) -> Run:
    """Run commands in the process of the test, which is quick. Not for commands that exec another program."""

    def run(*args: str, **environment: str) -> Done:
        path, before = list(sys.path), dict(os.environ)
        hidden = {name: None for name in os.environ if name.startswith(OUR_VARIABLES)}
        with contextlib.chdir(folder):
            result = CliRunner().invoke(cli, args, env={**hidden, **environment})
        sys.path[:] = path
        os.environ.clear()  # a command sets the address of the running installation
        os.environ.update(before)
        return Done(result.exit_code, result.stdout, result.stderr)

    return run


def as_process(folder: Path) -> Run:
    """Run commands as a shell would."""

    def run(*args: str, **environment: str) -> Done:
        done = subprocess.run(
            (*AVTOMATIKA, *args),
            cwd=folder,
            env={**clean_environment(), **environment},
            capture_output=True,
            text=True,
            timeout=60,
        )
        return Done(done.returncode, done.stdout, done.stderr)

    return run


class Up(Process):
    """An ``avtomatika up`` in *folder*."""

    def __init__(self, folder: Path, *options: str, log_name: str = "up.log", **environment: str) -> None:
        self.folder = folder
        environ = {**clean_environment(), "WORKER_LEASE_SECONDS": "2", **environment}
        log = folder / log_name
        log.unlink(missing_ok=True)
        super().__init__((*AVTOMATIKA, "up", *options), folder, environ, log=log)

    @property
    def url(self) -> str:
        return str(json.loads((self.folder / "var" / "up.json").read_text())["url"])

    def wait_until_ready(self) -> Up:
        self.wait_until(lambda: "avtomatika is up" in self.log or not self.is_running, seconds=90)
        assert self.is_running, self.log
        return self

    def processes(self) -> set[int]:
        """Return all processes that run in this folder, including ``up`` itself."""
        return processes_in(self.folder)

    def kill(self) -> None:
        """Send SIGKILL to all processes in the folder."""
        for pid in self.processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        super().kill()
