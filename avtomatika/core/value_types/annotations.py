"""From annotations to value types. Validation is strict: text is not converted to numbers."""

import dataclasses
import inspect
import types
from base64 import b64decode
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from functools import lru_cache, partial
from pathlib import Path
from typing import (
    Annotated,
    Any,
    Literal,
    NewType,
    NotRequired,
    Required,
    Union,
    get_args,
    get_origin,
    get_type_hints,
    is_typeddict,
)
from uuid import UUID

from avtomatika.errors import InvalidValueError

from .models import model_type
from .value_type import ValueType, expect, fields_type, load_all, unexpected

#: Annotations for an object with any keys.
_OBJECTS = (dict, Mapping)
_LISTS: Mapping[Any, Callable[[Any], Any]] = {list: list, Sequence: list, tuple: tuple, set: set, frozenset: frozenset}


def _scalar(schema: str | Mapping[str, Any], words: str, *kinds: type, make: Callable[[Any], Any] | None) -> ValueType:
    """Return the type of values whose JSON has one of *kinds*; *make* raises ValueError for an invalid one. It converts
    to another type than in JSON, except to a float."""

    def read(value: Any, path: str) -> Any:
        expect(type(value) in kinds, value, path, words)
        try:
            return value if make is None else make(value)
        except (ValueError, ArithmeticError):
            raise unexpected(value, path, words) from None

    is_plain = make in (None, float)
    return ValueType({"type": schema} if isinstance(schema, str) else schema, read, words, is_plain=is_plain)


def _text(format: str, words: str, make: Callable[[str], Any]) -> ValueType:
    return _scalar({"type": "string", "format": format}, words, str, make=make)


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


_NULL = _scalar("null", "null", type(None), make=None)
_DECIMAL_SCHEMA = {"anyOf": [{"type": "number"}, {"type": "string", "format": "decimal"}]}

#: Types of annotations that have no parts.
SCALARS: Mapping[Any, ValueType] = {
    Any: ValueType({}, words="any value"),
    object: ValueType({}, words="any value"),
    None: _NULL,
    type(None): _NULL,
    bool: _scalar("boolean", "true or false", bool, make=None),
    int: _scalar("integer", "a whole number", int, make=None),
    float: _scalar("number", "a number", int, float, make=float),
    str: _scalar("string", "text", str, make=None),
    Path: _scalar("string", "text", str, make=Path),
    datetime: _text("date-time", "a time with a time zone, like 2030-01-31T12:00:00Z", _datetime),
    date: _text("date", "a date, like 2030-01-31", date.fromisoformat),
    time: _text("time", "a time of day, like 12:30:00", time.fromisoformat),
    timedelta: _scalar("number", "a number of seconds", int, float, make=lambda value: timedelta(seconds=value)),
    UUID: _text("uuid", "a UUID", UUID),
    Decimal: _scalar(_DECIMAL_SCHEMA, "a decimal number, best as text", str, int, float, make=_decimal),
    bytes: _text("byte", "bytes as base64", partial(b64decode, validate=True)),
}


@lru_cache(maxsize=1024)
def value_type(annotation: Any) -> ValueType:
    """Return the type for *annotation*. Raises TypeError if it is not supported."""
    try:
        return _value_type(annotation)
    except NameError as error:
        raise TypeError(f"{describe(annotation)} has an annotation that cannot be resolved: {error}") from None
    except RecursionError:
        raise TypeError(f"{describe(annotation)} contains itself; only pydantic models may") from None


def object_type(annotation: Any) -> ValueType:
    """Return the type of a JSON object as a whole. Raises TypeError if *annotation* is not supported for that."""
    if annotation in (inspect.Parameter.empty, Any) or (get_origin(annotation) or annotation) in _OBJECTS:
        return ValueType()
    if dataclasses.is_dataclass(annotation) or is_typeddict(annotation) or model_type(annotation) is not None:
        return value_type(annotation)
    raise TypeError(
        f"is annotated with {describe(annotation)}, "
        "but must be a dict, a dataclass, a TypedDict, a pydantic model or a marshmallow schema"
    )


def annotation_of(function: Callable[..., Any], parameter: inspect.Parameter) -> Any:
    """Return the annotation of one parameter; others may be unresolvable. Raises TypeError."""
    if not isinstance(parameter.annotation, str):
        return parameter.annotation
    holder = type("holder", (), {"__annotations__": {"value": parameter.annotation}})
    try:
        return get_type_hints(holder, globalns=_scope(function), include_extras=True)["value"]
    except Exception as error:
        raise TypeError(f"is annotated with {parameter.annotation!r}, which cannot be resolved ({error})") from None


def describe(annotation: Any) -> str:
    """Return the name of *annotation* for messages."""
    return annotation.__name__ if inspect.isclass(annotation) else str(annotation)


def _scope(function: Callable[..., Any]) -> dict[str, Any]:
    """Return the globals that annotations of *function* refer to; it may be wrapped, partial, or a callable object."""
    innermost = inspect.unwrap(getattr(function, "func", function))
    code = innermost if hasattr(innermost, "__globals__") else type(innermost).__call__
    scope: dict[str, Any] = getattr(code, "__globals__", {})
    return scope


def _value_type(annotation: Any) -> ValueType:
    if annotation in SCALARS:
        return SCALARS[annotation]
    origin, arguments = get_origin(annotation) or annotation, get_args(annotation)
    if origin in (Annotated, Required, NotRequired):
        return _value_type(arguments[0])
    if isinstance(annotation, NewType):
        return _value_type(annotation.__supertype__)
    if origin in (Union, types.UnionType):
        return _union_type([_value_type(each) for each in arguments])
    if origin is Literal:
        return _choice_type({value: value for value in arguments}, is_plain=True)
    if origin is tuple and arguments and arguments[-1] is not Ellipsis:
        return _tuple_type([_value_type(each) for each in arguments])
    if origin in _LISTS:
        return _list_type(_value_type(arguments[0] if arguments else Any), make=_LISTS[origin])
    if origin in _OBJECTS:
        return _mapping_type(_value_type(arguments[1] if arguments else Any))
    if inspect.isclass(annotation) and issubclass(annotation, Enum):
        return _choice_type({member.value: member for member in annotation}, is_plain=False)
    if is_typeddict(annotation):
        return _typed_dict_type(annotation)
    if dataclasses.is_dataclass(annotation):
        return _dataclass_type(annotation)
    model = model_type(annotation)
    if model is None:
        raise TypeError(f"the type {describe(annotation)} is not supported")
    return model


def _field_types(cls: Any, hints: Mapping[str, Any]) -> dict[str, ValueType]:
    fields = {}
    for name, hint in hints.items():
        try:
            fields[name] = _value_type(hint)
        except TypeError as error:
            raise TypeError(f"{cls.__name__}.{name}: {error}") from None
    return fields


def _dataclass_type(cls: Any) -> ValueType:
    hints = get_type_hints(cls, include_extras=True)
    fields = {each.name: each for each in dataclasses.fields(cls) if each.init}
    return fields_type(
        _field_types(cls, {name: hints[name] for name in fields}),
        required=[name for name, each in fields.items() if not _has_default(each)],
        make=lambda values: cls(**values),
        ignored=[each.name for each in dataclasses.fields(cls) if not each.init],
    )


def _typed_dict_type(cls: Any) -> ValueType:
    hints = get_type_hints(cls, include_extras=True)
    fields = _field_types(cls, hints)
    required = [  # __required_keys__ does not know the markers in annotations that are text
        name
        for name, hint in hints.items()
        if get_origin(hint) is Required or (name in cls.__required_keys__ and get_origin(hint) is not NotRequired)
    ]
    return fields_type(fields, required=required, is_plain=all(each.is_plain for each in fields.values()))


def _union_type(parts: Sequence[ValueType]) -> ValueType:
    words = " or ".join(dict.fromkeys(part.words for part in parts))

    def read(value: Any, path: str) -> Any:
        inner: InvalidValueError | None = None
        for part in parts:
            try:
                return part.load(value, path)
            except InvalidValueError as error:
                if isinstance(value, dict | list) and (part.words in ("an object", "a list")):
                    inner = inner or error
        raise inner or unexpected(value, path, words)

    schema = {"anyOf": [dict(part.schema) for part in parts]}
    return ValueType(schema, read, words, is_plain=all(part.is_plain for part in parts))


def _choice_type(choices: Mapping[Any, Any], *, is_plain: bool) -> ValueType:
    words = f"one of {', '.join(repr(choice) for choice in choices)}"

    def read(value: Any, path: str) -> Any:
        for choice, member in choices.items():
            if type(value) is type(choice) and value == choice:
                return member
        raise unexpected(value, path, words)

    return ValueType({"enum": list(choices)}, read, words, is_plain=is_plain)


def _list_type(item: ValueType, *, make: Callable[[Any], Any]) -> ValueType:
    def read(value: Any, path: str) -> Any:
        expect(isinstance(value, list), value, path, "a list")
        return make(load_all((item, each, f"{path}[{index}]") for index, each in enumerate(value)))

    schema = {"type": "array", "items": dict(item.schema)}
    return ValueType(schema, read, "a list", is_plain=item.is_plain and make is list)


def _tuple_type(items: Sequence[ValueType]) -> ValueType:
    words = f"a list of {len(items)} items"

    def read(value: Any, path: str) -> Any:
        expect(isinstance(value, list) and len(value) == len(items), value, path, words)
        parts = enumerate(zip(items, value, strict=True))
        return tuple(load_all((item, each, f"{path}[{index}]") for index, (item, each) in parts))

    schema = {"type": "array", "items": {}, "minItems": len(items), "maxItems": len(items)}
    return ValueType(schema, read, words, is_plain=False)


def _mapping_type(item: ValueType) -> ValueType:
    def read(value: Any, path: str) -> Any:
        expect(isinstance(value, dict), value, path, "an object")
        parts = ((item, each, f"{path}[{name!r}]") for name, each in value.items())
        return dict(zip(value, load_all(parts), strict=True))

    return ValueType({"type": "object", "additionalProperties": dict(item.schema)}, read, is_plain=item.is_plain)


def _has_default(each: dataclasses.Field[Any]) -> bool:
    return each.default is not dataclasses.MISSING or each.default_factory is not dataclasses.MISSING
