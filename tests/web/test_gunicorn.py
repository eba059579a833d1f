"""The app as in production: gunicorn, configured by the environment."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from avtomatika.client import Client
from avtomatika.errors import UnauthorizedError

REPOSITORY = Path(__file__).parents[2]
BLUEPRINT = """
from avtomatika import Blueprint

bp = Blueprint(name="hello", api_endpoint="jobs/hello")

@bp.handler(is_start=True, is_end=True)
def greet():
    return "hello"
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A working directory with a blueprint."""
    (tmp_path / "blueprints").mkdir()
    (tmp_path / "blueprints" / "hello.py").write_text(BLUEPRINT)
    return tmp_path


def gunicorn(folder: Path, **environment: str) -> subprocess.Popen[str]:
    command = [
        *(sys.executable, "-m", "gunicorn", "avtomatika.web.wsgi:create()"),
        *("-c", "python:avtomatika.cli.gunicorn_config", "--bind", "127.0.0.1:0", "--workers", "2"),
    ]
    return subprocess.Popen(
        command,
        cwd=folder,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(REPOSITORY), **environment},
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.fixture
def running(folder: Path, redis_url: str) -> Iterator[subprocess.Popen[str]]:
    (folder / ".env").write_text("CLIENT_TOKEN='token-from-the-file'\nJOB_TTL_SECONDS=60\n")
    with gunicorn(folder, REDIS_URL=redis_url) as process:
        yield process
        process.terminate()
        process.wait(10)


def test_a_job_is_created_and_shown_and_the_server_ends_when_told(running: subprocess.Popen[str]) -> None:
    with Client(_address(running), "token-from-the-file") as client:
        job = client.job(client.submit("hello", {"n": 1})["job_id"])

    running.send_signal(signal.SIGTERM)

    assert (job["status"], job["initial_data"]) == ("pending", {"n": 1})
    assert running.wait(10) == 0


def test_nobody_else_is_let_in(running: subprocess.Popen[str]) -> None:
    with Client(_address(running), "another") as client, pytest.raises(UnauthorizedError):
        client.blueprints()


@pytest.mark.parametrize(
    ("environment", "reason"),
    [
        ({"REDIS_URL": "redis://127.0.0.1:1/0"}, "set CLIENT_TOKEN, or name clients in clients.toml"),
        ({"CLIENT_TOKEN": "token-of-operators"}, "REDIS_URL is not set"),
    ],
)
def test_without_a_client_or_a_server_it_does_not_start(folder: Path, environment: dict[str, str], reason: str) -> None:
    with gunicorn(folder, **environment) as process:
        _, said = process.communicate(timeout=20)

    assert process.returncode not in (0, None)
    assert reason in said


def _address(process: subprocess.Popen[str]) -> str:
    """Where *process* says that it listens."""
    assert process.stderr is not None
    for line in process.stderr:
        if found := re.search(r"Listening at: (http://\S+)", line):
            return found[1]
    raise AssertionError("gunicorn ended before it listened")
