"""Types of single values. Validation is strict: text is not converted to numbers."""

from base64 import b64decode
from collections.abc import Callable, Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID

from .value_type import ValueType, expect, unexpected


def _scalar(name: str, words: str, *kinds: type, make: Callable[[Any], Any] | None = None) -> ValueType:
    def read(value: Any, path: str) -> Any:
        expect(type(value) in kinds, value, path, words)
        return value if make is None else make(value)

    return ValueType({"type": name}, read, words)


def _converted(schema: Mapping[str, Any], words: str, make: Callable[[Any], Any], *kinds: type) -> ValueType:
    """Return a type with another Python type than in JSON; *make* raises ValueError for an invalid value."""

    def read(value: Any, path: str) -> Any:
        expect(type(value) in kinds, value, path, words)
        try:
            return make(value)
        except (ValueError, ArithmeticError):
            raise unexpected(value, path, words) from None

    return ValueType(schema, read, words, is_plain=False)


def _text(format: str, words: str, make: Callable[[str], Any]) -> ValueType:
    return _converted({"type": "string", "format": format}, words, make, str)


def _datetime(text: str) -> datetime:
    value = datetime.fromisoformat(text)
    if value.tzinfo is None:
        raise ValueError
    return value


def _decimal(value: str | float) -> Decimal:
    number = Decimal(str(value))
    if not number.is_finite():
        raise ValueError
    return number


_NULL = _scalar("null", "null", type(None))
_DECIMAL_SCHEMA = {"anyOf": [{"type": "number"}, {"type": "string", "format": "decimal"}]}

#: Types of annotations that have no parts.
SCALARS: Mapping[Any, ValueType] = {
    Any: ValueType({}, words="any value"),
    object: ValueType({}, words="any value"),
    None: _NULL,
    type(None): _NULL,
    bool: _scalar("boolean", "true or false", bool),
    int: _scalar("integer", "a whole number", int),
    float: _scalar("number", "a number", int, float, make=float),
    str: _scalar("string", "text", str),
    Path: _converted({"type": "string"}, "text", Path, str),
    datetime: _text("date-time", "a time with a time zone, like 2030-01-31T12:00:00Z", _datetime),
    date: _text("date", "a date, like 2030-01-31", date.fromisoformat),
    time: _text("time", "a time of day, like 12:30:00", time.fromisoformat),
    timedelta: _converted(
        {"type": "number"}, "a number of seconds", lambda value: timedelta(seconds=value), int, float
    ),
    UUID: _text("uuid", "a UUID", UUID),
    Decimal: _converted(_DECIMAL_SCHEMA, "a decimal number, best as text", _decimal, str, int, float),
    bytes: _text("byte", "bytes as base64", partial(b64decode, validate=True)),
}
