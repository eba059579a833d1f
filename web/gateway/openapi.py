"""The OpenAPI document of the worker protocol, from ``protocol.json`` and the schemas of its requests."""

from functools import cache
from http import HTTPStatus
from pathlib import Path
from typing import Any

import orjson
from apispec import APISpec
from apispec.ext.marshmallow import MarshmallowPlugin

from avtomatika import __version__

_ERROR = {"type": "object", "properties": {"error": {"type": "string"}, "code": {"type": "string"}}}
#: Errors of requests with a body only.
_OF_BODIES = (400, 413, 415)
_HEADERS = {"workerId": "X-Worker-ID", "workerToken": "X-Worker-Token"}
_WORKER = {"in": "path", "name": "worker_id", "required": True, "schema": {"type": "string"}, "example": "worker-1"}


@cache
def worker_document() -> dict[str, Any]:
    """Return the document."""
    data = orjson.loads((Path(__file__).parent / "protocol.json").read_bytes())
    security: list[dict[str, list[str]]] = [{name: [] for name in _HEADERS}]
    plugin = MarshmallowPlugin()
    spec = APISpec("avtomatika for workers", __version__, "3.1.0", plugins=[plugin], security=security)
    for name, header in _HEADERS.items():
        spec.components.security_scheme(name, {"type": "apiKey", "in": "header", "name": header})
    for status, text in data["errors"].items():
        code, _, detail = text.partition(": ")
        content = _json(_ERROR, {"error": detail, "code": code})
        spec.components.response(HTTPStatus(int(status)).name, {"description": detail, "content": content})
    for path, operations in data["paths"].items():
        complete = {method: _operation(each, errors=map(int, data["errors"])) for method, each in operations.items()}
        spec.path(path, operations=complete, parameters=[_WORKER] if "{worker_id}" in path else [])
    return spec.to_dict()


def _operation(details: dict[str, Any], *, errors: Any) -> dict[str, Any]:
    schema, request, response = (details.pop(name, None) for name in ("schema", "request", "response"))
    answer = {"type": "object", "properties": {"status": {"type": "string"}, **details.pop("properties")}}
    responses = {"200": {"description": "OK", "content": _json(answer, response)}}
    if "empty" in details:
        responses["204"] = {"description": details.pop("empty")}
    known = [HTTPStatus(status) for status in errors if schema is not None or status not in _OF_BODIES]
    operation = {**details, "responses": responses | {str(status.value): status.name for status in known}}
    return operation if schema is None else operation | {"requestBody": {"content": _json(schema, request)}}


def _json(schema: Any, example: Any) -> dict[str, Any]:
    return {"application/json": {"schema": schema, "example": example}}
