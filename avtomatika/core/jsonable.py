"""Checks that a value is JSON, in the handler that produces it rather than at the commit."""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite

from avtomatika.errors import HandlerError

from .job import Json

#: Maximum nesting depth of the encoder.
MAX_DEPTH = 200
#: Range of integers that the encoder accepts.
SMALLEST, LARGEST = -(2**63), 2**64 - 1


class _NotJsonError(Exception):
    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.path = ""


def as_json(value: object, name: str) -> Json:
    """Return a copy of *value* as plain JSON types: tuples as lists, enum members as their values, paths as text.

    Raise HandlerError with the position in *name* of anything else.

    >>> as_json({"size": (640, 480)}, "params")
    {'size': [640, 480]}
    >>> as_json({"tags": [{"a", "b"}]}, "params")
    Traceback (most recent call last):
    avtomatika.errors.HandlerError: params['tags'][0] is of type set, which JSON cannot represent
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
                raise _NotJsonError("is an integer of more than 64 bits, which JSON cannot represent")
            return int(value)
        case float():
            if not isfinite(value):
                raise _NotJsonError(f"is {value}, which JSON cannot represent")
            return float(value)
        case Mapping() | list() | tuple():
            if depth == 0:
                raise _NotJsonError(f"is nested deeper than {MAX_DEPTH} levels, or contains itself")
            return _object(value, depth) if isinstance(value, Mapping) else _array(value, depth)
        case _ if hasattr(value, "__fspath__"):
            return _plain(value.__fspath__(), depth)
        case _:
            raise _NotJsonError(f"is of type {type(value).__name__}, which JSON cannot represent")


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
            error.path = f"[{key!r}]{error.path}"
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
