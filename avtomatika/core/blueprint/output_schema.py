"""JSON Schemas for the data of results.

``jsonschema`` is imported with the first schema, since most blueprints have none. A schema is checked and compiled
once. References are resolved inside the schema only; nothing is fetched.
"""

import json
from collections.abc import Iterator, Mapping
from functools import lru_cache
from itertools import islice
from typing import Any, NamedTuple

from avtomatika.core.job import Json
from avtomatika.errors import HandlerError

#: Number of compiled schemas in the cache.
_KEPT = 256
#: Messages of the validator repeat the value, so they are cut at this length.
_LONGEST_MESSAGE = 500
_MOST_FAULTS = 20


class Fault(NamedTuple):
    """A violation of a schema; *path* is a JSONPath, ``$`` for the whole data."""

    path: str
    message: str


def check_schema(schema: Mapping[str, Json], name: str) -> None:
    """Raise HandlerError if *schema*, called *name* in the message, is not a valid JSON Schema."""
    if (problem := _compiled(_canonical(schema))[1]) is not None:
        raise HandlerError(f"{name} is not a valid JSON Schema: {problem}")


def faults_by_field(data: Json, schema: Mapping[str, Json]) -> dict[str, list[str]]:
    """Return the violations of *schema* in *data* by dotted field, ``""`` for the whole data; at most 20 of them."""
    validator, problem = _compiled(_canonical(schema))
    if validator is None:
        return {"": [f"the schema is invalid: {problem}"]}
    faults: dict[str, list[str]] = {}
    for each in islice(validator.iter_errors(data), _MOST_FAULTS):
        field = str(each.json_path).removeprefix("$").removeprefix(".")
        if each.validator == "required":
            missing = (name for name in each.validator_value if name not in each.instance)
            faults.update({f"{field}.{name}".removeprefix("."): ["is missing"] for name in missing})
        else:
            faults.setdefault(field, []).append(_shortened(str(each.message)))
    return faults


def fault_in(data: Json, schema: Mapping[str, Json]) -> Fault | None:
    """Return the most relevant violation of *schema* in *data*, the least nested first; None if it is valid."""
    validator, problem = _compiled(_canonical(schema))
    if validator is None:
        return Fault("$", f"the schema is invalid: {problem}")
    from jsonschema.exceptions import relevance

    worst = max(validator.iter_errors(data), key=relevance, default=None)
    return None if worst is None else Fault(str(worst.json_path), _shortened(str(worst.message)))


def _canonical(schema: Mapping[str, Json]) -> str:
    return json.dumps(schema, sort_keys=True, separators=(",", ":"))


@lru_cache(_KEPT)
def _compiled(text: str) -> tuple[Any, str | None]:
    """Return a validator, or the reason why the schema in *text* is invalid."""
    from jsonschema import Draft202012Validator, SchemaError
    from jsonschema.validators import validator_for
    from referencing import Registry
    from referencing.exceptions import Unresolvable
    from referencing.jsonschema import DRAFT202012, specification_with

    schema = json.loads(text)
    kind: Any = validator_for(schema, default=Draft202012Validator)
    registry: Any = Registry()
    try:
        kind.check_schema(schema, format_checker=kind.FORMAT_CHECKER)
        specification = specification_with(kind.META_SCHEMA["$schema"], default=DRAFT202012)
        resolver = registry.with_resource("", specification.create_resource(schema)).resolver()
        for reference in _references(schema):
            resolver.lookup(reference)
    except SchemaError as error:
        return None, _shortened(f"{error.json_path}: {error.message}")
    except Unresolvable as error:
        reason = "cannot be resolved inside the schema (external schemas are not fetched)"
        return None, f"its reference {error.ref!r} {reason}"
    return kind(schema, registry=registry), None


def _references(schema: Json) -> Iterator[str]:
    for name, value in schema.items() if isinstance(schema, dict) else enumerate(schema):
        if name in ("$ref", "$dynamicRef") and isinstance(value, str):
            yield value
        elif isinstance(value, dict | list):
            yield from _references(value)


def _shortened(text: str) -> str:
    return text if len(text) <= _LONGEST_MESSAGE else f"{text[:_LONGEST_MESSAGE]} ..."
