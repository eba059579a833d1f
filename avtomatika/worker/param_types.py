"""Shapes of parameters: what an annotation allows, as a JSON schema and as a function that reads a value of it.

Reading is strict: text is no number, and a field that nobody knows is refused, as Python refuses an unknown argument.
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

#: Takes a value and its path, for messages; raises InvalidInputError.
Reader = Callable[[Any, str], Any]

_OBJECT: Mapping[str, Json] = {"type": "object"}


@dataclass(frozen=True, slots=True)
class ParamType:
    """*read* is None where every value of the kind passes as it is."""

    schema: Mapping[str, Json] = field(default_factory=lambda: _OBJECT)
    read: Reader | None = None


def dataclass_shape(cls: Any) -> ParamType:
    """An object whose fields are those of a dataclass. Raises SkillError for a field that cannot be checked."""
    hints = get_type_hints(cls)
    fields = {each.name: each for each in dataclasses.fields(cls) if each.init}
    shapes = {name: _value_shape(hints[name], f"{cls.__name__}.{name}") for name in fields}
    required = [name for name, each in fields.items() if not _has_default(each)]

    def read(value: Any, path: str) -> Any:
        _expect(isinstance(value, dict), value, path, "an object")
        for name in value:
            if name not in shapes:
                raise InvalidInputError(f"{path}.{name}: there is no such field{_near(name, shapes)}")
        for name in required:
            if name not in value:
                raise InvalidInputError(f"{path}.{name}: is missing")
        arguments = {name: _read(shapes[name], item, f"{path}.{name}") for name, item in value.items()}
        try:
            return cls(**arguments)
        except (ValueError, TypeError) as error:  # of its __post_init__
            raise InvalidInputError(f"{path}: {error}") from error

    properties = {name: dict(shape.schema) for name, shape in shapes.items()}
    schema = {"type": "object", "properties": properties, "required": required, "additionalProperties": False}
    return ParamType(schema, read)


def _value_shape(annotation: Any, where: str) -> ParamType:
    """The shape of a field; *where* is its name in the code."""
    if annotation in _SCALARS:
        return _SCALARS[annotation]
    origin, arguments = get_origin(annotation) or annotation, get_args(annotation)
    if origin in (Union, types.UnionType):
        return _union_shape([_value_shape(each, where) for each in arguments])
    if origin is Literal:
        return _choice_shape({value: value for value in arguments})
    if origin in _LISTS:
        return _list_shape(_value_shape(arguments[0] if arguments else Any, where), make=_LISTS[origin])
    if origin in OBJECTS:
        return _mapping_shape(_value_shape(arguments[1] if arguments else Any, where))
    if inspect.isclass(annotation) and issubclass(annotation, Enum):
        return _choice_shape({member.value: member for member in annotation})
    if dataclasses.is_dataclass(annotation):
        return dataclass_shape(annotation)
    raise SkillError(f"{where} is annotated with {words_of(annotation)}, which JSON cannot be checked against")


def _union_shape(shapes: Sequence[ParamType]) -> ParamType:
    def read(value: Any, path: str) -> Any:
        problems = []
        for shape in shapes:
            try:
                return _read(shape, value, path)
            except InvalidInputError as error:
                problems.append(str(error))
        raise InvalidInputError("; or ".join(problems))

    return ParamType({"anyOf": [dict(shape.schema) for shape in shapes]}, read)


def _choice_shape(choices: Mapping[Any, Any]) -> ParamType:
    words = ", ".join(repr(choice) for choice in choices)

    def read(value: Any, path: str) -> Any:
        for choice, meant in choices.items():
            if type(value) is type(choice) and value == choice:
                return meant
        raise _unexpected(value, path, f"one of {words}")

    return ParamType({"enum": list(choices)}, read)


def _list_shape(item: ParamType, *, make: Callable[[Any], Any]) -> ParamType:
    def read(value: Any, path: str) -> Any:
        _expect(isinstance(value, list), value, path, "a list")
        return make([_read(item, each, f"{path}[{index}]") for index, each in enumerate(value)])

    return ParamType({"type": "array", "items": dict(item.schema)}, read)


def _mapping_shape(item: ParamType) -> ParamType:
    def read(value: Any, path: str) -> Any:
        _expect(isinstance(value, dict), value, path, "an object")
        return {name: _read(item, each, f"{path}[{name!r}]") for name, each in value.items()}

    return ParamType({"type": "object", "additionalProperties": dict(item.schema)}, read)


def _scalar_shape(
    name: str, words: str, kinds: tuple[type, ...], make: Callable[[Any], Any] | None = None
) -> ParamType:
    def read(value: Any, path: str) -> Any:
        _expect(type(value) in kinds, value, path, words)
        return value if make is None else make(value)

    return ParamType({"type": name}, read)


_SCALARS: Mapping[Any, ParamType] = {
    Any: ParamType({}),
    object: ParamType({}),
    None: _scalar_shape("null", "null", (type(None),)),
    type(None): _scalar_shape("null", "null", (type(None),)),
    bool: _scalar_shape("boolean", "true or false", (bool,)),
    int: _scalar_shape("integer", "a whole number", (int,)),
    float: _scalar_shape("number", "a number", (int, float), float),
    str: _scalar_shape("string", "text", (str,)),
    Path: _scalar_shape("string", "text", (str,), Path),
}
#: Annotations of an object with any keys.
OBJECTS = (dict, Mapping)
_LISTS: Mapping[Any, Callable[[Any], Any]] = {list: list, Sequence: list, tuple: tuple, set: set, frozenset: frozenset}


def _read(shape: ParamType, value: Any, path: str) -> Any:
    return value if shape.read is None else shape.read(value, path)


def _expect(is_right: bool, value: Any, path: str, words: str) -> None:
    if not is_right:
        raise _unexpected(value, path, words)


def _unexpected(value: Any, path: str, words: str) -> InvalidInputError:
    return InvalidInputError(f"{path}: is {repr(value)[:80]}, but must be {words}")


def _near(name: str, known: Mapping[str, Any]) -> str:
    near = get_close_matches(name, known, n=1)
    return f"; did you mean {near[0]!r}?" if near else ""


def _has_default(each: dataclasses.Field[Any]) -> bool:
    return each.default is not dataclasses.MISSING or each.default_factory is not dataclasses.MISSING


def words_of(annotation: Any) -> str:
    """How *annotation* is called in a message."""
    return annotation.__name__ if inspect.isclass(annotation) else str(annotation)
