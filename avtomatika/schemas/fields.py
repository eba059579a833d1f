"""Fields of wire messages: a check of the value, and its description for errors."""

from collections.abc import Callable
from typing import Any

#: Maximum length of ids and names; job and task ids become keys of the store.
MAX_ID_LENGTH = 256

Check = Callable[[Any], bool]
#: Name of a field, check of its value, and description of a valid value.
Field = tuple[str, Check, str]


def identifier(name: str) -> Field:
    return name, _is_identifier, f"text of 1 to {MAX_ID_LENGTH} characters"


def text(name: str) -> Field:
    return name, _is_text, "text"


def count(name: str) -> Field:
    return name, _is_count, "an integer from 0"


def attempt(name: str) -> Field:
    return name, _is_attempt, "an integer from 1"


def seconds(name: str) -> Field:
    return name, _is_seconds, "a number of seconds above 0"


def share(name: str) -> Field:
    return name, _is_share, "a number from 0 to 1"


def json_object(name: str) -> Field:
    return name, _is_object, "an object"


def anything(name: str) -> Field:
    return name, _is_anything, "JSON"


def one_of(name: str, *words: str) -> Field:
    return name, lambda value: value in words, f"one of {', '.join(words)}"


def identifiers(name: str) -> Field:
    return name, _is_identifiers, f"a list of texts of 1 to {MAX_ID_LENGTH} characters"


def reply(name: str) -> Field:
    return name, _is_reply, "an object with the texts 'exchange' and 'prefix'"


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


def _is_identifier(value: Any) -> bool:
    return isinstance(value, str) and 0 < len(value) <= MAX_ID_LENGTH


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_count(value: Any) -> bool:
    return type(value) is int and value >= 0


def _is_attempt(value: Any) -> bool:
    return type(value) is int and value >= 1


def _is_seconds(value: Any) -> bool:
    return type(value) in (int, float) and value > 0


def _is_share(value: Any) -> bool:
    return type(value) in (int, float) and 0 <= value <= 1


def _is_object(value: Any) -> bool:
    return isinstance(value, dict)


def _is_anything(value: Any) -> bool:
    return True


def _is_identifiers(value: Any) -> bool:
    return isinstance(value, list) and all(map(_is_identifier, value))


def _is_reply(value: Any) -> bool:
    return isinstance(value, dict) and _is_identifier(value.get("exchange")) and _is_text(value.get("prefix"))
