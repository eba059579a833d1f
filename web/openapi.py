"""Completes the OpenAPI document from ``api/operations.json``: ids, descriptions, examples and errors of operations."""

from http import HTTPStatus
from pathlib import Path
from typing import Any

import orjson
from apispec import BasePlugin
from flask_smorest import Api

from avtomatika.schemas.api_server import ProblemSchema

_DATA: dict[str, dict[str, Any]] = orjson.loads((Path(__file__).parent / "api" / "operations.json").read_bytes())
#: Errors of every operation; the others depend on its security, path and body, or are listed with it.
_ALWAYS = (422, 500)
_AUTHENTICATED = (401, 403, 429, 503)
_WITH_BODY = (413, 415)


class OperationDetails(BasePlugin):
    """A plugin of apispec that completes each operation."""

    def path_helper(self, *_: Any, parameters: Any = None, **__: Any) -> None:
        for each in parameters:
            more = _DATA["parameters"].get(each["name"], {})
            each |= {**more, "schema": {**each["schema"], **more.get("schema", {})}}

    def operation_helper(self, path: str | None = None, operations: Any = None, **options: Any) -> None:
        group, _, view = options["rule"].endpoint.rpartition(".")
        name = view if group != "creation" else "create_jobs" if view.endswith("-batch") else "create_job"
        for method, operation in operations.items():
            operation.setdefault("operationId", view)
            if method == "get" and operation.get("security") != []:
                operation["responses"]["304"] = {"description": "the body with this ETag is current (`If-None-Match`)"}
            _complete(operation, _DATA["operations"].get(name, {}), path=str(path))


def _complete(operation: dict[str, Any], details: dict[str, Any], *, path: str) -> None:
    operation["description"] = details.get("description", "")
    for each in operation.get("parameters", ()):
        if isinstance(each, dict) and each.get("in") == "query":
            each["schema"] = _in_query(each["schema"])
    body, responses = operation.get("requestBody"), {str(key): value for key, value in operation["responses"].items()}
    operation["responses"] = responses
    errors = {*_ALWAYS, *details.get("errors", ()), *([404] if "{" in path else ())}
    errors.update(_AUTHENTICATED if operation.get("security") != [] else (), _WITH_BODY if body else ())
    for status in sorted(errors):
        responses.setdefault(str(status), HTTPStatus(status).name)
    if body is not None and "request" in details:
        body["content"]["application/json"].setdefault("example", details["request"])
    if "response" in details:
        content = responses[min(status for status in responses if status[0] == "2")]["content"]
        next(iter(content.values())).setdefault("example", details["response"])
        content |= {media: {"schema": {}} for media in details.get("content", ())}


def _in_query(schema: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of a query parameter, which is omitted instead of null or empty."""
    if isinstance(schema.get("type"), list):
        schema = {**schema, "type": schema["type"][0]}
    return {name: value for name, value in schema.items() if name != "default" or value not in (None, [], ())}


class CompleteApi(Api):
    """flask-smorest with the error format of this app."""

    ERROR_SCHEMA = ProblemSchema

    def _register_error_handlers(self) -> None:
        """Do nothing: ``problems.register_problems`` registers the handlers."""

    def _register_responses(self) -> None:
        """Document the error responses once for all views."""
        known = {HTTPStatus(int(status)): each for status, each in _DATA["errors"].items()}
        examples: dict[str, dict[str, Any]] = {self.DEFAULT_ERROR_RESPONSE_NAME: {"title": "an error"}}
        for status, (code, detail) in known.items():
            titles = {"type": "about:blank", "title": status.phrase, "status": status}
            examples[status.name] = {**titles, "detail": detail, "code": code}
        for name, example in examples.items():
            content = {"application/problem+json": {"schema": self.ERROR_SCHEMA, "example": example}}
            self.spec.components.response(name, {"description": example["title"], "content": content}, lazy=True)
