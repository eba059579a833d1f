"""``avtomatika workers list``: the registry as people and programs read it."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from avtomatika.store import WorkerRegistry

from ..support.cli import Run


@pytest.fixture
def registry(redis_url: str) -> Iterator[WorkerRegistry]:
    registry = WorkerRegistry.connect(redis_url)
    yield registry
    registry.close()


RECORD = {
    "type": "video",
    "version": "avtomatika 1",
    "concurrency": 4,
    "skills": [{"name": "encode", "schema": {"type": "object"}}],
    "resources": {"properties": {"ram_gb": 8}, "devices": []},
    "costs": {},
}


def test_workers_are_listed_with_load_and_links(run: Run, registry: WorkerRegistry, redis_url: str) -> None:
    registry.register("w-1", RECORD)
    links = [{"address": "http://main:8080", "state": "down"}, {"address": "http://backup:8080", "state": "in_use"}]
    tasks = [{"task_id": f"g0-{number}.2.0", "skill": "encode", "running_ms": 90_000} for number in range(3)]
    beat = {"status": "busy", "running": 3, "standby": False, "links": links, "switches": 1, "tasks": tasks}
    registry.beat("w-1", beat)

    table = run("workers", "list", REDIS_URL=redis_url)
    plain = run("workers", "list", "--json", REDIS_URL=redis_url)

    assert table.code == 0
    heading, _, line = table.stdout.splitlines()
    assert heading.split() == ["id", "status", "load", "now", "skills", "links", "version", "last", "heartbeat"]
    assert [cell.strip() for cell in line.split("   ")][:7] == [
        "w-1",
        "busy",
        "3 of 4",
        "encode 1 minute 30 seconds, encode 1 minute 30 seconds, 1 more",
        "encode",
        "http://main:8080 down, http://backup:8080 in_use",
        "avtomatika 1",
    ]
    [worker] = json.loads(plain.stdout)
    assert (worker["id"], worker["links"], worker["switches"]) == ("w-1", links, 1)


def test_a_worker_without_a_heartbeat_is_listed(run: Run, registry: WorkerRegistry, redis_url: str) -> None:
    registry.register("w-1", RECORD)

    assert "w-1   idle     0 of 4         encode" in run("workers", "list", REDIS_URL=redis_url).stdout


def test_a_worker_is_shown_drained_and_resumed(run: Run, registry: WorkerRegistry, redis_url: str) -> None:
    registry.register("w-1", RECORD)
    registry.beat("w-1", {"tasks": [{"task_id": "g0-1.2.0", "skill": "encode", "running_ms": 90_000}]})

    drained = run("workers", "drain", "w-1", REDIS_URL=redis_url)
    shown = run("workers", "show", "w-1", REDIS_URL=redis_url).stdout
    plain = json.loads(run("workers", "show", "w-1", "--json", REDIS_URL=redis_url).stdout)
    resumed = run("workers", "resume", "w-1", REDIS_URL=redis_url)
    unknown = run("workers", "drain", "w-2", REDIS_URL=redis_url)

    assert (drained.code, drained.stdout.strip(), resumed.stdout.strip()) == (0, "w-1 is draining", "w-1 is resumed")
    assert "draining" in shown
    assert shown.splitlines()[-1].split("   ")[0] == "encode"
    assert "1 minute 30 seconds" in shown
    assert (plain["status"], plain["tasks"][0]["job_id"]) == ("draining", "g0-1")
    assert (unknown.code, "did you mean 'w-1'?" in unknown.stderr) == (4, True)


def test_an_unreachable_server_is_exit_code_3(run: Run) -> None:
    done = run("workers", "list", REDIS_URL="redis://127.0.0.1:1/0")

    assert done.code == 3
