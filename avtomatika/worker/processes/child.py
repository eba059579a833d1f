"""In a child: one task after the other is performed as the worker's own threads would do it."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections import deque
from collections.abc import Mapping
from time import monotonic

from avtomatika.errors import PermanentError
from avtomatika.files.task_storage import TaskStorage
from avtomatika.schemas.wire import Progress, TaskMessage
from avtomatika.worker.execution import TaskExecution
from avtomatika.worker.recycling import memory_bytes
from avtomatika.worker.result import raised
from avtomatika.worker.skill import Skill
from avtomatika.worker.stop import StopReason

from .claims import claim
from .messages import ChildResult, ChildTask, Messages, StopOrder, encode, send


class Child:
    """Performs what it is ordered with *skills*, for the worker *worker_id*; its files are those of *storage*.

    It tells how much memory it holds where that *is_limited*.
    """

    def __init__(
        self, skills: Mapping[str, Skill], *, worker_id: str, storage: TaskStorage, is_memory_limited: bool = False
    ) -> None:
        self._skills = skills
        self._worker_id = worker_id
        self._storage = storage
        self._is_memory_limited = is_memory_limited

    def work(self, connection: socket.socket, claims: socket.socket) -> None:
        """Until the other end is closed."""
        pool = _Pool(connection)
        storage: TaskStorage | None = None
        while (number := claim(claims)) is not None:
            order = pool.order(number)
            storage = storage or self._storage.for_child(order.payload_dir)
            pool.answer(order.task, self._perform(order, storage, pool))

    def _perform(self, order: ChildTask, storage: TaskStorage, pool: _Pool) -> ChildResult:
        task, begun_at = order.task, monotonic()
        assignment = TaskExecution(
            task,
            self._skills[task.task_type],
            self._worker_id,
            None,
            storage,
            pool.tell,
            ask=lambda: pool.stop_of(order.number),
            limit_seconds=order.limit_seconds,
        )
        if assignment.skill.is_async:
            asyncio.run(_perform_async(assignment, pool))
        else:
            assignment.perform()
        if assignment.result is None:
            raise RuntimeError(f"task {task.task_id} ended without a result")
        return ChildResult(assignment.result, monotonic() - begun_at, memory_bytes() if self._is_memory_limited else 0)


class _Pool:
    """The pool as a child sees it, for whatever threads a skill has."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self._messages = Messages(connection)
        self._orders: deque[ChildTask] = deque()
        self._stops: dict[int, StopReason] = {}
        self._reading = threading.Lock()
        self._sending = threading.Lock()

    def order(self, number: int) -> ChildTask:
        """The order of that number; those before it were taken back."""
        while True:
            while self._orders:
                order = self._orders.popleft()
                if order.number == number:
                    self._stops.clear()
                    return order
            self._read(wait=True)

    def stop_of(self, number: int) -> StopReason | None:
        """Why to stop with a task, if the pool has said so."""
        with self._reading:
            self._read(wait=False)
            return self._stops.get(number)

    def tell(self, progress: Progress) -> None:
        with self._sending:
            send(self.connection, [progress])

    def answer(self, task: TaskMessage, ended: ChildResult) -> None:
        try:
            message = encode(ended)
        except TypeError as error:  # middleware may answer anything
            problem = PermanentError(f"the result cannot be represented as JSON: {error}")
            duration_ms = round(ended.seconds * 1000)
            failed = raised(problem, task, worker_id=str(ended.result.worker_id), duration_ms=duration_ms)
            message = encode(ChildResult(failed, ended.seconds, ended.memory_bytes))
        with self._sending:
            self.connection.sendall(message)

    def _read(self, *, wait: bool) -> None:
        for message in self._messages.read(wait=wait):
            match message:
                case ChildTask():
                    self._orders.append(message)
                case StopOrder(number, why):
                    self._stops[number] = why


async def _perform_async(assignment: TaskExecution, pool: _Pool) -> None:
    performing = asyncio.ensure_future(assignment.perform_async())

    def hear() -> None:
        if assignment.ask is not None and (why := assignment.ask()) is not None:
            assignment.stop = why
            performing.cancel()

    loop = asyncio.get_running_loop()
    loop.add_reader(pool.connection.fileno(), hear)
    hear()  # of what was read with the order
    try:
        await performing
    finally:
        loop.remove_reader(pool.connection.fileno())
