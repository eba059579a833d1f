"""A real S3 server over HTTP, in a process of its own, and what a worker has of files."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from secrets import token_hex
from time import monotonic, sleep
from typing import Any

import boto3
import pytest
from botocore.config import Config

from avtomatika.files.config import S3Config
from avtomatika.files.depot import Depot
from avtomatika.files.payload import PayloadFolder
from avtomatika.files.task import TaskFiles
from avtomatika.schemas.wire import TaskMessage

from .proxy import Proxy

START_SECONDS = 30
#: Where the seed's worker looks for it.
USUAL_PORT = 9000


class Cloud:
    """The server at *url*, seen by a plain client; every test has buckets of its own."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.client = boto3.client(
            "s3",
            endpoint_url=url,
            aws_access_key_id="minioadmin",
            aws_secret_access_key="minioadmin",
            region_name="us-east-1",
            config=Config(s3={"addressing_style": "path"}),
        )

    def make_bucket(self, name: str | None = None) -> str:
        name = name or f"test-{token_hex(6)}"
        self.client.create_bucket(Bucket=name)
        return name

    def put(self, bucket: str, key: str, body: bytes | str, **options: Any) -> str:
        """Store an object as anybody could have done it; answers its URI."""
        self.client.put_object(Bucket=bucket, Key=key, Body=body, **options)
        return f"s3://{bucket}/{key}"

    def read(self, uri: str) -> bytes:
        bucket, _, key = uri.removeprefix("s3://").partition("/")
        body: bytes = self.client.get_object(Bucket=bucket, Key=key)["Body"].read()
        return body

    def keys(self, bucket: str) -> list[str]:
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=bucket)
        return [each["Key"] for page in pages for each in page.get("Contents", ())]


@pytest.fixture(scope="session")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """On the usual port if nobody else is there."""
    port = USUAL_PORT if _is_free(USUAL_PORT) else _free_port()
    log = tmp_path_factory.mktemp("s3") / "log"
    with log.open("wb") as stderr:
        process = subprocess.Popen(
            [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)], stdout=stderr, stderr=stderr
        )
        try:
            _wait_for(port, process)
            cloud = Cloud(f"http://localhost:{port}")
            yield cloud
            cloud.client.close()
        finally:
            process.kill()
            process.wait()


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
def make_depot(payload: Path) -> Iterator[Callable[..., Depot]]:
    depots: list[Depot] = []

    def make(config: S3Config | None, **options: Any) -> Depot:
        depots.append(Depot(PayloadFolder(payload), config=config, **options))
        return depots[-1]

    yield make
    for depot in depots:
        depot.close()


@pytest.fixture
def depot(make_depot: Callable[..., Depot], config: S3Config) -> Depot:
    return make_depot(config)


@pytest.fixture
def begin(depot: Depot) -> Iterator[Callable[..., TaskFiles]]:
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


def _is_free(port: int) -> bool:
    with closing(socket.socket()) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def _free_port() -> int:
    with closing(socket.create_server(("127.0.0.1", 0))) as probe:
        return int(probe.getsockname()[1])


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = monotonic() + START_SECONDS
    while monotonic() < deadline and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            sleep(0.05)
        else:
            return
    raise RuntimeError(f"the S3 server did not come up on port {port} (exit {process.returncode}, pid {os.getpid()})")
