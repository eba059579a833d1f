"""The broker link: takes tasks straight from their queues. The fast way, inside a trusted network.

One thread takes, another one answers (``outbox``); neither waits for the other.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterable, Sequence
from time import monotonic, sleep
from typing import Any

from avtomatika import broker
from avtomatika.broker import Consumer, Delivery
from avtomatika.broker.backoff import pause_seconds
from avtomatika.errors import AvtomatikaError, NoRouteError, UnavailableError
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

logger = logging.getLogger(__name__)

#: How long an idle link waits for tasks before it looks whether it shall stop.
_IDLE_SECONDS = 0.5
#: The same while it waits for the broker to come back.
_LOOK_SECONDS = 0.1
#: How long it takes nothing after word that the worker may not come in: they say so at each of its heartbeats.
BARRED_SECONDS = 8.0


class BrokerLink:
    """Takes what *runtime* has skills for, and what is in the worker's own queue, by a *connection* of ``broker``."""

    def __init__(
        self,
        runtime: Runtime,
        *,
        connection: Any,
        drain_timeout_seconds: float,
        seat: LinkSlot | None = None,
        presence: WorkerStatus | None = None,
        shelf: SpoolPartition | None = None,
    ) -> None:
        """Without a *seat* it is the only link, and takes whenever it can; without *presence* nobody hears of it."""
        self._runtime = runtime
        self._connection = connection
        self._queues = runtime.task_types
        self._drain_timeout_seconds = drain_timeout_seconds
        #: Tasks that were begun while the broker took no notice.
        self._untold: deque[wire.TaskMessage] = deque(maxlen=runtime.concurrency)
        #: What is no task of ours, and why.
        self._unreadable: list[tuple[Delivery, str, str]] = []
        self._seat = seat
        self._presence = presence
        self._key = None if presence is None else presence.identity.key
        self._shelf = shelf
        self._outbox: Outbox | None = None
        self._handoff: Handoff | None = None
        self._barred_until = 0.0
        self._stopping = False

    def stop(self) -> None:
        self._stopping = True
        if self._seat is not None:
            self._seat.wake()

    def run(self) -> None:
        try:
            intake = self._attach()
            if intake is not None:
                self._work(intake)
        finally:
            self._connection.release()

    def _work(self, intake: Consumer) -> None:
        handoff = self._handoff = self._new_handoff(intake)
        outbox = self._outbox = Outbox(self._runtime, BrokerResultSender(intake, self._key, handoff), self._shelf)
        control = Control(
            self._connection, self._runtime, unwanted=lambda: intake.cancelled, when_barred=self._keep_out
        )
        outbox.start()
        control.start()
        if self._seat is not None:
            self._seat.recovered()
        when_away = None if handoff is None else handoff.offer
        heartbeats = None if self._presence is None else Heartbeats(intake, self._presence, when_away)
        if heartbeats is not None:
            heartbeats.start()
        self._take_tasks(intake)
        self._drain(intake, outbox)
        if heartbeats is not None:
            heartbeats.stop()
        control.stop()
        intake.close()
        if handoff is not None:
            handoff.close()

    def _new_handoff(self, intake: Consumer) -> Handoff | None:
        """To where tasks may go while the broker is away; None for the only link."""
        if self._seat is None or self._presence is None:
            return None
        return Handoff(intake, self._presence.identity, self._seat, self._in_hand)

    def _in_hand(self) -> list[TaskExecution]:
        """What came by the broker, and is not answered."""
        unsent = [] if self._outbox is None else [letter.content for letter in self._outbox.unsent]
        return [*self._runtime.in_hand, *(each for each in unsent if isinstance(each, TaskExecution))]

    # ------------------------------------------------------------ take

    def _attach(self) -> Consumer | None:
        """The intake, once the broker is there; None where we are stopped before."""
        failures = 0
        while not self._stopping:
            try:
                self._declare()
                own = broker.worker_queue(self._runtime.worker_id)
                return Consumer(self._connection, [*self._queues, own], prefetch=self._runtime.concurrency)
            except UnavailableError as error:
                failures += 1
                self._pause(error, failures)
        return None

    def _declare(self) -> None:
        """Have the broker know what we need, and the other links which broker this is."""
        broker.declare_tasks(self._connection, self._runtime.task_types, worker_id=self._runtime.worker_id)
        if self._seat is not None:
            self._seat.joined(broker.identity(self._connection))

    def _take_tasks(self, intake: Consumer) -> None:
        failures = 0
        while not self._stopping:
            self._runtime.move("intake")
            if monotonic() < self._barred_until:
                self._stand_outside()
            try:
                if failures:  # what comes back may have forgotten what it knew
                    self._declare()
                if failures and self._seat is not None:
                    self._seat.recovered()  # else it would never have a turn again
                failures = 0
                self._turn(intake)
            except Exception as error:  # whatever it is: this loop has to go on
                failures += 1
                self._pause(error, failures)

    def _keep_out(self) -> None:
        """Orchestrators say that nothing counts which we answer."""
        self._barred_until = monotonic() + BARRED_SECONDS

    def _stand_outside(self) -> None:
        """Take nothing for as long as they say so."""
        address = broker.redacted_url(self._connection.hostname)
        logger.error("the orchestrators at %s do not let this worker in: nothing is taken from there", address)
        if self._seat is not None:
            self._seat.failed()
        while not self._stopping and monotonic() < self._barred_until:
            self._runtime.move("intake")
            sleep(_LOOK_SECONDS)
        if self._seat is not None:
            self._seat.recovered()

    def _turn(self, intake: Consumer) -> None:
        """Take a batch if it is our turn, say that we have it, begin with it. Where it raises UnavailableError,
        nothing is lost."""
        self._watch_fit_skills(intake)
        if self._seat is None:
            intake.set_prefetch(self._runtime.concurrency + (0 if self._outbox is None else self._outbox.deferred))
            self._take(intake, _IDLE_SECONDS)
            return
        turn = self._seat.take(_IDLE_SECONDS)
        if turn is None:
            return
        taken = 0
        try:
            intake.prefetch_more(turn.tasks)  # beside what is done, but cannot be answered now
            taken = self._take(intake, min(turn.wait_seconds, _IDLE_SECONDS))
        finally:
            self._seat.ended(turn, taken=taken)

    def _watch_fit_skills(self, intake: Consumer) -> None:
        """Take nothing from the queues of skills that are suspended."""
        wanted = self._runtime.fit_task_types
        if wanted != self._queues:
            self._queues = wanted
            intake.consume_from([*wanted, broker.worker_queue(self._runtime.worker_id)])

    def _take(self, intake: Consumer, wait_seconds: float) -> int:
        deliveries = intake.take(wait_seconds)
        if self._stopping:
            intake.return_unstarted(deliveries)
            return 0
        tasks = self._readable(deliveries)
        if tasks:
            self._begin(intake, self._runtime.admit(tasks))
        while self._unreadable:
            delivery, reason, error = self._unreadable[0]
            intake.dead_letter(delivery, reason=reason, error=error)
            del self._unreadable[0]
        return len(tasks)

    def _readable(self, deliveries: Iterable[Delivery]) -> list[tuple[wire.TaskMessage, Delivery]]:
        tasks = []
        for delivery in deliveries:
            try:
                task = wire.load_task(delivery.body)
            except wire.InvalidMessageError as error:
                self._refuse(delivery, "malformed", str(error))
                continue
            if self._runtime.has_skill(task.task_type):
                tasks.append((task, delivery))
            else:
                self._refuse(delivery, "no_skill", f"task {task.task_id}: there is no skill {task.task_type!r} here")
        return tasks

    def _refuse(self, delivery: Delivery, reason: str, error: str) -> None:
        logger.error("queue %s: %s; to the dead letters", delivery.queue, error)
        self._unreadable.append((delivery, reason, error))

    def _begin(self, intake: Consumer, admitted: list[TaskExecution]) -> None:
        """Tell the orchestrators who has what, and begin while the broker answers.

        One that takes no notice now may be full: work begins all the same, for it makes room.
        """
        self._untold.extend(assignment.task for assignment in admitted)
        notice = broker.tasks_started(self._untold, self._runtime.worker_id, signer=self._key)
        waiting = [admitted]

        def begin() -> None:
            while waiting:
                self._runtime.begin(waiting.pop())

        try:
            intake.settle_many([([notice], ())], on_sent=begin)
        except (UnavailableError, NoRouteError) as error:
            logger.warning("%s; %d tasks begin before anybody hears of it", error, len(self._untold))
        else:
            self._untold.clear()
        begin()

    def _pause(self, error: Exception, failures: int) -> None:
        if self._seat is not None:
            self._seat.failed()
        seconds = pause_seconds(failures)
        trace = None if isinstance(error, AvtomatikaError) else error
        logger.warning("%s; trying again in %.1f s", error, seconds, exc_info=trace)
        until = monotonic() + seconds
        while not self._stopping and monotonic() < until:
            sleep(_LOOK_SECONDS)

    # ------------------------------------------------------------ stop

    def _drain(self, intake: Consumer, outbox: Outbox) -> None:
        """Let what is begun end, for as long as it may; give the rest to others."""
        self._hand_back(intake, self._runtime.withdraw(self._drain_timeout_seconds))
        outbox.finish(self._drain_timeout_seconds)
        self._hand_back(intake, self._runtime.close())
        for letter in outbox.stop():
            logger.error("task %s: its result could not be sent", letter.task_id)

    def _hand_back(self, intake: Consumer, assignments: Sequence[TaskExecution]) -> None:
        for assignment in assignments:
            logger.info("task %s, attempt %d: handed back", assignment.task.task_id, assignment.task.attempt)
        if self._handoff is not None:
            self._handoff.let_go(assignments)
        try:
            intake.return_unstarted(assignment.origin for assignment in assignments)
        except UnavailableError as error:
            logger.warning("%s; what is held comes to others after its lease", error)
