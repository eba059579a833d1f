"""Files over HTTP: listing, access, downloads and uploads."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import requests
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from avtomatika.core.blueprint.action_types import End, GoTo
from avtomatika.files.bucket import Bucket
from avtomatika.files.config import S3Config
from avtomatika.files.job_files import MAX_UPLOAD_BYTES, JobFiles
from avtomatika.store import Store
from avtomatika.tokens import Clients
from avtomatika.web.app import create_app

from ..support.object_storage import ObjectStorage
from .conftest import PLANS, created_id, problem

SHA256 = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"


@pytest.fixture
def bucket(cloud: ObjectStorage) -> str:
    return cloud.make_bucket()


@pytest.fixture
def config(cloud: ObjectStorage, bucket: str) -> S3Config:
    return S3Config(
        endpoint_url=cloud.url,
        access_key="key",
        secret_key="secret",
        bucket=bucket,
        region="us-east-1",
        timeout_seconds=5,
    )


@pytest.fixture
def make_app(store: Store, clients: Clients, declare: Callable[[], None]) -> Iterator[Callable[[S3Config], Flask]]:
    with ExitStack() as stack:

        def make(config: S3Config) -> Flask:
            objects = Bucket(config)
            stack.callback(objects.close)
            job_files = JobFiles(objects, group="g0")
            return create_app(store=store, plans=PLANS, clients=clients, declare=declare, job_files=job_files)

        yield make


@pytest.fixture
def app(make_app: Callable[[S3Config], Flask], config: S3Config) -> Flask:
    return make_app(config)


def sent(cloud: ObjectStorage, bucket: str, job_id: str, name: str, body: str = "hello", *, task: int = 0) -> str:
    """Store a file as a worker of the job would; answers its name among the files of the job."""
    full = f"{job_id}.{task}.0/1-0a1b2c3d/{name}"
    cloud.put(bucket, f"{job_id}/{full}", body)
    return full


def fetched(response: TestResponse) -> requests.Response:
    """Return the response after the redirect, requested without the token."""
    assert response.status_code == 302, response.text
    return requests.get(response.headers["Location"], timeout=10)


def upload(place: dict[str, Any], body: bytes) -> requests.Response:
    return requests.request(place["method"], place["url"], data=body, headers=place["headers"], timeout=10)


# ---------------------------------------------------------------- list


def test_files_of_a_job_are_listed_by_name_with_size_and_uri(
    alice: FlaskClient, cloud: ObjectStorage, bucket: str
) -> None:
    job_id = created_id(alice)
    names = [sent(cloud, bucket, job_id, name) for name in ("a b.txt", "фильм.mp4", "deep/c.txt")]
    sent(cloud, bucket, created_id(alice), "of another job.txt")

    listed = alice.get(f"/api/v1/jobs/{job_id}/files").json

    assert sorted(names) == [each["name"] for each in listed["files"]]
    assert listed["files"][0] | {"modified_at": ""} == {
        "name": names[0],
        "uri": f"s3://{bucket}/{job_id}/{names[0]}",
        "size": 5,
        "modified_at": "",
    }
    assert listed["next"] is None


def test_a_long_list_comes_in_pages(alice: FlaskClient, cloud: ObjectStorage, bucket: str) -> None:
    job_id = created_id(alice)
    names = [sent(cloud, bucket, job_id, f"{number}.txt") for number in range(5)]

    found, after = [], ""
    while after is not None:
        page = alice.get(f"/api/v1/jobs/{job_id}/files", query_string={"limit": 2, "after": after}).json
        assert len(page["files"]) <= 2
        found += [each["name"] for each in page["files"]]
        after = page["next"]

    assert found == names


# ---------------------------------------------------------------- fetch


@pytest.mark.parametrize("name", ["a.txt", "with space & ü%20+.txt", "<script>.html"])
def test_a_file_is_fetched_where_it_lies_by_its_name_or_the_end_of_it(
    alice: FlaskClient, cloud: ObjectStorage, bucket: str, name: str
) -> None:
    job_id = created_id(alice)
    full = sent(cloud, bucket, job_id, name, "content")

    for asked in (full, name):
        response = alice.get(f"/api/v1/jobs/{job_id}/files/{requests.utils.quote(asked)}")
        got = fetched(response)
        assert got.text == "content"
        assert got.headers["Content-Disposition"].startswith("attachment;")
        assert response.headers["Cache-Control"] == "no-store"
        assert response.headers["Referrer-Policy"] == "no-referrer"


def test_a_retry_has_the_files_of_the_job_that_it_continues(
    alice: FlaskClient, cloud: ObjectStorage, bucket: str, store: Store
) -> None:
    job_id = created_id(alice)
    full = sent(cloud, bucket, job_id, "a.txt", "content")
    store.signal(store.load(job_id), "cancel", by="alice")  # at once: no orchestrator serves its plan
    retry_id = alice.post(f"/api/v1/jobs/{job_id}/retry").json["job_id"]

    for asked in ("a.txt", full):
        assert fetched(alice.get(f"/api/v1/jobs/{retry_id}/files/{asked}")).text == "content"
    problem(alice.get(f"/api/v1/jobs/{created_id(alice)}/files/a.txt"), 404, "not_found")


def test_of_several_files_of_one_name_it_is_the_one_that_the_job_names(
    alice: FlaskClient, cloud: ObjectStorage, bucket: str, move: Callable[..., Any]
) -> None:
    job_id = created_id(alice)
    names = [sent(cloud, bucket, job_id, "out.mp4", str(number), task=number) for number in range(2)]
    path = f"/api/v1/jobs/{job_id}/files/out.mp4"

    told = problem(alice.get(path), 409, "conflict")
    move(GoTo("encode"), GoTo("publish"), End({"film": f"s3://{bucket}/{job_id}/{names[1]}"}))

    assert all(name in told["detail"] for name in names)
    assert fetched(alice.get(path)).text == "1"


def test_a_file_that_is_not_there_is_told_with_names_that_are_like_it(
    alice: FlaskClient, cloud: ObjectStorage, bucket: str
) -> None:
    job_id = created_id(alice)
    sent(cloud, bucket, job_id, "out.mp4")

    assert problem(alice.get(f"/api/v1/jobs/{job_id}/files/out.mp3"), 404, "not_found")["near"] == ["out.mp4"]


@pytest.mark.parametrize(
    "name", ["../{other}/x.txt", "a/../../{other}/x.txt", "%2e%2e/{other}/x.txt", "./x", "{other}"]
)
def test_no_name_leads_out_of_the_job(
    alice: FlaskClient, bob: FlaskClient, cloud: ObjectStorage, bucket: str, name: str
) -> None:
    job_id, other = created_id(alice), created_id(bob)
    cloud.put(bucket, f"{other}/x.txt", "of bob")

    response = alice.get(f"/api/v1/jobs/{job_id}/files/{name.format(other=other)}")

    assert response.status_code == 404


def test_a_uri_that_a_job_echoes_makes_nothing_a_file_of_it(
    alice: FlaskClient, bob: FlaskClient, cloud: ObjectStorage, bucket: str
) -> None:
    of_bob = sent(cloud, bucket, bobs := created_id(bob), "secret.txt")
    job_id = created_id(alice, initial_data={"film": f"s3://{bucket}/{bobs}/{of_bob}"})

    assert alice.get(f"/api/v1/jobs/{job_id}/files").json["files"] == []
    problem(alice.get(f"/api/v1/jobs/{job_id}/files/secret.txt"), 404, "not_found")


# ---------------------------------------------------------------- whose


def test_the_files_of_another_clients_job_are_as_unknown_as_the_job(
    alice: FlaskClient, bob: FlaskClient, anybody: FlaskClient, cloud: ObjectStorage, bucket: str
) -> None:
    job_id = created_id(alice)
    name = sent(cloud, bucket, job_id, "a.txt")
    body = {"name": "b.txt", "size": 1}

    for path in ("files", f"files/{name}", "files/a.txt"):
        assert problem(bob.get(f"/api/v1/jobs/{job_id}/{path}"), 404, "not_found")["kind"] == "job"
        problem(anybody.get(f"/api/v1/jobs/{job_id}/{path}"), 401, "unauthorized")
    problem(bob.post(f"/api/v1/jobs/{job_id}/files/upload-url", json=body), 404, "not_found")
    problem(anybody.post("/api/v1/files/upload-url", json=body), 401, "unauthorized")


def test_an_operator_sees_the_files_of_all(
    alice: FlaskClient, operator: FlaskClient, cloud: ObjectStorage, bucket: str
) -> None:
    job_id = created_id(alice)
    sent(cloud, bucket, job_id, "a.txt")

    assert fetched(operator.get(f"/api/v1/jobs/{job_id}/files/a.txt")).text == "hello"


# ---------------------------------------------------------------- send


def test_a_file_for_jobs_to_come_lies_below_its_client(alice: FlaskClient, cloud: ObjectStorage, bucket: str) -> None:
    place = alice.post("/api/v1/files/upload-url", json={"name": "mövie 1.mp4", "size": 5, "sha256": SHA256}).json

    assert upload(place, b"hello").status_code == 200

    assert place["uri"].startswith(f"s3://{bucket}/g0-uploads/alice/")
    assert place["uri"].endswith("/mövie 1.mp4")
    assert cloud.read(place["uri"]) == b"hello"
    head = cloud.client.head_object(Bucket=bucket, Key=place["uri"].removeprefix(f"s3://{bucket}/"))
    assert head["Metadata"] == {"sha256": SHA256, "client": "alice"}


def test_a_file_for_a_job_is_one_of_it(alice: FlaskClient, operator: FlaskClient) -> None:
    job_id = created_id(alice)
    place = operator.post(f"/api/v1/jobs/{job_id}/files/upload-url", json={"name": "a.txt", "size": 0}).json

    assert upload(place, b"").status_code == 200

    [listed] = alice.get(f"/api/v1/jobs/{job_id}/files").json["files"]
    assert listed["uri"] == place["uri"]
    assert place["headers"] == {"Content-Length": "0", "x-amz-meta-client": "alice"}


def test_what_is_signed_binds_the_size_the_owner_and_the_time(alice: FlaskClient) -> None:
    place = alice.post("/api/v1/files/upload-url", json={"name": "a.txt", "size": 5, "sha256": SHA256}).json

    signed = parse_qs(urlsplit(place["url"]).query)

    headers = set(signed["X-Amz-SignedHeaders"][0].split(";"))
    assert headers >= {"host", "content-length", "x-amz-meta-sha256", "x-amz-meta-client"}
    assert signed["X-Amz-Algorithm"] == ["AWS4-HMAC-SHA256"]
    assert int(signed["X-Amz-Expires"][0]) == place["expires_in"] == 3600


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"name": "a/b", "size": 1}, "name"),
        ({"name": "..", "size": 1}, "name"),
        ({"name": "", "size": 1}, "name"),
        ({"name": "x" * 300, "size": 1}, "name"),
        ({"name": "a\0b", "size": 1}, "name"),
        ({"name": "a"}, "size"),
        ({"name": "a", "size": -1}, "size"),
        ({"name": "a", "size": "1"}, "size"),
        ({"name": "a", "size": MAX_UPLOAD_BYTES + 1}, "size"),
        ({"name": "a", "size": 1, "sha256": "x"}, "sha256"),
        ({"name": "a", "size": 1, "key": "mine"}, "key"),
    ],
)
def test_what_does_not_fit_is_told_by_field(alice: FlaskClient, body: dict[str, Any], field: str) -> None:
    told = problem(alice.post("/api/v1/files/upload-url", json=body), 422, "invalid_request")

    assert list(told["errors"]) == [field]


# ---------------------------------------------------------------- settings and faults


def test_links_lead_to_the_public_address(make_app: Callable[[S3Config], Flask], config: S3Config) -> None:
    client = make_app(replace(config, public_endpoint_url="https://files.example.org")).test_client()
    client.environ_base["HTTP_X_CLIENT_TOKEN"] = "token-of-alice-in-tests"

    place = client.post("/api/v1/files/upload-url", json={"name": "a.txt", "size": 5}).json

    assert place["url"].startswith(f"https://files.example.org/{config.bucket}/g0-uploads/alice/")


def test_without_a_bucket_it_is_said_what_is_missing(
    store: Store, clients: Clients, declare: Callable[[], None]
) -> None:
    client = create_app(store=store, plans=PLANS, clients=clients, declare=declare).test_client()
    client.environ_base["HTTP_X_CLIENT_TOKEN"] = "token-of-alice-in-tests"
    job_id = created_id(client)

    assert "S3_BUCKET" in problem(client.get(f"/api/v1/jobs/{job_id}/files"), 501, "settings_error")["detail"]


def test_a_server_for_files_that_is_away_is_503_and_told_to_the_log_only(
    make_app: Callable[[S3Config], Flask], config: S3Config, caplog: pytest.LogCaptureFixture
) -> None:
    client = make_app(replace(config, endpoint_url="http://127.0.0.1:1", timeout_seconds=0.3)).test_client()
    client.environ_base["HTTP_X_CLIENT_TOKEN"] = "token-of-alice-in-tests"
    job_id = created_id(client)

    with caplog.at_level(logging.WARNING):
        told = problem(client.get(f"/api/v1/jobs/{job_id}/files"), 503, "unavailable")

    assert "127.0.0.1" not in told["detail"]
    assert "127.0.0.1:1" in caplog.text
