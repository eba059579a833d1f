"""Single tasks over HTTP: creation, batches, invalid bodies, lists by skill, delayed starts."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from flask.testing import FlaskClient

from avtomatika.broker import Consumer
from avtomatika.core.machine.single_task import PLAN
from avtomatika.schemas import wire
from avtomatika.store import Store

from .conftest import problem


@pytest.fixture
def take(redis_url: str) -> Callable[[str], wire.TaskMessage]:
    """Take the next task of a skill, as its worker does."""
    from avtomatika import broker

    def take(skill: str) -> wire.TaskMessage:
        with broker.connect(redis_url) as connection:
            consumer = Consumer(connection, [skill], prefetch=1)
            [delivery] = consumer.take(5)
            consumer.ack([delivery.tag])
            consumer.close()
        return wire.load_task(delivery.body)

    return take


def test_a_task_is_created_with_its_message(alice: FlaskClient, take: Callable[[str], wire.TaskMessage]) -> None:
    response = alice.post("/api/v1/tasks/resize", json={"params": {"width": 3}, "priority": 5, "time_limit": 60})

    assert response.status_code == 202
    job_id = response.json["job_id"]
    assert response.headers["Location"] == f"/api/v1/jobs/{job_id}"
    task = take("resize")
    assert (task.job_id, task.task_type, task.params, task.result_timeout_seconds) == (
        job_id,
        "resize",
        {"width": 3},
        60,
    )
    shown = alice.get(f"/api/v1/jobs/{job_id}").json
    assert (shown["status"], shown["skill"], shown["blueprint_name"]) == ("waiting_for_worker", "resize", "_tasks")
    assert [each["event_type"] for each in alice.get(f"/api/v1/jobs/{job_id}/history").json["events"]] == [
        "job_created",
        "task_dispatched",
    ]


def test_a_batch_is_created_as_a_whole_or_not_at_all(alice: FlaskClient) -> None:
    tasks: list[dict[str, Any]] = [{"params": {"n": n}, "priority": n} for n in range(3)]
    created = alice.post("/api/v1/tasks/resize/batch", json={"tasks": tasks})
    refused = alice.post("/api/v1/tasks/resize/batch", json={"tasks": [*tasks, {"parms": {}}]})

    assert created.status_code == 202
    assert problem(refused, 422, "invalid_request")["errors"] == {"tasks": {"3": {"parms": ["there is no such field"]}}}
    listed = alice.get("/api/v1/jobs?skill=resize").json["jobs"]
    assert {each["id"] for each in listed} == set(created.json["job_ids"])


def test_tasks_are_listed_by_skill(alice: FlaskClient, bob: FlaskClient) -> None:
    first = alice.post("/api/v1/tasks/resize", json={}).json["job_id"]
    alice.post("/api/v1/tasks/crop", json={})
    bob.post("/api/v1/tasks/resize", json={})

    assert [each["id"] for each in alice.get("/api/v1/jobs?skill=resize").json["jobs"]] == [first]


def test_a_repeated_request_creates_one_task(alice: FlaskClient) -> None:
    headers = {"Idempotency-Key": "once"}
    first, second = (alice.post("/api/v1/tasks/resize", json={"params": {"n": 1}}, headers=headers) for _ in range(2))
    other = alice.post("/api/v1/tasks/resize", json={"params": {"n": 2}}, headers=headers)

    assert first.json == second.json
    problem(other, 409, "conflict")


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"params": []}, "params"),
        ({"initial_data": {}}, "initial_data"),
        ({"retries": -1}, "retries"),
        ({"time_limit": 0}, "time_limit"),
        ({"delay": -1}, "delay"),
        ({"at": "2030-01-01T00:00:00"}, "at"),
        ({"at": "2030-01-01T00:00:00Z", "delay": 1}, "at"),
    ],
)
def test_an_invalid_field_is_named(alice: FlaskClient, body: dict[str, Any], field: str) -> None:
    assert list(problem(alice.post("/api/v1/tasks/resize", json=body), 422, "invalid_request")["errors"]) == [field]


def test_a_name_that_no_skill_can_have_is_refused(alice: FlaskClient) -> None:
    problem(alice.post("/api/v1/tasks/_resize", json={}), 422, "invalid_request")


@pytest.mark.parametrize("path", ["tasks/resize", "jobs/video"])
@pytest.mark.parametrize("start", ["delay", "at"])
def test_a_delayed_job_is_pending_and_says_when_it_starts(
    alice: FlaskClient, store: Store, path: str, start: str
) -> None:
    at = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    job_id = alice.post(f"/api/v1/{path}", json={"at": at} if start == "at" else {"delay": 3600}).json["job_id"]

    assert alice.get(f"/api/v1/jobs/{job_id}").json["status"] == "pending"
    reason = alice.get(f"/api/v1/jobs/{job_id}/why").json["reasons"][-1]
    assert reason["code"] == "waits_for_start"
    assert "start in 59 minutes" in reason["text"] or "start in 1 hour" in reason["text"]
    assert [queue.name for queue in store.queues.all() if queue.waiting] == []


def test_the_built_in_blueprint_is_not_listed(operator: FlaskClient) -> None:
    assert PLAN.blueprint not in [each["name"] for each in operator.get("/api/v1/blueprints").json["blueprints"]]
    assert "_tasks" not in problem(operator.get("/api/v1/blueprints/_task"), 404, "not_found").get("near", [])


def test_the_graph_of_a_task_names_its_skill(alice: FlaskClient) -> None:
    job_id = alice.post("/api/v1/tasks/resize", json={}).json["job_id"]

    drawn = alice.get(f"/api/v1/jobs/{job_id}/graph").text

    assert "task: resize" in drawn
    assert "chosen at run time" not in drawn
