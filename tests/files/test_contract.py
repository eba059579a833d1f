"""The behaviour required of S3 servers, tested with moto and SeaweedFS: transfers, parts, errors, signed uploads."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest
import requests

from avtomatika.errors import InvalidInputError, TransientError, WorkerFaultError
from avtomatika.files.bucket import Bucket
from avtomatika.files.config import S3Config
from avtomatika.files.s3_client import Metadata
from avtomatika.files.s3_transfer import PART_BYTES
from avtomatika.files.skill_files import Files
from avtomatika.files.task_files import TaskFiles
from avtomatika.files.task_storage import TaskStorage
from avtomatika.files.transfer_progress import ProgressMeter

from ..support.object_storage import ObjectStorage
from .conftest import task

MakeFiles = Callable[..., TaskFiles]
LARGE = PART_BYTES + 7


@pytest.fixture(params=["cloud", "seaweed"])
def cloud(request: pytest.FixtureRequest, cloud: ObjectStorage) -> ObjectStorage:
    """Each server in turn."""
    found: ObjectStorage = cloud if request.param == "cloud" else request.getfixturevalue("seaweed")
    return found


@pytest.fixture
def objects(config: S3Config) -> Iterator[Bucket]:
    with closing(Bucket(config)) as objects:
        yield objects


@pytest.mark.parametrize("size", [0, 5, LARGE])
def test_files_come_and_go_byte_by_byte(
    make_files: MakeFiles, cloud: ObjectStorage, inputs: str, results: str, *, size: int
) -> None:
    body = os.urandom(size)
    files = make_files(film=cloud.put(inputs, "deep/film – ü.mp4", body))

    path = Path(files.download_inputs().params["film"])
    copy = Files(files).path("copy.mp4")
    copy.write_bytes(path.read_bytes())
    uri = files.upload_outputs({"film": str(copy)})["film"]

    assert path.read_bytes() == cloud.read(uri) == body
    key = uri.removeprefix(f"s3://{results}/")
    assert cloud.client.head_object(Bucket=results, Key=key)["Metadata"] == {"sha256": sha256(body).hexdigest()}
    assert Path(make_files(1, film=uri).download_inputs().params["film"]).read_bytes() == body


def test_folders_come_and_go(make_files: MakeFiles, cloud: ObjectStorage, inputs: str) -> None:
    for name in ("one.txt", "deep/two.txt"):
        cloud.put(inputs, f"folder/{name}", name)
    cloud.put(inputs, "folder-2/other.txt", "other")
    files = make_files(folder=f"s3://{inputs}/folder/")

    folder = Path(files.download_inputs().params["folder"])
    out = Files(files).path("out")
    out.mkdir()
    (out / "three.txt").write_text("three")
    Files(files).path("empty").mkdir()
    data = files.upload_outputs([str(out), str(out.parent / "empty")])

    assert {str(path.relative_to(folder)) for path in folder.rglob("*.txt")} == {"one.txt", "deep/two.txt"}
    assert cloud.read(f"{data[0]}three.txt") == b"three"
    assert cloud.read(data[1]) == b""


@pytest.mark.parametrize("key", ["no-such-key", "no-such-folder/"])
def test_a_missing_input_is_the_fault_of_the_task(make_files: MakeFiles, inputs: str, key: str) -> None:
    with pytest.raises(InvalidInputError, match=f"s3://{inputs}/{key}: (there is no such key|no key starts)"):
        make_files(film=f"s3://{inputs}/{key}").download_inputs()


def test_a_bucket_of_results_that_is_not_there_is_the_fault_of_the_worker(
    make_storage: Callable[..., TaskStorage], config: S3Config
) -> None:
    files = TaskFiles(make_storage(replace(config, bucket="no-such-results")), task({}))
    path = Files(files).path("a.txt")
    path.write_text("a")

    with pytest.raises(WorkerFaultError, match="there is no such bucket") as caught:
        files.upload_outputs(str(path))

    assert caught.value.probe is not None
    files.close()


@pytest.mark.parametrize("size", [5, LARGE])
def test_an_object_that_changes_while_it_is_fetched_is_not_mixed(
    make_files: MakeFiles, storage: TaskStorage, cloud: ObjectStorage, inputs: str, tmp_path: Path, *, size: int
) -> None:
    location = next(iter(make_files(film=cloud.put(inputs, "film.mp4", b"a" * size))._locations.values()))
    found = storage.s3().stat(location)
    cloud.put(inputs, "film.mp4", b"b" * size)
    meter = ProgressMeter(make_files(1).cancellation, "", size)

    with pytest.raises(TransientError, match="was changed: expected ETag"):
        storage.s3().download(found, tmp_path / "film.mp4", unfinished=tmp_path, meter=meter)

    assert list(tmp_path.glob("*.mp4")) == []


def test_signed_uploads_and_downloads(objects: Bucket) -> None:
    location, body = objects.location("uploads/a b.txt"), b"hello"
    metadata = Metadata(sha256(body).hexdigest(), client="alice")
    signed = objects.signed_upload(location, size=len(body), metadata=metadata, expires_seconds=60)

    assert requests.put(signed.url, body, headers=signed.headers, timeout=10).status_code == 200

    assert objects.stat(location).client == "alice"
    assert objects.read(location, at_most_bytes=100) == body
    answer = requests.get(objects.download_url(location, expires_seconds=60), timeout=10)
    assert (answer.content, answer.headers["Content-Disposition"]) == (body, "attachment; filename*=UTF-8''a%20b.txt")
    assert [stored.size for stored in objects.list_prefix("uploads/")] == [len(body)]
    objects.delete(location)
    assert not objects.exists(location)


def test_a_bucket_can_be_checked(objects: Bucket, cloud: ObjectStorage, results: str) -> None:
    objects.check()

    assert cloud.keys(results) == []


# ---------------------------------------------------------------- with signatures that are checked


@pytest.fixture
def checked(seaweed: ObjectStorage) -> S3Config:
    """A bucket on the server that checks signatures, and keys for it."""
    return S3Config(
        endpoint_url=seaweed.url,
        access_key="minioadmin",
        secret_key="minioadmin",
        bucket=seaweed.make_bucket(),
        region="us-east-1",
        timeout_seconds=5,
    )


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"access_key": "nobody"}, "the server does not know S3_ACCESS_KEY"),
        ({"secret_key": "wrong"}, "S3_SECRET_KEY is wrong"),
    ],
)
def test_wrong_keys_are_told_from_missing_inputs(
    make_storage: Callable[..., TaskStorage],
    checked: S3Config,
    seaweed: ObjectStorage,
    *,
    changes: dict[str, str],
    words: str,
) -> None:
    uri = seaweed.put(str(checked.bucket), "film.mp4", b"film")
    storage = make_storage(replace(checked, **changes))

    with pytest.raises(WorkerFaultError, match=f"{uri}: access denied: {words}") as caught:
        TaskFiles(storage, task({"film": uri})).download_inputs()

    assert caught.value.probe == {"check": "read", "uri": uri}
    with pytest.raises(WorkerFaultError):
        storage.probe(caught.value.probe)


def test_keys_that_may_not_write_are_the_fault_of_the_worker(
    make_storage: Callable[..., TaskStorage], checked: S3Config, seaweed: ObjectStorage
) -> None:
    config = replace(checked, access_key="reader", secret_key="reader-secret")
    files = TaskFiles(make_storage(config), task({"film": seaweed.put(str(checked.bucket), "film.mp4", b"film")}))
    path = Files(files).path("a.txt")
    path.write_text("a")

    files.download_inputs()
    with pytest.raises(WorkerFaultError, match="access denied") as caught:
        files.upload_outputs(str(path))

    assert caught.value.probe is not None
    files.close()
