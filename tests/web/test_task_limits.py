"""``/api/v1/limits``: limits of tasks, for operators; and the methods of the client."""

from __future__ import annotations

from typing import Any

import pytest
from flask.testing import FlaskClient

from avtomatika.client import Client
from avtomatika.core.limits import LimitValues
from avtomatika.errors import ConflictError, InvalidRequestError, NotFoundError
from avtomatika.store import Store

from .conftest import OPERATOR_TOKEN, problem

PATH = "/api/v1/limits/key/acct-7"


def test_a_limit_is_set_listed_paused_resumed_and_removed(operator: FlaskClient) -> None:
    made = operator.put(PATH, json={"concurrency": 3, "rate": "100/m"})
    paused, listed = operator.post(f"{PATH}/pause"), operator.get("/api/v1/limits")
    resumed, removed = operator.post(f"{PATH}/resume"), operator.delete(PATH)

    assert made.json == {
        **{"kind": "key", "name": "acct-7", "concurrency": 3, "rate": "100/minute", "source": "api"},
        **{"running": 0, "waiting": 0, "paused_at": None, "paused_by": None, "jobs": []},
    }
    assert (paused.json["paused_by"], listed.json) == ("operator", {"limits": [paused.json]})
    assert (resumed.json["paused_at"], removed.status_code) == (None, 204)
    assert operator.get("/api/v1/limits").json == {"limits": []}
    assert operator.get(PATH).json["concurrency"] is None


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("key/a", {}, "concurrency"),
        ("key/a", {"concurrency": 0}, "concurrency"),
        ("key/a", {"rate": "100"}, "rate"),
        ("key/a", {"speed": 1}, "speed"),
        ("skill/a b", {"concurrency": 1}, "name"),
    ],
)
def test_an_invalid_limit_is_refused_by_field(operator: FlaskClient, path: str, body: Any, field: str) -> None:
    refused = problem(operator.put(f"/api/v1/limits/{path}", json=body), 422, "invalid_request")

    assert list(refused["errors"]) == [field]


def test_the_limits_of_the_file_are_changed_there_only(operator: FlaskClient, store: Store) -> None:
    store.limits.define("file", {"key:acct-7": LimitValues.of(1)})

    assert "limits.toml" in problem(operator.put(PATH, json={"concurrency": 3}), 409, "conflict")["detail"]
    assert "limits.toml" in problem(operator.delete(PATH), 409, "conflict")["detail"]


def test_limits_are_for_operators(alice: FlaskClient) -> None:
    problem(alice.get("/api/v1/limits"), 403, "forbidden")
    problem(alice.put(PATH, json={"concurrency": 3}), 403, "forbidden")
    problem(alice.post(f"{PATH}/pause"), 403, "forbidden")


def test_an_unknown_kind_has_no_page(operator: FlaskClient) -> None:
    problem(operator.put("/api/v1/limits/state/a", json={"concurrency": 3}), 404, "not_found")


def test_the_client_has_a_method_for_each_request(url: str) -> None:
    with Client(url, OPERATOR_TOKEN) as client:
        made = client.set_limit("key", "north/7 x", rate="5/s")
        paused, [listed] = client.pause_limit("key", "north/7 x"), client.limits()
        resumed = client.resume_limit("key", "north/7 x")
        client.remove_limit("key", "north/7 x")

        assert (made["name"], made["rate"]) == ("north/7 x", "5/second")
        assert (paused, resumed) == (listed, client.limit("key", "north/7 x") | {"rate": "5/second", "source": "api"})
        with pytest.raises(NotFoundError):
            client.remove_limit("key", "north/7 x")
        with pytest.raises(InvalidRequestError, match="rate is 'fast'"):
            client.set_limit("key", "a", rate="fast")


def test_a_conflict_is_an_error_of_the_client(url: str, store: Store) -> None:
    store.limits.define("file", {"skill:encode": LimitValues.of(1)})

    with Client(url, OPERATOR_TOKEN) as client, pytest.raises(ConflictError, match="change it there"):
        client.set_limit("skill", "encode", concurrency=2)
