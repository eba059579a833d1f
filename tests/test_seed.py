"""Looking at a job the way that the cookbook's debugging tips do: their lines as printed, only the blanks filled in.

They name port 8080; the address of this run replaces it.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from avtomatika.client import Client

from .support.cli import Up, write_project
from .support.documents import shell_environment

TOKEN = "token-of-the-reader"

STATUS_AND_HISTORY = """
# Specify your client token
TOKEN="your-secret-orchestrator-token"

# Get current task state
curl -H "X-Client-Token: $TOKEN" http://localhost:8080/api/v1/jobs/{job_id}

# Get full task event history (very useful for debugging)
curl -H "X-Client-Token: $TOKEN" http://localhost:8080/api/v1/jobs/{job_id}/history
"""

GRAPH = """
curl -H "X-Client-Token: $TOKEN" http://localhost:8080/api/v1/blueprints/{blueprint_name}/graph
"""


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    """``avtomatika up`` on any free port."""
    everything = Up(write_project(tmp_path_factory.mktemp("seed") / "project"), CLIENT_TOKEN=TOKEN)
    try:
        everything.wait_until_ready()
        yield everything
        everything.end()
    finally:
        everything.kill()


@pytest.fixture(scope="module")
def job_id(up: Up) -> str:
    """A job that is over."""
    with Client(up.url, TOKEN) as api:
        job_id = api.submit("greetings", {"name": "you"})["job_id"]
        api.wait(job_id, timeout=20)
    return job_id


def typed(lines: str, up: Up, **blanks: str) -> str:
    """Run *lines* in a shell, with their *blanks*, the token and the address filled in; return the output."""
    lines = lines.replace("http://localhost:8080", up.url)
    for name, value in blanks.items():
        lines = lines.replace(f"{{{name}}}", value)
    lines = lines.replace('TOKEN="your-secret-orchestrator-token"', f'TOKEN="{TOKEN}"')
    environment = shell_environment(up.folder, TOKEN=TOKEN)
    done = subprocess.run(["bash", "-c", lines], env=environment, capture_output=True, text=True, timeout=20)
    assert done.returncode == 0, done.stderr
    return done.stdout


def answers(text: str) -> list[dict[str, Any]]:
    """The JSON values that stand in *text* one behind the other."""
    found, decoder = [], json.JSONDecoder()
    while text := text.strip():
        value, end = decoder.raw_decode(text)
        found.append(value)
        text = text[end:]
    return found


def test_curl_shows_the_state_of_a_job(up: Up, job_id: str) -> None:
    job, _ = answers(typed(STATUS_AND_HISTORY, up, job_id=job_id))

    assert job["id"] == job_id
    assert (job["status"], job["blueprint_name"], job["current_state"]) == ("finished", "greetings", "done")
    assert (job["result"], job["error"]) == ("hello, you", None)
    assert job["initial_data"] == {"name": "you"}


def test_curl_shows_the_whole_history_of_a_job(up: Up, job_id: str) -> None:
    _, history = answers(typed(STATUS_AND_HISTORY, up, job_id=job_id))

    events = history["events"]
    assert history["job_id"] == job_id
    assert [event["event_type"] for event in events] == [
        "job_created",
        "state_entered",
        "task_dispatched",
        "task_taken",
        "task_succeeded",
        "state_entered",
        "job_finished",
    ]
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    assert [event["timestamp"] for event in events] == sorted(event["timestamp"] for event in events)
    assert events[4]["data"]["data"] == {"greeting": "hello, you"}
    assert (events[4]["worker_id"], events[4]["attempt"]) == (events[3]["worker_id"], 1)


def test_curl_gets_the_graph_of_a_blueprint_as_dot_that_draws(up: Up) -> None:
    dot = typed(GRAPH, up, blueprint_name="greetings")

    program = str(Path(sys.executable).with_name("graphviz-pure"))
    picture = subprocess.run([program, "-Tsvg"], input=dot, capture_output=True, text=True, check=True).stdout
    names = re.findall(r">(start|done|failed)</text>", picture)
    assert dot.startswith("digraph")
    assert "<svg" in picture
    assert sorted(names) == ["done", "failed", "start"]
