"""Transfers report progress, and stop when their task is cancelled."""

from __future__ import annotations

import gc
import os
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from time import monotonic
from typing import Any

import pytest

from avtomatika import Worker
from avtomatika.files import transfer_progress
from avtomatika.files.config import S3Config
from avtomatika.files.s3_transfer import PART_BYTES
from avtomatika.files.skill_files import Files
from avtomatika.files.task_files import TaskFiles
from avtomatika.files.task_storage import TaskStorage
from avtomatika.files.transfer_progress import Cancellation, ProgressMeter
from avtomatika.worker.execution import TaskExecution
from avtomatika.worker.runtime import Runtime

from ..support import http_proxy as faults
from ..support.http_proxy import HttpProxy
from ..support.object_storage import ObjectStorage
from .conftest import left_in, task

LARGE = 3 * PART_BYTES
#: Timeout for servers that do not respond, shortened for tests.
SILENT_SECONDS = 60.0
DEADLINE_SECONDS = 20.0
#: A cancelled task ends within two seconds; five times that on a busy machine.
ENDED_SECONDS = 10.0
ALWAYS = 10_000

worker = Worker()


@worker.skill()
def sync_skill(params: dict[str, Any], files: Any) -> Any:
    path = files.path("out.bin")
    path.write_bytes(Path(params["film"]).read_bytes() if "film" in params else os.urandom(params["size"]))
    return {"out": path}


@worker.skill()
async def async_skill(params: dict[str, Any], files: Any) -> Any:
    return sync_skill(params, files)


@pytest.fixture(autouse=True)
def no_broken_connections_left() -> Iterator[None]:
    yield
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


@pytest.fixture
def slow_storage(make_storage: Callable[..., TaskStorage], config: S3Config, proxy: HttpProxy) -> TaskStorage:
    """Reaches S3 by the proxy, and is very patient."""
    return make_storage(replace(config, endpoint_url=proxy.url, timeout_seconds=SILENT_SECONDS))


@pytest.fixture
def cancelled_at(slow_storage: TaskStorage, proxy: HttpProxy) -> Callable[..., TaskExecution]:
    """The assignment of a skill that is cancelled when a request of that method is met by silence."""

    def cancelled_at(method: str, happen: Any, skill: str, **params: Any) -> TaskExecution:
        fault = proxy.fail(method, happen, ALWAYS)
        runtime = Runtime(worker.skills, worker_id="worker-1", concurrency=1, storage=slow_storage)
        runtime.submit([(task(params, task_type=skill), None)])
        deadline = monotonic() + DEADLINE_SECONDS
        while not fault.seen:
            assert monotonic() < deadline
            runtime.collect(0.01)
        runtime.cancel(lambda assignment: True)
        deadline = monotonic() + ENDED_SECONDS
        collected: list[TaskExecution] = []
        while not collected:
            assert monotonic() < deadline
            collected = runtime.collect(0.1)
        runtime.close()
        return collected[0]

    return cancelled_at


@pytest.mark.parametrize("skill", ["sync_skill", "async_skill"])
@pytest.mark.parametrize("size", [100, LARGE])
@pytest.mark.parametrize(("method", "happen"), [("HEAD", faults.silence), ("GET", faults.half_silence)])
def test_a_task_that_is_cancelled_in_mid_download_ends_though_the_server_is_silent(
    cancelled_at: Callable[..., TaskExecution],
    cloud: ObjectStorage,
    inputs: str,
    payload: Path,
    *,
    skill: str,
    size: int,
    method: str,
    happen: Any,
) -> None:
    uri = cloud.put(inputs, "film.mp4", os.urandom(size))

    assignment = cancelled_at(method, happen, skill, film=uri)

    assert assignment.result is not None
    assert assignment.result.error is not None
    assert "the task was cancelled" in assignment.result.error["message"]
    assert left_in(payload) == []


@pytest.mark.parametrize("skill", ["sync_skill", "async_skill"])
def test_a_task_that_is_cancelled_while_it_sends_leaves_nothing_in_the_bucket(
    cancelled_at: Callable[..., TaskExecution],
    cloud: ObjectStorage,
    results: str,
    payload: Path,
    proxy: HttpProxy,
    *,
    skill: str,
) -> None:
    def slowly(handler: faults.Handler, answer: faults.Answer) -> None:
        handler.proxy.released.wait(0.5)
        handler.give(answer)

    assignment = cancelled_at("PUT", slowly, skill, size=20 * PART_BYTES)

    assert assignment.result is not None
    assert assignment.result.data is None
    assert cloud.keys(results) == []
    assert "Uploads" not in cloud.client.list_multipart_uploads(Bucket=results)
    assert left_in(payload) == []


# ---------------------------------------------------------------- progress


def test_a_meter_reports_fraction_and_amounts_at_intervals(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfer_progress, "_REPORT_EVERY_SECONDS", 0.0)
    told: list[tuple[float, str]] = []
    cancellation = Cancellation(report_progress=lambda share, words: told.append((share, words)))
    meter = ProgressMeter(cancellation, "fetching", 4_000_000)

    for number in (1_000_000, 1_000_000, -500_000, 9_000_000):
        meter.add(number)

    assert told == [
        (0.25, "fetching files: 1.0 MB of 4.0 MB"),
        (0.5, "fetching files: 2.0 MB of 4.0 MB"),
        (0.375, "fetching files: 1.5 MB of 4.0 MB"),
        (1.0, "fetching files: 4.0 MB of 4.0 MB"),
    ]


def test_short_transfers_report_no_progress() -> None:
    told: list[str] = []

    cancellation = Cancellation(report_progress=lambda share, words: told.append(words))
    ProgressMeter(cancellation, "fetching", 100).add(100)

    assert told == []


@pytest.mark.parametrize("size", [100_000, LARGE])
def test_both_directions_are_counted_to_the_last_byte(
    make_storage: Callable[..., TaskStorage],
    config: S3Config,
    cloud: ObjectStorage,
    inputs: str,
    monkeypatch: pytest.MonkeyPatch,
    *,
    size: int,
) -> None:
    monkeypatch.setattr(transfer_progress, "_REPORT_EVERY_SECONDS", 0.0)
    told: list[tuple[float, str]] = []
    uris = [cloud.put(inputs, f"{number}.bin", os.urandom(size)) for number in range(2)]
    files = TaskFiles(
        make_storage(config), task({"films": uris}), Cancellation(report_progress=lambda *words: told.append(words))
    )

    films = files.download_inputs().params["films"]
    fetched, told[:] = list(told), []
    copy = Files(files).path("copy.bin")
    copy.write_bytes(Path(films[0]).read_bytes())
    files.upload_outputs(str(copy))
    files.close()

    assert fetched[-1][0] == told[-1][0] == 1.0
    assert fetched[-1][1].startswith("fetching files: ")
    assert told[-1][1].startswith("sending files: ")
    assert [share for share, _ in told] == sorted(share for share, _ in told)


def test_the_job_hears_of_transfers_as_it_hears_of_skills(
    slow_storage: TaskStorage, proxy: HttpProxy, cloud: ObjectStorage, inputs: str
) -> None:
    def slowly(handler: faults.Handler, answer: faults.Answer) -> None:
        handler.proxy.released.wait(0.3)
        handler.give(answer)

    proxy.fail("GET", slowly, ALWAYS)
    uri = cloud.put(inputs, "film.mp4", os.urandom(10 * PART_BYTES))
    runtime = Runtime(worker.skills, worker_id="worker-1", concurrency=1, storage=slow_storage)

    runtime.submit([(task({"film": uri}, task_type="sync_skill"), None)])
    told, deadline = [], monotonic() + DEADLINE_SECONDS
    while not runtime.collect(0.05) and monotonic() < deadline:
        told += runtime.reports.due()
    runtime.close()

    assert told
    assert told[0].task_id == "g0-1.0.0"
    assert 0 < told[0].progress < 1
    assert told[0].message.startswith("fetching files: ")
    assert told[0].message.endswith(" of 83.9 MB")
