"""Jobs of a blueprint with an input type: checked when they are created, and documented."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from avtomatika import Blueprint, broker
from avtomatika.store import Store
from avtomatika.tokens import Clients
from avtomatika.web.app import create_app

from .conftest import OPERATOR_TOKEN


@dataclass
class Line:
    item: str
    count: int = 1


@dataclass
class Order:
    customer: str
    due: date | None
    lines: list[Line] = field(default_factory=list)
    express: bool = False


order = Blueprint(name="order", api_endpoint="jobs/order", input=Order)


@order.handler(is_start=True, is_end=True)
def start(initial_data: Order) -> int:
    return len(initial_data.lines)


@pytest.fixture
def typed_app(redis_url: str, store: Store, clients: Clients) -> Flask:
    def declare() -> None:
        with broker.connect(redis_url) as connection:
            broker.declare(connection, [order.plan])

    return create_app(store=store, plans=[order.plan], clients=clients, declare=declare)


@pytest.fixture
def client(typed_app: Flask) -> FlaskClient:
    client = typed_app.test_client()
    client.environ_base["HTTP_X_CLIENT_TOKEN"] = OPERATOR_TOKEN
    return client


def test_a_job_is_stored_with_the_defaults_of_its_input(client: FlaskClient, store: Store) -> None:
    given = {"customer": "Ada", "due": "2030-01-31", "lines": [{"item": "tea"}]}

    created = client.post("/api/v1/jobs/order", json={"initial_data": given})

    job = store.load(created.json["job_id"])  # type: ignore[index]
    assert job is not None
    assert job.initial_data == given | {"lines": [{"item": "tea", "count": 1}], "express": False}


@pytest.mark.parametrize(
    ("initial_data", "errors"),
    [
        (
            {"customer": 3, "due": "soon", "lines": [{"item": "tea", "count": "2"}], "expres": True},
            {
                "customer": ["is 3, but must be text"],
                "due": ["is 'soon', but must be a date, like 2030-01-31 or null"],
                "lines[0].count": ["is '2', but must be a whole number"],
                "expres": ["unknown field; did you mean 'express'?"],
            },
        ),
        ({}, {"customer": ["is missing"], "due": ["is missing"]}),
    ],
)
def test_invalid_data_are_rejected_by_field(client: FlaskClient, initial_data: Any, errors: Any) -> None:
    refused = client.post("/api/v1/jobs/order", json={"initial_data": initial_data})

    assert refused.status_code == 422
    assert refused.json["code"] == "invalid_request"  # type: ignore[index]
    assert refused.json["errors"] == {"initial_data": errors}  # type: ignore[index]


def test_a_batch_names_the_invalid_jobs_and_creates_none(client: FlaskClient, store: Store) -> None:
    valid = {"initial_data": {"customer": "Ada", "due": None}}

    refused = client.post("/api/v1/jobs/order/batch", json={"jobs": [valid, {}, valid]})

    missing = {"initial_data": {"customer": ["is missing"], "due": ["is missing"]}}
    assert refused.status_code == 422
    assert refused.json["errors"] == {"jobs": {"1": missing}}  # type: ignore[index]
    assert client.get("/api/v1/jobs").json["jobs"] == []  # type: ignore[index]
    assert len(client.post("/api/v1/jobs/order/batch", json={"jobs": [valid, valid]}).json["job_ids"]) == 2  # type: ignore[index]


def test_each_blueprint_is_an_operation_with_the_schema_of_its_input(client: FlaskClient) -> None:
    spec: Any = client.get("/openapi.json").json

    one = spec["paths"]["/api/v1/jobs/order"]["post"]
    many = spec["paths"]["/api/v1/jobs/order/batch"]["post"]
    schemas = spec["components"]["schemas"]
    properties = schemas[one["requestBody"]["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2]]
    batch = schemas[many["requestBody"]["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2]]
    data = properties["properties"]["initial_data"]
    assert (one["operationId"], many["operationId"]) == ("create_order_job", "create_order_jobs")
    assert data["required"] == ["customer", "due"]
    assert data["additionalProperties"] is False
    assert data["properties"]["due"] == {"anyOf": [{"type": "string", "format": "date"}, {"type": "null"}]}
    assert data["properties"]["lines"]["items"]["properties"]["count"] == {"type": "integer"}
    assert batch["properties"]["jobs"]["items"]["$ref"].endswith("/orderJobRequest")
    assert "priority" in properties["properties"]
