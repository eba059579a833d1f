"""What a worker has of files, before a real S3 server."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from avtomatika.files.config import S3Config
from avtomatika.files.payload import PayloadFolder
from avtomatika.files.task_files import TaskFiles
from avtomatika.files.task_storage import TaskStorage
from avtomatika.schemas.wire import TaskMessage

from ..cloud import Cloud
from .proxy import Proxy


@pytest.fixture
def inputs(cloud: Cloud) -> str:
    """An empty bucket."""
    return cloud.make_bucket()


@pytest.fixture
def results(cloud: Cloud) -> str:
    """The bucket for results, empty."""
    return cloud.make_bucket()


@pytest.fixture
def proxy(cloud: Cloud) -> Iterator[Proxy]:
    """What can go wrong between us and the server."""
    with Proxy(cloud.url) as proxy:
        yield proxy


@pytest.fixture
def payload(tmp_path: Path) -> Path:
    return tmp_path / "payloads"


@pytest.fixture
def config(cloud: Cloud, results: str) -> S3Config:
    return S3Config(
        endpoint_url=cloud.url,
        access_key="minioadmin",
        secret_key="minioadmin",
        bucket=results,
        region="us-east-1",
        timeout_seconds=5,
    )


@pytest.fixture
def make_depot(payload: Path) -> Iterator[Callable[..., TaskStorage]]:
    depots: list[TaskStorage] = []

    def make(config: S3Config | None, **options: Any) -> TaskStorage:
        depots.append(TaskStorage(PayloadFolder(payload), config=config, **options))
        return depots[-1]

    yield make
    for depot in depots:
        depot.close()


@pytest.fixture
def depot(make_depot: Callable[..., TaskStorage], config: S3Config) -> TaskStorage:
    return make_depot(config)


@pytest.fixture
def begin(depot: TaskStorage) -> Iterator[Callable[..., TaskFiles]]:
    """The files of a task with those params."""
    begun: list[TaskFiles] = []

    def begin(number: int = 0, /, **params: Any) -> TaskFiles:
        begun.append(depot.begin(task(params, number=number)))
        return begun[-1]

    yield begin
    for files in begun:
        files.close()


def task(
    params: dict[str, Any],
    *,
    number: int = 0,
    task_type: str = "work",
    job_id: str = "g0-1",
    client: str | None = None,
) -> TaskMessage:
    task_id, reply = f"{job_id}.{number}.0", ("avt.steps", "video@0123abcd.a")
    return TaskMessage(job_id, task_id, 1, task_type, params, ("success",), *reply, client=client)


def left_in(payload: Path) -> list[str]:
    """What is in the payload folder that a task would have left."""
    tasks = payload / "tasks"
    return sorted(str(path.relative_to(tasks)) for path in tasks.rglob("*")) if tasks.exists() else []
