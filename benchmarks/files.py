"""Compare file transfers of a worker with plain boto3: CPU and time of both, in alternating rounds.

    python benchmarks/files.py [--megabytes 200] [--objects 300] [--rounds 5] [--endpoint http://localhost:9000]

Ours is what a task goes through: look, plan, fetch into a folder of its own and check; open part by part, send with a
checksum and look again. Plain is ``download_file`` and ``upload_file`` with boto3's own defaults, ten files at a time.
By those it sends a CRC with each part, and ours does not to a server that is not Amazon's: how quickly a server takes
in the one and the other differs, so the large upload is compared with boto3 that sends the same, too. The aims are 1.3
times the CPU and 1.25 times the time. Without --endpoint it starts moto's server.
"""

from __future__ import annotations

import argparse
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from secrets import token_hex
from statistics import median
from time import monotonic, process_time, sleep
from typing import Any

import boto3
from botocore.config import Config

from avtomatika.files.config import S3Config
from avtomatika.files.payload import PayloadFolder
from avtomatika.files.skill_files import Files
from avtomatika.files.task_files import TaskFiles
from avtomatika.files.task_storage import TaskStorage
from avtomatika.schemas.wire import TaskMessage

SMALL_BYTES = 20_000
_AT_A_TIME = 10


@dataclass(frozen=True)
class Cost:
    cpu_seconds: float
    wall_seconds: float


@dataclass(frozen=True)
class Case:
    """The same work done in both ways."""

    name: str
    ours: Callable[[], None]
    plain: Callable[[], None]


class Bench:
    """One bucket, files of both sizes in it and on disk, and both ways to move them."""

    def __init__(self, endpoint: str, folder: Path, *, megabytes: int, objects: int) -> None:
        self.folder = folder
        self.bucket = f"bench-{token_hex(4)}"
        self.client, self.client_alike = plain_client(endpoint), plain_client(endpoint, checksums="when_required")
        self.client.create_bucket(Bucket=self.bucket)
        config = S3Config(
            endpoint_url=endpoint,
            access_key="minioadmin",
            secret_key="minioadmin",  # noqa: S106
            bucket=self.bucket,
            region="us-east-1",
        )
        self.storage = TaskStorage(PayloadFolder(folder / "payloads"), config=config)
        self.large, self.small = folder / "source" / "large", folder / "source" / "small"
        self.small.mkdir(parents=True)
        with self.large.open("wb") as file:
            for _ in range(megabytes):
                file.write(os.urandom(1_000_000))
        for number in range(objects):
            (self.small / f"{number:04}").write_bytes(os.urandom(SMALL_BYTES))
        self.sent_large, self.sent_small = self.send_ours(self.large), self.send_ours(self.small)

    def cases(self) -> list[Case]:
        return [
            Case("one large file down", lambda: self.fetch_ours(self.sent_large), self.fetch_large_plainly),
            Case("one large file up", self.send_large_ours, lambda: self.send_large_plainly(self.client)),
            Case(
                "the same, boto3 without CRC", self.send_large_ours, lambda: self.send_large_plainly(self.client_alike)
            ),
            Case("a folder of small ones down", lambda: self.fetch_ours(self.sent_small), self.fetch_small_plainly),
            Case("a folder of small ones up", lambda: self.send_ours(self.small) and None, self.send_small_plainly),
        ]

    def fetch_ours(self, uri: str) -> None:
        files = TaskFiles(self.storage, _task(file=uri))
        files.download_inputs()
        files.close()

    def send_ours(self, source: Path) -> str:
        files = TaskFiles(self.storage, _task())
        target = Files(files).path(source.name)
        source.rename(target)  # as if a skill had made it there
        uri: str = files.upload_outputs(str(target))
        target.rename(source)
        files.close()
        return uri

    def fetch_large_plainly(self) -> None:
        self.client.download_file(self.bucket, self._key(self.sent_large), str(self.folder / "large"))

    def send_large_ours(self) -> None:
        self.send_ours(self.large)

    def send_large_plainly(self, client: Any) -> None:
        client.upload_file(str(self.large), self.bucket, "plain/large")

    def fetch_small_plainly(self) -> None:
        pages = self.client.get_paginator("list_objects_v2").paginate(
            Bucket=self.bucket, Prefix=self._key(self.sent_small)
        )
        keys = [each["Key"] for page in pages for each in page["Contents"]]
        target = self.folder / "small"
        target.mkdir(exist_ok=True)
        _for_all(keys, lambda key: self.client.download_file(self.bucket, key, str(target / key.rpartition("/")[2])))

    def send_small_plainly(self) -> None:
        _for_all(
            list(self.small.iterdir()),
            lambda path: self.client.upload_file(str(path), self.bucket, f"plain/small/{path.name}"),
        )

    def _key(self, uri: str) -> str:
        return uri.removeprefix(f"s3://{self.bucket}/")


def plain_client(endpoint: str, *, checksums: str | None = None) -> Any:
    """A client of boto3; *checksums* in place of its own default."""
    return boto3.client(
        "s3",
        endpoint_url=endpoint,
        aws_access_key_id="minioadmin",
        aws_secret_access_key="minioadmin",  # noqa: S106 - of a server for tests
        region_name="us-east-1",
        config=Config(s3={"addressing_style": "path"}, request_checksum_calculation=checksums),
    )


def _task(**params: str) -> TaskMessage:
    return TaskMessage("g0-1", "g0-1.1.0", 1, "bench", params, ("success",), "avt.steps", "bench@00000000.a")


def _for_all(items: list[Any], function: Callable[[Any], Any]) -> None:
    with ThreadPoolExecutor(_AT_A_TIME) as threads:
        list(threads.map(function, items))


def measured(work: Callable[[], None]) -> Cost:
    cpu, wall = process_time(), monotonic()
    work()
    return Cost(process_time() - cpu, monotonic() - wall)


def compare(case: Case, rounds: int) -> None:
    """Print medians of both ways, and of how many times what plain takes ours takes."""
    ours, plain = [], []
    for number in range(rounds):
        ways = [(case.ours, ours), (case.plain, plain)]
        for work, costs in ways if number % 2 else reversed(ways):
            costs.append(measured(work))
    cpu = median(a.cpu_seconds / b.cpu_seconds for a, b in zip(ours, plain, strict=True))
    wall = median(a.wall_seconds / b.wall_seconds for a, b in zip(ours, plain, strict=True))
    print(
        f"{case.name:<28}  ours {_shown(ours)}   plain {_shown(plain)}   CPU {cpu:.2f} times, time {wall:.2f} times",
        flush=True,
    )


def _shown(costs: list[Cost]) -> str:
    cpu, wall = median(cost.cpu_seconds for cost in costs), median(cost.wall_seconds for cost in costs)
    return f"{cpu:6.2f} s CPU {wall:6.2f} s"


@contextmanager
def endpoint_of(given: str | None) -> Iterator[str]:
    """The server to ask: *given*, or one of our own."""
    if given is not None:
        yield given
        return
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = monotonic() + 30
        while monotonic() < deadline:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                sleep(0.05)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.kill()
        server.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=int, default=200)
    parser.add_argument("--objects", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--endpoint")
    args = parser.parse_args()
    print(f"{args.megabytes} MB in one file; {args.objects} files of {SMALL_BYTES // 1000} kB; {args.rounds} rounds")
    with endpoint_of(args.endpoint) as endpoint, tempfile.TemporaryDirectory() as folder:
        bench = Bench(endpoint, Path(folder), megabytes=args.megabytes, objects=args.objects)
        for case in bench.cases():
            compare(case, args.rounds)
        bench.storage.close()


if __name__ == "__main__":
    main()
