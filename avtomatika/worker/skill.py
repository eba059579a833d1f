"""Skills: a function for one type of task, its parameters, and how it is called."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, get_type_hints

from avtomatika.core.job import Json
from avtomatika.core.names import is_user_name
from avtomatika.core.times import SECONDS, Duration, in_seconds, is_seconds
from avtomatika.errors import SkillError

from .context import INJECTABLE, AsyncTaskContext, TaskContext
from .middleware import Middleware
from .param_models import param_type_of
from .param_types import ParamType


@dataclass(frozen=True, slots=True)
class Skill:
    """*injected* names the parameters that the worker passes to *function*; *param_type* validates ``params``.

    Without *time_limit_seconds* the worker's default applies. The first *middleware* is outermost.
    """

    name: str
    function: Callable[..., Any]
    is_async: bool
    injected: tuple[str, ...]
    param_type: ParamType
    time_limit_seconds: float | None = None
    middleware: tuple[Middleware, ...] = ()

    @classmethod
    def of(cls, function: Callable[..., Any], name: str | None = None, *, time_limit: Duration | None = None) -> Skill:
        """Inspect the signature of *function*. Raises SkillError if it could not be called."""
        name = str(name or getattr(function, "__name__", ""))
        if not is_user_name(name):
            raise SkillError(
                f"skill {name!r}: a name must have 1 to 64 letters, digits, '_' and '-', and must not start with '_'"
            )
        time_limit_seconds = None if time_limit is None else in_seconds(time_limit)
        if time_limit_seconds is not None and not is_seconds(time_limit_seconds):
            raise SkillError(f"skill {name!r}: its time limit is {time_limit!r}, but must be {SECONDS}")
        parameters = inspect.signature(function).parameters
        return cls(
            name=name,
            function=function,
            is_async=inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(type(function).__call__),
            injected=tuple(parameter.name for parameter in parameters.values() if _is_injected(name, parameter)),
            param_type=_param_type(name, function, parameters.get("params")),
            time_limit_seconds=time_limit_seconds,
        )

    @property
    def schema(self) -> Mapping[str, Json]:
        """JSON schema of ``params``."""
        return self.param_type.schema

    def arguments(self, context: TaskContext | AsyncTaskContext) -> dict[str, Any]:
        """Return the arguments for *function*. Raises InvalidInputError naming the invalid parameter."""
        arguments = {name: INJECTABLE[name](context) for name in self.injected}
        if self.param_type.read is not None:
            arguments["params"] = self.param_type.read(context.params, "params")
        return arguments


def _is_injected(skill: str, parameter: inspect.Parameter) -> bool:
    """Return whether the worker passes this parameter. Raises SkillError for others without a default."""
    if parameter.kind in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL):
        return False
    if parameter.kind is parameter.POSITIONAL_ONLY:
        raise SkillError(f"skill {skill!r}: {parameter.name!r} is positional-only, but arguments are given by name")
    if parameter.name in INJECTABLE:
        return True
    if parameter.default is not parameter.empty:
        return False
    near = get_close_matches(parameter.name, INJECTABLE, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    raise SkillError(
        f"skill {skill!r} asks for {parameter.name!r}, but can be given only {', '.join(INJECTABLE)}{hint}"
    )


def _param_type(skill: str, function: Callable[..., Any], params: inspect.Parameter | None) -> ParamType:
    if params is None:
        return ParamType()
    try:
        return param_type_of(_annotation(function, params))
    except SkillError as error:
        raise SkillError(f"skill {skill!r}: params {error}") from None


def _annotation(function: Callable[..., Any], params: inspect.Parameter) -> Any:
    """Resolve the annotation of ``params`` only; other annotations may be unresolvable."""
    if not isinstance(params.annotation, str):
        return params.annotation
    holder = type("holder", (), {"__annotations__": {"params": params.annotation}})
    try:
        return get_type_hints(holder, globalns=_scope(function))["params"]
    except Exception as error:
        raise SkillError(f"is annotated with {params.annotation!r}, which cannot be resolved ({error})") from None


def _scope(function: Callable[..., Any]) -> dict[str, Any]:
    """Return the globals that annotations of *function* refer to; it may be wrapped, partial, or a callable object."""
    innermost = inspect.unwrap(getattr(function, "func", function))
    code = innermost if hasattr(innermost, "__globals__") else type(innermost).__call__
    scope: dict[str, Any] = getattr(code, "__globals__", {})
    return scope
