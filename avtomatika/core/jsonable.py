"""Is it JSON? Found where a handler says it, not when a step is stored."""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite

from avtomatika.errors import HandlerError

from .job import Json

#: Deeper nesting than this is refused by the encoder.
MAX_DEPTH = 200
#: Whole numbers beyond these are refused too.
SMALLEST, LARGEST = -(2**63), 2**64 - 1


class _NotJsonError(Exception):
    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.path = ""


def as_json(value: object, name: str) -> Json:
    """A copy of *value* that is JSON through and through: tuples as lists, members of enums as their values, paths as
    texts.

    Raises HandlerError that says where in *name* something else was found.

    >>> as_json({"size": (640, 480)}, "params")
    {'size': [640, 480]}
    >>> as_json({"tags": [{"a", "b"}]}, "params")
    Traceback (most recent call last):
    avtomatika.errors.HandlerError: params['tags'][0] is of type set, which JSON cannot carry
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
                raise _NotJsonError("is a whole number of more than 64 bits, which JSON cannot carry")
            return int(value)
        case float():
            if not isfinite(value):
                raise _NotJsonError(f"is {value}, which JSON cannot carry")
            return float(value)
        case Mapping() | list() | tuple():
            if depth == 0:
                raise _NotJsonError(f"is nested deeper than {MAX_DEPTH} levels, or contains itself")
            return _object(value, depth) if isinstance(value, Mapping) else _array(value, depth)
        case _ if hasattr(value, "__fspath__"):
            return _plain(value.__fspath__(), depth)
        case _:
            raise _NotJsonError(f"is of type {type(value).__name__}, which JSON cannot carry")


def _text(value: str) -> str:
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            raise _NotJsonError("is text with half a character (a lone surrogate), which JSON cannot carry") from None
    return str.__str__(value)


def _object(value: Mapping[object, object], depth: int) -> Json:
    plain = {}
    for key, item in value.items():
        if not isinstance(key, str):
            raise _NotJsonError(f"has the key {key!r}, of type {type(key).__name__}; keys of JSON are text")
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
