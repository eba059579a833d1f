"""Which files of jobs the clean-up deletes, and which it never does."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

import pytest

from avtomatika.core.job import Job
from avtomatika.errors import SettingsError
from avtomatika.files.bucket import Bucket
from avtomatika.files.cleanup import Cleaner, Cleanup, CleanupRules
from avtomatika.files.config import S3Config
from avtomatika.files.handler_files import HandlerFiles
from avtomatika.files.object_keys import client_upload_prefix, job_upload_prefix
from avtomatika.files.skill_files import Files
from avtomatika.files.task_files import TaskFiles
from avtomatika.files.task_storage import TaskStorage

from ..support.object_storage import ObjectStorage
from .conftest import task

#: The other one is of a sub-blueprint that the first has called.
JOB, OTHER_JOB = (f"g0-01JDZ7Q3T5V8K2M4N6P8R0S2T{number}" for number in ("1", "1-3"))
#: Objects of others, with keys similar to ours.
FOREIGN = (
    "raw/film.mp4",
    "g0-notes.txt",
    f"{JOB}/out.mp4",
    f"{JOB}/{OTHER_JOB}.1.0/1-0a1b2c3d/a.txt",
    f"{JOB}/{JOB}.1.0/a.txt",
    f"{JOB}/{JOB}.1.0/1-xyz/a.txt",
    f"{JOB}/handlers/a.txt",
    f"{JOB}/private/1-0a1b2c3d/a.txt",
    "g0-uploads/alice/a.txt",
    "g0-uploads/a.txt",
    "g1-uploads/alice/0a1b2c3d/a.txt",
    f"g1-{JOB[3:]}/g1-{JOB[3:]}.1.0/1-0a1b2c3d/a.txt",
)
IN_FUTURE_MS = 1 << 50


def nobody(job_ids: Collection[str]) -> Collection[str]:
    return ()


@pytest.fixture
def cleaner(config: S3Config) -> Cleaner:
    return Cleaner(Bucket(config), group="g0")


@pytest.fixture
def ours(storage: TaskStorage, config: S3Config, cloud: ObjectStorage, results: str) -> Callable[[str], dict[str, str]]:
    """Have a job own files of every kind; answers their URIs."""

    def ours(job_id: str) -> dict[str, str]:
        files = TaskFiles(storage, task({}, job_id=job_id, client="alice"))
        for name in ("one.txt", "scenes/1.txt", "scenes/2.txt"):
            Files(files).path(name).write_text(name)
        one, scenes = files.upload_outputs([str(files.folder.outputs / name) for name in ("one.txt", "scenes")])
        files.close()
        handlers = HandlerFiles(Bucket(config), Job(job_id, "video", "0123abcd", client="alice"))
        return {
            "one": one,
            "scenes": scenes,
            "note": handlers.write_json("note.json", 1),
            "upload": cloud.put(results, job_upload_prefix(job_id) + "sent.txt", "sent"),
        }

    return ours


@pytest.fixture
def foreign(cloud: ObjectStorage, results: str) -> list[str]:
    for key in FOREIGN:
        cloud.put(results, key, "foreign")
    return sorted(FOREIGN)


def ended(job_id: str, result: Any) -> Job:
    return Job(job_id, "video", "0123abcd", result=result)


def test_a_finished_job_keeps_the_files_of_its_result_only(
    cleaner: Cleaner, ours: Callable[[str], dict[str, str]], cloud: ObjectStorage, results: str, foreign: list[str]
) -> None:
    uris, others = ours(JOB), ours(OTHER_JOB)

    removed = cleaner.delete_intermediate(JOB, [ended(JOB, {"deep": [uris["one"], uris["scenes"], others["note"]]})])

    left = [f"s3://{results}/{key}" for key in cloud.keys(results) if key not in foreign]
    of_job = [uri for uri in left if f"/{JOB}/" in uri]
    assert removed == 2
    assert of_job == sorted([uris["one"], f"{uris['scenes']}1.txt", f"{uris['scenes']}2.txt"])
    assert len(left) - len(of_job) == 5
    assert set(foreign) <= set(cloud.keys(results))


@pytest.mark.parametrize("result", [None, {}, "s3://{bucket}/", "s3://{bucket}", "s3://elsewhere/", ["done", 1]])
def test_a_result_that_names_no_file_of_the_job_keeps_none(
    cleaner: Cleaner, ours: Callable[[str], dict[str, str]], cloud: ObjectStorage, results: str, *, result: Any
) -> None:
    ours(JOB)

    text = result.format(bucket=results) if isinstance(result, str) else result
    cleaner.delete_intermediate(JOB, [ended(JOB, text)])

    assert len(cloud.keys(results)) == (5 if text == f"s3://{results}/" else 0)


def test_with_a_job_all_its_files_go_and_nothing_else(
    cleaner: Cleaner, ours: Callable[[str], dict[str, str]], cloud: ObjectStorage, results: str, foreign: list[str]
) -> None:
    ours(JOB)
    others = ours(OTHER_JOB)

    assert cleaner.delete_all(JOB) == 5
    assert cleaner.delete_all(JOB) == 0

    left = cloud.keys(results)
    assert set(foreign) <= set(left)
    assert len(left) == len(foreign) + len(others) + 1


def test_by_age_go_uploads_and_files_of_jobs_that_are_over(
    cleaner: Cleaner, ours: Callable[[str], dict[str, str]], cloud: ObjectStorage, results: str, foreign: list[str]
) -> None:
    ours(JOB)
    ours(OTHER_JOB)
    cloud.put(results, client_upload_prefix("g0", "alice") + "film.mp4", "film")
    asked: list[Collection[str]] = []

    def in_use(job_ids: Collection[str]) -> Collection[str]:
        asked.append(job_ids)
        return {OTHER_JOB}

    assert cleaner.delete_older(0, in_use=in_use) == 0
    assert cleaner.delete_older(IN_FUTURE_MS, in_use=in_use) == 6

    left = [key for key in cloud.keys(results) if key not in foreign]
    assert {key.partition("/")[0] for key in left} == {OTHER_JOB}
    assert set(foreign) <= set(cloud.keys(results))
    assert asked[-1] == {JOB, OTHER_JOB}


def test_more_files_than_one_batch_go(cleaner: Cleaner, cloud: ObjectStorage, results: str, monkeypatch: Any) -> None:
    monkeypatch.setattr("avtomatika.files.cleanup._BATCH", 3)
    for _ in range(7):
        cloud.put(results, client_upload_prefix("g0", "alice") + "film.mp4", "film")

    assert cleaner.delete_older(IN_FUTURE_MS, in_use=nobody) == 7
    assert cloud.keys(results) == []


def test_rules_are_read_and_invalid_ones_named(monkeypatch: pytest.MonkeyPatch) -> None:
    assert CleanupRules.from_environment() == CleanupRules(Cleanup.KEEP, None)

    monkeypatch.setenv("S3_AUTO_CLEANUP", "delete-intermediate")
    monkeypatch.setenv("S3_MAX_AGE_SECONDS", "60")
    assert CleanupRules.from_environment() == CleanupRules(Cleanup.DELETE_INTERMEDIATE, 60.0)

    for age in ("0", "-1", "1h"):
        monkeypatch.setenv("S3_MAX_AGE_SECONDS", age)
        with pytest.raises(SettingsError, match=f"S3_MAX_AGE_SECONDS='{age}'"):
            CleanupRules.from_environment()
    monkeypatch.setenv("S3_AUTO_CLEANUP", "all")
    with pytest.raises(SettingsError, match="S3_AUTO_CLEANUP='all': must be one of keep, delete-intermediate, delete"):
        CleanupRules.from_environment()
