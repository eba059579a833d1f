"""``task_files``: handlers read, write and link objects in the bucket of results."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
import requests

from avtomatika.core.job import Job
from avtomatika.errors import HandlerError, InvalidInputError, TransientError
from avtomatika.files.bucket import Bucket
from avtomatika.files.config import S3Config
from avtomatika.files.handler_files import MAX_JSON_BYTES, AsyncHandlerFiles, HandlerFiles, files_for
from avtomatika.files.object_keys import is_job_file

from ..support.object_storage import ObjectStorage

ALICES, ALICES_OTHER, BOBS = (f"g0-01JDZ7Q3T5V8K2M4N6P8R0S2T{number}" for number in (1, 2, 3))


@pytest.fixture
def files_of(config: S3Config) -> Iterator[Callable[..., HandlerFiles]]:
    objects = Bucket(config)

    def files_of(job_id: str = ALICES, client: str = "alice", version: int = 3) -> HandlerFiles:
        made = files_for(objects, Job(job_id, "video", "0123abcd", client=client, version=version), is_async=False)
        assert isinstance(made, HandlerFiles)
        return made

    yield files_of
    objects.close()


@pytest.fixture
def files(files_of: Callable[..., HandlerFiles]) -> HandlerFiles:
    return files_of()


def test_written_values_can_be_read(files: HandlerFiles, results: str) -> None:
    uri = files.write_json("notes/ü 1.json", {"number": 1, "text": "ü"})

    assert files.read_json(uri) == {"number": 1, "text": "ü"}
    assert uri.startswith(f"s3://{results}/{ALICES}/handlers/3-")
    assert is_job_file(uri.removeprefix(f"s3://{results}/"), ALICES)


def test_a_handler_that_runs_again_writes_new_files(files_of: Callable[..., HandlerFiles]) -> None:
    first, second = (files_of().write_json("a.json", number) for number in (1, 2))

    assert [files_of().read_json(uri) for uri in (first, second)] == [1, 2]


def test_async_handlers_await_the_same(config: S3Config) -> None:
    files = files_for(Bucket(config), Job(ALICES, "video", "0123abcd", client="alice"), is_async=True)
    assert isinstance(files, AsyncHandlerFiles)

    async def handle() -> tuple[Any, str]:
        uri = await files.write_json("a.json", [1])
        return await files.read_json(uri), await files.url(uri)

    value, url = asyncio.run(handle())

    assert value == [1]
    assert requests.get(url, timeout=5).json() == [1]


def test_a_link_is_good_for_anybody_and_for_so_long(files: HandlerFiles) -> None:
    url = files.url(files.write_json("a.json", 1), expires_in=timedelta(minutes=1))

    assert requests.get(url, timeout=5).text == "1"
    assert "X-Amz-Expires=60&" in url


@pytest.mark.parametrize("use", ["read_json", "url"])
def test_objects_of_other_clients_are_refused(
    files_of: Callable[..., HandlerFiles], cloud: ObjectStorage, results: str, use: str
) -> None:
    of_alice = files_of(ALICES_OTHER, "alice").write_json("a.json", 1)
    of_bob = files_of(BOBS, "bob").write_json("a.json", 1)
    upload_of_bob = cloud.put(results, "g0-uploads/bob/0a1b2c3d/a.json", "1")
    function = getattr(files_of(), use)

    assert function(of_alice)
    for uri in (of_bob, upload_of_bob, of_bob.replace(BOBS, f"{ALICES}/../{BOBS}")):
        with pytest.raises(InvalidInputError, match=r"that this job may read|no part of a key"):
            function(uri)


def test_only_allowed_buckets_are_read(config: S3Config, cloud: ObjectStorage, inputs: str) -> None:
    uri = cloud.put(inputs, "a.json", "[1]")
    job = Job(ALICES, "video", "0123abcd", client="alice")
    limited = files_for(Bucket(replace(config, allowed_buckets=frozenset({"films"}))), job, is_async=False)

    assert files_for(Bucket(config), job, is_async=False).read_json(uri) == [1]
    with pytest.raises(InvalidInputError, match="is not among S3_ALLOWED_BUCKETS"):
        limited.read_json(uri)


@pytest.mark.parametrize("name", ["", "/a", "a/", "../a", "a//b", "a\0b"])
def test_a_name_leads_down(files: HandlerFiles, name: str) -> None:
    with pytest.raises(InvalidInputError, match="is not a file name"):
        files.write_json(name, 1)


def test_what_does_not_fit_is_told(files: HandlerFiles, cloud: ObjectStorage, results: str) -> None:
    large = cloud.put(results, "large.json", b" " * (MAX_JSON_BYTES + 1))
    text = cloud.put(results, "a.txt", "hello")

    with pytest.raises(InvalidInputError, match=r"large\.json: has 8388609 bytes, but at most 8388608"):
        files.read_json(large)
    with pytest.raises(InvalidInputError, match=r"a\.txt: is not JSON"):
        files.read_json(text)
    with pytest.raises(InvalidInputError, match="there is no such key"):
        files.read_json(f"s3://{results}/nothing.json")
    with pytest.raises(InvalidInputError, match="is not of the form"):
        files.read_json("nothing.json")
    with pytest.raises(InvalidInputError, match="is a folder"):
        files.url(f"s3://{results}/raw/")
    with pytest.raises(HandlerError, match="expires_in is 0, but must be 1 to 604800 s"):
        files.url(text, expires_in=0)
    with pytest.raises(HandlerError, match="at most 8388608"):
        files.write_json("a.json", "x" * (MAX_JSON_BYTES + 1))
    with pytest.raises(HandlerError, match="write_json"):
        files.write_json("a.json", {"x": object()})


def test_without_s3_each_use_says_what_is_not_set() -> None:
    files = files_for(None, Job(ALICES, "video", "0123abcd"), is_async=False)

    for use in (lambda: files.read_json("s3://a-b-c/d"), lambda: files.write_json("a", 1)):
        with pytest.raises(HandlerError, match="S3_BUCKET is not set"):
            use()


def test_a_server_that_is_away_may_be_back_at_the_next_try(config: S3Config) -> None:
    away = Bucket(replace(config, endpoint_url="http://127.0.0.1:1", timeout_seconds=0.3))
    files = files_for(away, Job(ALICES, "video", "0123abcd", client="alice"), is_async=False)

    with pytest.raises(TransientError, match=r"s3://.*/a\.json: EndpointConnectionError"):
        files.write_json("a.json", 1)
