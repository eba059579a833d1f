"""A child as the pool sees it: what it has in hand, and when it is to be replaced."""

from __future__ import annotations

from dataclasses import dataclass
from multiprocessing.connection import Connection

from avtomatika.worker.assignment import Assignment


@dataclass(frozen=True, slots=True)
class Recycling:
    """A child is replaced after so many tasks, or when it holds so much memory; None: never."""

    tasks: int | None = None
    memory_bytes: int | None = None

    def is_due(self, tasks: int, memory_bytes: int) -> bool:
        return (self.tasks is not None and tasks >= self.tasks) or (
            self.memory_bytes is not None and memory_bytes > self.memory_bytes
        )


@dataclass(slots=True, eq=False)
class Member:
    """*done* counts its tasks."""

    pid: int
    connection: Connection
    assignment: Assignment | None = None
    done: int = 0
