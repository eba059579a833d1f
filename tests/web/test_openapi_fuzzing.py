"""schemathesis calls every operation with data that fit the OpenAPI document, and with data that do not."""

from __future__ import annotations

import os
from typing import Any

import pytest
import schemathesis
from flask import Flask
from flask.testing import FlaskClient
from hypothesis import HealthCheck, Phase, given, seed, settings
from schemathesis.core.failures import FailureGroup
from schemathesis.specs.openapi.checks import ignored_auth

from .conftest import OPERATOR_TOKEN, created_id

#: Fields with rules that JSON Schema cannot state: what fits the document may be refused.
BEYOND_SCHEMAS = {"body", "webhook_url", "at", "to", "filter", "uri", "name", "cursor"}
#: The same of schedules.
BEYOND_SCHEMAS |= {"blueprint", "skill", "cron", "timezone", "daily_at", "monthly_dates"}
#: Fields that need another one, or one of two.
BEYOND_SCHEMAS |= {"on_conflict", "concurrency"}
#: Statuses that say what this test lacks: a storage of files, Graphviz, a queue of the skill.
LACKING = {501, 503}
MORE = [pytest.mark.faults, pytest.mark.timeout(1800)]


@pytest.fixture
def api(app: Flask) -> Any:
    """The operations, with the errors that are listed for each, without the default for all."""
    document = app.test_client().get("/openapi.json").json
    for operations in document["paths"].values():
        for operation in operations.values():
            if isinstance(operation, dict):
                operation["responses"].pop("default")
    schema = schemathesis.openapi.from_dict(document)
    schema.app = app
    return schema


@pytest.mark.parametrize("examples", [8, pytest.param(200, marks=MORE)])
def test_every_operation_behaves_as_its_document_says(api: Any, alice: FlaskClient, examples: int) -> None:
    failures: list[str] = []
    for each in api.get_all_operations():
        operation, job_id = each.ok(), created_id(alice)
        if operation.path.endswith(("/events", "/stream")):  # streams end with their job
            alice.post(f"/api/v1/jobs/{job_id}/cancel")
        failures += called(operation, job_id, examples)

    assert not failures, "\n".join(failures)


def called(operation: Any, job_id: str, examples: int) -> list[str]:
    """Call *operation* with generated data; return the failed checks."""
    failures: list[str] = []

    @seed(int(os.environ.get("FAULTS_SEED", "1")))
    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy())
    def run(case: Any) -> None:
        failures.extend(failures_of(case, job_id))

    run()
    return failures


def failures_of(case: Any, job_id: str) -> list[str]:
    """The failed checks of one request. Half of those about a job are about one that exists."""
    if len(str(case.path_parameters.get("job_id", ""))) % 2:
        case.path_parameters["job_id"] = job_id
    if isinstance(case.query.get("wait"), int | float):
        case.query["wait"] = min(case.query["wait"], 0.01)
    response = case.call(headers={"X-Client-Token": OPERATOR_TOKEN, "Accept-Encoding": "identity"})
    try:
        case.validate_response(response, excluded_checks=[ignored_auth])
    except FailureGroup as group:
        told = f"{case.operation.label}: {response.status_code} {response.text[:500]}\n{case.as_curl_command()}"
        return [f"{each}\n{told}" for each in group.exceptions if not is_expected(type(each).__name__, response)]
    return []


def is_expected(failure: str, response: Any) -> bool:
    if failure == "ServerError":
        return response.status_code in LACKING
    return failure == "RejectedPositiveData" and bool(names_in(response.json().get("errors")) & BEYOND_SCHEMAS)


def names_in(errors: Any) -> set[str]:
    """The names of fields in errors by field, at any depth."""
    if not isinstance(errors, dict):
        return set()
    return set(errors).union(*map(names_in, errors.values()))
