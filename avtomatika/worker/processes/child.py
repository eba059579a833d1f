"""The child's side: runs tasks one at a time, like the worker's threads."""

import asyncio
import socket
import threading
from collections import deque
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from time import monotonic

from avtomatika.errors import PermanentError
from avtomatika.files.task_storage import TaskStorage
from avtomatika.schemas.wire import Progress, TaskMessage
from avtomatika.worker.batch import Batch
from avtomatika.worker.execution import TaskExecution
from avtomatika.worker.recycling import memory_bytes
from avtomatika.worker.result import StopReason, result_of_error
from avtomatika.worker.skill import Skill

from .messages import ChildChunk, ChildResult, ChildTask, Messages, StopRequest, encode, send
from .sockets import claim


class Child:
    """Runs tasks with *skills* for the worker *worker_id*, with files in *storage*.

    With *is_memory_limited*, results include the memory of the process.
    """

    def __init__(
        self, skills: Mapping[str, Skill], *, worker_id: str, storage: TaskStorage, is_memory_limited: bool = False
    ) -> None:
        self._skills = skills
        self._worker_id = worker_id
        self._storage = storage
        self._is_memory_limited = is_memory_limited

    def work(self, connection: socket.socket, claims: socket.socket) -> None:
        """Run tasks until the pool closes the connection."""
        pool = _Pool(connection)
        storage: TaskStorage | None = None
        while (number := claim(claims)) is not None:
            child_task = pool.next_task(number)
            storage = storage or self._storage.for_child(child_task.payload_dir)
            self._run(child_task, storage, pool)

    def _run(self, child_task: ChildTask, storage: TaskStorage, pool: "_Pool") -> None:
        """Run a task, or a batch, and send the results."""
        started_at, skill = monotonic(), self._skills[child_task.tasks[0].task_type]
        executions = [
            TaskExecution(
                task,
                skill,
                self._worker_id,
                None,
                storage,
                pool.send,
                lambda _, chunk, index=index: pool.send(ChildChunk(chunk, index)),  # type: ignore[misc]
                poll_stop=partial(pool.stop_reason_of, child_task.number, index),
                limit_seconds=child_task.limit_seconds,
            )
            for index, task in enumerate(child_task.tasks)
        ]
        call = executions[0] if skill.batch is None else Batch(executions)
        if skill.is_async:
            asyncio.run(_run_async(executions[0], pool))  # an isolated task
        else:
            call.run()
        memory = memory_bytes() if self._is_memory_limited else 0
        for index, each in enumerate(executions):
            if each.result is None:
                raise RuntimeError(f"task {each.task.task_id} ended without a result")
            result = ChildResult(each.result, monotonic() - started_at, memory, each.encoded, each.transferred, index)
            pool.send_result(each.task, result)


class _Pool:
    """The pool as a child sees it. Thread-safe, since a skill may have threads."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self._messages = Messages(connection)
        self._tasks: deque[ChildTask] = deque()
        self._stops: dict[tuple[int, int], StopReason] = {}
        self._reading = threading.Lock()
        self._sending = threading.Lock()

    def next_task(self, number: int) -> ChildTask:
        """Return the task with that number; the pool has reclaimed earlier ones."""
        while True:
            while self._tasks:
                child_task = self._tasks.popleft()
                if child_task.number == number:
                    self._stops = {key: reason for key, reason in self._stops.items() if key[0] == number}
                    return child_task
            self._read(wait=True)

    def stop_reason_of(self, number: int, index: int) -> StopReason | None:
        """Return why to stop the task, if the pool has requested it."""
        with self._reading:
            self._read(wait=False)
            return self._stops.get((number, index))

    def send(self, message: Progress | ChildChunk) -> None:
        with self._sending:
            send(self.connection, [message])

    def send_result(self, task: TaskMessage, child_result: ChildResult) -> None:
        try:
            message = encode(child_result)
        except TypeError as error:  # middleware may return any value
            problem = PermanentError(f"the result cannot be represented as JSON: {error}")
            duration_ms = round(child_result.seconds * 1000)
            failed = result_of_error(
                problem, task, worker_id=str(child_result.result.worker_id), duration_ms=duration_ms
            )
            message = encode(replace(child_result, result=failed, encoded=None))
        with self._sending:
            self.connection.sendall(message)

    def _read(self, *, wait: bool) -> None:
        for message in self._messages.read(wait=wait):
            match message:
                case ChildTask():
                    self._tasks.append(message)
                case StopRequest(number, stop_reason, index):
                    self._stops[number, index] = stop_reason


async def _run_async(execution: TaskExecution, pool: _Pool) -> None:
    running = asyncio.ensure_future(execution.run_async())

    def check_stop() -> None:
        if execution.poll_stop is not None and (stop_reason := execution.poll_stop()) is not None:
            execution.stop_reason = stop_reason
            running.cancel()

    loop = asyncio.get_running_loop()
    loop.add_reader(pool.connection.fileno(), check_stop)
    check_stop()  # a request may have arrived with the task
    try:
        await running
    finally:
        loop.remove_reader(pool.connection.fileno())
