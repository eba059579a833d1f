"""Run a blueprint in memory, for tests: the real compiler, machine, handlers and skills, no server, a clock that jumps.

Messages go by the plan's own bindings and as JSON, so what runs here is routed and encoded as it will be. Time passes
only where nothing else is left to do: a week of waiting takes no time at all.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from avtomatika.core.blueprint import Blueprint
from avtomatika.core.job import Json
from avtomatika.core.rules import Rules
from avtomatika.worker.worker import Worker

from .ended import EndedJob
from .stand_ins import NOBODY, SILENCE
from .world import World

__all__ = ["NOBODY", "SILENCE", "EndedJob", "run"]


def run(
    blueprint: Blueprint,
    initial_data: Mapping[str, Json] | None = None,
    *,
    skills: Mapping[str, Any] | Worker | None = None,
    approvals: Mapping[str, Any] | None = None,
    blueprints: Sequence[Blueprint] = (),
    max_transitions: int = 100,
    max_retries: int = 3,
    after: EndedJob | None = None,
    files: Mapping[str, Json] | None = None,
) -> EndedJob:
    """Run one job of *blueprint* to its end.

    *skills* is a Worker, or maps task types to what does them: a function as ``@worker.skill`` takes it, an exception
    to raise, :data:`NOBODY`, :data:`SILENCE`, or anything else, which is the result. *approvals* maps states that ask
    a person to what is decided: a word, or a function of the message that answers one; nobody decides where none is
    given. *blueprints* are others that jobs may run. *after* is a job that ran before: its data stores are found as it
    left them. *files* are the values that ``task_files`` reads, by URI. Raises BlueprintError where a blueprint does
    not compile, SkillError for a task that nothing does.

    >>> bp = Blueprint(name="double")
    >>> @bp.handler(is_start=True, may_go_to=["end"])
    ... def start(initial_data, actions):
    ...     actions.dispatch_task("twice", initial_data, transitions={"success": "end"})
    >>> @bp.handler(is_end=True)
    ... def end(number):
    ...     return number
    >>> run(bp, {"number": 21}, skills={"twice": lambda params: {"number": 2 * params["number"]}}).result
    42
    """
    given = skills.skills if isinstance(skills, Worker) else dict(skills or {})
    with asyncio.Runner() as runner:
        world = World(
            [blueprint, *blueprints],
            skills=given,
            approvals=approvals or {},
            runner=runner,
            rules=Rules(max_transitions, max_retries),
            files=files,
        )
        if after is not None:
            world.data = after.data_stores.data
        return world.run(blueprint, dict(initial_data or {}))
