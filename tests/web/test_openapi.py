"""The OpenAPI documents are complete, and their examples fit their schemas."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from jsonschema import Draft202012Validator
from openapi_spec_validator import validate

DOCUMENTS = ("/openapi.json", "/api/v1/worker-openapi.json")


@pytest.fixture(params=DOCUMENTS)
def document(anybody: FlaskClient, request: pytest.FixtureRequest) -> dict[str, Any]:
    response = anybody.get(request.param)
    assert response.status_code == 200
    found: dict[str, Any] = response.json
    return found


def test_the_document_is_valid(document: dict[str, Any]) -> None:
    validate(document)


def test_every_operation_has_an_id_a_summary_a_description_and_examples(document: dict[str, Any]) -> None:
    ids = [operation["operationId"] for _, _, operation in operations(document)]

    assert len(ids) == len(set(ids))
    for method, path, operation in operations(document):
        assert operation["summary"], path
        assert operation["description"], path
        bodies = [operation["requestBody"]] if "requestBody" in operation else []
        success = next(each for status, each in sorted(operation["responses"].items()) if status[0] in "23")
        for body in (*bodies, success):
            for content in [*body.get("content", {}).values()][:1]:
                assert "example" in content, (method, path)


def test_every_operation_lists_the_errors_that_it_can_answer(document: dict[str, Any]) -> None:
    for method, path, operation in operations(document):
        listed = set(operation["responses"])
        expected = {"422"} if path.startswith("/api") else set()
        if operation.get("security") != []:
            expected |= {"401", "429", "503"}
        if "requestBody" in operation:
            expected |= {"413", "415"}
        assert expected <= listed, (method, path)
        if path.startswith("/api") and "{" in path:
            assert "404" in listed, (method, path)


def test_every_example_fits_its_schema(document: dict[str, Any]) -> None:
    found = list(examples(document))

    assert len(found) > 10
    for example, schema in found:
        Draft202012Validator({**schema, "components": document["components"]}).validate(example)


def test_every_route_of_workers_is_documented(app: Flask, anybody: FlaskClient) -> None:
    from avtomatika.web.gateway.routes import routes

    app.register_blueprint(routes)
    rules = [rule for rule in app.url_map.iter_rules() if rule.rule.startswith("/_worker")]
    document = anybody.get(DOCUMENTS[1]).json

    served = {(method.lower(), rule.rule) for rule in rules for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}}
    documented = {(method, re.sub(r"{(\w+)}", r"<\1>", path)) for method, path, _ in operations(document)}
    assert documented == served


def operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            if method != "parameters":
                yield method, path, operation


def examples(value: Any) -> Iterator[tuple[Any, dict[str, Any]]]:
    """Every example with its schema: beside it, or the schema that has it."""
    if isinstance(value, dict):
        if "example" in value:
            yield value["example"], value.get("schema", value)
        for name, inner in value.items():
            if name != "example":
                yield from examples(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from examples(inner)
