"""A real S3 server over HTTP, in a process of its own."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from secrets import token_hex
from time import monotonic, sleep
from typing import Any

import boto3
from botocore.config import Config

START_SECONDS = 30
#: Where the cookbook's worker looks for it.
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


@contextmanager
def running_cloud(log: Path, *, port: int | None = None) -> Iterator[Cloud]:
    """On *port*, else on one that nobody needs."""
    port = port or _free_port()
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


def is_free(port: int) -> bool:
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
