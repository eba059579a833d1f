"""Handoff: moves the tasks of a broker link to web addresses of the same group while the broker is down.

These addresses then keep the leases: the link's heartbeats over HTTP name the tasks, and results go there.
"""

import logging
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

from avtomatika.broker import Consumer
from avtomatika.errors import AvtomatikaError
from avtomatika.schemas.wire import Progress, RunChunks
from avtomatika.worker.execution import TaskExecution

from .http_results import HttpResultSender, Peers
from .identity import Identity
from .pending import PendingResult, send_each
from .scheduler import LinkSlot

logger = logging.getLogger(__name__)
R = TypeVar("R", Progress, RunChunks)

#: So much is offered at a time.
_MAX_TASKS = 1_000


class Handoff:
    """Moves the tasks that *in_flight* returns, from *consumer*. One thread offers tasks, another delivers results."""

    def __init__(
        self, consumer: Consumer, identity: Identity, slot: LinkSlot, in_flight: Callable[[], Iterable[TaskExecution]]
    ) -> None:
        self._consumer = consumer
        self._identity = identity
        self._slot = slot
        self._in_flight = in_flight
        self._peers = Peers(identity, slot)
        self._result_sender = HttpResultSender(identity, slot)

    def offer(self) -> None:
        """Have a healthy web address of the same group adopt the tasks. Called while the broker is down."""
        if not self._slot.peers():
            return
        offered = [each for each in self._in_flight() if not self.is_adopted(each)][:_MAX_TASKS]
        if not offered:
            return
        body = {
            "worker_id": self._identity.worker_id,
            "consumer": self._consumer.channel.router.consumer_name,
            "tasks": [
                {"task_id": task.task_id, "attempt": task.attempt, "ticket": task.ticket, "tag": each.origin.tag}
                for each in offered
                for task in [each.task]
            ],
        }
        try:
            answer = self._peers.request(f"/_worker/workers/{self._identity.worker_id}/tasks/adopt", body) or {}
        except AvtomatikaError as error:
            logger.warning("%s; tasks from the broker wait until it is back", error)
            return
        adopted: Any = answer.get("adopted")
        taken = [each for each in offered if each.task.task_id in adopted] if isinstance(adopted, list) else []
        self._result_sender.in_flight.update((each.task.task_id, each) for each in taken)
        self._consumer.release(each.origin.tag for each in taken)
        logger.warning("%d of %d tasks from the broker are now kept over HTTP", len(taken), len(offered))

    def is_adopted(self, execution: object) -> bool:
        """Return whether a web address adopted the execution and has no result of it yet."""
        return isinstance(execution, TaskExecution) and (
            self._result_sender.in_flight.get(execution.task.task_id) is execution
        )

    def send_progress(self, progress: Sequence[Progress]) -> list[Progress]:
        """Send progress of adopted tasks; return that of other tasks."""
        return self._send(progress, self._result_sender.send_progress)

    def send_chunks(self, chunks: Sequence[RunChunks]) -> list[RunChunks]:
        """Send chunks of adopted tasks; return those of other tasks."""
        return self._send(chunks, self._result_sender.send_chunks)

    def _send(self, reports: Sequence[R], send: Callable[[Sequence[R]], None]) -> list[R]:
        in_flight = self._result_sender.in_flight
        send([each for each in reports if each.task_id in in_flight])
        return [each for each in reports if each.task_id not in in_flight]

    def deliver(self, results: deque[PendingResult]) -> None:
        """Deliver results of adopted tasks and remove them from *results*. Raises AvtomatikaError if the rest must
        wait."""
        dropped = send_each(results, self._result_sender.deliver)
        self.release(pending.execution for pending in dropped if pending.execution is not None)

    def release(self, executions: Iterable[TaskExecution]) -> None:
        """Stop naming these tasks; the next heartbeat over HTTP requeues them."""
        for execution in executions:
            if self.is_adopted(execution):
                del self._result_sender.in_flight[execution.task.task_id]

    def abort(self) -> None:
        """Abort a running request. Any thread may call it."""
        self._result_sender.abort()

    def close(self) -> None:
        self._peers.close()
        self._result_sender.close()
