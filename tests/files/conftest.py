"""Fixtures for files of a worker, with a real S3 server."""

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

from ..support.http_proxy import HttpProxy
from ..support.object_storage import ObjectStorage


@pytest.fixture
def inputs(cloud: ObjectStorage) -> str:
    """An empty bucket."""
    return cloud.make_bucket()


@pytest.fixture
def results(cloud: ObjectStorage) -> str:
    """The bucket for results, empty."""
    return cloud.make_bucket()


@pytest.fixture
def proxy(cloud: ObjectStorage) -> Iterator[HttpProxy]:
    """A proxy that injects faults between the worker and the server."""
    with HttpProxy(cloud.url) as proxy:
        yield proxy


@pytest.fixture
def payload(tmp_path: Path) -> Path:
    return tmp_path / "payloads"


@pytest.fixture
def config(cloud: ObjectStorage, results: str) -> S3Config:
    return S3Config(
        endpoint_url=cloud.url,
        access_key="minioadmin",
        secret_key="minioadmin",
        bucket=results,
        region="us-east-1",
        timeout_seconds=5,
    )


@pytest.fixture
def make_storage(payload: Path) -> Iterator[Callable[..., TaskStorage]]:
    storages: list[TaskStorage] = []

    def make(config: S3Config | None, **options: Any) -> TaskStorage:
        storages.append(TaskStorage(PayloadFolder(payload), config=config, **options))
        return storages[-1]

    yield make
    for storage in storages:
        storage.close()


@pytest.fixture
def storage(make_storage: Callable[..., TaskStorage], config: S3Config) -> TaskStorage:
    return make_storage(config)


@pytest.fixture
def make_files(storage: TaskStorage) -> Iterator[Callable[..., TaskFiles]]:
    """The files of a task with those params."""
    made: list[TaskFiles] = []

    def make_files(number: int = 0, /, **params: Any) -> TaskFiles:
        made.append(TaskFiles(storage, task(params, number=number)))
        return made[-1]

    yield make_files
    for files in made:
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
    """Return the files that tasks left in the payload folder."""
    tasks = payload / "tasks"
    return sorted(str(path.relative_to(tasks)) for path in tasks.rglob("*")) if tasks.exists() else []
