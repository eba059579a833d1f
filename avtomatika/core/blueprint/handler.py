"""Handlers: the functions of a blueprint, their injected arguments, and the choice among the handlers of a state."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from avtomatika.core.plan import EndKind
from avtomatika.errors import HandlerError

from .conditions import Condition
from .job_context import JobContext

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
        try:
            arguments[parameter.name] = context.injected(parameter.name)
        except KeyError:
            if parameter.default is parameter.empty:
                raise HandlerError(
                    f"state {self.state!r}: the parameter {parameter.name!r} of its handler cannot be injected; "
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
