"""Large values in S3: which are stored, who may read them, and what happens if they are missing or different."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import orjson
import pytest

from avtomatika.core.events import Result
from avtomatika.core.file_reference import FileReference, reference_of
from avtomatika.core.job import Job
from avtomatika.errors import InvalidInputError, TransientError, WorkerSettingsError
from avtomatika.files.bucket import Bucket
from avtomatika.files.claim_check import ValueWriter
from avtomatika.files.cleanup import Cleaner
from avtomatika.files.config import S3Config
from avtomatika.files.job_values import MAX_LOADED_BYTES, JobValues
from avtomatika.files.task_files import TaskFiles, store_large_values
from avtomatika.files.task_storage import TaskStorage
from avtomatika.worker.links.oversize import OversizeResults
from avtomatika.worker.links.pending import PendingResult
from avtomatika.worker.spool import SpooledResult

from ..support.http_proxy import HttpProxy, busy
from ..support.object_storage import ObjectStorage
from .conftest import task

JOB, OTHER_JOB = (f"g0-01JDZ7Q3T5V8K2M4N6P8R0S2T{number}" for number in "12")
LIMIT = 2_000


@pytest.fixture
def storage(make_storage: Callable[..., TaskStorage], config: S3Config) -> TaskStorage:
    return make_storage(config, max_inline_bytes=LIMIT)


@pytest.fixture
def values(config: S3Config) -> Iterator[JobValues]:
    with closing(Bucket(config)) as bucket:
        yield JobValues(bucket, limit=LIMIT)


def stored(storage: TaskStorage, data: Any, *, client: str | None = "alice", job_id: str = JOB) -> Any:
    return store_large_values(storage, task({}, job_id=job_id, client=client), data)


def read_by_task(
    storage: TaskStorage, params: dict[str, Any], *, client: str | None = "alice", job_id: str = JOB
) -> Any:
    with closing(TaskFiles(storage, task(params, number=1, job_id=job_id, client=client))) as files:
        return files.download_inputs().params


@pytest.mark.parametrize(
    ("data", "names"),
    [
        ({"a": "x" * 3000, "b": "y" * 100, "c": 1}, {"a"}),
        ({"a": "x" * 1500, "b": "y" * 1000, "c": "z" * 450}, {"a"}),
        ({"a": ["x"] * 1000, "b": {"y": "y" * 2000}}, {"a", "b"}),
        ({"a": "x"}, set()),
    ],
)
def test_the_largest_values_are_stored_until_the_rest_fits(data: dict[str, Any], names: set[str]) -> None:
    written: dict[str, bytes] = {}
    writer = ValueWriter(
        "results", "prefix/", lambda location, content, _: written.update({str(location): content}), client=None
    )

    found = writer.fit(data, limit=LIMIT)

    references = {name: reference for name, value in found.items() if (reference := reference_of(value)) is not None}
    assert references.keys() == names
    assert {name: orjson.loads(written[each.uri]) for name, each in references.items()} == {n: data[n] for n in names}
    assert {name: value for name, value in found.items() if name not in names} == {
        name: value for name, value in data.items() if name not in names
    }
    assert len(orjson.dumps(found)) <= LIMIT


@pytest.mark.parametrize("data", [["x"] * 1000, "x" * 3000, {str(number): number for number in range(1000)}])
def test_data_without_large_members_are_stored_whole(storage: TaskStorage, cloud: ObjectStorage, data: Any) -> None:
    reference = reference_of(stored(storage, data))

    assert reference is not None
    assert orjson.loads(cloud.read(reference.uri)) == data


def test_tasks_and_handlers_of_the_job_and_its_client_read_a_value(storage: TaskStorage, values: JobValues) -> None:
    data = stored(storage, {"rows": ["a"] * 1000})
    [reference] = [FileReference(data["rows"]["$file"], data["rows"]["sha256"], data["rows"]["bytes"])]

    for job_id in (JOB, OTHER_JOB):
        assert read_by_task(storage, {"deep": [data]}, job_id=job_id) == {"deep": [{"rows": ["a"] * 1000}]}
        job = Job(job_id, "video", "0123abcd", client="alice")
        assert values.load(job, [reference]) == {reference.uri: ["a"] * 1000}


def test_other_clients_do_not(storage: TaskStorage, values: JobValues) -> None:
    data = stored(storage, {"rows": ["a"] * 1000})
    reference = reference_of(data["rows"])
    assert reference is not None

    with pytest.raises(InvalidInputError, match="no such key that this job may read"):
        read_by_task(storage, data, client="mallory", job_id=OTHER_JOB)
    with pytest.raises(InvalidInputError, match="no such key that this job may read"):
        values.load(Job(OTHER_JOB, "video", "0123abcd", client="mallory"), [reference])
    assert values.links(OTHER_JOB, [reference]) == {}
    assert values.links(JOB, [reference])[reference.uri].startswith("http")


@pytest.mark.parametrize("content", [b'["b"]', b"[", b'["a", "a"]', None])
def test_a_missing_or_different_object_is_a_transient_error_with_its_uri(
    storage: TaskStorage, values: JobValues, cloud: ObjectStorage, content: bytes | None
) -> None:
    data = stored(storage, {"rows": ["a"] * 1000})
    reference = reference_of(data["rows"])
    assert reference is not None
    bucket, _, key = reference.uri.removeprefix("s3://").partition("/")
    cloud.client.delete_object(Bucket=bucket, Key=key) if content is None else cloud.put(bucket, key, content)

    for read in (
        lambda: read_by_task(storage, data),
        lambda: values.load(Job(JOB, "video", "0123abcd", client="alice"), [reference]),
    ):
        with pytest.raises(TransientError, match=reference.uri) as caught:
            read()
        assert ("no such key" if content is None else "SHA-256") in str(caught.value)


def test_files_that_a_value_names_are_downloaded(storage: TaskStorage, cloud: ObjectStorage, inputs: str) -> None:
    film = cloud.put(inputs, "film.mov", b"film")
    data = stored(storage, {"films": [film, "x" * 3000]})

    with closing(TaskFiles(storage, task(data, number=1, job_id=JOB, client="alice"))) as files:
        [path, _] = files.download_inputs().params["films"]
        assert Path(path).read_bytes() == b"film"


def test_a_worker_without_s3_refuses_a_task_with_a_reference(
    storage: TaskStorage, make_storage: Callable[..., TaskStorage]
) -> None:
    data = stored(storage, {"rows": ["a"] * 1000})

    with pytest.raises(WorkerSettingsError, match="S3_BUCKET is not set"):
        read_by_task(make_storage(None), data)


def test_a_handler_cannot_load_more_than_its_limit(values: JobValues) -> None:
    references = [FileReference(f"s3://results/{n}.json", "0a", MAX_LOADED_BYTES // 2) for n in range(3)]

    with pytest.raises(InvalidInputError, match="take those that it needs by name"):
        values.load(Job(JOB, "video", "0123abcd"), references)


def test_the_clean_up_keeps_what_a_large_result_names(
    storage: TaskStorage, config: S3Config, cloud: ObjectStorage, results: str
) -> None:
    job_id = JOB
    kept, other = (cloud.put(results, f"{job_id}/handlers/1-0a1b2c3d/{name}", name) for name in ("a.txt", "b.txt"))
    result = stored(storage, {"names": [kept, "x" * 3000]})

    with closing(Bucket(config)) as bucket:
        removed = Cleaner(bucket, group="g0").delete_intermediate(
            job_id, [Job(job_id, "video", "0123abcd", result=result)]
        )

    assert removed == 1
    left = {f"s3://{results}/{key}" for key in cloud.keys(results)}
    assert left == {kept, result["names"]["$file"]}
    assert other not in left


def test_a_result_that_s3_does_not_accept_is_kept_until_it_does(
    make_storage: Callable[..., TaskStorage], config: S3Config, proxy: HttpProxy, cloud: ObjectStorage
) -> None:
    storage = make_storage(replace(config, endpoint_url=proxy.url), max_inline_bytes=LIMIT)
    oversize, results = _oversize({"rows": ["a"] * 1000}), OversizeResults(storage, ttl_seconds=60)
    proxy.fail("PUT", busy, times=4)

    reasons = list(_reasons(results, oversize))

    assert reasons[0] == "its result of 4.0 kB exceeds MAX_INLINE_BYTES=2000 and is being stored in S3"
    assert any("cannot be stored: s3://" in reason for reason in reasons)
    reference = reference_of(orjson.loads(oversize.encoded or b"")["rows"])
    assert reference is not None
    assert orjson.loads(cloud.read(reference.uri)) == ["a"] * 1000


def test_without_s3_a_result_is_kept_until_its_time_is_over(make_storage: Callable[..., TaskStorage]) -> None:
    oversize = _oversize({"rows": ["a"] * 1000})
    results = OversizeResults(make_storage(None, max_inline_bytes=LIMIT), ttl_seconds=60)

    assert "S3_BUCKET, or raise the limit" in str(results.reason_to_keep(oversize, age_seconds=59))
    content = orjson.loads(orjson.dumps(oversize.as_json()))
    spooled = PendingResult.from_spool(SpooledResult("here", oversize.task_id, 1, content, Path("result.json")))
    assert (spooled.result, spooled.task, spooled.message) == (oversize.result, oversize.task, None)
    assert results.reason_to_keep(spooled, age_seconds=60) is None
    assert spooled.result.error is not None
    assert spooled.result.error["code"] == "RESULT_TOO_LARGE"


def _oversize(data: Any) -> PendingResult:
    result = Result(JOB, f"{JOB}.0.0", 1, "success", data, None, "worker-1", 5)
    return PendingResult(task({}, job_id=JOB), result, orjson.dumps(data), tag="tag")


def _reasons(results: OversizeResults, oversize: PendingResult) -> Iterator[str]:
    deadline = monotonic() + 30
    while (reason := results.reason_to_keep(oversize, age_seconds=0)) is not None:
        assert monotonic() < deadline
        yield reason
        sleep(0.01)
