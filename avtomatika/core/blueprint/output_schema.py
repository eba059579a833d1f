"""JSON Schemas that the data of results must fit.

``jsonschema`` is imported when the first schema is seen: most blueprints have none. A schema is checked and compiled
once. References lead nowhere but into the schema itself: nothing is ever fetched.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from avtomatika.core.job import Json
from avtomatika.errors import HandlerError

#: How many compiled schemas are kept.
_KEPT = 256
#: Longer words of the validator are cut: they repeat the value.
_LONGEST_MESSAGE = 500


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with data, and where: *path* is a JSONPath, ``$`` for all of it."""

    path: str
    message: str


def check_schema(schema: Mapping[str, Json], name: str) -> None:
    """Raises HandlerError where *schema*, called *name*, is none that data can be held against."""
    problem = _compiled(_canonical(schema))[1]
    if problem is not None:
        raise HandlerError(f"{name} is no JSON Schema: {problem}")


def fault_in(data: Json, schema: Mapping[str, Json]) -> Fault | None:
    """The first thing in *data* that breaks *schema*, the shallowest first; None where it fits."""
    validator, problem = _compiled(_canonical(schema))
    if validator is None:
        return Fault("$", f"the schema itself is none: {problem}")
    from jsonschema.exceptions import relevance

    worst = max(validator.iter_errors(data), key=relevance, default=None)
    return None if worst is None else Fault(str(worst.json_path), _shortened(str(worst.message)))


def _canonical(schema: Mapping[str, Json]) -> str:
    return json.dumps(schema, sort_keys=True, separators=(",", ":"))


@lru_cache(_KEPT)
def _compiled(text: str) -> tuple[Any, str | None]:
    """A validator, or what is wrong with the schema in *text*."""
    from jsonschema import Draft202012Validator, SchemaError
    from jsonschema.validators import validator_for
    from referencing import Registry
    from referencing.exceptions import Unresolvable

    schema = json.loads(text)
    kind: Any = validator_for(schema, default=Draft202012Validator)
    registry: Any = Registry()
    try:
        kind.check_schema(schema, format_checker=kind.FORMAT_CHECKER)
        resolver = registry.with_resource("", _specification(kind).create_resource(schema)).resolver()
        for reference in _references(schema):
            resolver.lookup(reference)
    except SchemaError as error:
        return None, _shortened(f"{error.json_path}: {error.message}")
    except Unresolvable as error:
        return None, f"its reference {error.ref!r} leads to nothing in it (what lies elsewhere is not fetched)"
    return kind(schema, registry=registry), None


def _specification(validator: Any) -> Any:
    """The specification that the schemas of *validator* are written in."""
    from referencing.jsonschema import DRAFT202012, specification_with

    return specification_with(validator.META_SCHEMA["$schema"], default=DRAFT202012)


def _references(schema: Json) -> Iterator[str]:
    if isinstance(schema, dict):
        for name, value in schema.items():
            if name in ("$ref", "$dynamicRef") and isinstance(value, str):
                yield value
            else:
                yield from _references(value)
    elif isinstance(schema, list):
        for value in schema:
            yield from _references(value)


def _shortened(text: str) -> str:
    return text if len(text) <= _LONGEST_MESSAGE else f"{text[:_LONGEST_MESSAGE]} ..."
