from __future__ import annotations

import re
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient


@pytest.fixture
def spec(anybody: FlaskClient) -> dict[str, Any]:
    response = anybody.get("/openapi.json")
    assert response.status_code == 200
    document: dict[str, Any] = response.json
    return document


def test_every_route_of_the_api_is_documented(app: Flask, spec: dict[str, Any]) -> None:
    undocumented = {"/openapi.json", "/api/v1/jobs/<endpoint>", "/metrics"}
    pages = ("pages.", "approval-page.")
    rules = {rule.rule for rule in app.url_map.iter_rules() if not rule.endpoint.startswith(pages)} - undocumented

    assert set(spec["paths"]) == {re.sub(r"<(?:\w+(?:\([^)]*\))?:)?(\w+)>", r"{\1}", rule) for rule in rules}


def test_every_operation_has_a_summary_a_success_and_the_problem_as_default(spec: dict[str, Any]) -> None:
    for operation in _operations(spec):
        assert operation["summary"]
        assert any(status.startswith(("2", "302")) for status in operation["responses"])
        assert operation["responses"]["default"] == {"$ref": "#/components/responses/DEFAULT_ERROR"}
    default = spec["components"]["responses"]["DEFAULT_ERROR"]
    assert list(default["content"]) == ["application/problem+json"]


def test_every_reference_leads_somewhere(spec: dict[str, Any]) -> None:
    references = list(_references(spec))

    assert references
    for reference in references:
        place: Any = spec
        for part in reference.removeprefix("#/").split("/"):
            place = place[part]


def test_every_path_parameter_is_declared(spec: dict[str, Any]) -> None:
    for path, operations in spec["paths"].items():
        declared = {each["name"] for each in operations.get("parameters", ()) if each["in"] == "path"}

        assert declared == set(re.findall(r"{(\w+)}", path))


def test_tokens_are_needed_but_for_public_routes(spec: dict[str, Any]) -> None:
    assert spec["security"] == [{"clientToken": []}, {"bearer": []}]
    assert set(spec["components"]["securitySchemes"]) == {"clientToken", "bearer"}
    for path, operations in spec["paths"].items():
        needs_none = operations.get("get", {}).get("security") == []
        assert needs_none is not (path.startswith("/api/") and path != "/api/v1/worker-openapi.json")


def test_a_job_is_created_by_the_schema_that_is_documented(spec: dict[str, Any]) -> None:
    operation = spec["paths"]["/api/v1/jobs/video"]["post"]

    schema = operation["requestBody"]["content"]["application/json"]["schema"]
    assert schema == {"$ref": "#/components/schemas/JobRequest"}
    properties = spec["components"]["schemas"]["JobRequest"]["properties"]
    assert set(properties) == {
        "initial_data", "webhook_url", "dispatch_timeout", "result_timeout", "execution_timeout", "priority", "labels",
        "delay", "at", "fairness_key", "unique_key", "on_conflict",
    }  # fmt: skip


def test_the_page_lists_every_path_and_loads_nothing(anybody: FlaskClient, spec: dict[str, Any]) -> None:
    page = anybody.get("/docs").text

    for path in spec["paths"]:
        assert f"<code>{path}</code>" in page
    assert "<script" not in page
    assert not re.search(r"(src|href)=\"(?!openapi\.json|api/v1/worker-openapi\.json)", page)


def _operations(spec: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        operation for path in spec["paths"].values() for method, operation in path.items() if method != "parameters"
    ]


def _references(value: Any) -> Any:
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        for inner in value.values():
            yield from _references(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _references(inner)
