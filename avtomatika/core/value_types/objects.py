"""Types of JSON objects with known fields: dataclasses, TypedDicts and the named parameters of a skill."""

from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

from .value_type import ValueType, expect, load_all, suggestion


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
