"""The operations of the HTTP API and of the worker protocol, from their OpenAPI documents."""

import json
from collections.abc import Callable, Iterator
from typing import Any

from text import escaped, fenced, table

from avtomatika import Blueprint
from avtomatika.store import RedisClient, Store
from avtomatika.tokens import Clients
from avtomatika.web.app import create_app
from avtomatika.web.gateway.openapi import worker_document

Json = dict[str, Any]
#: Longer patterns list values that the description names.
LONGEST_BOUND = 60
_BOUNDS = ("format", "pattern", "minimum", "maximum", "minLength", "maxLength", "maxItems", "default")


def operations() -> str:
    """Return the operations that clients use. No server is needed: the app connects with the first request."""
    document = api_document()
    parts = []
    for tag in document["tags"]:
        parts.append(f"## {tag['description'] or tag['name']}\n")
        parts += _operations(document, lambda each, name=tag["name"]: name in each["tags"])
    return "\n".join([*parts, "## Schemas\n", *_schemas(document)])


def worker_protocol() -> str:
    """Return the operations that workers use over HTTP."""
    document = worker_document()
    return "\n".join([*_operations(document, lambda each: True), "## Schemas\n", *_schemas(document)])


def api_document() -> Json:
    """Return the OpenAPI document of an installation with a blueprint whose endpoint is ``jobs/BLUEPRINT``."""
    blueprint = Blueprint(name="BLUEPRINT", api_endpoint="jobs/BLUEPRINT")
    blueprint.handler(is_start=True, is_end=True)(nothing)
    store = Store.using(RedisClient.connect("redis://localhost"))
    app = create_app(store=store, plans=[blueprint.plan], clients=Clients(), declare=nothing)
    document: Json = app.test_client().get("/openapi.json").get_json()
    return document


def nothing(*_: str) -> None: ...


def _operations(document: Json, is_chosen: Callable[[Json], bool]) -> Iterator[str]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            if method != "parameters" and is_chosen(operation):
                parameters = [*methods.get("parameters", ()), *operation.get("parameters", ())]
                yield f"### `{method.upper()} {path}`\n"
                yield f"{operation['summary']}. {operation['description']}\n"
                yield table(("parameter", "in", "type", "meaning"), map(_parameter, parameters))
                yield from _body("Body", operation.get("requestBody", {}))
                yield from _responses(operation["responses"])


def _parameter(each: Json) -> tuple[str, ...]:
    return f"`{each['name']}`", each["in"], _type(each.get("schema", {})), escaped(each.get("description", ""))


def _responses(responses: Json) -> Iterator[str]:
    for status, response in responses.items():
        if status < "300":
            yield from _body(f"Response {status}", response)
    errors = [status for status in sorted(responses) if "300" <= status <= "599"]
    yield f"Other responses: {', '.join(errors)}\n"


def _body(title: str, body: Json) -> Iterator[str]:
    contents = body.get("content", {})
    if not contents:
        if "description" in body:
            yield f"**{title}**: {body['description']}\n"
        return
    media, content = next(iter(contents.items()))
    yield f"**{title}**, {' or '.join(f'`{name}`' for name in contents)}: {_type(content.get('schema', {}))}\n"
    inline = content.get("schema", {}).get("properties", {})
    yield table(("field", "type", "meaning"), (_field(*each) for each in inline.items()))
    if "example" in content:
        example = content["example"]
        text = example if isinstance(example, str) else json.dumps(example, indent=2)
        yield fenced(text, "json" if media.endswith("json") else "text")


def _schemas(document: Json) -> Iterator[str]:
    for name, schema in sorted(document.get("components", {}).get("schemas", {}).items()):
        required = set(schema.get("required", ()))
        fields = [_field(field, each, field in required) for field, each in schema.get("properties", {}).items()]
        yield f"### {name}\n"
        yield schema.get("description", "") + "\n"
        yield table(("field", "type", "meaning"), fields)


def _field(name: str, schema: Json, is_required: bool = False) -> tuple[str, str, str]:
    return f"`{name}`" + (", required" if is_required else ""), _type(schema), escaped(schema.get("description", ""))


def _type(schema: Json) -> str:
    """Return the type of *schema* with its bounds; that of a reference is a link to its section."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    for kind in ("anyOf", "oneOf", "allOf"):
        if kind in schema:
            return " or ".join(map(_type, schema[kind]))
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    types = schema.get("type", "string" if "pattern" in schema or "format" in schema else "any")
    text = " or ".join([types] if isinstance(types, str) else types)
    if "items" in schema:
        text = text.replace("array", f"array of {_type(schema['items'])}")
    bounds = [f"{name} `{_plain(schema[name])}`" for name in _BOUNDS if _is_readable(schema.get(name))]
    return ", ".join((text, *bounds))


def _is_readable(bound: Any) -> bool:
    return bound is not None and len(str(bound)) < LONGEST_BOUND


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
