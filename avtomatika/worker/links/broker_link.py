"""Broker link: consumes task queues directly, for workers inside a trusted network.

One thread takes tasks, another sends results (``outbox``); neither waits for the other.
"""

import logging
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from functools import partial
from threading import Lock
from time import monotonic, sleep
from typing import Any

from avtomatika import broker
from avtomatika.broker import Consumer, Delivery
from avtomatika.broker.backoff import Backoff
from avtomatika.errors import NoRouteError, UnavailableError
from avtomatika.schemas import wire
from avtomatika.worker.execution import TaskExecution
from avtomatika.worker.runtime import Runtime
from avtomatika.worker.spool import SpoolPartition

from .broker_results import BrokerResultSender
from .control import Control
from .handoff import Handoff
from .heartbeats import Heartbeats
from .identity import WorkerStatus
from .outbox import Outbox
from .scheduler import LinkSlot
from .shards import AllShards

logger = logging.getLogger(__name__)

#: Interval at which an idle link that waits for tasks checks for a stop request.
_IDLE_SECONDS = 0.5
#: The same while it waits to reconnect.
_CHECK_SECONDS = 0.1
#: Time without taking tasks after a rejection. Orchestrators repeat it at each heartbeat.
REJECTED_SECONDS = 8.0


class BrokerLink:
    """Takes tasks for the skills of *runtime*, and those in the worker's own queue, through a *connection* of
    ``broker``."""

    def __init__(
        self,
        runtime: Runtime,
        *,
        connection: Any,
        drain_timeout_seconds: float,
        slot: LinkSlot | None = None,
        worker_status: WorkerStatus | None = None,
        partition: SpoolPartition | None = None,
    ) -> None:
        """Without a *slot* this is the only link and takes tasks whenever it can. Without *worker_status* it sends no
        heartbeats."""
        self._runtime = runtime
        self._shards = AllShards(connection)
        self._queues = runtime.task_types
        self._drain_timeout_seconds = drain_timeout_seconds
        #: Tasks that were started and not yet announced.
        self._unannounced: deque[wire.TaskMessage] = deque(maxlen=runtime.capacity.most)
        #: Held until they are: results are sent after the announcements of their tasks.
        self._announcing = Lock()
        #: Actions for messages that cannot be run as tasks.
        self._not_tasks: list[Callable[[], object]] = []
        self._slot = slot
        self._worker_status = worker_status
        self._key = None if worker_status is None else worker_status.identity.key
        self._partition = partition
        self._outbox: Outbox | None = None
        self._handoff: Handoff | None = None
        self._rejected_until = 0.0
        self._backoff = Backoff(logger, "retrying")
        self._stopping = False

    def stop(self) -> None:
        self._stopping = True
        self._set_draining(True)
        if self._slot is not None:
            self._slot.wake()

    def run(self) -> None:
        try:
            consumer = self._attach()
            if consumer is not None:
                self._work(consumer)
        finally:
            self._shards.connection.release()

    def _work(self, consumer: Consumer) -> None:
        handoff = self._handoff = self._new_handoff(consumer)
        sender = BrokerResultSender(
            consumer, self._key, handoff, worker_id=self._runtime.worker_id, announcing=self._announcing
        )
        outbox = self._outbox = Outbox(self._runtime, sender, self._partition)
        control = Control(
            self._shards.connection,
            self._runtime,
            cancelled_tags=lambda: consumer.cancelled,
            on_rejected=self._on_rejected,
            on_drain=self._set_draining,
        )
        outbox.start()
        control.start()
        if self._slot is not None:
            self._slot.recovered()
        on_disconnect = None if handoff is None else handoff.offer
        heartbeats = None if self._worker_status is None else Heartbeats(consumer, self._worker_status, on_disconnect)
        if heartbeats is not None:
            heartbeats.start()
        self._take_tasks(consumer)
        outbox.drain(self._drain_timeout_seconds, partial(self._requeue, consumer))
        if heartbeats is not None:
            heartbeats.stop()
        control.stop()
        consumer.close()
        if handoff is not None:
            handoff.close()

    def _new_handoff(self, consumer: Consumer) -> Handoff | None:
        """Return the handoff to web addresses while the broker is down; None for an only link."""
        if self._slot is None or self._worker_status is None:
            return None
        return Handoff(consumer, self._worker_status.identity, self._slot, self._in_flight)

    def _in_flight(self) -> list[TaskExecution]:
        """Return executions from this broker whose results are not sent."""
        unsent = [] if self._outbox is None else self._outbox.unsent
        return [*self._runtime.in_flight, *(each.execution for each in unsent if each.execution is not None)]

    # ------------------------------------------------------------ take

    def _attach(self) -> Consumer | None:
        """Connect, retrying, and return the consumer; None if stopped before."""
        attached: list[Consumer] = []
        ready: list[Consumer] = []

        def attach() -> None:
            if not attached:
                self._declare()
                queues = [*self._queues, broker.worker_queue(self._runtime.worker_id)]
                attached.append(Consumer(self._shards.connection, queues, prefetch=self._runtime.capacity.tasks))
            self._shards.follow(attached[0], deferred=0, declare=self._declare)
            ready.append(attached[0])

        self._backoff.run(attach, until=lambda: self._stopping or ready, wait=self._pause, errors=UnavailableError)
        return ready[0] if ready else None

    def _declare(self) -> None:
        """Declare the queues, and tell the other links which broker this is."""
        broker.declare_tasks(self._shards.connection, self._runtime.task_types, worker_id=self._runtime.worker_id)
        if self._slot is not None:
            self._slot.set_broker(broker.identity(self._shards.connection))

    def _take_tasks(self, consumer: Consumer) -> None:
        self._backoff.run(lambda: self._step(consumer), until=lambda: self._stopping, wait=self._pause)

    def _step(self, consumer: Consumer) -> None:
        self._runtime.mark_alive("intake")
        if self._outbox is not None and self._outbox.is_resending:
            sleep(_CHECK_SECONDS)
            return
        if monotonic() < self._rejected_until:
            self._wait_while_rejected()
        if self._is_draining and not self._stopping:
            self._wait_while_draining(consumer)
        if self._backoff:
            self._declare()  # a restarted broker may have lost the queues
            if self._slot is not None:
                self._slot.recovered()  # otherwise the link would get no more grants
        deferred = 0 if self._outbox is None else self._outbox.deferred
        if not self._shards.follow(consumer, deferred=deferred, declare=self._declare):
            sleep(_CHECK_SECONDS)
            return
        self._run_once(consumer)

    def _on_rejected(self) -> None:
        """Handle the message that orchestrators reject this worker."""
        self._rejected_until = monotonic() + REJECTED_SECONDS

    def _wait_while_rejected(self) -> None:
        """Take no tasks while orchestrators reject this worker."""
        address = broker.redacted_url(self._shards.connection.hostname)
        logger.error("the orchestrators at %s reject this worker: taking no tasks from there", address)
        if self._slot is not None:
            self._slot.failed()
        while not self._stopping and monotonic() < self._rejected_until:
            self._runtime.mark_alive("intake")
            sleep(_CHECK_SECONDS)
        if self._slot is not None:
            self._slot.recovered()

    def _set_draining(self, is_draining: bool) -> None:
        """Handle the message that an operator drains or resumes this worker. A stopping one drains."""
        if self._worker_status is not None:
            self._worker_status.is_draining = is_draining or self._stopping

    @property
    def _is_draining(self) -> bool:
        return self._worker_status is not None and self._worker_status.is_draining

    def _wait_while_draining(self, consumer: Consumer) -> None:
        """Requeue tasks that have not started, and take none until an operator resumes this worker."""
        logger.warning("draining: taking no tasks from %s", broker.redacted_url(self._shards.connection.hostname))
        self._queues = []  # when it resumes, they are consumed again
        consumer.consume_from(())
        self._requeue(consumer, self._runtime.withdraw())
        while self._is_draining and not self._stopping:
            self._runtime.mark_alive("intake")
            sleep(_CHECK_SECONDS)

    def _run_once(self, consumer: Consumer) -> None:
        """Take a batch of tasks if granted, announce it, and start it. If it raises UnavailableError, nothing is
        lost."""
        self._watch_available_skills(consumer)
        if self._slot is None:
            prefetch = self._runtime.capacity.prefetch(self._runtime.in_flight)
            consumer.set_prefetch(prefetch + (0 if self._outbox is None else self._outbox.deferred))
            self._take(consumer, _IDLE_SECONDS)
            return
        grant = self._slot.take(_IDLE_SECONDS)
        if grant is None:
            return
        taken = 0
        try:
            consumer.prefetch_more(grant.tasks)  # in addition to finished tasks whose results wait
            taken = self._take(consumer, min(grant.wait_seconds, _IDLE_SECONDS))
        finally:
            self._slot.complete(grant, taken=taken)

    def _watch_available_skills(self, consumer: Consumer) -> None:
        """Stop consuming the queues of suspended skills."""
        wanted = self._runtime.available_task_types
        if wanted != self._queues:
            self._queues = wanted
            consumer.consume_from([*wanted, broker.worker_queue(self._runtime.worker_id)])

    def _take(self, consumer: Consumer, wait_seconds: float) -> int:
        deliveries = consumer.take(wait_seconds)
        if self._stopping or self._is_draining:
            consumer.return_unstarted(deliveries)
            return 0
        tasks = self._readable(consumer, deliveries)
        if tasks:
            self._start_tasks(consumer, self._runtime.admit(tasks))
        while self._not_tasks:
            self._not_tasks[0]()
            del self._not_tasks[0]
        return len(tasks)

    def _readable(self, consumer: Consumer, deliveries: Iterable[Delivery]) -> list[tuple[wire.TaskMessage, Delivery]]:
        tasks, actions = broker.read_tasks(consumer, deliveries, worker_id=self._runtime.worker_id, signer=self._key)
        self._not_tasks += actions
        for delivery, task in tasks:
            if not self._runtime.has_skill(task.task_type):
                reason = f"task {task.task_id}: this worker has no skill {task.task_type!r}"
                self._not_tasks.append(partial(consumer.dead_letter, delivery, reason="no_skill", error=reason))
        return [(task, delivery) for delivery, task in tasks if self._runtime.has_skill(task.task_type)]

    def _start_tasks(self, consumer: Consumer, admitted: list[TaskExecution]) -> None:
        """Start the tasks, and announce them to orchestrators meanwhile: the threads of skills take a while to wake.

        A broker that does not accept the announcement may be full; the tasks run anyway, since their results free
        space.
        """
        self._unannounced.extend(execution.task for execution in admitted)
        with ExitStack() as announcing:
            announcing.enter_context(self._announcing)
            self._runtime.start(admitted)
            worker_id, by_shard = self._runtime.worker_id, consumer.by_shard(self._unannounced)
            notices = [
                broker.tasks_started(tasks, worker_id, signer=self._key, shard=shard)
                for shard, tasks in by_shard.items()
            ]
            try:
                consumer.settle_many([([notice], ()) for notice in notices], on_sent=announcing.close)
            except (UnavailableError, NoRouteError) as error:
                logger.warning("%s; %d tasks start before they are announced", error, len(self._unannounced))
            else:
                self._unannounced.clear()

    def _pause(self, seconds: float) -> None:
        if self._slot is not None:
            self._slot.failed()
        until = monotonic() + seconds
        while not self._stopping and monotonic() < until:
            sleep(_CHECK_SECONDS)

    def _requeue(self, consumer: Consumer, executions: Sequence[TaskExecution]) -> None:
        if self._handoff is not None:
            self._handoff.release(executions)
        try:
            consumer.return_unstarted(execution.origin for execution in executions)
        except UnavailableError as error:
            logger.warning("%s; unfinished tasks are requeued when their leases expire", error)
