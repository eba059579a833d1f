"""Skills: a function for one type of task, its parameters, how it is called, and the middleware around it.

Coroutine functions wrap async skills, other callables sync ones.
"""

import inspect
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import partial
from typing import Any, Self, get_args, get_origin

from avtomatika.core.compiler.spelling import intended_name
from avtomatika.core.job import Json
from avtomatika.core.limits import LimitValues
from avtomatika.core.names import is_user_name
from avtomatika.core.times import SECONDS, Duration, in_seconds, is_seconds
from avtomatika.core.value_types import ValueType, annotation_of, fields_type, object_type, value_type
from avtomatika.errors import InvalidRequestError, SkillError

from .context import INJECTABLE, OF_BATCHES, AsyncTaskContext, TaskContext

#: The next callable, down to the skill. Takes a TaskContext or AsyncTaskContext, returns a Result (for async skills an
#: awaitable) and raises the skill's exceptions.
Next = Callable[[Any], Any]
#: Takes the context and a Next. Returns a Result, or anything that a skill may return; for async skills an awaitable.
Middleware = Callable[[Any, Any], Any]


def wrap(call: Next, middleware: Sequence[Middleware]) -> Next:
    """Return *call* wrapped in *middleware*, the first outermost."""
    for each in reversed(middleware):
        call = partial(_step, each, call)
    return call


def checked(middleware: Middleware) -> Middleware:
    """Return *middleware* if its signature fits. Raises SkillError."""
    try:
        inspect.signature(middleware).bind(None, None)
    except TypeError as error:
        name = getattr(middleware, "__name__", repr(middleware))
        raise SkillError(f"middleware {name!r} must accept the context and the next callable: {error}") from None
    return middleware


def _step(middleware: Middleware, call: Next, context: Any) -> Any:
    return middleware(context, call)


@dataclass(frozen=True, slots=True)
class Skill:
    """*injected* names the parameters that the worker passes to *function*; *param_type* validates ``params``, which
    *named* parameters take apart.

    Without *time_limit_seconds* the worker's default applies. *limit* is for all workers together. The first
    *middleware* is outermost. With *batch*, *function* takes up to this number of tasks at once; the first waits
    *max_wait_seconds* for others at most. *param_type* is the type of one.
    """

    name: str
    function: Callable[..., Any]
    is_async: bool
    injected: tuple[str, ...]
    param_type: ValueType
    named: tuple[str, ...] = ()
    time_limit_seconds: float | None = None
    limit: Mapping[str, Json] = field(default_factory=dict)
    middleware: tuple[Middleware, ...] = ()
    batch: int | None = None
    max_wait_seconds: float = 0.0

    @classmethod
    def of(
        cls,
        function: Callable[..., Any],
        name: str | None = None,
        *,
        time_limit: Duration | None = None,
        batch: int | None = None,
        max_wait: Duration = 0.05,
        **limit: Any,
    ) -> Self:
        """Inspect the signature of *function*; *limit* has concurrency, rate, or both. Raises SkillError if it could
        not be called."""
        name = str(name or getattr(function, "__name__", ""))
        if not is_user_name(name):
            raise SkillError(
                f"skill {name!r}: a name must have 1 to 64 letters, digits, '_' and '-', and must not start with '_'"
            )
        time_limit_seconds = None if time_limit is None else in_seconds(time_limit)
        if time_limit_seconds is not None and not is_seconds(time_limit_seconds):
            raise SkillError(f"skill {name!r}: its time limit is {time_limit!r}, but must be {SECONDS}")
        try:
            LimitValues.of(**limit) if limit else None
        except InvalidRequestError as error:
            raise SkillError(f"skill {name!r}: {error}") from None
        parameters = inspect.signature(function).parameters
        named = _named(name, function, parameters.values()) if batch is None else {}
        if named:
            required = [each for each in named if parameters[each].default is inspect.Parameter.empty]
            param_type = fields_type(named, required=required)
        else:
            param_type = _param_type(name, function, parameters.get("params"), is_batch=batch is not None)
        if batch is not None:
            _check_batch(name, parameters, batch, in_seconds(max_wait))
        return cls(
            name=name,
            function=function,
            is_async=_is_async(function) or _is_async(type(function).__call__),
            injected=tuple(each for each in parameters if each in (INJECTABLE if batch is None else OF_BATCHES)),
            param_type=param_type,
            named=tuple(named),
            time_limit_seconds=time_limit_seconds,
            limit=limit,
            batch=batch,
            max_wait_seconds=in_seconds(max_wait),
        )

    @property
    def schema(self) -> Mapping[str, Json]:
        """JSON schema of ``params``, with the docstring of the function."""
        text = inspect.getdoc(self.function) if inspect.isroutine(self.function) else None
        return {**self.param_type.schema, "description": text} if text else self.param_type.schema

    def arguments(self, context: TaskContext | AsyncTaskContext) -> dict[str, Any]:
        """Return the arguments for *function*. Raises InvalidInputError naming the invalid parameter."""
        arguments = {name: INJECTABLE[name](context) for name in self.injected}
        if self.named:
            arguments |= self.param_type.load(context.params, "params")
        elif "params" in arguments:
            arguments["params"] = self.param_type.load(context.params, "params")
        return arguments


def _is_async(function: Any) -> bool:
    return inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function)


def _named(
    skill: str, function: Callable[..., Any], parameters: Collection[inspect.Parameter]
) -> Mapping[str, ValueType]:
    """Return the types of the parameters that are fields of ``params``. Raises SkillError for one without a type, and
    for positional-only parameters.

    A parameter with a default that has no supported annotation keeps its default.
    """
    named: dict[str, ValueType] = {}
    beside_params = any(parameter.name == "params" for parameter in parameters)
    for parameter in parameters:
        if parameter.kind is parameter.POSITIONAL_ONLY:
            raise SkillError(f"skill {skill!r}: {parameter.name!r} is positional-only, but arguments are given by name")
        if parameter.name in INJECTABLE or parameter.kind in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL):
            continue
        has_default = parameter.default is not parameter.empty
        if not has_default:
            _check_named(skill, parameter, beside_params=beside_params)
        if beside_params or parameter.annotation is parameter.empty:
            continue
        try:
            named[parameter.name] = value_type(annotation_of(function, parameter))
        except TypeError as error:
            if not has_default:
                raise SkillError(f"skill {skill!r}: the parameter {parameter.name!r}: {error}") from None
    return named


def _check_named(skill: str, parameter: inspect.Parameter, *, beside_params: bool) -> None:
    """Raise SkillError if *parameter* cannot be a field of ``params``."""
    name, is_annotated = parameter.name, parameter.annotation is not parameter.empty
    slip = intended_name(name, INJECTABLE)
    if is_annotated and not beside_params and slip is None:
        return
    reason = "reads 'params' as a whole, too: use one of the two"
    if not beside_params:
        near = slip or next(iter(get_close_matches(name, INJECTABLE, n=1)), None)
        reason = f"the worker passes only {', '.join(INJECTABLE)}"
        reason += f"; did you mean {near!r}?" if near else f": annotate {name!r} to read it from the params"
    raise SkillError(f"skill {skill!r} asks for {name!r}, but {reason}")


def _param_type(
    skill: str, function: Callable[..., Any], params: inspect.Parameter | None, *, is_batch: bool = False
) -> ValueType:
    if params is None:
        return ValueType()
    try:
        annotation = annotation_of(function, params)
        if is_batch and annotation is not params.empty:
            if (get_origin(annotation) or annotation) not in (list, Sequence):
                raise TypeError(f"is annotated with {annotation!r}, but must be a list: of the params of each task")
            annotation = next(iter(get_args(annotation)), Any)
        return object_type(annotation)
    except TypeError as error:
        raise SkillError(f"skill {skill!r}: params {error}") from None


def _check_batch(skill: str, parameters: Collection[str], batch: object, wait: object) -> None:
    if type(batch) is not int or batch < 1 or (wait != 0 and not is_seconds(wait)):
        rule = f"batch must be a whole number of at least 1, and max_wait 0 or {SECONDS}"
        raise SkillError(f"skill {skill!r}: {rule}, not {batch!r} and {wait!r}")
    if not parameters or not set(parameters) <= {*OF_BATCHES}:
        raise SkillError(
            f"skill {skill!r} takes a batch, so its parameters are params and contexts, not {[*parameters]}"
        )
