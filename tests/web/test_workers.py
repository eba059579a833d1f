"""``/api/v1/workers``, for operators. ``test_gateway`` covers the reports of workers."""

from __future__ import annotations

from flask.testing import FlaskClient

from avtomatika.errors import ForbiddenError
from avtomatika.store import Store

from .conftest import problem


def test_clients_do_not_see_workers(alice: FlaskClient, anybody: FlaskClient) -> None:
    problem(alice.get("/api/v1/workers"), 403, ForbiddenError.code)
    problem(anybody.get("/api/v1/workers"), 401, "unauthorized")


def test_workers_are_listed_by_id(operator: FlaskClient, store: Store) -> None:
    for worker_id in ("w-2", "w-1"):
        store.registry.register(worker_id, {"type": "", "skills": []})

    assert [worker["id"] for worker in operator.get("/api/v1/workers").json["workers"]] == ["w-1", "w-2"]


def test_a_worker_is_shown_drained_and_resumed(operator: FlaskClient, store: Store) -> None:
    store.registry.register("w-1", {"type": "", "skills": []})
    store.registry.beat("w-1", {"tasks": [{"task_id": "g0-1.2.0", "skill": "encode", "running_ms": 5000}]})

    answers = [operator.post("/api/v1/workers/w-1/drain"), operator.get("/api/v1/workers/w-1")]
    answers += [operator.post("/api/v1/workers/w-1/resume"), operator.get("/api/v1/workers/w-1")]
    drained, resumed = answers[1].json, answers[3].json

    assert [answer.status_code for answer in answers] == [204, 200, 204, 200]
    assert (drained["status"], drained["drain_requested_by"]) == ("draining", "operator")
    [task] = drained["tasks"]
    assert (task["task_id"], task["job_id"], task["skill"], task["running_ms"]) == ("g0-1.2.0", "g0-1", "encode", 5000)
    assert task["started_at"] < drained["last_heartbeat_at"]
    assert (resumed["status"], resumed["drain_requested_at"]) == ("idle", None)


def test_a_worker_is_revoked_and_allowed_again(operator: FlaskClient, alice: FlaskClient, store: Store) -> None:
    store.registry.register("w-1", {"type": "", "skills": []})

    answers = [operator.post(f"/api/v1/workers/w-1/{action}") for action in ("revoke", "revoke", "allow")]
    again = problem(operator.post("/api/v1/workers/w-1/allow"), 404, "not_found")
    absent = operator.post("/api/v1/workers/w-9/revoke")
    names = store.registry.recall()
    problem(operator.post("/api/v1/workers/w-1/allow"), 404, "not_found")
    problem(operator.post("/api/v1/workers/w%201/revoke"), 404, "not_found")
    for action in ("revoke", "allow"):
        problem(alice.post(f"/api/v1/workers/w-1/{action}"), 403, ForbiddenError.code)

    assert [answer.status_code for answer in [*answers, absent]] == [204] * 4
    assert "revoked worker" in again["detail"]
    assert names == {"!w-9"}


def test_draining_is_for_operators_and_known_workers(operator: FlaskClient, alice: FlaskClient) -> None:
    for action in ("drain", "resume"):
        problem(alice.post(f"/api/v1/workers/w-1/{action}"), 403, ForbiddenError.code)
        problem(operator.post(f"/api/v1/workers/w-1/{action}"), 404, "not_found")
    problem(alice.get("/api/v1/workers/w-1"), 403, ForbiddenError.code)
