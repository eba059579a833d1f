from __future__ import annotations

import pytest
from flask import Flask
from flask.testing import FlaskClient

from avtomatika.errors import AvtomatikaError, HandlerError

from .conftest import OPERATOR_TOKEN, problem


def test_a_path_that_is_none_is_answered_with_those_like_it(anybody: FlaskClient) -> None:
    body = problem(anybody.get("/readz"), 404, "not_found")

    assert body["detail"] == "no path '/readz'; did you mean '/readyz'?"


def test_a_method_that_is_not_possible_is_answered_with_those_that_are(alice: FlaskClient) -> None:
    response = alice.delete("/api/v1/blueprints/video")

    assert problem(response, 405, "method_not_allowed")["detail"] == (
        "DELETE is not allowed here; allowed: GET, HEAD, OPTIONS"
    )
    assert set(response.headers["Allow"].split(", ")) == {"GET", "HEAD", "OPTIONS"}


@pytest.mark.parametrize(
    "error", [RuntimeError("password is hunter2"), HandlerError("hunter2"), AvtomatikaError("hunter2")]
)
def test_what_nobody_expected_tells_nothing_but_a_number_that_stands_in_the_log(
    app: Flask, caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    @app.get("/broken")
    def broken() -> str:
        raise error

    response = app.test_client().get("/broken", headers={"X-Client-Token": OPERATOR_TOKEN})

    body = problem(response, 500, "internal_error")
    assert body["detail"] == f"internal error; the log has the details under incident {body['incident']}"
    assert "hunter2" not in response.text
    assert f"incident {body['incident']}" in caplog.text
    assert "hunter2" in caplog.text


def test_a_line_end_in_a_path_does_not_break_the_log(app: Flask, caplog: pytest.LogCaptureFixture) -> None:
    @app.get("/broken/<name>")
    def broken(name: str) -> str:
        raise RuntimeError

    app.test_client().get("/broken/a%0aFORGED", headers={"X-Client-Token": OPERATOR_TOKEN})

    assert "\\nFORGED" in caplog.records[0].getMessage()


def test_every_answer_says_how_it_may_be_used(anybody: FlaskClient) -> None:
    for path in ("/livez", "/nowhere", "/docs"):
        headers = anybody.get(path).headers

        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Cache-Control"] == "no-store"
        assert "default-src 'none'" in headers["Content-Security-Policy"]


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/api/v1/blueprints/vide0", 404),
        ("/api/v1/jobs/nothing", 404),
        ("/api/v1/job", 404),
        ("/api/v1/jobs?limit=0&status=x", 422),
        ("/api/v1/jobs?limit=99999999999999999999999", 422),
        ("/api/v1/jobs?limit=" + "9" * 5000, 422),
        ("/api/v1/jobs/nothing?wait=nan", 422),
        ("/api/v1/jobs/nothing?wait=1e999", 422),
        ("/api/v1/dead-letters?limit=18446744073709551616", 422),
        ("/openapi.json?a=1&a=2", 422),
    ],
)
def test_every_problem_fits_the_schema_that_is_documented(operator: FlaskClient, path: str, status: int) -> None:
    schemas = operator.get("/openapi.json").json["components"]["schemas"]
    known = set(schemas["Problem"]["properties"])

    response = operator.get(path)

    assert response.status_code == status
    assert set(response.json) <= known
