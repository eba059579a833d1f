"""Reading JSON bodies: what is ambiguous or cannot be kept is refused, with the reason.

Refused are NaN and infinities, whole numbers of more than 64 bits, one key twice in an object, half characters (lone
surrogates), and nesting deeper than 64 levels.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from math import isfinite
from typing import NoReturn

from flask import Request
from werkzeug.exceptions import RequestEntityTooLarge, UnsupportedMediaType

from avtomatika.core.job import Json
from avtomatika.errors import InvalidRequestError

#: Largest body.
MAX_BYTES = 1024 * 1024
#: Deepest nesting of a body, itself included.
MAX_DEPTH = 64
#: Whole numbers that every reader of JSON here can take.
_INTEGERS = range(-(2**63), 2**63)
#: Digits and sign of the longest of them.
_LONGEST_INTEGER = 20


def read_json(request: Request) -> dict[str, Json]:
    """The JSON object in the body of *request*; raises InvalidRequestError, or what Flask raises for the envelope."""
    _check_type(request)
    raw = request.get_data(cache=False)
    if request.content_length is None and len(raw) >= (request.max_content_length or MAX_BYTES):
        raise RequestEntityTooLarge  # it came in chunks, and what is beyond the limit was left unread
    if not raw:
        raise _refusal("the body is empty, but must be a JSON object")
    try:
        value = _DECODER.decode(raw.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise _refusal(f"the body is not UTF-8: byte {error.start} is wrong") from None
    except json.JSONDecodeError as error:
        raise _refusal(f"the body is not JSON: {error}") from None
    except RecursionError:
        raise _refusal(_TOO_DEEP) from None
    if not isinstance(value, dict):
        raise _refusal(f"the body is {_kind(value)}, but must be a JSON object")
    _check_values(value)
    return value


_TOO_DEEP = f"the body is nested deeper than {MAX_DEPTH} levels"


def _check_type(request: Request) -> None:
    """No type at all is taken for JSON; any other is refused."""
    if request.content_encoding:
        raise UnsupportedMediaType(
            f"a body with Content-Encoding {request.content_encoding!r} cannot be read: send it plain"
        )
    if request.mimetype and not request.is_json:
        raise UnsupportedMediaType(f"the body is {request.mimetype!r}: send it with Content-Type: application/json")


def _integer(text: str) -> int:
    if len(text) > _LONGEST_INTEGER or int(text) not in _INTEGERS:
        raise _refusal(f"the body holds a whole number of more than 64 bits: {text[:_LONGEST_INTEGER]}...")
    return int(text)


def _number(text: str) -> float:
    value = float(text)
    if not isfinite(value):
        raise _refusal(f"the body holds a number that is too large: {text[:_LONGEST_INTEGER]}")
    return value


def _constant(text: str) -> NoReturn:
    raise _refusal(f"the body holds {text}, which is not JSON")


def _object(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    value = dict(pairs)
    if len(value) != len(pairs):
        [(twice, _)] = Counter(name for name, _ in pairs).most_common(1)
        raise _refusal(f"the body holds the key {twice!r} twice in one object")
    return value


_DECODER = json.JSONDecoder(
    parse_int=_integer, parse_float=_number, parse_constant=_constant, object_pairs_hook=_object
)


def _check_values(value: Json) -> None:
    """Level by level: too deep, and texts that no encoder takes."""
    level: list[Json] = [value]
    for _ in range(MAX_DEPTH + 1):
        below: list[Json] = []
        for item in level:
            below.extend(_inside(item))
        if not below:
            return
        level = below
    raise _refusal(_TOO_DEEP)


def _inside(value: Json) -> Iterable[Json]:
    match value:
        case dict():
            return (*value, *value.values())
        case list():
            return value
        case str() if not value.isascii():
            try:
                value.encode()
            except UnicodeEncodeError:
                raise _refusal("the body holds text with half a character (a lone surrogate)") from None
    return ()


def _kind(value: Json) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "true or false"
        case list():
            return "a list"
        case str():
            return "text"
    return "a number"


def _refusal(message: str) -> InvalidRequestError:
    return InvalidRequestError(message, fields={"body": [message]})
