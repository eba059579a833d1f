"""Types of ``params``: dicts, dataclasses, pydantic models and marshmallow schemas.

Neither library is imported here: a skill that uses one has imported it.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator, Mapping
from dataclasses import is_dataclass
from typing import Any, get_origin

from avtomatika.core.job import Json
from avtomatika.errors import InvalidInputError, SkillError

from .param_types import OBJECTS, ParamType, dataclass_type, describe


def param_type_of(annotation: Any) -> ParamType:
    """Return the type of ``params``: a dict, a dataclass, a pydantic model or a marshmallow schema. Raises
    SkillError."""
    if annotation in (inspect.Parameter.empty, Any) or (get_origin(annotation) or annotation) in OBJECTS:
        return ParamType()
    if is_dataclass(annotation):
        return dataclass_type(annotation)
    param_type = _model_type(annotation)
    if param_type is None:
        raise SkillError(
            f"is annotated with {describe(annotation)}, "
            "but must be a dict, a dataclass, a pydantic model or a marshmallow schema"
        )
    return param_type


def _model_type(annotation: Any) -> ParamType | None:
    """Return the type for a pydantic model or marshmallow schema, or None."""
    if _derives(annotation, "pydantic", "BaseModel"):
        return _pydantic_type(annotation)
    if _derives(annotation, "marshmallow", "Schema"):
        return _marshmallow_type(annotation)
    return None


def _derives(annotation: Any, library: str, base: str) -> bool:
    module = sys.modules.get(library)
    return module is not None and inspect.isclass(annotation) and issubclass(annotation, getattr(module, base))


def _pydantic_type(model: Any) -> ParamType:
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


def _marshmallow_type(schema_class: Any) -> ParamType:
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
    """Yield ``path.to.field: message`` for each leaf of marshmallow's messages."""
    if isinstance(messages, Mapping):
        for name, inner in messages.items():
            yield from _flat(inner, path if name == "_schema" else f"{path}.{name}")
    else:
        yield f"{path}: {' '.join(map(str, messages))}"


#: JSON types of marshmallow fields, specific before general; other fields accept any value.
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
