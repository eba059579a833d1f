"""Conversion of Python values to JSON, in the function that produces them rather than when they are sent.

The table in docs/blueprints.md lists the forms; ``value_types`` is the other direction.
"""

import dataclasses
from base64 import b64encode
from collections.abc import Callable, Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from math import isfinite
from typing import Any, ClassVar, Protocol
from uuid import UUID

from avtomatika.errors import HandlerError

from .job_request import Json

#: Maximum nesting depth of the encoder.
MAX_DEPTH = 200
#: Range of integers that the encoder accepts.
SMALLEST, LARGEST = -(2**63), 2**64 - 1


class _Dataclass(Protocol):
    __dataclass_fields__: ClassVar[dict[str, Any]]


class _Model(Protocol):
    """An instance of a pydantic model."""

    @property
    def model_fields_set(self) -> set[str]: ...


#: A value that becomes a JSON object.
JsonObject = Mapping[str, Json] | _Dataclass | _Model


class _NotJsonError(Exception):
    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.path = ""


def as_json(value: object, name: str) -> Json:
    """Return a copy of *value* as plain JSON types. Raise HandlerError with the position in *name* of a value without
    a JSON form.

    >>> as_json({"size": (640, 480), "tags": {"a"}}, "params")
    {'size': [640, 480], 'tags': ['a']}
    >>> as_json({"tags": ["a", 3j]}, "params")
    Traceback (most recent call last):
    avtomatika.errors.HandlerError: params.tags[1] is of type complex, which has no JSON form: convert it to a dict, a \
dataclass, text or a number
    """
    try:
        return _plain(value, MAX_DEPTH)
    except _NotJsonError as error:
        raise HandlerError(f"{name}{error.path} {error}") from None


def _plain(value: object, depth: int) -> Json:
    match value:
        case str():
            return _text(value)
        case None | bool():
            return value
        case int():
            if not SMALLEST <= value <= LARGEST:
                raise _NotJsonError(
                    "is an integer of more than 64 bits, which JSON cannot represent: convert it to text"
                )
            return int(value)
        case float():
            if not isfinite(value):
                raise _NotJsonError(f"is {value}, which JSON cannot represent: use None or text")
            return float(value)
    if depth == 0:
        raise _NotJsonError(f"is nested deeper than {MAX_DEPTH} levels, or contains itself")
    match value:
        case Mapping():
            return _object(value, depth)
        case list() | tuple():
            return _array(value, depth)
        case _:
            return _plain(_form(value), depth - 1)


def _text(value: str) -> str:
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            raise _NotJsonError("contains a lone surrogate, which JSON cannot represent") from None
    return str.__str__(value)


def _object(value: Mapping[object, object], depth: int) -> Json:
    plain = {}
    for key, item in value.items():
        if not isinstance(key, str):
            raise _NotJsonError(f"has the key {key!r}, of type {type(key).__name__}; keys of JSON objects must be text")
        try:
            plain[_text(key)] = _plain(item, depth - 1)
        except _NotJsonError as error:
            error.path = f".{key}{error.path}" if key.isidentifier() else f"[{key!r}]{error.path}"
            raise
    return plain


def _array(value: list[object] | tuple[object, ...], depth: int) -> Json:
    plain = []
    for index, item in enumerate(value):
        try:
            plain.append(_plain(item, depth - 1))
        except _NotJsonError as error:
            error.path = f"[{index}]{error.path}"
            raise
    return plain


def _time(value: datetime) -> str:
    if value.tzinfo is None:
        raise _NotJsonError("is a datetime without a time zone: use datetime.now(UTC), or .replace(tzinfo=...)")
    return value.isoformat().replace("+00:00", "Z")


def _sorted(value: set[Any] | frozenset[Any]) -> list[Any]:
    """Return the items in an order that is the same in every process."""
    try:
        return sorted(value)
    except TypeError:
        return sorted(value, key=repr)


def _base64(value: bytes | bytearray | memoryview) -> str:
    return b64encode(value).decode()


#: JSON forms of the standard library's types, specific before general.
_FORMS: Mapping[type, Callable[[Any], object]] = {
    datetime: _time,
    date: date.isoformat,
    time: time.isoformat,
    timedelta: timedelta.total_seconds,
    UUID: str,
    Decimal: str,
    Enum: lambda member: member.value,
    set: _sorted,
    frozenset: _sorted,
    bytes: _base64,
    bytearray: _base64,
    memoryview: _base64,
}
#: The remedy for a value that has an attribute of this name.
_HINTS = {
    "tolist": "call .tolist()",
    "to_dict": "call .to_dict()",
    "__await__": "await it",
    "__next__": "convert it with list(...)",
    "read": "return its content, or write it to a file of the task and return the path",
}


def _form(value: object) -> object:
    """Return the form of *value*, whose parts may need conversion too."""
    try:
        return _converted(value)
    except _NotJsonError:
        raise
    except Exception as error:  # code of the user's class
        message = f"of type {type(value).__name__} cannot be converted: {type(error).__name__}: {error}"
        raise _NotJsonError(message) from error


def _converted(value: Any) -> object:
    for kind, form in _FORMS.items():
        if isinstance(value, kind):
            return form(value)
    if hasattr(value, "__fspath__"):
        return value.__fspath__()
    if isinstance(value, type):
        raise _without_form(f"is the class {value.__name__}", "use an instance or its name")
    if dataclasses.is_dataclass(value):
        return {each.name: getattr(value, each.name) for each in dataclasses.fields(value)}
    if hasattr(value, "__pydantic_fields__"):
        return value.model_dump(mode="json", by_alias=True)
    if getattr(value, "shape", None) == () and hasattr(value, "item"):  # a scalar of numpy or another array library
        return value.item()
    hints = (hint for name, hint in _HINTS.items() if hasattr(value, name))
    hint = next(hints, "convert it to a dict, a dataclass, text or a number")
    raise _without_form(f"is of type {type(value).__name__}", hint)


def _without_form(what: str, hint: str) -> _NotJsonError:
    return _NotJsonError(f"{what}, which has no JSON form: {hint}")
