"""Types of pydantic models and marshmallow schemas.

Neither library is imported for other types: code that uses one has imported it.
"""

import inspect
import sys
from collections.abc import Iterator, Mapping
from typing import Any

from avtomatika.errors import InvalidValueError

from .value_type import ValueType


def model_type(annotation: Any) -> ValueType | None:
    """Return the type for a pydantic model or marshmallow schema, or None."""
    if _derives(annotation, "pydantic", "BaseModel"):
        return _pydantic_type(annotation)
    if _derives(annotation, "marshmallow", "Schema"):
        return _marshmallow_type(annotation)
    return None


def _derives(annotation: Any, library: str, base: str) -> bool:
    module = sys.modules.get(library)
    return module is not None and inspect.isclass(annotation) and issubclass(annotation, getattr(module, base))


def _pydantic_type(model: Any) -> ValueType:
    error_class = sys.modules["pydantic"].ValidationError

    def read(value: Any, path: str) -> Any:
        try:
            return model.model_validate(value)
        except error_class as error:
            problems = [(_path(path, each["loc"]), each["msg"]) for each in error.errors(include_url=False)]
            raise InvalidValueError(*problems) from None

    schema = model.model_json_schema()
    return ValueType(_inlined(schema, schema.get("$defs", {}), ()), read, is_plain=False)


def _path(path: str, location: tuple[str | int, ...]) -> str:
    return path + "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location)


def _inlined(schema: Any, definitions: Mapping[str, Any], inside: tuple[str, ...]) -> Any:
    """Return *schema* with its definitions in place, so that it can be part of another; recursion stops at objects."""
    if isinstance(schema, list):
        return [_inlined(item, definitions, inside) for item in schema]
    if not isinstance(schema, dict):
        return schema
    own = {key: _inlined(value, definitions, inside) for key, value in schema.items() if key not in ("$defs", "$ref")}
    name = str(schema.get("$ref", "")).removeprefix("#/$defs/")
    if name not in definitions:
        return own
    return {**_inlined(definitions[name], definitions, (*inside, name)), **own} if name not in inside else {**own}


def _marshmallow_type(schema_class: Any) -> ValueType:
    from apispec import APISpec
    from apispec.ext.marshmallow.openapi import OpenAPIConverter

    error_class = sys.modules["marshmallow"].ValidationError
    schema = schema_class()

    def read(value: Any, path: str) -> Any:
        try:
            return schema.load(value)
        except error_class as error:
            raise InvalidValueError(*_flat(error.messages, path)) from None

    hidden = [name for name, field in schema.fields.items() if field.dump_only]
    converter: Any = OpenAPIConverter("3.1.0", schema_name_resolver=lambda schema: None, spec=APISpec("", "", "3.1.0"))
    return ValueType(converter.schema2jsonschema(schema_class(exclude=hidden)), read, is_plain=False, dump=schema.dump)


def _flat(messages: Any, path: str) -> Iterator[tuple[str, str]]:
    """Yield (path, message) for each leaf of marshmallow's messages."""
    if isinstance(messages, Mapping):
        for name, inner in messages.items():
            yield from _flat(inner, path if name == "_schema" else _path(path, (name,)))
    else:
        yield path, " ".join(map(str, messages))
