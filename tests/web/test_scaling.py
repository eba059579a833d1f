"""The scaling signal over HTTP."""

from __future__ import annotations

import pytest
from flask.testing import FlaskClient

from avtomatika.store import Store

from .conftest import problem

PATH = "/api/v1/scaling?skill=encode"


def test_a_skill_without_tasks_needs_no_worker(operator: FlaskClient) -> None:
    seen = operator.get(PATH).json

    assert (seen["workers"], seen["slots"], seen["task_seconds"]) == (0, 0, 0)


def test_durations_and_waiting_tasks_decide(operator: FlaskClient, store: Store) -> None:
    store.registry.register("w-1", {"type": "x", "skills": [{"name": "encode", "schema": {}}], "concurrency": 4})
    for _ in range(100):
        store.task_times.record("encode", 3000)
    store.task_times.flush()
    operator.post("/api/v1/tasks/encode", json={"params": {}})

    steady = operator.get(PATH).json
    large = operator.get(f"{PATH}&slots_per_worker=1").json

    assert (steady["task_seconds"], steady["online_workers"]) == (3, 1)
    assert 100 / 360 <= steady["tasks_per_second"] <= 100 / 300
    assert steady["workers"] == 1
    assert 1 <= steady["slots"] <= 4
    assert large["workers"] == large["slots"]


@pytest.mark.parametrize(
    "query", ["", "?skill=", "?skill=encode&target_seconds=0", "?skill=encode&slots_per_worker=-1"]
)
def test_a_wrong_query_is_refused(operator: FlaskClient, query: str) -> None:
    problem(operator.get(f"/api/v1/scaling{query}"), 422, "invalid_request")


def test_it_is_for_operators(alice: FlaskClient) -> None:
    problem(alice.get(PATH), 403, "forbidden")
