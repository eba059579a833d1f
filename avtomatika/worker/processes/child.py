"""In a child: one task after the other is performed as the worker's own threads would do it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from multiprocessing.connection import Connection

from avtomatika.core.events import Result
from avtomatika.files.depot import Depot
from avtomatika.schemas.wire import Progress, TaskMessage
from avtomatika.worker.assignment import Assignment
from avtomatika.worker.skill import Skill
from avtomatika.worker.stop import Stop
from avtomatika.worker.wear import memory_bytes


@dataclass(frozen=True, slots=True)
class Order:
    """A task to perform; files are put below *payload_dir*."""

    task: TaskMessage
    payload_dir: str


@dataclass(frozen=True, slots=True)
class Ended:
    """A task has its result; the process holds so much memory now."""

    result: Result
    memory_bytes: int


#: What a child says.
Word = Progress | Ended


class Child:
    """Performs what it is ordered with *skills*, for the worker *worker_id*; its files are those of *depot*."""

    def __init__(self, skills: Mapping[str, Skill], *, worker_id: str, depot: Depot) -> None:
        self._skills = skills
        self._worker_id = worker_id
        self._depot = depot

    def work(self, connection: Connection) -> None:
        """Until the other end is closed."""
        ear = _Ear(connection)
        depot: Depot | None = None
        while True:
            order = connection.recv()
            if not isinstance(order, Order):
                continue  # word to stop that came too late
            depot = depot or self._depot.for_child(order.payload_dir)
            task = order.task
            skill = self._skills[task.task_type]
            assignment = Assignment(task, skill, self._worker_id, None, depot, ear.tell, ask=ear.ask)
            if assignment.skill.is_async:
                asyncio.run(_perform_async(assignment, connection))
            else:
                assignment.perform()
            if assignment.result is None:
                raise RuntimeError(f"task {task.task_id} ended without a result")
            connection.send(Ended(assignment.result, memory_bytes()))


class _Ear:
    """A connection for whatever threads a skill has."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._lock = threading.Lock()

    def tell(self, progress: Progress) -> None:
        with self._lock:
            self._connection.send(progress)

    def ask(self) -> Stop | None:
        """Why to stop, if somebody has said so."""
        with self._lock:
            return _stop_of(self._connection) if self._connection.poll() else None


async def _perform_async(assignment: Assignment, connection: Connection) -> None:
    performing = asyncio.ensure_future(assignment.perform_async())

    def hear() -> None:
        assignment.stop = _stop_of(connection)
        performing.cancel()

    asyncio.get_running_loop().add_reader(connection.fileno(), hear)
    try:
        await performing
    finally:
        asyncio.get_running_loop().remove_reader(connection.fileno())


def _stop_of(connection: Connection) -> Stop:
    word: Stop = connection.recv()
    return word
