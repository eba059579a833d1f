"""Control: the thread that hears what orchestrators tell all workers, and stops what nobody waits for any more.

On a connection of its own: a worker whose hands are full takes no tasks, but must hear this.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Collection
from secrets import token_hex
from typing import Any

from avtomatika import broker
from avtomatika.broker import Consumer
from avtomatika.broker.backoff import Failures
from avtomatika.schemas import wire
from avtomatika.worker.runtime import Runtime

logger = logging.getLogger(__name__)

#: How long the thread waits for news before it looks at the leases, and whether it shall stop.
_LOOK_SECONDS = 0.25
#: So much is read at a time.
_PREFETCH = 100


class Control:
    """Stops assignments of *runtime*; *unwanted* tells the tags of what is revoked, or not ours any more.

    *when_barred* is called when orchestrators say that the worker may not come in; they say it again and again.
    """

    def __init__(
        self,
        connection: Any,
        runtime: Runtime,
        *,
        unwanted: Callable[[], Collection[str]],
        when_barred: Callable[[], None],
    ) -> None:
        self._connection = connection
        self._runtime = runtime
        self._unwanted = unwanted
        self._when_barred = when_barred
        self._queue = f"control.{runtime.worker_id}.{token_hex(4)}"
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._serve, name="control", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join()

    def _serve(self) -> None:
        failures = Failures(logger, "what is cancelled is heard of late")
        while not self._stopping.is_set():
            try:
                with self._connection.clone() as connection:
                    broker.declare_control(connection, self._queue)
                    intake = Consumer(connection, [self._queue], prefetch=_PREFETCH)
                    failures.over()
                    self._listen(intake)
                    broker.forget_control(connection, self._queue)
                    intake.close()
            except Exception as error:  # whatever it is: nobody else listens
                self._stopping.wait(failures.met(error))

    def _listen(self, intake: Consumer) -> None:
        while not self._stopping.is_set():
            for delivery in intake.take(_LOOK_SECONDS):
                intake.ack([delivery.tag])
                self._hear(delivery.body)
            if tags := self._unwanted():
                self._runtime.cancel(lambda assignment: assignment.origin.tag in tags)

    def _hear(self, body: bytes) -> None:
        try:
            control = wire.load_control(body)
        except wire.InvalidMessageError as error:  # of a newer orchestrator, perhaps
            logger.warning("%s", error)
            return
        match control:
            case wire.Cancel():
                self._runtime.cancel(
                    lambda assignment: control.covers(assignment.task.task_id, assignment.task.attempt)
                )
            case wire.Rejected(worker_id) if worker_id == self._runtime.worker_id:
                self._when_barred()
