"""Types of parameters: a JSON schema and a validating reader for each supported annotation.

Validation is strict: strings are not converted to numbers, and unknown fields are rejected.
"""

from __future__ import annotations

import dataclasses
import inspect
import types
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from enum import Enum
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from avtomatika.core.job import Json
from avtomatika.errors import InvalidInputError, SkillError

#: Takes a value and its path, for error messages. Raises InvalidInputError.
Reader = Callable[[Any, str], Any]

_OBJECT: Mapping[str, Json] = {"type": "object"}


@dataclass(frozen=True, slots=True)
class ParamType:
    """Without *read*, values are used as they arrive."""

    schema: Mapping[str, Json] = field(default_factory=lambda: _OBJECT)
    read: Reader | None = None


def dataclass_type(cls: Any) -> ParamType:
    """Return the type of a dataclass. Raises SkillError if a field has an unsupported annotation."""
    hints = get_type_hints(cls)
    fields = {each.name: each for each in dataclasses.fields(cls) if each.init}
    param_types = {name: _value_type(hints[name], f"{cls.__name__}.{name}") for name in fields}
    required = [name for name, each in fields.items() if not _has_default(each)]

    def read(value: Any, path: str) -> Any:
        _expect(isinstance(value, dict), value, path, "an object")
        for name in value:
            if name not in param_types:
                raise InvalidInputError(f"{path}.{name}: unknown field{_suggestion(name, param_types)}")
        for name in required:
            if name not in value:
                raise InvalidInputError(f"{path}.{name}: is missing")
        arguments = {name: _read(param_types[name], item, f"{path}.{name}") for name, item in value.items()}
        try:
            return cls(**arguments)
        except (ValueError, TypeError) as error:  # from __post_init__
            raise InvalidInputError(f"{path}: {error}") from error

    properties = {name: dict(param_type.schema) for name, param_type in param_types.items()}
    schema = {"type": "object", "properties": properties, "required": required, "additionalProperties": False}
    return ParamType(schema, read)


def _value_type(annotation: Any, where: str) -> ParamType:
    """Return the type of a field; *where* is its qualified name."""
    if annotation in _SCALARS:
        return _SCALARS[annotation]
    origin, arguments = get_origin(annotation) or annotation, get_args(annotation)
    if origin in (Union, types.UnionType):
        return _union_type([_value_type(each, where) for each in arguments])
    if origin is Literal:
        return _choice_type({value: value for value in arguments})
    if origin in _LISTS:
        return _list_type(_value_type(arguments[0] if arguments else Any, where), make=_LISTS[origin])
    if origin in OBJECTS:
        return _mapping_type(_value_type(arguments[1] if arguments else Any, where))
    if inspect.isclass(annotation) and issubclass(annotation, Enum):
        return _choice_type({member.value: member for member in annotation})
    if dataclasses.is_dataclass(annotation):
        return dataclass_type(annotation)
    raise SkillError(f"{where} is annotated with {describe(annotation)}, which is not supported")


def _union_type(param_types: Sequence[ParamType]) -> ParamType:
    def read(value: Any, path: str) -> Any:
        problems = []
        for param_type in param_types:
            try:
                return _read(param_type, value, path)
            except InvalidInputError as error:
                problems.append(str(error))
        raise InvalidInputError("; or ".join(problems))

    return ParamType({"anyOf": [dict(param_type.schema) for param_type in param_types]}, read)


def _choice_type(choices: Mapping[Any, Any]) -> ParamType:
    words = ", ".join(repr(choice) for choice in choices)

    def read(value: Any, path: str) -> Any:
        for choice, member in choices.items():
            if type(value) is type(choice) and value == choice:
                return member
        raise _unexpected(value, path, f"one of {words}")

    return ParamType({"enum": list(choices)}, read)


def _list_type(item: ParamType, *, make: Callable[[Any], Any]) -> ParamType:
    def read(value: Any, path: str) -> Any:
        _expect(isinstance(value, list), value, path, "a list")
        return make([_read(item, each, f"{path}[{index}]") for index, each in enumerate(value)])

    return ParamType({"type": "array", "items": dict(item.schema)}, read)


def _mapping_type(item: ParamType) -> ParamType:
    def read(value: Any, path: str) -> Any:
        _expect(isinstance(value, dict), value, path, "an object")
        return {name: _read(item, each, f"{path}[{name!r}]") for name, each in value.items()}

    return ParamType({"type": "object", "additionalProperties": dict(item.schema)}, read)


def _scalar_type(name: str, words: str, kinds: tuple[type, ...], make: Callable[[Any], Any] | None = None) -> ParamType:
    def read(value: Any, path: str) -> Any:
        _expect(type(value) in kinds, value, path, words)
        return value if make is None else make(value)

    return ParamType({"type": name}, read)


_SCALARS: Mapping[Any, ParamType] = {
    Any: ParamType({}),
    object: ParamType({}),
    None: _scalar_type("null", "null", (type(None),)),
    type(None): _scalar_type("null", "null", (type(None),)),
    bool: _scalar_type("boolean", "true or false", (bool,)),
    int: _scalar_type("integer", "a whole number", (int,)),
    float: _scalar_type("number", "a number", (int, float), float),
    str: _scalar_type("string", "text", (str,)),
    Path: _scalar_type("string", "text", (str,), Path),
}
#: Annotations for an object with any keys.
OBJECTS = (dict, Mapping)
_LISTS: Mapping[Any, Callable[[Any], Any]] = {list: list, Sequence: list, tuple: tuple, set: set, frozenset: frozenset}


def _read(param_type: ParamType, value: Any, path: str) -> Any:
    return value if param_type.read is None else param_type.read(value, path)


def _expect(is_right: bool, value: Any, path: str, words: str) -> None:
    if not is_right:
        raise _unexpected(value, path, words)


def _unexpected(value: Any, path: str, words: str) -> InvalidInputError:
    return InvalidInputError(f"{path}: is {repr(value)[:80]}, but must be {words}")


def _suggestion(name: str, known: Mapping[str, Any]) -> str:
    near = get_close_matches(name, known, n=1)
    return f"; did you mean {near[0]!r}?" if near else ""


def _has_default(each: dataclasses.Field[Any]) -> bool:
    return each.default is not dataclasses.MISSING or each.default_factory is not dataclasses.MISSING


def describe(annotation: Any) -> str:
    """Return the name of *annotation* for messages."""
    return annotation.__name__ if inspect.isclass(annotation) else str(annotation)
