"""Reads JSON bodies, and rejects ambiguous content and content that cannot be stored, with the reason.

Rejected are NaN and infinities, integers of more than 64 bits, duplicate keys in an object, lone surrogates, and
nesting deeper than 64 levels.
"""

import json
from collections import Counter
from collections.abc import Iterable
from math import isfinite
from typing import NoReturn

from flask import Request
from werkzeug.exceptions import RequestEntityTooLarge, UnsupportedMediaType

from avtomatika.core.job import Json
from avtomatika.errors import InvalidRequestError

#: Maximum size of a body.
MAX_BYTES = 1024 * 1024
#: Maximum nesting of a body, itself included.
MAX_DEPTH = 64
#: Integers that every JSON library in use can read.
_INTEGERS = range(-(2**63), 2**63)
#: Digits and sign of the longest such integer.
_LONGEST_INTEGER = 20


def read_json(request: Request) -> dict[str, Json]:
    """Return the JSON object in the body of *request*. Raises InvalidRequestError, or errors of Flask for wrong headers
    and size."""
    _check_type(request)
    raw = request.get_data(cache=False)
    if request.content_length is None and len(raw) >= (request.max_content_length or MAX_BYTES):
        raise RequestEntityTooLarge  # sent in chunks; the part beyond the limit was not read
    if not raw:
        raise _invalid("the body is empty, but must be a JSON object")
    try:
        value = _DECODER.decode(raw.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise _invalid(f"the body is not UTF-8: byte {error.start} is wrong") from None
    except json.JSONDecodeError as error:
        raise _invalid(f"the body is not JSON: {error}") from None
    except RecursionError:
        raise _invalid(_TOO_DEEP) from None
    if not isinstance(value, dict):
        raise _invalid(f"the body is {_kind(value)}, but must be a JSON object")
    _check_values(value)
    return value


_TOO_DEEP = f"the body is nested deeper than {MAX_DEPTH} levels"


def _check_type(request: Request) -> None:
    """Accept a body without a media type as JSON; reject any other type."""
    if request.content_encoding:
        raise UnsupportedMediaType(
            f"a body with Content-Encoding {request.content_encoding!r} cannot be read: send it plain"
        )
    if request.mimetype and not request.is_json:
        raise UnsupportedMediaType(f"the body is {request.mimetype!r}: send it with Content-Type: application/json")


def _integer(text: str) -> int:
    if len(text) > _LONGEST_INTEGER or int(text) not in _INTEGERS:
        raise _invalid(f"the body contains an integer of more than 64 bits: {text[:_LONGEST_INTEGER]}...")
    return int(text)


def _number(text: str) -> float:
    value = float(text)
    if not isfinite(value):
        raise _invalid(f"the body contains a number that is too large: {text[:_LONGEST_INTEGER]}")
    return value


def _constant(text: str) -> NoReturn:
    raise _invalid(f"the body contains {text}, which is not JSON")


def _object(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    value = dict(pairs)
    if len(value) != len(pairs):
        [(twice, _)] = Counter(name for name, _ in pairs).most_common(1)
        raise _invalid(f"the body contains the key {twice!r} twice in one object")
    return value


_DECODER = json.JSONDecoder(
    parse_int=_integer, parse_float=_number, parse_constant=_constant, object_pairs_hook=_object
)


def _check_values(value: Json) -> None:
    """Reject, level by level, nesting that is too deep and text that cannot be encoded."""
    level: list[Json] = [value]
    for _ in range(MAX_DEPTH + 1):
        below: list[Json] = []
        for item in level:
            below.extend(_inside(item))
        if not below:
            return
        level = below
    raise _invalid(_TOO_DEEP)


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
                raise _invalid("the body contains text with a lone surrogate") from None
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


def _invalid(message: str) -> InvalidRequestError:
    return InvalidRequestError(message, fields={"body": [message]})
