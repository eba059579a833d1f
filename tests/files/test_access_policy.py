"""A client reaches neither files of other clients nor of the worker, in params or by echoes."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from avtomatika.errors import InvalidInputError, PermanentError
from avtomatika.files.config import S3Config
from avtomatika.files.skill_files import Files
from avtomatika.files.task_files import TaskFiles
from avtomatika.files.task_storage import TaskStorage

from ..support.object_storage import ObjectStorage
from .conftest import task

ALICES, ALICES_OTHER, BOBS = (f"g0-01JDZ7Q3T5V8K2M4N6P8R0S2T{number}" for number in (1, 2, 3))

MakeFiles = Callable[..., TaskFiles]


@pytest.fixture
def make_files(storage: TaskStorage) -> MakeFiles:
    """The files of a task of that client's job."""

    def make_files(job_id: str, client: str | None, **params: Any) -> TaskFiles:
        return TaskFiles(storage, task(params, job_id=job_id, client=client))

    return make_files


@pytest.fixture
def sent(make_files: MakeFiles) -> Callable[[str, str], str]:
    """Have a task of a job send a folder with one file, and answer the folder's URI."""

    def sent(job_id: str, client: str) -> str:
        files = make_files(job_id, client)
        path = Files(files).path("scenes/one.txt")
        path.write_text(f"of {client}")
        uri: str = files.upload_outputs(str(path.parent))
        files.close()
        return uri

    return sent


@pytest.mark.parametrize("child", ["", "-3", "-3-12"])
@pytest.mark.parametrize("name", ["one.txt", ""])
def test_a_job_reads_files_of_its_clients_jobs_only(
    make_files: MakeFiles, sent: Callable[[str, str], str], name: str, child: str
) -> None:
    """Jobs of sub-blueprints have their parent's id with a number."""
    of_alice, of_bob = sent(ALICES_OTHER + child, "alice"), sent(BOBS + child, "bob")
    allowed, denied = make_files(ALICES, "alice", a=of_alice + name), make_files(ALICES, "alice", a=of_bob + name)

    path = Path(allowed.download_inputs().params["a"])
    with pytest.raises(InvalidInputError, match="there is no such key that this job may read"):
        denied.download_inputs()

    assert (path if name else path / "one.txt").read_text() == "of alice"
    allowed.close()
    denied.close()


def test_a_skill_that_names_files_itself_has_no_more_rights(
    make_files: MakeFiles, sent: Callable[[str, str], str]
) -> None:
    of_alice, of_bob = sent(ALICES_OTHER, "alice"), sent(BOBS, "bob")
    files = make_files(ALICES, "alice")
    own = Files(files)

    assert own.list(of_alice) == [f"{of_alice}one.txt"]
    for steal in (own.list, own.download):
        with pytest.raises(InvalidInputError, match="that this job may read"):
            steal(of_bob)
    files.close()


def test_an_object_of_a_job_that_says_of_no_client_is_only_that_jobs(
    make_files: MakeFiles, cloud: ObjectStorage, results: str
) -> None:
    uri = cloud.put(results, f"{ALICES_OTHER}/old/1-0a1b2c3d/a.txt", "old")

    with pytest.raises(InvalidInputError, match="that this job may read"):
        make_files(ALICES, "alice", a=uri).download_inputs()
    own = make_files(ALICES_OTHER, "alice", a=uri)
    assert Path(own.download_inputs().params["a"]).read_text() == "old"
    own.close()


@pytest.mark.parametrize(
    ("key", "is_allowed"),
    [
        ("g0-uploads/alice/0a1b2c3d/a.txt", True),
        ("g0-uploads/alice/", True),
        ("g0-uploads/bob/0a1b2c3d/a.txt", False),
        ("g0-uploads/alice2/0a1b2c3d/a.txt", False),
        ("g0-uploads/", False),
        ("other-uploads/bob/0a1b2c3d/a.txt", False),
        ("raw/a.txt", True),
        ("a.txt", True),
        ("", False),
        (f"{ALICES}/../g0-uploads/bob/0a1b2c3d/a.txt", False),
        ("raw/../g0-uploads/bob/0a1b2c3d/a.txt", False),
        ("/g0-uploads/bob/0a1b2c3d/a.txt", False),
        ("./g0-uploads/bob/0a1b2c3d/a.txt", False),
    ],
)
def test_uploads_are_private_to_their_client_and_other_objects_are_not(
    make_files: MakeFiles, cloud: ObjectStorage, results: str, key: str, *, is_allowed: bool
) -> None:
    uri = cloud.put(results, key or "x", "text") if not key.endswith("/") else f"s3://{results}/{key}"
    cloud.put(results, "g0-uploads/alice/0a1b2c3d/b.txt", "text")
    files = make_files(ALICES, "alice", a=uri if key else f"s3://{results}/")

    if is_allowed:
        files.download_inputs()
    else:
        with pytest.raises(InvalidInputError, match=r"may read|no part of a key|files of other clients"):
            files.download_inputs()
    files.close()


@pytest.mark.parametrize("prefix", ["", "g0-01", "g0", "raw"])
def test_a_listing_in_the_bucket_of_results_names_at_least_a_folder(
    make_files: MakeFiles, results: str, prefix: str
) -> None:
    files = make_files(ALICES, "alice")

    with pytest.raises(InvalidInputError, match="name at least a folder"):
        Files(files).list(f"s3://{results}/{prefix}")
    files.close()


def test_the_bucket_of_results_is_recognized_in_any_case(
    make_files: MakeFiles, sent: Callable[[str, str], str], results: str
) -> None:
    of_bob = sent(BOBS, "bob").replace(results, results.upper())

    with pytest.raises(InvalidInputError, match="there is no such"):
        make_files(ALICES, "alice", a=of_bob).download_inputs()


def test_a_job_without_client_reads_its_own_files_only(make_files: MakeFiles, sent: Callable[[str, str], str]) -> None:
    with pytest.raises(InvalidInputError, match="that this job may read"):
        make_files(ALICES, None, a=sent(ALICES_OTHER, "alice")).download_inputs()


def test_an_echoed_uri_is_kept_as_text_and_authorized_on_download(
    make_files: MakeFiles, sent: Callable[[str, str], str]
) -> None:
    of_bob = sent(BOBS, "bob")
    echo = make_files(ALICES, "alice", text=f" {of_bob}")

    echoed = echo.upload_outputs({"film": of_bob})["film"]

    with pytest.raises(InvalidInputError, match="that this job may read"):
        make_files(ALICES, "alice", film=echoed).download_inputs()


# ---------------------------------------------------------------- paths


@pytest.mark.parametrize("told", ["{}", "see {}", "/nowhere/..{}", "{}/../out.mp4"])
def test_an_echoed_path_never_sends_the_file_of_another_task(
    make_files: MakeFiles,
    cloud: ObjectStorage,
    results: str,
    payload: Path,
    caplog: pytest.LogCaptureFixture,
    *,
    told: str,
) -> None:
    path = payload / "out.mp4"
    alices = make_files(ALICES, "alice", deep=[{told.format(path): 1}])
    bobs = make_files(BOBS, "bob")
    path.write_text("of bob")

    with caplog.at_level(logging.WARNING):
        assert alices.upload_outputs(str(path)) == str(path)

    assert "so it may be a file of another task" in caplog.text
    assert cloud.keys(results) == []
    assert cloud.read(bobs.upload_outputs(str(path))) == b"of bob"


def test_files_of_the_worker_are_not_uploaded(
    make_storage: Callable[..., TaskStorage], config: S3Config, cloud: ObjectStorage, results: str, tmp_path: Path
) -> None:
    spool = tmp_path / "spool" / "result.json"
    spool.parent.mkdir()
    spool.write_text("{}")
    own = [str(spool), "/etc/passwd", "/proc/self/environ", f"{tmp_path}/payloads/../spool/result.json"]
    files = TaskFiles(make_storage(config), task({"echo": own}, client="alice"))

    assert files.upload_outputs(own) == own
    assert cloud.keys(results) == []


def test_a_path_into_another_tasks_folder_is_refused_even_if_params_name_it(make_files: MakeFiles) -> None:
    bobs = make_files(BOBS, "bob")
    secret = Files(bobs).path("a.txt")
    secret.write_text("of bob")

    with pytest.raises(PermanentError, match="in the folder of another task"):
        make_files(ALICES, "alice", path=str(secret)).upload_outputs(str(secret))
    bobs.close()
