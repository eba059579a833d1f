"""What the ``params`` of a skill may be, by their annotation."""

from __future__ import annotations

import inspect
from dataclasses import is_dataclass
from typing import Any, get_origin

from avtomatika.errors import SkillError

from .param_models import model_shape
from .param_types import OBJECTS, ParamType, dataclass_shape, words_of


def shape_of(annotation: Any) -> ParamType:
    """The shape of ``params``: a dict, a dataclass, a pydantic model or a marshmallow schema; else SkillError."""
    if annotation in (inspect.Parameter.empty, Any) or (get_origin(annotation) or annotation) in OBJECTS:
        return ParamType()
    if is_dataclass(annotation):
        return dataclass_shape(annotation)
    shape = model_shape(annotation)
    if shape is None:
        raise SkillError(
            f"is annotated with {words_of(annotation)}, "
            "but must be a dict, a dataclass, a pydantic model or a marshmallow schema"
        )
    return shape
