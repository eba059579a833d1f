"""Checks of the arguments with which a handler is registered."""

import inspect
from typing import Any

from avtomatika.core.compiler.spelling import suggestion
from avtomatika.core.limits import KeyTemplate
from avtomatika.core.names import is_user_name
from avtomatika.core.value_types import object_type

from .conditions import Condition, Field

NAME_RULE = "may contain letters, digits, '_' and '-', at most 64, and must not start with '_'"


def handler_problem(
    function: object, state: str, *, condition: object, queue: object, may_go_to: object, is_end: object
) -> str | None:
    """Return why *function* cannot be a handler of *state* with these options; None if it can."""
    if not callable(function) or inspect.isclass(function):
        return f"a handler must be a function, not {function!r}"
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        return "a handler must not be a generator; it calls an action, or returns the result of an end"
    if not is_user_name(state):
        return f"the name of a state {NAME_RULE}"
    if queue is not None and not is_user_name(queue):
        return f"the queue {queue!r} {NAME_RULE}"
    if isinstance(condition, Field):
        return f"the condition is not a comparison: write, for example, {condition!r} == True"
    if condition is not None and not isinstance(condition, Condition):
        return f'the condition must be built with F, as in F.initial_data["size"] > 3, not {condition!r}'
    if condition is not None and condition.asks_for_item:
        return "F.item is an item of a list: use it inside F....any_(...) or F....all_(...)"
    if isinstance(may_go_to, str):
        return f"may_go_to must be a list of states: write may_go_to=[{may_go_to!r}]"
    if is_end not in (False, True, "failed"):
        return f'is_end must be True or "failed", not {is_end!r}'
    return None


def check_names(template: KeyTemplate, annotation: Any) -> None:
    """Check that *template* reads only fields of the input type *annotation*, if it lists them. Raises ValueError."""
    schema = {} if annotation is None else object_type(annotation).schema
    fields = schema.get("properties", {})
    for name in template.names if fields and schema.get("additionalProperties") is False else ():
        if name not in fields:
            raise ValueError(f"{template.text!r}: the input has no {name!r}; {suggestion(name, fields)}")
