"""Single tasks as users send them: from Python and from the command line, to an ``up`` without any blueprint."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from secrets import token_hex
from typing import Any

import pytest

from avtomatika import Client, TaskFailedError, Worker
from avtomatika.cli.embedded import running_server
from avtomatika.cli.var_folder import secret
from avtomatika.client import endpoints
from avtomatika.core.job import JobStatus
from avtomatika.errors import ConflictError

from ..support.cli import Run, Up, in_process

WORKER = """
from avtomatika import Worker

worker = Worker()


@worker.skill
def add(a: int, b: int = 0) -> dict:
    return {"total": a + b}


@worker.skill
async def divide(a: int, b: int) -> float:
    return a / b
"""


@dataclass
class Sum:
    total: int


shop = Worker()


@shop.skill
def add(a: int, b: int = 0) -> Sum:
    return Sum(a + b)


@shop.skill(time_limit=timedelta(minutes=1))
async def divide(a: int, b: int) -> float:
    return a / b


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    """One ``up`` for all tests here."""
    folder = tmp_path_factory.mktemp("tasks")
    (folder / "worker.py").write_text(WORKER)
    everything = Up(folder)
    yield everything.wait_until_ready()
    everything.end()
    everything.kill()


@pytest.fixture
def run(running: Up) -> Run:
    return in_process(running.folder)


@pytest.fixture(autouse=True)
def in_the_folder(running: Up, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(running.folder)
    for name in ("AVTOMATIKA_URL", "CLIENT_TOKEN", "ORCHESTRATORS_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    return running.folder


@pytest.fixture(params=["over HTTP", "on the server"])
def client(in_the_folder: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Client]:
    if request.param == "on the server":
        monkeypatch.setenv("REDIS_URL", running_server())
        monkeypatch.setenv("SECRET_KEY", secret("secret_key"))
        monkeypatch.setattr(endpoints, "announced", lambda: None)
    with Client.from_environment() as client:
        yield client


def test_a_skill_is_still_called_as_a_function() -> None:
    assert add(2, b=3) == Sum(5)
    assert asyncio.run(divide(6, 3)) == 2


def test_a_task_is_sent_and_its_result_has_the_annotated_type(client: Client) -> None:
    handle = add.using(client).send(a=1, b=2)

    assert handle.wait(30) == Sum(3)
    assert handle.result == Sum(3)
    assert handle.status() is JobStatus.FINISHED
    assert client.job(handle.id)["skill"] == "add"


def test_a_handle_is_awaited(client: Client) -> None:
    async def wait() -> float:
        return await divide.using(client).send(a=6, b=4)

    assert asyncio.run(wait()) == 1.5


def test_many_tasks_are_sent_at_once_with_options(client: Client) -> None:
    batch = token_hex(4)
    handles = add.using(client).map([{"a": n} for n in range(20)], priority=3, labels={"batch": batch})

    assert [handle.wait(30) for handle in handles] == [Sum(n) for n in range(20)]
    assert {job["id"] for job in client.jobs(label=f"batch={batch}")} == {handle.id for handle in handles}


def test_a_failure_is_raised_with_its_code(client: Client) -> None:
    failing = divide.using(client).send(a=1, b=0, retries=0)
    invalid = add.using(client).send(a="one")

    with pytest.raises(TaskFailedError, match="ZeroDivisionError: division by zero") as failed:
        failing.wait(30)
    with pytest.raises(TaskFailedError, match=r"params\.a"):
        invalid.wait(30)
    assert (failed.value.status, failed.value.error_code) == ("failed", "TRANSIENT_ERROR")


def test_a_delayed_task_is_waited_for_in_vain_and_cancelled(client: Client) -> None:
    handle = add.using(client).send(a=1, delay=timedelta(hours=1))

    with pytest.raises(TimeoutError, match="is still pending"):
        handle.wait(0.1)
    with pytest.raises(ConflictError, match="wait"):
        handle.result  # noqa: B018 - the property is what is tested
    handle.cancel()
    with pytest.raises(TaskFailedError, match="cancelled"):
        handle.wait(30)


def test_an_unknown_option_of_map_is_named() -> None:
    with pytest.raises(TypeError, match="map\\(\\) has no option 'prioritty'; it has delay, at, priority"):
        add.using(Client("http://localhost:1", "token")).map([], prioritty=1)


def test_the_command_prints_the_result(run: Run) -> None:
    done = run("tasks", "send", "add", "a:=1", "b:=2", "--wait")

    assert (done.code, json.loads(done.stdout)) == (0, {"total": 3})


def test_the_command_prints_the_id_of_a_delayed_task(run: Run, client: Client) -> None:
    job_id = run("task", "send", "add", "a:=1", "--delay", "3600", "--label", "shop=north").stdout.strip()

    job: Any = client.job(job_id)
    assert (job["status"], job["labels"], job["initial_data"]) == ("pending", {"shop": "north"}, {"a": 1})
    client.cancel(job_id)


def test_the_command_fails_with_the_task(run: Run) -> None:
    done = run("tasks", "send", "divide", "a:=1", "b:=0", "--retries", "0", "--wait")

    assert done.code == 1
    assert "ZeroDivisionError: division by zero" in done.stderr


def test_the_command_waits_no_longer_than_it_may(run: Run, client: Client) -> None:
    done = run("tasks", "send", "add", "a:=1", "--delay", "3600", "--wait", "--timeout", "0.1")

    assert done.code == 1
    assert "is still pending" in done.stderr
    client.cancel(next(iter(client.jobs(status="pending")))["id"])
