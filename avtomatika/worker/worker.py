"""Worker: what a user writes. A worker is its skills; everything else comes from the environment when it runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, TypeVar, overload

from avtomatika.core.job import Json
from avtomatika.errors import SkillError

from .means import checked_costs, checked_resources
from .skill import Skill

F = TypeVar("F", bound=Callable[..., Any])


class Worker:
    """Skills that are offered together; *worker_type* is a word for people.

    *resources* are what tasks may require (``{"ram_gb": 32, "devices": [{"type": "gpu", "memory_gb": 24}]}``), *costs*
    what one task of a skill costs (``{"encode": 0.5}``); ``WORKER_RESOURCES`` and ``WORKER_COSTS`` go before them.

    >>> worker = Worker(worker_type="video")
    >>> @worker.skill()
    ... async def encode(params: dict): return {"output": params["input"] + ".mp4"}
    >>> list(worker.skills)
    ['encode']
    """

    def __init__(
        self,
        worker_type: str | None = None,
        *,
        resources: Mapping[str, Json] | None = None,
        costs: Mapping[str, float] | None = None,
    ) -> None:
        self.worker_type = worker_type
        self.resources = checked_resources(resources or {})
        self.costs = checked_costs(costs or {})
        self._skills: dict[str, Skill] = {}

    @property
    def skills(self) -> Mapping[str, Skill]:
        """Skills by task type, in the order in which they were registered."""
        return MappingProxyType(self._skills)

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

    def run(self) -> None:
        """Work until SIGTERM or SIGINT, as the environment says; ``avtomatika worker`` does the same from a shell."""
        from .run import run_script

        run_script(self)

    def _register(self, function: F, name: str | None, time_limit: float | None) -> F:
        skill = Skill.of(function, name, time_limit_seconds=time_limit)
        if skill.name in self._skills:
            raise SkillError(f"skill {skill.name!r} is registered twice")
        self._skills[skill.name] = skill
        return function
