"""The overview over HTTP: figures, points and problems, as the schema describes them."""

from datetime import datetime, timedelta

from flask import Flask
from flask.testing import FlaskClient
from jsonschema import Draft202012Validator

from avtomatika import Client
from avtomatika.store import Store

from .conftest import OPERATOR_TOKEN, created_id


def test_an_operator_sees_figures_and_problems(operator: FlaskClient, store: Store) -> None:
    store.plans.announce(["video@1"])
    store.registry.register("w-1", {"type": "video", "skills": [], "version": "avtomatika 0.0.1"})
    created_id(operator)

    seen = operator.get("/api/v1/overview").json

    assert (seen["now"]["jobs"]["pending"], seen["now"]["waiting"]["start"]) == (1, 1)
    assert seen["now"]["tasks"] == {"running": 0, "waiting": 0, "oldest_waiting_seconds": 0}
    assert seen["now"]["workers"] == {"alive": 1, "idle": 1}
    assert seen["hour"]["series"]["created"][:58] == [None] * 58
    assert sum(filter(None, seen["hour"]["series"]["created"])) == 1
    assert (seen["hour"]["step_seconds"], seen["day"]["step_seconds"]) == (60, 600)
    assert [(each["kind"], each["count"]) for each in seen["problems"]] == [("versions_mixed", 2)]
    assert seen["hour"]["starts_at"].endswith(":00.000Z")


def test_the_last_points_of_hour_and_day_are_now(operator: FlaskClient) -> None:
    seen = operator.get("/api/v1/overview").json

    for points, digits in ((seen["hour"], 16), (seen["day"], 15)):
        count = len(points["series"]["created"])
        last = datetime.fromisoformat(points["starts_at"]) + timedelta(seconds=points["step_seconds"] * (count - 1))
        assert last.isoformat()[:digits] == seen["now"]["at"][:digits]


def test_the_answer_fits_the_schema_of_openapi(app: Flask, operator: FlaskClient) -> None:
    spec = operator.get("/openapi.json").json
    schema = {"$ref": "#/components/schemas/Overview", "components": spec["components"]}

    problems = list(Draft202012Validator(schema).iter_errors(operator.get("/api/v1/overview").json))

    assert problems == []


def test_the_client_reads_it(url: str) -> None:
    with Client(url, OPERATOR_TOKEN) as client:
        assert client.overview()["now"]["jobs"]["failed"] == 0
