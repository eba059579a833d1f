"""The Python client against the app behind a real socket."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from time import monotonic
from typing import Any

import pytest
from flask import Flask

from avtomatika.client import Client
from avtomatika.client.steps import Request
from avtomatika.core.blueprint.action_types import AwaitApproval, End, GoTo
from avtomatika.core.job import Job
from avtomatika.errors import (
    AvtomatikaError,
    ConflictError,
    ForbiddenError,
    InvalidRequestError,
    NotFoundError,
    UnauthorizedError,
    UnavailableError,
)
from avtomatika.store import Store

Move = Callable[..., Job]
TO_THE_END = (GoTo("encode"), GoTo("publish"), End({"url": "/out"}))


@pytest.fixture
def alice(url: str) -> Iterator[Client]:
    with Client(url + "/", "token-of-alice-in-tests") as client:
        yield client


def test_a_job_is_submitted_by_the_name_of_its_endpoint(alice: Client, store: Store) -> None:
    job_id = alice.submit("video", {"n": 1}, priority=4, labels={"team": "blue"}, result_timeout=60)["job_id"]

    job = store.load(job_id)
    assert job is not None
    assert (job.client, job.initial_data, job.priority, job.labels) == ("alice", {"n": 1}, 4, {"team": "blue"})
    assert job.result_timeout_seconds == 60


def test_what_a_job_asks_is_decided_once(alice: Client, move: Move) -> None:
    job_id = alice.submit("video")["job_id"]
    move(GoTo("encode"), AwaitApproval("mail", "Publish it?", {"approved": "publish", "rejected": "failed"}))

    with pytest.raises(InvalidRequestError, match="not one of the decisions approved, rejected"):
        alice.approve(job_id, "maybe")
    decided = alice.approve(job_id, "approved", comment="at last")

    assert decided["decision"] == "approved by alice"
    with pytest.raises(ConflictError, match="already decided: approved by alice"):
        alice.approve(job_id, "rejected")


def test_a_job_is_submitted_to_the_url_of_a_blueprint(alice: Client) -> None:
    [url] = [each["url"] for each in alice.blueprints() if each["name"] == "video"]

    assert alice.job(alice.submit(url)["job_id"])["blueprint_name"] == "video"


def test_with_an_idempotency_key_a_job_is_created_once(alice: Client) -> None:
    ids = {alice.submit("video", {"n": 1}, idempotency_key="k")["job_id"] for _ in range(2)}

    assert len(ids) == 1
    with pytest.raises(ConflictError, match="'k' was used with another body"):
        alice.submit("video", {"n": 2}, idempotency_key="k")


def test_data_of_other_types_become_json(alice: Client) -> None:
    job_id = alice.submit("video", {"at": datetime(2030, 1, 31, tzinfo=UTC), "tags": {"b", "a"}})["job_id"]

    assert alice.job(job_id)["initial_data"] == {"at": "2030-01-31T00:00:00Z", "tags": ["a", "b"]}
    with pytest.raises(InvalidRequestError, match=r"^request\.initial_data\.at is a datetime without a time zone"):
        alice.submit("video", {"at": datetime(2030, 1, 31)})


def test_a_job_is_shown_with_the_fields_that_are_asked_for(alice: Client) -> None:
    job_id = alice.submit("video")["job_id"]

    assert alice.job(job_id, fields=("id", "version")) == {"id": job_id, "version": 1}


def test_jobs_are_fetched_page_by_page(alice: Client) -> None:
    ids = [alice.submit("video", labels={"n": str(n % 2)})["job_id"] for n in range(5)]

    assert {job["id"] for job in alice.jobs(page_size=2)} == set(ids)
    assert {job["id"] for job in alice.jobs(label="n=1", blueprint="video", status="pending")} == {ids[1], ids[3]}


def test_jobs_are_filtered_by_lists_times_and_ages(alice: Client) -> None:
    ids = {alice.submit("video")["job_id"] for _ in range(3)}

    def found(**wanted: Any) -> int:
        assert {job["id"] for job in alice.jobs(**wanted)} <= ids
        counted = alice.count_jobs(**wanted)
        assert counted["is_exact"]
        return counted["total"]

    assert found(status=["pending", "failed"], label=None) == 3
    assert found(label=["a=1", "b=2"]) == 0
    assert found(created_after=timedelta(hours=1), created_before=datetime(2100, 1, 1, tzinfo=UTC)) == 3
    assert found(created_before="1h") == found(created_after="2100-01-01T00:00:00Z") == found(text="x") == 0
    with pytest.raises(InvalidRequestError, match="created_after"):
        found(created_after="an hour ago")


def test_many_jobs_are_acted_on_part_by_part(alice: Client) -> None:
    ids = [alice.submit("video", labels={"n": str(n)})["job_id"] for n in range(4)]

    [preview] = alice.act_on_jobs("cancel", filter={"status": "pending", "created_after": "1d"}, dry_run=True)
    [chosen] = alice.act_on_jobs("cancel", filter={"label": "n=1"})
    [rest] = alice.act_on_jobs("cancel", ids=ids)

    assert (preview["matched"], preview["blueprints"]) == (4, {"video": 4})
    assert (chosen["done"], rest["done"], rest["refused"]) == (1, 3, 1)
    assert rest["refusals"] == [{"job_id": ids[1], "code": "conflict", "reason": "the job is cancelled"}]
    assert alice.count_jobs()["counts"] == {"cancelled": 4}
    again = alice.retry(ids[0])
    assert alice.job(again["job_id"])["retry_of"] == ids[0]


def test_a_history_is_fetched_to_its_end(alice: Client, move: Move) -> None:
    job_id = alice.submit("video")["job_id"]
    move(*TO_THE_END)

    history = alice.history(job_id)

    assert history["events"][0]["event_type"] == "job_created"
    assert history["events"][-1]["event_type"] == "job_finished"
    assert alice.history(job_id, after=2)["events"] == history["events"][2:]


def test_waiting_ends_when_the_job_does(alice: Client, move: Move) -> None:
    job_id = alice.submit("video")["job_id"]

    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(alice.wait, job_id, timeout=20)
        move(*TO_THE_END)

    assert waiting.result()["result"] == {"url": "/out"}


def test_waiting_ends_when_the_time_is_up(alice: Client) -> None:
    begun = monotonic()

    job = alice.wait(alice.submit("video")["job_id"], timeout=0.3)

    assert job["status"] == "pending"
    assert monotonic() - begun < 3


def test_blueprints_and_graphs_are_shown(alice: Client) -> None:
    job_id = alice.submit("video")["job_id"]

    assert alice.blueprint("video")["start"] == "start"
    assert alice.blueprint_graph("video").startswith(b"digraph")
    assert b"<svg" in alice.job_graph(job_id, format="svg")


def test_a_live_graph_is_shown_to_operators(url: str, alice: Client) -> None:
    alice.submit("video")

    with Client(url, "operators-own-token") as operator:
        assert b"1 job" in operator.blueprint_graph("video", live=True)
    with pytest.raises(ForbiddenError):
        alice.blueprint_graph("video", live=True)


def test_an_unknown_name_is_told_as_the_server_tells_it(alice: Client) -> None:
    with pytest.raises(NotFoundError) as caught:
        alice.blueprint("vidoe")

    assert str(caught.value) == "no blueprint 'vidoe'; did you mean 'video'?"
    assert (caught.value.kind, caught.value.name, caught.value.near) == ("blueprint", "vidoe", ["video"])


def test_a_job_id_cannot_leave_its_path(alice: Client) -> None:
    with pytest.raises(NotFoundError):
        alice.job("../blueprints")


def test_a_wrong_body_is_told_by_field(alice: Client) -> None:
    with pytest.raises(InvalidRequestError, match="invalid fields: priority") as caught:
        alice.submit("video", priority=11)

    assert caught.value.fields == {"priority": ["must be 0 to 9; higher is sooner"]}
    assert "must be 0 to 9" in "".join(traceback.format_exception_only(caught.value))


def test_a_body_that_is_too_large_is_an_invalid_request(alice: Client) -> None:
    with pytest.raises(InvalidRequestError, match="at most 1048576 bytes"):
        alice.submit("video", {"a": "x" * 1024 * 1024})


def test_a_wrong_token_is_unauthorized_and_not_shown(url: str) -> None:
    with Client(url, "canary") as client, pytest.raises(UnauthorizedError) as caught:
        client.blueprints()

    assert "canary" not in f"{caught.value} {caught.value!r} {client!r}"


def test_a_server_that_is_not_there_is_unavailable() -> None:
    with Client("http://127.0.0.1:9", "canary") as client, pytest.raises(UnavailableError) as caught:
        client.blueprints()

    assert str(caught.value) == "http://127.0.0.1:9 cannot be reached: Connection refused"


def test_a_server_that_does_not_answer_is_unavailable_after_the_timeout(app: Flask, url: str) -> None:
    with Client(url, "token-of-alice-in-tests", timeout=0.2) as client:
        job_id = client.submit("video")["job_id"]
        with pytest.raises(UnavailableError, match=r"did not answer within 0\.2 s"):
            client._perform(Request("GET", f"/api/v1/jobs/{job_id}", {"wait": 2}))


@pytest.mark.parametrize(
    ("status", "headers", "error"),
    [
        (302, {"Location": "http://evil.example/"}, AvtomatikaError),
        (404, {}, NotFoundError),
        (500, {}, AvtomatikaError),
        (502, {"Retry-After": "7"}, UnavailableError),
        (200, {}, AvtomatikaError),
    ],
)
def test_what_is_not_our_server_is_an_error_too(
    app: Flask, url: str, status: int, headers: dict[str, str], error: type[AvtomatikaError]
) -> None:
    @app.get("/foreign/api/v1/blueprints")
    def foreign() -> tuple[str, int, dict[str, str]]:
        return "<html>proxy</html>", status, headers

    with Client(f"{url}/foreign", "token-of-alice-in-tests") as client, pytest.raises(error) as caught:
        client.blueprints()

    assert type(caught.value) is error
    if isinstance(caught.value, UnavailableError):
        assert caught.value.retry_after_seconds == 7


@pytest.mark.parametrize("url", ["localhost:8080", "ftp://host", ""])
def test_an_address_must_be_one_of_http(url: str) -> None:
    with pytest.raises(InvalidRequestError, match="must start with http"):
        Client(url, "t")


def test_an_operator_reads_the_workers_and_a_client_does_not(url: str, store: Store) -> None:
    store.registry.register("w-1", {"type": "video", "skills": []})

    with Client(url, "operators-own-token") as operator, Client(url, "token-of-alice-in-tests") as alice:
        assert [worker["id"] for worker in operator.workers()] == ["w-1"]
        with pytest.raises(ForbiddenError, match="for operators"):
            alice.workers()


def test_single_tasks_are_created_alone_and_in_a_batch(alice: Client, store: Store) -> None:
    one = alice.send_task("encode", {"path": "a.mov"}, priority=4, idempotency_key="k")["job_id"]
    many = alice.send_tasks("encode", [{"n": n} for n in range(3)], delay=60)["job_ids"]

    jobs = [store.load(job_id) for job_id in (one, *many)]
    assert [(job.skill, job.initial_data, job.priority) for job in jobs if job is not None] == [
        ("encode", {"path": "a.mov"}, 4),
        *(("encode", {"n": n}, 0) for n in range(3)),
    ]
