"""Runs a blueprint in memory for tests: the real compiler, machine, handlers and skills, without a server, on a
simulated clock.

Messages are routed by the bindings of the plan and encoded as JSON, as in production. The clock jumps to the next timer
when nothing else is left to do, so a week of waiting takes no time.
"""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from avtomatika.core.blueprint.arguments import json_object
from avtomatika.core.blueprint.blueprint import Blueprint
from avtomatika.core.job import Json
from avtomatika.core.jsonable import JsonObject
from avtomatika.core.rules import Rules
from avtomatika.worker.worker import Worker

from .doubles import NEVER_ANSWERS, NEVER_TAKEN
from .run_result import RunResult
from .simulation import Simulation

__all__ = ["NEVER_ANSWERS", "NEVER_TAKEN", "RunResult", "run"]


def run(
    blueprint: Blueprint,
    initial_data: JsonObject | None = None,
    *,
    skills: Mapping[str, Any] | Worker | None = None,
    approvals: Mapping[str, Any] | None = None,
    signals: Mapping[str, Any] | None = None,
    blueprints: Sequence[Blueprint] = (),
    max_transitions: int = 100,
    max_retries: int = 3,
    after: RunResult | None = None,
    files: Mapping[str, Json] | None = None,
) -> RunResult:
    """Run one job of *blueprint* to its end.

    *skills* is a Worker, or maps task types to a function as ``@worker.skill`` takes it, an exception to raise,
    :data:`NEVER_TAKEN`, :data:`NEVER_ANSWERS`, or any other value, which is the result. *approvals* maps states that
    ask a person to the decision: a word, a word and the data of the form, or a function of the message that returns one
    of them; other states are not decided. *signals* maps the signals that jobs wait for to their data, or to a list of
    the data of several; other signals do not arrive.
    *blueprints* are the child workflows that jobs may run. *after* is an earlier run: this one starts with its data
    stores. *files* are the values that ``task_files`` reads, by URI. Raises BlueprintError if a blueprint does not
    compile, SkillError for a task without a skill.

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
        simulation = Simulation(
            [blueprint, *blueprints],
            skills=given,
            approvals=approvals or {},
            signals=signals or {},
            runner=runner,
            rules=Rules(max_transitions, max_retries),
            files=files,
        )
        if after is not None:
            simulation.data = after.data_stores.data
        return simulation.run(blueprint, json_object(initial_data, "initial_data"))
