"""Handlers: the functions of a blueprint, their injected arguments, and the choice among the handlers of a state."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from avtomatika.core.names import is_user_name
from avtomatika.core.plan import EndKind
from avtomatika.core.value_types import ValueType, annotation_of, value_type
from avtomatika.errors import HandlerError, InvalidInputError

from .conditions import Condition, Field
from .job_context import INJECTED, JobContext

NAME_RULE = "may contain letters, digits, '_' and '-', at most 64, and must not start with '_'"
#: Injected arguments that have one type.
_FIXED = frozenset(INJECTED) - {"initial_data"}
#: A function of the user, sync or async, with any parameters.
Function = Callable[..., Any]


@dataclass(frozen=True)
class Handler:
    """A function that decides in *state* if *guard* holds; without a guard it always may.

    *line* is the first line of the function in its file, decorators included; None if unknown.
    """

    function: Function
    state: str
    guard: Condition | None = None
    is_start: bool = False
    end: EndKind | None = None
    queue: str | None = None
    may_go_to: tuple[str, ...] = ()
    is_aggregator: bool = False
    is_retired: bool = False

    @cached_property
    def parameters(self) -> tuple[inspect.Parameter, ...]:
        return tuple(inspect.signature(self.function).parameters.values())

    @cached_property
    def is_async(self) -> bool:
        is_coroutine = inspect.iscoroutinefunction
        return is_coroutine(self.function) or is_coroutine(type(self.function).__call__)

    @cached_property
    def line(self) -> int | None:
        return line_of(self.function)

    @cached_property
    def data_types(self) -> Mapping[str, ValueType]:
        """Types of the parameters for data of the job whose annotation differs from JSON."""
        found = {}
        for parameter in self.parameters:
            if parameter.annotation is parameter.empty or parameter.name in _FIXED:
                continue
            with suppress(TypeError):  # an annotation for readers only
                found[parameter.name] = value_type(annotation_of(self.function, parameter))
        return {name: each for name, each in found.items() if not each.is_plain}

    def bind(self, context: JobContext) -> dict[str, object]:
        """Return keyword arguments for the function.

        A parameter that cannot be injected keeps its default; ``**kwargs`` gets the rest of the job's data. Raise
        HandlerError for a parameter with neither, listing the names that can be injected.
        """
        arguments: dict[str, object] = {}
        for parameter in self.parameters:
            if parameter.kind is parameter.VAR_KEYWORD:
                arguments = context.data() | arguments
            elif parameter.kind is not parameter.VAR_POSITIONAL:
                self._bind_one(parameter, context, arguments)
        return arguments

    def _bind_one(self, parameter: inspect.Parameter, context: JobContext, arguments: dict[str, object]) -> None:
        name = parameter.name
        try:
            value = context.injected(name)
            arguments[name] = self.data_types[name].load(value, name) if name in self.data_types else value
        except InvalidInputError as error:
            raise HandlerError(f"state {self.state!r}: {error}") from error
        except KeyError:
            if parameter.default is parameter.empty:
                raise HandlerError(
                    f"state {self.state!r}: the parameter {name!r} of its handler cannot be injected; "
                    f"available names: {', '.join(context.names)}"
                ) from None


def choose(handlers: Sequence[Handler], context: JobContext) -> Handler:
    """Return the first of the *handlers* of a state whose guard holds, else the one without a guard.

    Raise HandlerError if neither exists.
    """
    for handler in handlers:
        if handler.guard is None or handler.guard.holds(context):
            return handler
    guards = "; ".join(str(handler.guard) for handler in handlers)
    raise HandlerError(
        f"state {handlers[0].state!r}: none of its conditions holds ({guards}), and every handler has one"
    )


def line_of(function: Function) -> int | None:
    """Return the first line of *function* in its file, decorators included; None if unknown."""
    code = getattr(inspect.unwrap(function), "__code__", None)
    return getattr(code, "co_firstlineno", None)


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
