from __future__ import annotations

import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from time import monotonic

import pytest
from flask import Flask
from flask.testing import FlaskClient

from avtomatika.core.blueprint.action_types import DispatchTask, End, GoTo
from avtomatika.core.job import Job
from avtomatika.schemas.wire import Progress
from avtomatika.store import Store
from avtomatika.tokens import Clients
from avtomatika.web.app import create_app
from avtomatika.web.long_poll import HeldRequests

from .conftest import OPERATOR_TOKEN, PLANS, created_id, problem

Move = Callable[..., Job]
RFC3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
TO_ENCODE = (GoTo("encode"), DispatchTask("encode", {}, transitions={"success": "publish", "failure": "failed"}))
TO_THE_END = (GoTo("encode"), GoTo("publish"), End({"url": "/out"}))


def test_a_new_job_is_shown(alice: FlaskClient) -> None:
    job_id = created_id(alice, initial_data={"n": 1}, labels={"team": "blue"}, priority=3)

    job = alice.get(f"/api/v1/jobs/{job_id}").json

    assert RFC3339.fullmatch(job.pop("created_at"))
    assert RFC3339.fullmatch(job.pop("updated_at"))
    assert job == {
        "id": job_id,
        "status": "pending",
        "blueprint_name": "video",
        "skill": None,
        "plan": PLANS[0].plan_hash,
        "current_state": "start",
        "result": None,
        "error": None,
        "worker_id": None,
        "progress": None,
        "progress_message": None,
        "tasks": [],
        "branches": None,
        "waiting_for": None,
        "decision": None,
        "parent_id": None,
        "children": [],
        "version": 1,
        "priority": 3,
        "labels": {"team": "blue"},
        "retry_of": None,
        "unique_key": None,
        "fork_of": None,
        "tries": 1,
        "scheduled_at": None,
        "client": "alice",
        "initial_data": {"n": 1},
        "state_history": {},
    }


def test_a_job_that_waits_shows_its_task(alice: FlaskClient, move: Move) -> None:
    job_id = created_id(alice)
    move(*TO_ENCODE)

    job = alice.get(f"/api/v1/jobs/{job_id}").json

    assert (job["status"], job["current_state"], job["version"]) == ("waiting_for_worker", "encode", 2)
    assert job["tasks"] == [
        {
            "id": f"{job_id}.1.0",
            "task_type": "encode",
            "state": "encode",
            "attempt": 1,
            "worker_id": None,
            "routed_to": None,
            "waits_for": None,
            "progress": None,
            "progress_message": None,
        }
    ]


def test_a_job_shows_how_far_its_task_is(alice: FlaskClient, move: Move, store: Store) -> None:
    job_id = created_id(alice)
    move(*TO_ENCODE)

    store.record_progress([Progress(job_id, f"{job_id}.1.0", 1, "w1", 0.4, "two of five")])

    job = alice.get(f"/api/v1/jobs/{job_id}").json
    assert (job["progress"], job["progress_message"]) == (0.4, "two of five")
    assert (job["tasks"][0]["progress"], job["tasks"][0]["progress_message"]) == (0.4, "two of five")


def test_a_finished_job_shows_its_result(alice: FlaskClient, move: Move) -> None:
    job_id = created_id(alice)
    move(*TO_THE_END)

    job = alice.get(f"/api/v1/jobs/{job_id}").json

    assert (job["status"], job["result"], job["error"]) == ("finished", {"url": "/out"}, None)


def test_only_the_fields_that_are_asked_for_are_shown(alice: FlaskClient) -> None:
    job_id = created_id(alice)

    response = alice.get(f"/api/v1/jobs/{job_id}?fields=id,%20status")

    assert response.json == {"id": job_id, "status": "pending"}


@pytest.mark.parametrize(
    ("query", "field", "message"),
    [
        ("wait=26", "wait", "Must be greater than or equal to 0 and less than or equal to 25."),
        ("wait=-1", "wait", "Must be greater than or equal to 0"),
        ("wait=nan", "wait", "Special numeric values"),
        ("wait=soon", "wait", "Not a valid number."),
        ("fields=id,statsu", "fields", "there are id, status, "),
        ("verbose=1", "verbose", "there is no such field"),
    ],
)
def test_a_query_that_does_not_fit_is_refused(alice: FlaskClient, query: str, field: str, message: str) -> None:
    body = problem(alice.get(f"/api/v1/jobs/{created_id(alice)}?{query}"), 422, "invalid_request")

    assert body["detail"] == f"the query has invalid fields: {field}"
    assert body["errors"][field][0].startswith(message)


@pytest.mark.parametrize("job_id", ["g0-none", "x" * 129, "a%20b", "%0d%0aSet-Cookie:%20a=b", "..%2f..%2fetc"])
def test_an_unknown_job_is_not_found(alice: FlaskClient, job_id: str) -> None:
    response = alice.get(f"/api/v1/jobs/{job_id}")

    assert problem(response, 404, "not_found")["detail"].startswith("no ")
    assert "Set-Cookie" not in response.headers


@pytest.mark.parametrize("key", ["history", "tasks", "seen", "notes"])
def test_other_keys_of_a_job_are_no_jobs(alice: FlaskClient, key: str) -> None:
    job_id = created_id(alice)

    problem(alice.get(f"/api/v1/jobs/{job_id}:{key}"), 404, "not_found")


def test_a_request_that_waits_is_answered_when_the_job_changes(alice: FlaskClient, move: Move) -> None:
    job_id = created_id(alice)
    begun = monotonic()

    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(alice.get, f"/api/v1/jobs/{job_id}?wait=20")
        move(*TO_ENCODE)
        job = waiting.result().json

    assert (job["version"], job["status"]) == (2, "waiting_for_worker")
    assert monotonic() - begun < 5


def test_a_request_that_waits_is_answered_when_its_time_is_up(alice: FlaskClient) -> None:
    job_id = created_id(alice)
    begun = monotonic()

    job = alice.get(f"/api/v1/jobs/{job_id}?wait=0.2").json

    assert job["version"] == 1
    assert 0.2 <= monotonic() - begun < 2


def test_a_request_does_not_wait_for_a_job_that_is_over(alice: FlaskClient, move: Move) -> None:
    job_id = created_id(alice)
    move(*TO_THE_END)
    begun = monotonic()

    assert alice.get(f"/api/v1/jobs/{job_id}?wait=20").json["status"] == "finished"
    assert monotonic() - begun < 2


def test_requests_beyond_the_places_do_not_wait(store: Store, clients: Clients, declare: Callable[[], None]) -> None:
    app = create_app(store=store, plans=PLANS, clients=clients, declare=declare, held=HeldRequests(1))
    operator = app.test_client()
    operator.environ_base["HTTP_X_CLIENT_TOKEN"] = OPERATOR_TOKEN

    with app.extensions["avtomatika"].held.hold_slot("another", None, on_disconnect=lambda: None):
        response = operator.get(f"/api/v1/jobs/{created_id(operator)}?wait=20")

    said = problem(response, 503, "unavailable")["detail"]
    assert said == "too many requests are waiting; retry later, or without waiting"
    assert response.headers["Retry-After"] == "2"


def test_a_history_tells_what_happened_in_order(alice: FlaskClient, move: Move) -> None:
    job_id = created_id(alice)
    move(*TO_ENCODE)

    history = alice.get(f"/api/v1/jobs/{job_id}/history").json

    assert (history["job_id"], history["notes"], history["next"]) == (job_id, [], None)
    assert [event["seq"] for event in history["events"]] == [1, 2, 3, 4]
    assert [event["event_type"] for event in history["events"]] == [
        "job_created",
        "state_entered",
        "state_entered",
        "task_dispatched",
    ]
    assert [event["version"] for event in history["events"]] == [1, 2, 2, 2]
    assert set(history["events"][0]) == {
        "seq", "version", "timestamp", "event_type", "state", "task_id", "attempt", "worker_id", "duration_ms", "data"
    }  # fmt: skip
    assert all(RFC3339.fullmatch(event["timestamp"]) for event in history["events"])


def test_a_history_comes_in_pages(alice: FlaskClient, move: Move) -> None:
    job_id = created_id(alice)
    move(*TO_ENCODE)

    first = alice.get(f"/api/v1/jobs/{job_id}/history?limit=3").json
    rest = alice.get(f"/api/v1/jobs/{job_id}/history?limit=3&after={first['next']}").json

    assert [event["seq"] for event in first["events"]] == [1, 2, 3]
    assert ([event["seq"] for event in rest["events"]], rest["next"]) == ([4], None)


@pytest.mark.parametrize("query", ["limit=0", "limit=1001", "after=-1", "after=x"])
def test_a_page_of_a_history_has_its_limits(alice: FlaskClient, query: str) -> None:
    problem(alice.get(f"/api/v1/jobs/{created_id(alice)}/history?{query}"), 422, "invalid_request")


def test_a_graph_shows_the_path_of_the_job(alice: FlaskClient, move: Move) -> None:
    job_id = created_id(alice)
    move(*TO_ENCODE)

    graph = alice.get(f"/api/v1/jobs/{job_id}/graph?format=json").json
    drawn = alice.get(f"/api/v1/jobs/{job_id}/graph")

    assert (graph["path"], graph["present"]) == (["start", "encode"], "encode")
    assert drawn.content_type == "text/vnd.graphviz; charset=utf-8"
    assert drawn.text != alice.get("/api/v1/blueprints/video/graph").text


def test_jobs_are_listed_newest_first_in_pages(alice: FlaskClient) -> None:
    ids = {created_id(alice) for _ in range(5)}

    first = alice.get("/api/v1/jobs?limit=3").json
    rest = alice.get("/api/v1/jobs", query_string={"limit": 3, "cursor": first["next"]}).json

    jobs = first["jobs"] + rest["jobs"]
    assert {job["id"] for job in jobs} == ids
    assert [job["created_at"] for job in jobs] == sorted((job["created_at"] for job in jobs), reverse=True)
    assert (len(first["jobs"]), rest["next"]) == (3, None)
    assert "initial_data" not in first["jobs"][0]


def test_jobs_are_listed_by_status_label_and_blueprint(alice: FlaskClient, move: Move) -> None:
    over = created_id(alice, labels={"team": "a=b"})
    move(*TO_THE_END)
    pending = created_id(alice)

    def listed(query: str) -> list[str]:
        return [job["id"] for job in alice.get(f"/api/v1/jobs?{query}").json["jobs"]]

    assert listed("status=finished") == [over]
    assert listed("status=pending") == [pending]
    assert listed("label=team%3Da%3Db") == [over]
    assert set(listed("blueprint=video")) == {pending, over}
    assert listed("blueprint=nightly") == []


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("status=done", "status"),
        ("limit=0", "limit"),
        ("limit=201", "limit"),
        ("label=team", "label"),
        ("cursor=x", "cursor"),
        ("status=", "status"),
        ("status=failed,done", "status"),
        ("blueprint=", "blueprint"),
        ("state=" + "x" * 257, "state"),
        ("text=", "text"),
        ("text=" + "x" * 201, "text"),
        ("created_after=yesterday", "created_after"),
        ("created_after=2026-11-23T07:00:00", "created_after"),
        ("created_before=-1d", "created_before"),
        ("created_before=9999999999999d", "created_before"),
        ("created_before=1d%00", "created_before"),
    ],
)
def test_a_list_that_cannot_be_is_refused(alice: FlaskClient, query: str, field: str) -> None:
    body = problem(alice.get(f"/api/v1/jobs?{query}"), 422, "invalid_request")

    assert list(body["errors"]) == [field]
    problem(alice.get(f"/api/v1/jobs/counts?{query}"), 422, "invalid_request")


@pytest.mark.parametrize(
    "query",
    [
        "text=%25%5B%28*",  # characters that patterns have
        "text=%00",
        "text=%22%5C",
        "text=%E2%80%AE%F0%9F%98%80",
        "blueprint=*",
        "state=%22",
        "created_after=0001-01-01T00:00:00%2B14:00",
        "created_before=9999-12-31T23:59:59-14:00",
        "created_after=999999w",
        "created_after=1s&created_before=1w",
    ],
)
def test_strange_filters_are_only_filters(alice: FlaskClient, query: str) -> None:
    created_id(alice)

    assert alice.get(f"/api/v1/jobs?{query}").status_code == 200
    assert alice.get(f"/api/v1/jobs/counts?{query}").json["is_exact"] is True


def test_only_operators_list_the_jobs_of_others(alice: FlaskClient, bob: FlaskClient, operator: FlaskClient) -> None:
    job_id = created_id(alice)
    created_id(bob)

    problem(bob.get("/api/v1/jobs?client=alice"), 403, "forbidden")
    for client in (operator, alice):
        assert [job["id"] for job in client.get("/api/v1/jobs?client=alice").json["jobs"]] == [job_id]
    assert alice.get("/api/v1/jobs/counts").json == {"counts": {"pending": 1}, "total": 1, "is_exact": True}
    assert operator.get("/api/v1/jobs/counts").json["total"] == 2


def test_jobs_are_listed_and_counted_by_statuses_state_age_and_error(alice: FlaskClient, move: Move) -> None:
    over = created_id(alice)
    move(*TO_THE_END)
    waiting = created_id(alice)
    move(*TO_ENCODE)

    def listed(query: str) -> list[str]:
        ids = [job["id"] for job in alice.get(f"/api/v1/jobs?{query}").json["jobs"]]
        assert alice.get(f"/api/v1/jobs/counts?{query}").json["total"] == len(ids)
        return ids

    assert listed("status=finished,waiting_for_worker") == [waiting, over]
    assert listed("state=encode") == [waiting]
    assert listed("state=encode&status=finished") == []
    assert listed("created_after=1h") == [waiting, over]
    assert listed("created_before=1h") == []
    assert listed("text=anything") == []


def test_a_status_that_is_unknown_is_answered_with_those_there_are(alice: FlaskClient) -> None:
    body = problem(alice.get("/api/v1/jobs?status=done"), 422, "invalid_request")

    assert "waiting_for_worker" in body["errors"]["status"][0]


def test_no_answer_shows_a_token(app: Flask, operator: FlaskClient, move: Move) -> None:
    job_id = created_id(operator)

    answers = [operator.get(f"/api/v1/jobs/{job_id}{suffix}").text for suffix in ("", "/history", "/graph")]

    assert OPERATOR_TOKEN not in "".join(answers)


def test_why_a_job_does_not_move_is_told_to_whom_it_belongs(
    alice: FlaskClient, bob: FlaskClient, move: Callable[..., Job]
) -> None:
    job_id = created_id(alice)
    move(GoTo("encode"), DispatchTask("encode", {}, transitions={"success": "publish"}))

    told = alice.get(f"/api/v1/jobs/{job_id}/why").json

    assert (told["job_id"], told["status"], told["current_state"]) == (job_id, "waiting_for_worker", "encode")
    assert [reason["code"] for reason in told["reasons"]] == ["task_queued", "no_worker"]
    assert told["reasons"][0]["facts"]["queue"] == "encode"
    problem(bob.get(f"/api/v1/jobs/{job_id}/why"), 404, "not_found")


def test_a_list_with_several_labels_has_the_jobs_with_all_of_them(alice: FlaskClient) -> None:
    created_id(alice, labels={"team": "red"})
    both = created_id(alice, labels={"team": "red", "size": "big"})

    def listed(query: str) -> list[str]:
        return [job["id"] for job in alice.get(f"/api/v1/jobs?{query}").json["jobs"]]

    assert listed("label=team=red&label=size=big") == [both]
    assert listed("label=team=red&label=team=blue") == []


@pytest.mark.parametrize(
    "path",
    [
        "/api/v1/jobs?status=failed&status=finished",
        "/api/v1/jobs?limit=1&limit=2",
        "/api/v1/jobs/{job_id}?wait=0&wait=0",
        "/api/v1/jobs/{job_id}/history?after=1&after=2",
        "/api/v1/jobs/{job_id}/why?x=1&x=2",
        "/api/v1/blueprints/video/graph?format=dot&format=svg",
    ],
)
def test_a_parameter_that_is_given_twice_is_refused(alice: FlaskClient, path: str) -> None:
    body = problem(alice.get(path.format(job_id=created_id(alice))), 422, "invalid_request")

    assert "2 times" in body["detail"]


@pytest.mark.parametrize("path", ["history", "events"])
@pytest.mark.parametrize("after", ["99999999999999999999999", "9223372036854775808", "-1", "x", "1e3"])
def test_a_place_that_no_history_has_is_refused(alice: FlaskClient, path: str, after: str) -> None:
    body = problem(alice.get(f"/api/v1/jobs/{created_id(alice)}/{path}?after={after}"), 422, "invalid_request")

    assert list(body["errors"]) == ["after"]
