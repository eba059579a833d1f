"""A skill: a function that does one type of task, the parameters that it takes, and how it is called."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, get_type_hints

from avtomatika.core.job import Json
from avtomatika.core.names import is_user_name
from avtomatika.errors import SkillError

from .context import INJECTED, TaskContext
from .middleware import Middleware
from .param_types import ParamType
from .params import shape_of


@dataclass(frozen=True, slots=True)
class Skill:
    """*wanted* are the parameters of *function* that it is given; *shape* is what ``params`` must be like.

    *time_limit_seconds* is how long it may take; None: as long as the worker allows. *middleware* stands around it, the
    first outermost.
    """

    name: str
    function: Callable[..., Any]
    is_async: bool
    wanted: tuple[str, ...]
    shape: ParamType
    time_limit_seconds: float | None = None
    middleware: tuple[Middleware, ...] = ()

    @classmethod
    def of(
        cls, function: Callable[..., Any], name: str | None = None, *, time_limit_seconds: float | None = None
    ) -> Skill:
        """Read the signature of *function*; raises SkillError where it could never be called."""
        name = str(name or getattr(function, "__name__", ""))
        if not is_user_name(name):
            raise SkillError(
                f"skill {name!r}: a name has 1 to 64 letters, digits, '_' and '-', and does not begin with '_'"
            )
        if time_limit_seconds is not None and not time_limit_seconds > 0:
            raise SkillError(f"skill {name!r}: its time limit is {time_limit_seconds!r}, but must be above 0 seconds")
        parameters = inspect.signature(function).parameters
        return cls(
            name=name,
            function=function,
            is_async=inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(type(function).__call__),
            wanted=tuple(parameter.name for parameter in parameters.values() if _is_wanted(name, parameter)),
            shape=_shape(name, function, parameters.get("params")),
            time_limit_seconds=time_limit_seconds,
        )

    @property
    def schema(self) -> Mapping[str, Json]:
        """JSON schema of its parameters."""
        return self.shape.schema

    def arguments(self, context: TaskContext) -> dict[str, Any]:
        """What the function is called with; raises InvalidInputError naming the parameter that does not fit."""
        arguments = {name: INJECTED[name](context) for name in self.wanted}
        if self.shape.read is not None:
            arguments["params"] = self.shape.read(context.params, "params")
        return arguments


def _is_wanted(skill: str, parameter: inspect.Parameter) -> bool:
    """Whether it is ours to give; what is not must have a default."""
    if parameter.kind in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL):
        return False
    if parameter.kind is parameter.POSITIONAL_ONLY:
        raise SkillError(f"skill {skill!r}: {parameter.name!r} is positional-only, but arguments are given by name")
    if parameter.name in INJECTED:
        return True
    if parameter.default is not parameter.empty:
        return False
    near = get_close_matches(parameter.name, INJECTED, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    raise SkillError(f"skill {skill!r} asks for {parameter.name!r}, but can be given only {', '.join(INJECTED)}{hint}")


def _shape(skill: str, function: Callable[..., Any], params: inspect.Parameter | None) -> ParamType:
    if params is None:
        return ParamType()
    try:
        return shape_of(_annotation(function, params))
    except SkillError as error:
        raise SkillError(f"skill {skill!r}: params {error}") from None


def _annotation(function: Callable[..., Any], params: inspect.Parameter) -> Any:
    """The annotation of *params* as an object; those of the other parameters need not make sense."""
    if not isinstance(params.annotation, str):
        return params.annotation
    holder = type("holder", (), {"__annotations__": {"params": params.annotation}})
    try:
        return get_type_hints(holder, globalns=_scope(function))["params"]
    except Exception as error:
        raise SkillError(f"is annotated with {params.annotation!r}, which cannot be resolved ({error})") from None


def _scope(function: Callable[..., Any]) -> dict[str, Any]:
    """The names that annotations of *function* are made of; it may be wrapped, partial, or an object."""
    innermost = inspect.unwrap(getattr(function, "func", function))
    code = innermost if hasattr(innermost, "__globals__") else type(innermost).__call__
    scope: dict[str, Any] = getattr(code, "__globals__", {})
    return scope
