"""Skill sets: skills that belong together, with what is done around them. A worker is one, and may include others."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from importlib import import_module
from types import MappingProxyType, ModuleType
from typing import Any, TypeVar, overload

from avtomatika.errors import SkillError

from .middleware import Middleware, checked
from .skill import Skill

F = TypeVar("F", bound=Callable[..., Any])
M = TypeVar("M", bound=Middleware)


class SkillSet:
    """Skills whose names all begin with *prefix*.

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
        """Skills by task type, in the order in which they were registered, with the middleware around them."""
        return MappingProxyType({name: self._surrounded(skill) for name, skill in self._skills.items()})

    @overload
    def skill(self, name: F, /) -> F: ...
    @overload
    def skill(self, name: str | None = None, *, time_limit: float | None = None) -> Callable[[F], F]: ...
    def skill(self, name: F | str | None = None, *, time_limit: float | None = None) -> F | Callable[[F], F]:
        """Offer a function as the skill *name*, by default its own name; with or without parentheses.

        *time_limit* is how many seconds a task may take; without one ``WORKER_TIME_LIMIT`` says it. Raises SkillError
        where the name is taken or the function asks for something that it cannot be given.
        """
        if callable(name):
            return self._register(name, None, None)
        return lambda function: self._register(function, name, time_limit)

    #: The same under another name.
    task = skill

    def middleware(self, function: M) -> M:
        """Have *function* called around all skills of this set: ``function(context, call)`` goes on by
        ``call(context)``. Coroutine functions are for async skills, others for sync ones. The first stands outermost.
        """
        self._middleware.append(checked(function))
        return function

    def include(self, *others: SkillSet | ModuleType | str) -> None:
        """Offer what is in *others*, too: skill sets, or modules (or their names), of which every skill set counts that
        stands at their top level. Raises SkillError where there is none, or where a name is taken.
        """
        for other in others:
            for skill_set in _sets_of(other):
                for skill in skill_set.skills.values():
                    self._add(skill)

    def _register(self, function: F, name: str | None, time_limit: float | None) -> F:
        wanted = name or getattr(function, "__name__", "")
        self._add(Skill.of(function, f"{self._prefix}{wanted}", time_limit_seconds=time_limit))
        return function

    def _add(self, skill: Skill) -> None:
        if skill.name in self._skills:
            raise SkillError(f"skill {skill.name!r} is registered twice")
        self._skills[skill.name] = skill

    def _surrounded(self, skill: Skill) -> Skill:
        ours = tuple(each for each in self._middleware if inspect.iscoroutinefunction(each) is skill.is_async)
        return replace(skill, middleware=ours + skill.middleware) if ours else skill


def _sets_of(other: SkillSet | ModuleType | str) -> Iterator[SkillSet]:
    if isinstance(other, SkillSet):
        yield other
        return
    module = import_module(other) if isinstance(other, str) else other
    found = {id(value): value for value in vars(module).values() if isinstance(value, SkillSet)}
    if not found:
        raise SkillError(f"module {module.__name__!r} has no SkillSet at its top level")
    yield from found.values()
