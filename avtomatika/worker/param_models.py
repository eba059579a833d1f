"""Parameters described by other libraries: pydantic models and marshmallow schemas.

Neither is imported here: where one is used, the user's code has imported it.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator, Mapping
from typing import Any

from avtomatika.core.job import Json
from avtomatika.errors import InvalidInputError

from .param_types import ParamType


def model_shape(annotation: Any) -> ParamType | None:
    """The shape that *annotation* stands for, if it is a class of one of these libraries."""
    if _derives(annotation, "pydantic", "BaseModel"):
        return _pydantic_shape(annotation)
    if _derives(annotation, "marshmallow", "Schema"):
        return _marshmallow_shape(annotation)
    return None


def _derives(annotation: Any, library: str, base: str) -> bool:
    module = sys.modules.get(library)
    return module is not None and inspect.isclass(annotation) and issubclass(annotation, getattr(module, base))


def _pydantic_shape(model: Any) -> ParamType:
    error_class = sys.modules["pydantic"].ValidationError

    def read(value: Any, path: str) -> Any:
        try:
            return model.model_validate(value)
        except error_class as error:
            problems = (
                f"{'.'.join((path, *map(str, each['loc'])))}: {each['msg']}" for each in error.errors(include_url=False)
            )
            raise InvalidInputError("; ".join(problems)) from None

    return ParamType(model.model_json_schema(), read)


def _marshmallow_shape(schema_class: Any) -> ParamType:
    error_class = sys.modules["marshmallow"].ValidationError
    schema = schema_class()

    def read(value: Any, path: str) -> Any:
        try:
            return schema.load(value)
        except error_class as error:
            raise InvalidInputError("; ".join(_flat(error.messages, path))) from None

    required = [name for name, field in schema.fields.items() if field.required]
    properties = {name: _field_schema(field) for name, field in schema.fields.items()}
    return ParamType({"type": "object", "properties": properties, "required": required}, read)


def _flat(messages: Any, path: str) -> Iterator[str]:
    """``path.to.field: what is wrong`` for every leaf of marshmallow's messages."""
    if isinstance(messages, Mapping):
        for name, inner in messages.items():
            yield from _flat(inner, path if name == "_schema" else f"{path}.{name}")
    else:
        yield f"{path}: {' '.join(map(str, messages))}"


#: JSON types of marshmallow's fields, the particular before the general; what is not here can be anything.
_JSON_TYPES = (
    ("Boolean", "boolean"),
    ("Integer", "integer"),
    ("Number", "number"),
    ("String", "string"),
    ("List", "array"),
    ("Tuple", "array"),
    ("Nested", "object"),
    ("Mapping", "object"),
)


def _field_schema(field: Any) -> dict[str, Json]:
    names = {cls.__name__ for cls in type(field).__mro__}
    return next(({"type": json_type} for name, json_type in _JSON_TYPES if name in names), {})
