"""The load of a worker: how many tasks it runs at a time, and which."""

from collections.abc import Collection, Iterable, Mapping
from math import ceil
from time import monotonic
from typing import TYPE_CHECKING

from avtomatika.core.job import Json
from avtomatika.schemas.worker_status import MOST_TASKS

from .execution import TaskExecution
from .skill import Skill

if TYPE_CHECKING:
    from .runtime import Runtime


class Capacity:
    """*concurrency* calls of *skills* run at a time; a task of a batch uses its share of one. ``tasks`` is the capacity
    in tasks of the skill with the smallest batch, ``most`` the one with the largest."""

    def __init__(self, skills: Mapping[str, Skill], concurrency: int) -> None:
        sizes = [skill.batch or 1 for skill in skills.values()] or [1]
        self._least, self.is_plain = min(sizes), max(sizes) == 1
        self.tasks, self.most = concurrency * min(sizes), concurrency * max(sizes)

    def used(self, executions: Collection[TaskExecution]) -> int:
        """Return how much of ``tasks`` *executions* use."""
        if self.is_plain:
            return len(executions)
        return ceil(round(sum(self._least / (each.skill.batch or 1) for each in executions), 6))

    def prefetch(self, in_flight: Collection[TaskExecution]) -> int:
        """Return how many tasks a link may hold."""
        return self.tasks + len(in_flight) - self.used(in_flight)


def running_tasks(runtimes: Iterable["Runtime"]) -> list[Json]:
    """Return the running tasks for heartbeats, the oldest first, at most as many as a server accepts."""
    now = monotonic()
    started = [
        (each.started_at, each)
        for runtime in runtimes
        for each in runtime.in_flight
        if each.started_at is not None and each.result is None
    ]
    return [
        {"task_id": each.task.task_id, "skill": each.skill.name, "running_ms": round((now - started_at) * 1000)}
        for started_at, each in sorted(started, key=lambda pair: pair[0])[:MOST_TASKS]
    ]
