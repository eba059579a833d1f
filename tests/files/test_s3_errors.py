"""Faults of networks, servers and disks: errors name them and their place, and no files are left."""

from __future__ import annotations

import errno
import gc
import os
import shutil
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from avtomatika import Worker
from avtomatika.errors import InvalidInputError, TransientError, WorkerFaultError
from avtomatika.files.config import S3Config
from avtomatika.files.s3_transfer import ATTEMPTS, PART_BYTES
from avtomatika.files.skill_files import Files
from avtomatika.files.task_files import TaskFiles
from avtomatika.files.task_storage import TaskStorage
from avtomatika.worker.runtime import Runtime

from ..support import http_proxy as faults
from ..support.http_proxy import HttpProxy
from ..support.object_storage import ObjectStorage
from .conftest import left_in, task

DEADLINE_SECONDS = 20
LARGE = 2 * PART_BYTES + 5
#: A request that the client repeats, for as often as it does, and as often again for a body that breaks off.
ALWAYS = 10_000

BeginBadly = Callable[..., TaskFiles]


@pytest.fixture(scope="module", autouse=True)
def frozen_clients(cloud: ObjectStorage) -> None:
    """The S3 client has thousands of objects, which the collections below need not visit."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def no_broken_connections_left() -> Iterator[None]:
    """Aborted transfers close their files when they are collected: do it here."""
    yield
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


@pytest.fixture
def begin_badly(make_storage: Callable[..., TaskStorage], config: S3Config, proxy: HttpProxy) -> BeginBadly:
    """The files of a task whose worker reaches S3 by the proxy."""

    def make_files(*, size: int = 0, **params: Any) -> TaskFiles:
        timeout_seconds = 3.0 if size == LARGE else 0.4  # a part may take a busy machine a second
        storage = make_storage(replace(config, endpoint_url=proxy.url, timeout_seconds=timeout_seconds))
        return TaskFiles(storage, task(params))

    return make_files


@pytest.mark.parametrize("size", [100, LARGE])
@pytest.mark.parametrize("happen", [faults.broken, faults.busy, faults.reset, faults.silence, faults.half_silence])
def test_single_faults_are_retried(
    begin_badly: BeginBadly, cloud: ObjectStorage, inputs: str, proxy: HttpProxy, happen: Any, size: int
) -> None:
    body = os.urandom(size)
    proxy.fail("GET", happen)
    files = begin_badly(size=size, film=cloud.put(inputs, "film.mp4", body))

    path = Path(files.download_inputs().params["film"])

    assert path.read_bytes() == body
    files.close()


@pytest.mark.parametrize("happen", [faults.broken, faults.busy, faults.silence])
@pytest.mark.parametrize("size", [100, LARGE])
def test_sending_is_tried_again(
    begin_badly: BeginBadly, cloud: ObjectStorage, proxy: HttpProxy, happen: Any, size: int
) -> None:
    body = os.urandom(size)
    proxy.fail("PUT", happen)
    files = begin_badly(size=size)
    path = Files(files).path("film.mp4")
    path.write_bytes(body)

    uri = files.upload_outputs(str(path))

    assert cloud.read(uri) == body
    files.close()


@pytest.mark.parametrize("size", [100, LARGE])
@pytest.mark.parametrize(
    ("happen", "words"),
    [
        (faults.reset, "film.mp4: "),
        (faults.short, r"film.mp4: expected \d+ bytes, seen \d+|film.mp4: .*"),
        (faults.altered, "film.mp4: expected SHA-256 [0-9a-f]{64}, seen [0-9a-f]{64}"),
    ],
)
def test_lasting_faults_are_transient_and_leave_no_files(
    begin_badly: BeginBadly,
    cloud: ObjectStorage,
    inputs: str,
    proxy: HttpProxy,
    payload: Path,
    *,
    happen: Any,
    words: str,
    size: int,
) -> None:
    sender = begin_badly(size=size)
    path = Files(sender).path("film.mp4")
    path.write_bytes(os.urandom(size))
    uri = sender.upload_outputs(str(path))
    sender.close()
    proxy.fail("GET", happen, ALWAYS)
    files = begin_badly(size=size, film=uri)

    with pytest.raises(TransientError, match=rf"s3://.*/{words}"):
        files.download_inputs()

    assert [path for path in files.folder.path.rglob("*") if path.is_file()] == []
    files.close()
    assert left_in(payload) == []


@pytest.mark.parametrize("happen", [faults.broken, faults.busy])
def test_a_server_that_stays_ill_is_asked_a_few_times(
    begin_badly: BeginBadly, cloud: ObjectStorage, inputs: str, proxy: HttpProxy, happen: Any
) -> None:
    uri = cloud.put(inputs, "film.mp4", b"film")
    fault = proxy.fail("HEAD", happen, ALWAYS)
    files = begin_badly(film=uri)

    with pytest.raises(TransientError, match=rf"{uri}: the server answered 50[03]"):
        files.download_inputs()

    assert fault.seen == ATTEMPTS
    files.close()


def test_a_server_that_is_away_is_named_with_the_object(
    make_storage: Callable[..., TaskStorage], config: S3Config, payload: Path
) -> None:
    files = TaskFiles(
        make_storage(replace(config, endpoint_url="http://127.0.0.1:1")), task({"film": "s3://films/a.mp4"})
    )

    with pytest.raises(TransientError, match=r"s3://films/a\.mp4: EndpointConnectionError: .*127\.0\.0\.1:1"):
        files.download_inputs()

    files.close()
    assert left_in(payload) == []


def test_an_object_replaced_during_its_download_is_reported_with_both_etags(
    begin_badly: BeginBadly, cloud: ObjectStorage, inputs: str, proxy: HttpProxy
) -> None:
    for size in (100, LARGE):
        uri = cloud.put(inputs, "film.mp4", b"a" * size)
        files = begin_badly(size=size, film=uri)

        def replace_it(method: str, path: str, size: int = size) -> None:
            if method == "GET":
                cloud.put(inputs, "film.mp4", os.urandom(size))

        proxy.before = replace_it

        with pytest.raises(TransientError, match=rf"{uri}: was changed: expected ETag .*, seen "):
            files.download_inputs()
        files.close()
        proxy.before = lambda method, path: None


def test_a_file_that_changes_during_its_upload_fails_the_result(
    begin_badly: BeginBadly, cloud: ObjectStorage, results: str, proxy: HttpProxy
) -> None:
    files = begin_badly()
    path = Files(files).path("growing.txt")
    path.write_text("12345")
    proxy.before = lambda method, _: path.write_text("1234567") and None if method == "PUT" else None

    with pytest.raises(TransientError, match=r"growing\.txt: the file was changed .*: expected 5 bytes, seen 7"):
        files.upload_outputs(str(path))

    assert cloud.keys(results) == []
    files.close()


def test_no_half_of_a_result_stays_in_the_bucket(
    begin_badly: BeginBadly, cloud: ObjectStorage, results: str, proxy: HttpProxy
) -> None:
    files = begin_badly()
    paths = [Files(files).path(f"{number}.txt") for number in range(5)]
    for path in paths:
        path.write_text(path.name)

    def break_the_fourth(method: str, path: str) -> None:
        if method == "PUT" and path.endswith("/3.txt"):
            proxy.fail("PUT", faults.broken, ALWAYS)

    proxy.before = break_the_fourth

    with pytest.raises(TransientError, match=r"\.txt: the server answered 500"):
        files.upload_outputs([str(path) for path in paths])

    assert cloud.keys(results) == []
    files.close()


def test_a_large_upload_that_fails_leaves_no_parts(
    begin_badly: BeginBadly, cloud: ObjectStorage, results: str, proxy: HttpProxy
) -> None:
    files = begin_badly()
    path = Files(files).path("film.mp4")
    path.write_bytes(os.urandom(LARGE))
    proxy.fail("PUT", faults.broken, ALWAYS)

    with pytest.raises(TransientError, match=r"film\.mp4: the server answered 500"):
        files.upload_outputs(str(path))

    assert "Uploads" not in cloud.client.list_multipart_uploads(Bucket=results)
    files.close()


# ---------------------------------------------------------------- what no other try changes


def test_a_key_that_is_not_there_is_invalid_input(begin_badly: BeginBadly, inputs: str) -> None:
    files = begin_badly(film=f"s3://{inputs}/nothing.mp4")

    with pytest.raises(InvalidInputError, match=rf"s3://{inputs}/nothing\.mp4: there is no such key"):
        files.download_inputs()
    files.close()


@pytest.mark.parametrize("key", ["a.mp4", "folder/"])
def test_a_bucket_that_is_not_there_is_invalid_input(begin_badly: BeginBadly, key: str) -> None:
    files = begin_badly(film=f"s3://no-such-bucket-here/{key}")

    with pytest.raises(InvalidInputError, match=rf"s3://no-such-bucket-here/{key}: there is no such .*bucket"):
        files.download_inputs()
    files.close()


def test_a_bucket_for_results_that_is_not_there_is_named(
    make_storage: Callable[..., TaskStorage], config: S3Config
) -> None:
    files = TaskFiles(make_storage(replace(config, bucket="no-such-results")), task({}))
    path = Files(files).path("a.txt")
    path.write_text("a")

    with pytest.raises(WorkerFaultError, match=r"s3://no-such-results/.*/a\.txt: there is no such bucket"):
        files.upload_outputs(str(path))
    files.close()


def answering(status: int, code: str) -> Any:
    """An answer of the server that refuses a request."""
    body = f"<Error><Code>{code}</Code><Message>no</Message></Error>".encode()

    def answer(handler: faults.Handler, _: faults.Answer) -> None:
        handler.give(faults.Answer(status, [], body))

    return answer


@pytest.mark.parametrize(
    ("status", "code", "words"),
    [
        (403, "InvalidAccessKeyId", "the server does not know S3_ACCESS_KEY"),
        (403, "SignatureDoesNotMatch", "S3_SECRET_KEY is wrong"),
        (400, "ExpiredToken", "S3_SESSION_TOKEN has expired"),
        (403, "RequestTimeTooSkewed", "the clocks of this host and of the server differ too much"),
        (403, "AccessDenied", "access denied"),
        (403, "Other", "access denied"),
    ],
)
@pytest.mark.parametrize("methods", [("GET", "HEAD"), ("PUT",)], ids=["reading", "writing"])
def test_refused_keys_are_the_fault_of_the_worker_until_they_work(
    begin_badly: BeginBadly,
    cloud: ObjectStorage,
    inputs: str,
    proxy: HttpProxy,
    *,
    status: int,
    code: str,
    words: str,
    methods: tuple[str, ...],
) -> None:
    files = begin_badly(film=cloud.put(inputs, "film.mp4", b"film"))
    path = Files(files).path("out.txt")
    path.write_text("out")
    for method in (*methods, *(("PUT",) if code in ("AccessDenied", "Other") else ())):
        proxy.fail(method, answering(status, code), ALWAYS)

    with pytest.raises(WorkerFaultError, match=words) as caught:
        files.upload_outputs(str(path)) if methods == ("PUT",) else files.download_inputs()

    probe = caught.value.probe
    assert probe is not None
    with pytest.raises(WorkerFaultError):
        files.storage.probe(probe)
    proxy.faults.clear()
    files.storage.probe(probe)
    files.close()


def test_a_bucket_that_is_not_ours_to_read_is_the_fault_of_the_task(
    begin_badly: BeginBadly, cloud: ObjectStorage, inputs: str, proxy: HttpProxy
) -> None:
    uri = cloud.put(inputs, "film.mp4", b"film")
    files = begin_badly(film=uri)
    for method in ("GET", "HEAD"):
        proxy.fail(method, answering(403, "AccessDenied"), ALWAYS, path=f"/{inputs}")

    with pytest.raises(WorkerFaultError, match=f"{uri}: access denied") as caught:
        files.download_inputs()

    assert caught.value.probe is None
    files.close()


def test_servers_other_than_s3_are_named(
    begin_badly: BeginBadly, cloud: ObjectStorage, inputs: str, proxy: HttpProxy
) -> None:
    def login_page(handler: faults.Handler, _: faults.Answer) -> None:
        handler.give(faults.Answer(200, [("Content-Type", "text/html")], b"<html>please log in</html>"))

    uri = cloud.put(inputs, "film.mp4", b"film")
    for method in ("GET", "HEAD", "PUT", "POST"):
        proxy.fail(method, login_page, ALWAYS)

    for size in (3, LARGE):
        files = begin_badly()
        path = Files(files).path("film.mp4")
        path.write_bytes(bytes(size))
        with pytest.raises(WorkerFaultError, match="is not an S3 server"):
            files.upload_outputs(str(path))
        files.close()
    for param in (uri, uri.removesuffix("film.mp4")):
        files = begin_badly(film=param)
        with pytest.raises(WorkerFaultError, match="is not an S3 server"):
            files.download_inputs()
        files.close()


# ---------------------------------------------------------------- the disk


def test_a_disk_without_room_is_transient_before_anything_is_fetched(
    begin_badly: BeginBadly, cloud: ObjectStorage, inputs: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = begin_badly(film=cloud.put(inputs, "film.mp4", b"film"))
    usage = shutil.disk_usage("/")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=3))

    with pytest.raises(TransientError, match="have 4 bytes, but the payload folder has room for 3"):
        files.download_inputs()
    files.close()


@pytest.mark.parametrize("size", [100, LARGE])
def test_a_disk_that_fills_up_is_the_fault_of_the_worker(
    begin_badly: BeginBadly,
    cloud: ObjectStorage,
    inputs: str,
    payload: Path,
    *,
    monkeypatch: pytest.MonkeyPatch,
    size: int,
) -> None:
    files = begin_badly(film=cloud.put(inputs, "film.mp4", os.urandom(size)))
    open_file = Path.open

    def open_on_a_full_disk(path: Path, mode: str = "r", *args: Any, **options: Any) -> Any:
        if "w" in mode and "/part/" in str(path):
            return open_file(Path("/dev/full"), "wb", buffering=0)
        return open_file(path, mode, *args, **options)

    monkeypatch.setattr(Path, "open", open_on_a_full_disk)

    with pytest.raises(TransientError, match=rf"film\.mp4: .* cannot be written to: {os.strerror(errno.ENOSPC)}"):
        files.download_inputs()

    files.close()
    assert left_in(payload) == []


def test_a_worker_whose_disk_is_full_lives_and_does_the_next_task(
    make_storage: Callable[..., TaskStorage],
    config: S3Config,
    cloud: ObjectStorage,
    inputs: str,
    payload: Path,
    *,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    skills, open_file = Worker(), Path.open
    skills.skill("work")(lambda params: Path(params["film"]).read_text())
    full = [True]

    def open_on_a_full_disk(path: Path, mode: str = "r", *args: Any, **options: Any) -> Any:
        if full and "w" in mode and "/part/" in str(path):
            return open_file(Path("/dev/full"), "wb", buffering=0)
        return open_file(path, mode, *args, **options)

    monkeypatch.setattr(Path, "open", open_on_a_full_disk)
    runtime = Runtime(skills.skills, worker_id="worker-1", concurrency=1, storage=make_storage(config))
    film, results = task({"film": cloud.put(inputs, "film.txt", "film")}), []

    for _ in range(2):
        runtime.submit([(film, None)])
        [assignment] = runtime.collect(DEADLINE_SECONDS)
        results.append(assignment.result)
        full.clear()
    runtime.close()

    first, second = results
    assert first is not None
    assert first.error is not None
    assert (first.error["code"], os.strerror(errno.ENOSPC) in first.error["message"]) == ("TRANSIENT_ERROR", True)
    assert second is not None
    assert second.data == {"result": "film"}
    assert left_in(payload) == []
