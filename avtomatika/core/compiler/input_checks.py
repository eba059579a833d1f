"""Finds fields of ``initial_data`` in handlers and conditions that the blueprint's ``input`` does not have."""

import ast
from collections.abc import Collection, Iterator
from dataclasses import is_dataclass
from difflib import get_close_matches
from typing import Any

from avtomatika.core.blueprint.conditions import fields_of
from avtomatika.core.blueprint.definition import Definition
from avtomatika.core.blueprint.handler import Handler
from avtomatika.core.value_types import annotation_of, object_type

from .source_checks import Mistake

_DATA = "initial_data"


def unknown_inputs(definition: Definition, handler: Handler, source: ast.AST) -> Iterator[Mistake]:
    """Yield the mistakes in the guard of *handler* and in *source*, its function."""
    keys = _keys(definition.input)
    if keys is not None and handler.guard is not None:
        for path in fields_of(handler.guard):
            if path[0] == _DATA and len(path) > 1 and path[1] not in keys:
                yield handler.line or 0, _message(path[1], keys)
    for node, owner, name, is_attribute in _uses(source):
        known = _attributes(handler) if is_attribute and owner == _DATA else keys
        if known is not None and name not in known and (not is_attribute or owner == _DATA):
            yield node.lineno, _message(name, known)


def _keys(annotation: Any) -> Collection[str] | None:
    """Return the fields of an input type; None if there may be others."""
    schema = {} if annotation is None else object_type(annotation).schema
    return None if "properties" not in schema or schema.get("additionalProperties") else schema["properties"]


def _attributes(handler: Handler) -> Collection[str] | None:
    """Return the attributes of a typed ``initial_data``; None if it is a dict or its type is not known."""
    for parameter in handler.parameters:
        if parameter.name == _DATA and _DATA in handler.data_types:
            annotation = annotation_of(handler.function, parameter)
            if is_dataclass(annotation) or hasattr(annotation, "__pydantic_fields__"):
                fields = {*getattr(annotation, "__dataclass_fields__", ()), *getattr(annotation, "model_fields", ())}
                return fields | set(dir(annotation))
    return None


def _uses(source: ast.AST) -> Iterator[tuple[ast.expr, str, str, bool]]:
    """Yield (node, expression of the data, name, is an attribute) for each read of a field, unless the data change."""
    names = [node for node in ast.walk(source) if isinstance(node, ast.Name) and node.id == _DATA]
    if any(not isinstance(name.ctx, ast.Load) for name in names):
        return
    for node in ast.walk(source):
        match node:
            case ast.Subscript(value=owner, slice=ast.Constant(value=str() as name)) if _is_data(owner):
                if not isinstance(node.ctx, ast.Load):
                    return
                yield node, ast.unparse(owner), name, False
            case ast.Call(
                func=ast.Attribute(value=owner, attr="get"), args=[ast.Constant(value=str() as name), *_]
            ) if _is_data(owner):
                yield node, ast.unparse(owner), name, False
            case ast.Attribute(value=owner, attr=name) if _is_data(owner):
                yield node, ast.unparse(owner), name, True


def _is_data(node: ast.expr) -> bool:
    return ast.unparse(node) in (_DATA, f"context.{_DATA}")


def _message(name: object, known: Collection[str]) -> str:
    near = get_close_matches(str(name), known, n=1)
    public = ", ".join(sorted(word for word in known if not word.startswith("_")))
    return f"{_DATA} has no {name!r}; " + (f"did you mean {near[0]!r}?" if near else f"known are {public}")
