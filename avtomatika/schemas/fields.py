"""Fields of wire messages: a check of the value, and its description for errors."""

from collections.abc import Callable
from typing import Any

#: Maximum length of ids and names; job and task ids become keys of the store.
MAX_ID_LENGTH = 256

Check = Callable[[Any], bool]
#: Name of a field, check of its value, and description of a valid value.
Field = tuple[str, Check, str]


def _field(is_right: Check, expected: str) -> Callable[[str], Field]:
    return lambda name: (name, is_right, expected)


def _is_identifier(value: Any) -> bool:
    return isinstance(value, str) and 0 < len(value) <= MAX_ID_LENGTH


def _is_reply(value: Any) -> bool:
    return isinstance(value, dict) and _is_identifier(value.get("exchange")) and isinstance(value.get("prefix"), str)


identifier = _field(_is_identifier, f"text of 1 to {MAX_ID_LENGTH} characters")
identifiers = _field(
    lambda value: isinstance(value, list) and all(map(_is_identifier, value)),
    f"a list of texts of 1 to {MAX_ID_LENGTH} characters",
)
text = _field(lambda value: isinstance(value, str), "text")
count = _field(lambda value: type(value) is int and value >= 0, "an integer from 0")
attempt = _field(lambda value: type(value) is int and value >= 1, "an integer from 1")
seconds = _field(lambda value: type(value) in (int, float) and value > 0, "a number of seconds above 0")
share = _field(lambda value: type(value) in (int, float) and 0 <= value <= 1, "a number from 0 to 1")
flag = _field(lambda value: isinstance(value, bool), "true or false")
json_object = _field(lambda value: isinstance(value, dict), "an object")
anything = _field(lambda value: True, "JSON")
reply = _field(_is_reply, "an object with the texts 'exchange' and 'prefix'")


def one_of(name: str, *words: str) -> Field:
    return name, lambda value: value in words, f"one of {', '.join(words)}"


def or_null(field: Field) -> Field:
    """Like *field*, but also accept null or a missing field."""
    name, is_right, expected = field
    return name, lambda value: value is None or is_right(value), f"null, or {expected}"


def rows(name: str, *columns: Field) -> Field:
    """Accept a list of lists, each with values of *columns* in that order."""
    checks = [is_right for _, is_right, _ in columns]

    def is_right(value: Any) -> bool:
        return isinstance(value, list) and all(
            isinstance(row, list)
            and len(row) == len(checks)
            and all(check(cell) for check, cell in zip(checks, row, strict=True))
            for row in value
        )

    return name, is_right, f"a list of lists of {', '.join(column for column, _, _ in columns)}"
