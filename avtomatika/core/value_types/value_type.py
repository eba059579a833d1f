"""``ValueType``: the JSON Schema and the reader of one kind of value."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any

from avtomatika.core.job_request import Json
from avtomatika.core.jsonable import as_json
from avtomatika.errors import HandlerError, InvalidInputError, InvalidValueError

#: Takes a value and its path, for error messages. Raises InvalidValueError.
Reader = Callable[[Any, str], Any]

#: Maximum number of problems in one error.
_MOST_PROBLEMS = 20
_OBJECT: Mapping[str, Json] = {"type": "object"}


@dataclass(frozen=True, slots=True)
class ValueType:
    """Without *read*, values are used as they arrive. *words* describe a valid value.

    *is_plain* if reading never converts JSON to another type. *dump* prepares a value for ``as_json``.
    """

    schema: Mapping[str, Json] = field(default_factory=lambda: _OBJECT)
    read: Reader | None = None
    words: str = "an object"
    is_plain: bool = True
    dump: Callable[[Any], Any] | None = None

    def load(self, value: Json, path: str) -> Any:
        """Return the Python value of JSON. Raises InvalidInputError, also for exceptions of users' validators."""
        if self.read is None:
            return value
        try:
            return self.read(value, path)
        except InvalidInputError:
            raise
        except Exception as error:
            text = str(error) if isinstance(error, ValueError | TypeError) else f"{type(error).__name__}: {error}"
            raise InvalidValueError((path, text)) from error

    def normalize(self, value: Json, path: str) -> Json:
        """Return validated JSON, with defaults filled in. Raises InvalidInputError."""
        if self.read is None:
            return value
        loaded = self.load(value, path)
        try:
            return as_json(loaded if self.dump is None else self.dump(loaded), path)
        except HandlerError as error:
            raise InvalidInputError(str(error)) from error


def load_all(parts: Iterable[tuple[ValueType, Json, str]], problems: Iterable[tuple[str, str]] = ()) -> list[Any]:
    """Load all (type, value, path). Raises one InvalidValueError for *problems* and those of all parts."""
    loaded, found = [], list(problems)
    for value_type, value, path in parts:
        try:
            loaded.append(value_type.load(value, path))
        except InvalidValueError as error:
            found += error.problems
            if len(found) >= _MOST_PROBLEMS:
                break
    if found:
        raise InvalidValueError(*found[:_MOST_PROBLEMS])
    return loaded


def expect(is_right: bool, value: Any, path: str, words: str) -> None:
    """Raise the error for *value* unless *is_right*."""
    if not is_right:
        raise unexpected(value, path, words)


def unexpected(value: Any, path: str, words: str) -> InvalidValueError:
    """Return the error that *value* is not what *words* describe."""
    return InvalidValueError((path, f"is {repr(value)[:80]}, but must be {words}"))


def suggestion(name: str, known: Iterable[str]) -> str:
    """Return a hint if *name* resembles a known one."""
    near = get_close_matches(name, list(known), n=1)
    return f"; did you mean {near[0]!r}?" if near else ""


def fields_type(
    fields: Mapping[str, ValueType],
    *,
    required: Collection[str],
    make: Callable[[dict[str, Any]], Any] = dict,
    ignored: Collection[str] = (),
    is_plain: bool = False,
) -> ValueType:
    """Return the type of an object with *fields*; *make* converts the read fields.

    Fields that are *ignored* may be there; all other unknown ones are invalid.
    """

    def problems(value: Mapping[str, Any], path: str) -> Iterator[tuple[str, str]]:
        for name in value:
            if name not in fields and name not in ignored:
                yield f"{path}.{name}", f"unknown field{suggestion(name, fields)}"
        for name in required:
            if name not in value:
                yield f"{path}.{name}", "is missing"

    def read(value: Any, path: str) -> Any:
        expect(isinstance(value, dict), value, path, "an object")
        names = [name for name in value if name in fields]
        parts = ((fields[name], value[name], f"{path}.{name}") for name in names)
        return make(dict(zip(names, load_all(parts, problems(value, path)), strict=True)))

    properties = {name: dict(value_type.schema) for name, value_type in fields.items()}
    schema = {"type": "object", "properties": properties, "required": list(required), "additionalProperties": False}
    return ValueType(schema, read, is_plain=is_plain)
