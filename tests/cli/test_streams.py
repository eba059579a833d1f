"""What skills write and log, through everything that ``up`` runs, over both links: read by client and commands."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from avtomatika import Client

from ..support.cli import Run, Up, in_process
from ..support.ports import free_port

pytestmark = pytest.mark.faults  # it starts two installations

WORKER_TOKEN = "worker-token-of-the-test"
#: Clears a terminal, sets its title and reverses the text.
HOSTILE = "\x1b[2J\x1b]0;title\x07\x9b31m \u202egnp.exe \r"
WORKER = f"""
import asyncio
import logging
import os
from avtomatika import TransientError, Worker

worker = Worker()
logger = logging.getLogger("tales")

def tell(stream, attempt):
    stream.write(f"attempt {{attempt}}\\n")
    stream.write({{"pages": [1, None]}})
    stream.write(bytes(range(4)))
    stream.log("the ink is dry", level="WARNING")
    logger.error("spilt\\nthe ink")
    logger.info("in %d", os.getpid())
    if attempt == 1:
        raise TransientError("once more")

@worker.skill
def in_a_child(stream, attempt):
    tell(stream, attempt)

@worker.skill
async def in_the_loop(stream, attempt):
    tell(stream, attempt)

@worker.skill
def hostile(stream):
    stream.write({HOSTILE!r})
    stream.log({HOSTILE!r})
    return {HOSTILE!r}
"""
ATTEMPT = ["text", "json", "bytes", "log", "log", "log"]


@pytest.fixture(scope="module", params=["broker", "http"])
def running(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    """One ``up`` for all tests of a link."""
    folder = tmp_path_factory.mktemp("streams")
    (folder / "worker.py").write_text(WORKER)
    port = str(free_port())
    over_http = {"ORCHESTRATOR_URL": f"http://127.0.0.1:{port}", "WORKER_TOKEN": WORKER_TOKEN}
    everything = Up(folder, API_PORT=port, **(over_http if request.param == "http" else {}))
    try:
        yield everything.wait_until_ready()
        everything.end()
    finally:
        everything.kill()


@pytest.fixture
def run(running: Up) -> Run:
    return in_process(running.folder)


@pytest.fixture
def client(running: Up) -> Iterator[Client]:
    with Client(running.url, (running.folder / "var" / "client_token").read_text()) as client:
        yield client


@pytest.mark.parametrize("skill", ["in_a_child", "in_the_loop"])
def test_what_two_attempts_write_is_read_in_order_and_marked(client: Client, run: Run, running: Up, skill: str) -> None:
    job_id = client.send_task(skill)["job_id"]

    entries: list[Any] = list(client.stream(job_id))

    assert [entry["kind"] for entry in entries] == [*ATTEMPT, "restart", *ATTEMPT]
    assert [entry["attempt"] for entry in entries] == [1] * 6 + [2] * 7
    second = [entry["data"] for entry in entries[7:]]
    assert second[:5] == ["attempt 2\n", {"pages": [1, None]}, b"\x00\x01\x02\x03", "the ink is dry", "spilt\nthe ink"]
    assert second[5].startswith("in ")
    assert [entry["level"] for entry in entries[10:]] == ["WARNING", "ERROR", "INFO"]
    secrets = {path.read_text().strip() for path in (running.folder / "var").glob("*_token")} | {WORKER_TOKEN}
    printed = run("jobs", "watch", job_id, "--json").stdout + repr(entries)
    assert not [secret for secret in secrets if secret in printed]
    assert "ticket" not in printed


def test_logs_prints_log_lines_and_text_with_time_task_and_attempt(client: Client, run: Run) -> None:
    job_id = client.send_task("in_a_child")["job_id"]

    lines = run("jobs", "logs", job_id, "--follow").stdout.splitlines()
    at = client.stream_page(job_id)["entries"][0]["at"]

    assert lines[0] == f"{at}  text     1.0  attempt 1"
    assert [line[26:] for line in lines[1:4]] == [
        "WARNING  1.0  the ink is dry",
        "ERROR    1.0  spilt",
        lines[3][26:],
    ]
    assert lines[3] == "    the ink"
    assert [line[26:] for line in lines[5:7]] == ["restart  1.0  attempt 2", "text     1.0  attempt 2"]
    assert len(lines) == 11
    severe = run("jobs", "logs", job_id, "--level", "warning", "--task", "1.0").stdout.splitlines()
    assert [line.split()[1] for line in severe if not line.startswith(" ")] == [
        *("WARNING", "ERROR"),
        *("restart", "WARNING", "ERROR"),
    ]
    assert run("jobs", "logs", job_id, "--task", "2.0").stdout == ""
    [first, *_] = run("jobs", "logs", job_id, "--json").stdout.splitlines()
    assert json.loads(first)["data"] == "attempt 1\n"
    assert run("jobs", "logs", "g0-01ARZ3NDEKTSV4RRFFQ69G5FAV").code == 4


def test_watch_prints_chunks_between_the_events(client: Client, run: Run) -> None:
    job_id = client.send_task("in_the_loop")["job_id"]

    lines = run("jobs", "watch", job_id).stdout.splitlines()
    shown = [line[15:].rstrip() for line in lines]

    assert all(line[12:15] == "Z  " for line in lines if not line.startswith(" "))
    chunks = [
        f'{"json":20} 1.0  {{"pages": [1, null]}}',
        f"{'bytes':20} 1.0  4 bytes",
        f"{'WARNING':20} 1.0  the ink is dry",
    ]
    restart = shown.index(f"{'restart':20} 1.0  attempt 2")
    for chunk in chunks:
        assert chunk in shown[:restart]
        assert chunk in shown[restart:]
    events = {line.partition(" ")[0] for line in shown}
    assert events >= {"task_taken", "task_failed", "job_finished"}


def test_no_character_of_a_skill_controls_the_terminal(client: Client, run: Run) -> None:
    job_id = client.send_task("hostile")["job_id"]

    printed = [
        run("jobs", command, job_id, *options).stdout
        for command, options in (("logs", ["--follow"]), ("watch", []), ("show", []), ("watch", ["--json"]))
    ]

    for text in printed:
        assert "\\u001b[2J" in text
        assert not {"\x1b", "\x07", "\x9b", "\u202e", "\r"} & set(text)
