"""Fault injection for files: a busy, failing and lying S3 server, and cancelled tasks. Every job ends correctly."""

from __future__ import annotations

import gc
import os
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from threading import Timer
from typing import Any

import pytest

from avtomatika import Worker
from avtomatika.core.events import Result
from avtomatika.files.config import S3Config
from avtomatika.files.payload import PayloadFolder
from avtomatika.files.s3_transfer import PART_BYTES
from avtomatika.files.task_storage import TaskStorage
from avtomatika.schemas.wire import TaskMessage
from avtomatika.worker.runtime import Runtime

from ..support import http_proxy as faults
from ..support.http_proxy import HttpProxy
from ..support.object_storage import ObjectStorage
from ..support.scale import SCALE, chance

pytestmark = [pytest.mark.faults, pytest.mark.timeout(1800)]

TASKS = 60 * SCALE
SIZES = (0, 1, 1000, PART_BYTES, PART_BYTES + 1, 2 * PART_BYTES + 7)
#: Faults of requests, in percent.
EVILS = ((faults.broken, 6), (faults.busy, 6), (faults.reset, 5), (faults.half_silence, 1), (faults.short, 2))
CANCELLED_OF_A_HUNDRED = 15
KNOWN_ENDS = ("TRANSIENT_ERROR", "CANCELLED")

worker = Worker()


@worker.skill()
def copy(params: dict[str, Any], files: Any) -> Any:
    target = files.path("copy.bin")
    target.write_bytes(Path(params["film"]).read_bytes())
    return {"copy": target}


@dataclass(frozen=True)
class Ended:
    body: bytes
    result: Result


class EvilProxy(HttpProxy):
    """Injects random faults into requests."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self._chance = chance("files")

    def fault_for(self, method: str, path: str) -> Any:
        with self._lock:
            at = self._chance.randrange(100)
        for happen, share in EVILS:
            if at < share:
                return faults.Fault(method, happen)
            at -= share
        return None


@pytest.fixture
def no_warnings() -> Iterator[None]:
    """Collect abandoned connections here, where their warnings are expected."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        yield
        gc.collect()


@pytest.mark.usefixtures("no_warnings")
def test_a_storm_over_files_ends_right_and_leaves_nothing(cloud: ObjectStorage, tmp_path: Path) -> None:
    inputs, results = cloud.make_bucket(), cloud.make_bucket()
    uris = {size: cloud.put(inputs, f"{size}.bin", os.urandom(size)) for size in SIZES}
    bodies = {size: cloud.read(uri) for size, uri in uris.items()}
    plan = chance("plan")
    with EvilProxy(cloud.url) as proxy:
        config = S3Config(
            endpoint_url=proxy.url,
            access_key="k",
            secret_key="s",
            bucket=results,
            region="us-east-1",
            timeout_seconds=1,
        )
        storage = TaskStorage(PayloadFolder(tmp_path / "payloads"), config=config)

        def perform(number: int, size: int, cancel_after: float | None) -> Ended:
            runtime = Runtime(worker.skills, worker_id="w", concurrency=1, storage=storage)
            job = f"g0-{number}"
            task = TaskMessage(job, f"{job}.1.0", 1, "copy", {"film": uris[size]}, ("success",), "x", "y", client="me")
            runtime.submit([(task, None)])
            if cancel_after is not None:
                Timer(cancel_after, runtime.cancel, [lambda _: True]).start()
            collected: list[Any] = []
            while not collected:
                collected = runtime.collect(5)
            runtime.close()
            return Ended(bodies[size], collected[0].result)

        with ThreadPoolExecutor(6) as threads:
            futures = [
                threads.submit(
                    perform,
                    number,
                    plan.choice(SIZES),
                    plan.uniform(0, 0.5) if plan.randrange(100) < CANCELLED_OF_A_HUNDRED else None,
                )
                for number in range(TASKS)
            ]
            ended = [future.result() for future in futures]
        proxy.released.set()
        storage.close()

    succeeded = [each for each in ended if each.result.status == "success"]
    ends = [each.result.error["code"] for each in ended if each.result.error is not None]
    print(f"{len(succeeded)} of {TASKS} succeeded; the others: {sorted(set(ends))}")
    for each in succeeded:
        assert cloud.read(each.result.data["copy"]) == each.body
    assert set(ends) <= set(KNOWN_ENDS), ends
    assert succeeded
    assert ends
    named = {each.result.data["copy"].removeprefix(f"s3://{results}/") for each in succeeded}
    unnamed = set(cloud.keys(results)) - named
    assert {key.partition("/")[0] for key in unnamed} <= {each.result.job_id for each in ended if each not in succeeded}
    assert list((tmp_path / "payloads" / "tasks").iterdir()) == []
    assert all(cloud.read(f"s3://{results}/{key}") in bodies.values() for key in unnamed)
