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
