"""Skill sets: groups of skills with their middleware. A worker is a skill set and can include others."""

import inspect
from collections.abc import Callable, Coroutine, Iterator, Mapping
from dataclasses import replace
from importlib import import_module
from types import MappingProxyType, ModuleType
from typing import Any, ParamSpec, Protocol, TypedDict, TypeVar, Unpack, overload

from avtomatika.core.times import Duration
from avtomatika.errors import SkillError

from .skill import Middleware, Skill, checked
from .task_function import TaskFunction, sendable

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")
M = TypeVar("M", bound=Middleware)


class SkillOptions(TypedDict, total=False):
    """Options of a skill; see :meth:`SkillSet.skill`."""

    time_limit: Duration | None
    concurrency: int | None
    rate: str | None


class _Decorator(Protocol):
    """The decorator of a skill with options."""

    @overload
    def __call__(self, function: Callable[P, Coroutine[Any, Any, T]]) -> TaskFunction[P, Coroutine[Any, Any, T], T]: ...
    @overload
    def __call__(self, function: Callable[P, T]) -> TaskFunction[P, T, T]: ...


class _BatchDecorator(Protocol):
    """The decorator of a skill with batches."""

    def __call__(
        self, function: Callable[P, list[T] | Coroutine[Any, Any, list[T]]]
    ) -> TaskFunction[P, list[T] | Coroutine[Any, Any, list[T]], T]: ...


class SkillSet:
    """A group of skills; *prefix* is prepended to their names.

    >>> images = SkillSet(prefix="image-")
    >>> @images.skill()
    ... def resize(params: dict): return {"width": params["width"]}
    >>> list(images.skills)
    ['image-resize']
    """

    def __init__(self, *, prefix: str = "") -> None:
        self._prefix = prefix
        self._skills: dict[str, Skill] = {}
        self._middleware: list[Middleware] = []

    @property
    def skills(self) -> Mapping[str, Skill]:
        """Skills by task type, in order of registration, with their middleware."""
        return MappingProxyType({name: self._with_middleware(skill) for name, skill in self._skills.items()})

    @overload
    def skill(self, name: Callable[P, Coroutine[Any, Any, T]], /) -> TaskFunction[P, Coroutine[Any, Any, T], T]: ...
    @overload
    def skill(self, name: Callable[P, T], /) -> TaskFunction[P, T, T]: ...
    @overload
    def skill(self, name: str | None = None, **options: Unpack[SkillOptions]) -> _Decorator: ...
    @overload
    def skill(
        self, name: str | None = None, *, batch: int, max_wait: Duration = 0.05, **options: Unpack[SkillOptions]
    ) -> _BatchDecorator: ...
    def skill(self, name: Any = None, **options: Any) -> Any:
        """Register a function as the skill *name*, by default its own name. Works with and without parentheses.

        Return the function, with ``send`` and ``map`` to run it on any worker: see :class:`TaskFunction`.

        *time_limit* is the maximum duration of a task, in seconds or as a timedelta, by default ``WORKER_TIME_LIMIT``.
        On all workers together, at most *concurrency* tasks run at a time, and at most *rate* start (``100/m``).
        With *batch* the function takes up to that many tasks in one call and returns a list of their results; a task
        waits up to *max_wait* for others. Raises SkillError if the name is taken or the function has a parameter that
        cannot be injected.
        """
        if callable(name):
            return self._register(name, None)
        return lambda function: self._register(function, name, **options)

    #: Alias of :meth:`skill`.
    task = skill

    def middleware(self, function: M) -> M:
        """Wrap all skills of this set in *function*, which calls the skill as ``call(context)``. Coroutine functions
        wrap async skills, other functions sync ones. The first registered is outermost."""
        self._middleware.append(checked(function))
        return function

    def include(self, *others: "SkillSet | ModuleType | str") -> None:
        """Include the skills of other skill sets. A module, or its name, means all skill sets at its top level.
        Raises SkillError if a module has none, or if a name is taken."""
        for other in others:
            for skill_set in _skill_sets_in(other):
                for skill in skill_set.skills.values():
                    self._add(skill)

    def _register(self, function: Callable[..., Any], name: str | None, **options: Any) -> Any:
        skill = Skill.of(function, f"{self._prefix}{name or getattr(function, '__name__', '')}", **options)
        self._add(skill)
        return sendable(function, skill.name, is_batch=skill.batch is not None)

    def _add(self, skill: Skill) -> None:
        if skill.name in self._skills:
            raise SkillError(f"skill {skill.name!r} is already registered")
        self._skills[skill.name] = skill

    def _with_middleware(self, skill: Skill) -> Skill:
        ours = tuple(each for each in self._middleware if inspect.iscoroutinefunction(each) is skill.is_async)
        return replace(skill, middleware=ours + skill.middleware) if ours else skill


def _skill_sets_in(other: SkillSet | ModuleType | str) -> Iterator[SkillSet]:
    if isinstance(other, SkillSet):
        yield other
        return
    module = import_module(other) if isinstance(other, str) else other
    found = {id(value): value for value in vars(module).values() if isinstance(value, SkillSet)}
    if not found:
        raise SkillError(f"module {module.__name__!r} has no SkillSet at its top level")
    yield from found.values()
