"""Log lines of real processes: one a task, a transition and a request, with ids; and the two formats."""

from __future__ import annotations

import json
import logging
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import requests

from avtomatika.logs import Ids, JsonFormatter, TextFormatter, log_ids

from .support.installation import Installation
from .support.processes import Process

TRACE = "0af7651916cd43dd8448eb211c80319c"


def run_job(running: Installation, **headers: str) -> str:
    """Run the three tasks of a photo, and return the id of the job."""
    url, token = f"{running.base_url}/api/v1/jobs/photo?secret=in-the-query", {"X-Client-Token": running.token}
    body = {"initial_data": {"secret": "in-the-request"}}
    answer = requests.post(url, json=body, headers=token | headers, timeout=30)
    job_id = str(answer.json()["job_id"])
    assert running.client().wait(job_id, timeout=60)["status"] == "finished"
    assert running.stop("worker") == running.stop("orchestrator") == running.stop("web") == 0
    return job_id


def lines_of(folder: Path, role: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / f"{role}.log").read_text().splitlines()]


def only(lines: list[dict[str, Any]], logger: str, *names: str) -> list[list[Any]]:
    """Return the values of *names* on the lines of *logger*."""
    return [[line.get(name) for name in names] for line in lines if line["logger"] == logger]


def test_json_lines_name_job_task_worker_and_trace(redis_url: str, tmp_path: Path) -> None:
    with Installation(redis_url, tmp_path, blueprint="traced") as running:
        job_id = run_job(running, traceparent=f"00-{TRACE}-b7ad6b7169203331-01")
    worker, orchestrator, web = (lines_of(tmp_path, role) for role in ("worker", "orchestrator", "web"))
    ids = ["job_id", "task_id", "attempt", "worker_id", "trace_id"]
    shrink, weigh, crash = ([job_id, f"{job_id}.{step}.0", 1, "storm", TRACE] for step in (1, 2, 3))

    assert only(worker, "avtomatika.tasks", "skill", "outcome", "error_code", *ids) == [
        ["shrink", "success", None, *shrink],
        ["weigh", "success", None, *weigh],
        ["crash", "failure", "TRANSIENT_ERROR", *crash],
    ]
    [sync_line, async_line] = only(worker, "studio", "message", *ids)
    assert sync_line[0].startswith("a sync skill in process ")
    assert (sync_line[1:], async_line) == (shrink, ["an async skill", *weigh])
    assert only(worker, "studio", "photo")[0] == ["lake.jpg"]

    assert only(orchestrator, "avtomatika.jobs", "from", "to", "status", "outcome", "job_id", "trace_id") == [
        ["start", "start", "waiting_for_worker", "Start", job_id, TRACE],
        ["start", "weigh", "waiting_for_worker", "success", job_id, TRACE],
        ["weigh", "crash", "waiting_for_worker", "success", job_id, TRACE],
        ["crash", "done", "finished", "failure", job_id, TRACE],
    ]
    assert only(orchestrator, "studio", "message", "job_id", "trace_id") == [
        ["a sync handler", job_id, TRACE],
        ["an async handler", job_id, TRACE],
    ]

    logged = only(web, "avtomatika.access", "method", "path", "status", "client", "trace_id")
    assert logged[0] == ["POST", "/api/v1/jobs/photo", 202, "operator", TRACE]
    assert not [line for line in logged if line[1] == "/readyz"]

    for line in worker + orchestrator + web:
        assert datetime.fromisoformat(line["ts"]).tzinfo is not None
        assert "in-the" not in json.dumps(line)  # data of the job
        assert "token-of" not in json.dumps(line)


def test_text_lines_fit_a_terminal(redis_url: str, tmp_path: Path) -> None:
    with Installation(redis_url, tmp_path, blueprint="traced", LOG_FORMAT="text", ACCESS_LOG="false") as running:
        job_id = run_job(running)

    tasks = [line for line in (tmp_path / "worker.log").read_text().splitlines() if " tasks: " in line]
    jobs = [line for line in (tmp_path / "orchestrator.log").read_text().splitlines() if " jobs: " in line]
    assert [len(tasks), len(jobs)] == [3, 4]
    assert tasks[0].endswith(f"[{job_id}.1.0/1 storm]")
    assert jobs[3].endswith(f"INFO    jobs: photo: crash -> done, finished (failure) [{job_id}]")
    assert max(map(len, tasks + jobs)) <= 120
    assert "/api/v1/jobs/photo" not in (tmp_path / "web.log").read_text()


def record(**extra: Any) -> logging.LogRecord:
    made = logging.getLogger("test").makeRecord("test", logging.INFO, __file__, 1, "told", (), None, extra=extra)
    assert Ids().filter(made)
    return made


def test_what_the_caller_sets_is_kept() -> None:
    with log_ids({"job_id": "g0-1", "task_id": "g0-1.1.0", "attempt": 2}):
        own, plain = record(job_id="mine"), record()
    outside = record()

    assert [each.job_id for each in (own, plain, outside)] == ["mine", "g0-1", ""]  # type: ignore[attr-defined]
    assert TextFormatter().format(plain).endswith(" INFO    test: told [g0-1.1.0/2]")
    assert json.loads(JsonFormatter().format(outside)).keys() == {"ts", "level", "logger", "message"}


@pytest.mark.parametrize("value", [2**70, {1: object()}, "\ud800", b"x", float("nan")])
def test_every_value_makes_a_valid_json_line(value: object) -> None:
    assert "value" in json.loads(JsonFormatter().format(record(value=value)))


def test_a_plain_script_logs_as_the_command_does(redis_url: str, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text("""
from avtomatika import Worker
worker = Worker()
@worker.skill()
def nod(params: dict) -> None: ...
worker.run()
""")
    environ = {"LOG_FORMAT": "json", "REDIS_URL": redis_url}
    process = Process([sys.executable, script], tmp_path, environ, log=tmp_path / "script.log")
    process.wait_for_log("takes nod from")
    assert process.end() == 0
    assert json.loads(process.log.splitlines()[0])["logger"] == "avtomatika.worker.run"
