"""The job that created a file and the jobs that use it, among the client's jobs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from avtomatika.core.job import Job
from avtomatika.files.bucket import Bucket
from avtomatika.files.config import S3Config
from avtomatika.files.job_files import JobFiles
from avtomatika.files.object_keys import uses_of
from avtomatika.store import Store
from avtomatika.tokens import Clients
from avtomatika.web.app import create_app

from .conftest import PLANS, created_id, problem

BUCKET = "results"


@pytest.fixture
def app(store: Store, clients: Clients, declare: Callable[[], None]) -> Flask:
    """Lineage asks no S3 server."""
    job_files = JobFiles(Bucket(S3Config(bucket=BUCKET)), group="g0")
    return create_app(store=store, plans=PLANS, clients=clients, declare=declare, job_files=job_files)


def lineage(client: FlaskClient, uri: str) -> Any:
    return client.get("/api/v1/files/lineage", query_string={"uri": uri})


def test_a_file_of_a_task_is_made_by_it_and_used_by_those_that_name_it(alice: FlaskClient, bob: FlaskClient) -> None:
    maker = created_id(alice)
    uri = f"s3://{BUCKET}/{maker}/{maker}.2.0/3-0a1b2c3d/scenes/film.mp4"
    by_name = created_id(alice, initial_data={"deep": [{"film": uri}]})
    by_folder = created_id(alice, initial_data={"scenes": uri.removesuffix("film.mp4")})
    created_id(alice, initial_data={"other": uri + ".txt", "text": f"see {uri}"})
    created_id(bob, initial_data={"film": uri})

    found = lineage(alice, uri).json

    assert found["made_by"] == {
        "kind": "task",
        "job_id": maker,
        "client": "alice",
        "task_id": f"{maker}.2.0",
        "attempt": 3,
    }
    assert found["used_by"] == [
        {"job_id": by_folder, "status": "pending", "where": ["initial_data"]},
        {"job_id": by_name, "status": "pending", "where": ["initial_data"]},
    ]
    assert found["is_complete"]


def test_uploads_are_made_by_their_client(alice: FlaskClient, bob: FlaskClient, operator: FlaskClient) -> None:
    uri = f"s3://{BUCKET}/g0-uploads/alice/0a1b2c3d/film.mp4"

    for client in (alice, operator):
        assert lineage(client, uri).json["made_by"] == {"kind": "client", "client": "alice"}
    problem(lineage(bob, uri), 404, "not_found")


@pytest.mark.parametrize(("producer", "kind"), [("handlers/2-0a1b2c3d", "handler"), ("uploads/0a1b2c3d", "client")])
def test_what_handlers_write_and_what_is_sent_to_a_job_is_the_jobs(
    alice: FlaskClient, producer: str, kind: str
) -> None:
    maker = created_id(alice)

    made_by = lineage(alice, f"s3://{BUCKET}/{maker}/{producer}/a.json").json["made_by"]

    assert made_by == {"kind": kind, "job_id": maker, "client": "alice"}


def test_the_file_of_another_clients_job_is_as_unknown_as_the_job(alice: FlaskClient, bob: FlaskClient) -> None:
    maker = created_id(alice)

    problem(lineage(bob, f"s3://{BUCKET}/{maker}/{maker}.1.0/1-0a1b2c3d/a"), 404, "not_found")


def test_what_is_none_of_ours_has_no_maker_but_may_be_used(alice: FlaskClient) -> None:
    user = created_id(alice, initial_data={"film": "s3://raw/film.mp4"})

    found = lineage(alice, "s3://raw/film.mp4").json

    assert found["made_by"] is None
    assert [use["job_id"] for use in found["used_by"]] == [user]


def test_a_text_that_is_no_uri_is_refused(alice: FlaskClient) -> None:
    assert list(problem(lineage(alice, "film.mp4"), 422, "invalid_request")["errors"]) == ["uri"]


def test_a_job_may_name_a_file_in_several_places() -> None:
    job = Job("g0-1", "video", "0123abcd", initial_data={"a": "s3://raw/a"}, state_history={"b": ["s3://raw/"]})

    assert uses_of(job, "s3://raw/a") == ["initial_data", "state_history"]
    assert uses_of(job, "s3://raw2/a") == []
