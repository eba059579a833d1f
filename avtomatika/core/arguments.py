"""The arguments of actions, checked where a handler gives them: a HandlerError names the argument and its value."""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite

from avtomatika.errors import HandlerError

from .job import Json
from .jsonable import as_json
from .names import is_user_name
from .output_schema import check_schema


def name(value: object, what: str) -> str:
    if not isinstance(value, str):
        raise HandlerError(f"{what} must be text, not {value!r}")
    if not is_user_name(value):
        raise HandlerError(f"{what} {value!r} may hold letters, digits, '_' and '-', and not begin with '_'")
    return value


def params(params: object) -> Mapping[str, Json]:
    if params is None:
        return {}
    if not isinstance(params, Mapping):
        raise HandlerError(f"dispatch_task: params must be a dict, not {params!r}")
    plain: Mapping[str, Json] = as_json(params, "dispatch_task: params")
    return plain


def transitions(transitions: object) -> Mapping[str, str]:
    if not isinstance(transitions, Mapping) or not transitions:
        raise HandlerError(
            f'dispatch_task: transitions must map outcomes to states, as in {{"success": "next"}}, not {transitions!r}'
        )
    return {
        name(outcome, "dispatch_task: the outcome"): name(state, f"dispatch_task: the state for {outcome!r}")
        for outcome, state in transitions.items()
    }


def schema(schema: object) -> Mapping[str, Json] | None:
    if schema is None:
        return None
    if not isinstance(schema, Mapping):
        raise HandlerError(f"dispatch_task: output_schema must be a dict, a JSON Schema, not {schema!r}")
    plain: Mapping[str, Json] = as_json(schema, "dispatch_task: output_schema")
    check_schema(plain, "dispatch_task: output_schema")
    return plain


def whole(value: object, name: str, allowed: range) -> int | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or value not in allowed:
        raise HandlerError(
            f"dispatch_task: {name} must be a whole number, {allowed[0]} to {allowed[-1]}, not {value!r}"
        )
    return value


def seconds(value: object, name: str) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value) or value <= 0:
        raise HandlerError(f"dispatch_task: {name} must be a number of seconds above 0, not {value!r}")
    return value
