"""A folder of a user's, and the command run in it."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, sleep

import pytest
from click.testing import CliRunner

from avtomatika.cli.main import cli

AVTOMATIKA = (sys.executable, "-m", "avtomatika.cli")
#: What nobody's own configuration may leak into a test through.
OUR_VARIABLES = (
    "API_",
    "AVTOMATIKA",
    "BLUEPRINTS",
    "CLIENT",
    "LOG_",
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


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder with a blueprint and a worker, where nothing runs."""
    return write_project(tmp_path / "project")


@dataclass(frozen=True)
class Done:
    """How a command ended, and what it said where."""

    code: int
    stdout: str
    stderr: str


Run = Callable[..., Done]


def in_process(folder: Path) -> Run:
    """Run commands here and now, which is quick; not for those that take over the process."""

    def run(*args: str, **environment: str) -> Done:
        path, before = list(sys.path), dict(os.environ)
        hidden = {name: None for name in os.environ if name.startswith(OUR_VARIABLES)}
        with contextlib.chdir(folder):
            result = CliRunner().invoke(cli, args, env={**hidden, **environment})
        sys.path[:] = path
        os.environ.clear()  # a command that joins what runs here writes down where that is
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


@pytest.fixture
def run(project: Path) -> Run:
    """Run a command in the project: ``run("jobs", "list", CLIENT_TOKEN="t")``."""
    return in_process(project)


@pytest.fixture
def run_process(project: Path) -> Run:
    """The same, as a process of its own."""
    return as_process(project)


def processes_in(folder: Path) -> set[int]:
    """Ids of all processes whose working directory is *folder* or lies in it."""
    found = set()
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if (entry / "cwd").readlink().is_relative_to(folder):
                found.add(int(entry.name))
    return found


class Up:
    """An ``avtomatika up`` in a folder of its own, and what it has said so far."""

    def __init__(self, folder: Path, *options: str, log_name: str = "up.log", **environment: str) -> None:
        self.folder = folder
        self._log = folder / log_name
        with open(self._log, "w") as log:
            self.process = subprocess.Popen(
                (*AVTOMATIKA, "up", *options),
                cwd=folder,
                env={
                    **clean_environment(),
                    "AVTOMATIKA_PARENT": str(os.getpid()),  # a killed pytest leaves nothing running
                    "WORKER_LEASE_SECONDS": "2",
                    **environment,
                },
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                process_group=0,
            )

    @property
    def said(self) -> str:
        return self._log.read_text()

    @property
    def url(self) -> str:
        return str(json.loads((self.folder / "var" / "up.json").read_text())["url"])

    def wait_until(self, condition: Callable[[], object], seconds: float = 30) -> None:
        deadline = monotonic() + seconds
        while not condition():
            assert monotonic() < deadline, self.said
            sleep(0.05)

    def wait_until_ready(self) -> Up:
        self.wait_until(lambda: "avtomatika is up" in self.said or self.process.poll() is not None)
        assert self.process.poll() is None, self.said
        return self

    def processes(self) -> set[int]:
        """Everything that runs in this folder, ``up`` itself included."""
        return processes_in(self.folder)

    def end(self, how: signal.Signals = signal.SIGTERM) -> int:
        """Exit code after the signal."""
        self.process.send_signal(how)
        return self.process.wait(timeout=45)

    def sweep(self) -> None:
        """Leave nothing behind, whatever the test did."""
        for pid in self.processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait(timeout=10)


@pytest.fixture
def up(project: Path) -> Iterator[Callable[..., Up]]:
    """Start ``avtomatika up`` in the project: ``up("--port", "8090")``."""
    started: list[Up] = []

    def start(*options: str, **environment: str) -> Up:
        started.append(Up(project, *options, **environment))
        return started[-1]

    yield start
    for each in started:
        each.sweep()
