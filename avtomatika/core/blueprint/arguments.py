"""Checks for the arguments of actions: a HandlerError names the argument and its value.

*what* is the start of the error message, such as ``dispatch_task: priority``.
"""

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from datetime import datetime, timedelta
from itertools import starmap
from math import inf

from avtomatika.core.job import Json
from avtomatika.core.jsonable import as_json
from avtomatika.core.names import MOST_LABELS, is_label, is_user_name
from avtomatika.core.placement.selection import STRATEGIES, Needs, Strategy
from avtomatika.core.retry import RetryPolicy
from avtomatika.core.times import LATEST_MS, LONGEST_SECONDS
from avtomatika.core.value_types import object_type
from avtomatika.errors import HandlerError

from .output_schema import check_schema


def name(value: object, what: str) -> str:
    if not isinstance(value, str):
        raise HandlerError(f"{what} must be text, not {value!r}")
    if not is_user_name(value):
        raise HandlerError(f"{what} {value!r} may contain letters, digits, '_' and '-', and must not start with '_'")
    return value


def names(value: object, what: str) -> tuple[str, ...]:
    if not isinstance(value, list | tuple | set | frozenset):
        raise HandlerError(f"{what} must be a list of names, not {value!r}")
    return tuple(name(each, what) for each in value)


def text(value: object, what: str) -> str:
    if not isinstance(value, str):
        raise HandlerError(f"{what} must be text, not {value!r}")
    plain: str = as_json(value, what)
    return plain


def json_object(value: object, what: str) -> Mapping[str, Json]:
    if value is None:
        return {}
    plain = as_json(value, what)
    if not isinstance(plain, dict):
        raise HandlerError(f"{what} must be a dict, a dataclass or a pydantic model, not {value!r}")
    return plain


def transitions(value: object, action: str) -> Mapping[str, str]:
    if not isinstance(value, Mapping) or not value:
        raise HandlerError(
            f'{action}: transitions must map outcomes to states, as in {{"success": "next"}}, not {value!r}'
        )
    return {
        name(outcome, f"{action}: the outcome"): name(state, f"{action}: the state for {outcome!r}")
        for outcome, state in value.items()
    }


def schema(value: object, what: str) -> Mapping[str, Json] | None:
    if value is None:
        return None
    if not isinstance(value, Mapping):
        raise HandlerError(f"{what} must be a dict, a JSON Schema, not {value!r}")
    plain: Mapping[str, Json] = as_json(value, what)
    check_schema(plain, what)
    return plain


def form(value: object, what: str) -> Mapping[str, Json] | None:
    """Return the JSON Schema of an object: *value*, or that of a type."""
    if value is not None and not isinstance(value, Mapping):
        try:
            value = _with_defaults(value, object_type(value).schema)
        except TypeError as error:
            raise HandlerError(f"{what} {error}") from None
    found = schema(value, what)
    if found is not None and found.get("type", "object") != "object":
        raise HandlerError(f"{what} must describe an object, not {found['type']!r}")
    return found


def _with_defaults(kind: object, schema: Mapping[str, Json]) -> Mapping[str, Json]:
    """Add the plain defaults of a dataclass, which forms show, to its *schema*."""
    known = fields(kind) if is_dataclass(kind) else ()
    defaults = {each.name: {"default": each.default} for each in known if isinstance(each.default, str | int | float)}
    return (
        {**schema, "properties": {n: {**each, **defaults.get(n, {})} for n, each in schema["properties"].items()}}
        if defaults
        else schema
    )


def labels(value: object, what: str) -> Mapping[str, str]:
    found = json_object(value, what)
    if len(found) > MOST_LABELS or not all(starmap(is_label, found.items())):
        raise HandlerError(f"{what} must map up to {MOST_LABELS} names to texts of 1 to 128 characters, not {value!r}")
    return found


def retry(value: object, what: str) -> RetryPolicy | None:
    if value is not None and not isinstance(value, RetryPolicy):
        raise HandlerError(f"{what} must be a RetryPolicy, not {value!r}")
    return value


def needs(options: Mapping[str, object], action: str) -> Needs | None:
    """Return the requirements of a task on its worker, or None without any."""
    strategy, required, cost = (options.get(key) for key in ("dispatch_strategy", "resource_requirements", "max_cost"))
    if strategy is None and required is None and cost is None:
        return None
    known = ", ".join(STRATEGIES)
    if strategy is not None and strategy not in STRATEGIES:
        raise HandlerError(f"{action}: dispatch_strategy must be one of {known}, not {strategy!r}")
    if cost is not None and (isinstance(cost, bool) or not isinstance(cost, int | float) or not 0 <= cost < inf):
        raise HandlerError(f"{action}: max_cost must be a number of at least 0, not {cost!r}")
    return Needs(
        Strategy(str(strategy or Strategy.LEAST_CONNECTIONS)),
        _requirements(required, f"{action}: resource_requirements"),
        cost,
    )


def _requirements(value: object, what: str) -> Mapping[str, Json]:
    wanted = json_object(value, what)
    devices = wanted.get("devices", [])
    if not isinstance(devices, list) or not all(isinstance(device, dict) for device in devices):
        raise HandlerError(f"{what}: devices must be a list of dicts, not {devices!r}")
    return wanted


def whole(value: object, what: str, allowed: range) -> int | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or value not in allowed:
        raise HandlerError(f"{what} must be a whole number, {allowed[0]} to {allowed[-1]}, not {value!r}")
    return value


def seconds(value: object, what: str) -> float | None:
    """Check a duration and convert it to seconds, limited to the longest delay of a timer."""
    if value is None:
        return None
    if isinstance(value, timedelta):
        value = value.total_seconds()
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < inf:
        raise HandlerError(f"{what} must be a positive number of seconds or a timedelta, not {value!r}")
    return min(value, LONGEST_SECONDS)


def time_ms(value: object, what: str) -> int | None:
    """Convert a datetime with a time zone, or its ISO 8601 text, to milliseconds since the epoch."""
    if value is None:
        return None
    try:
        time = datetime.fromisoformat(value) if isinstance(value, str) else value
    except ValueError:
        time = None
    if not isinstance(time, datetime):
        raise HandlerError(f"{what} must be a datetime, or text like 2030-01-31T12:00:00Z, not {value!r}")
    if time.tzinfo is None:
        raise HandlerError(f"{what} must have a time zone, as datetime.now(UTC) has; {value!r} has none")
    return min(max(round(time.timestamp() * 1000), 0), LATEST_MS)
