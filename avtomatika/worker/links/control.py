"""Control: a thread that receives broadcasts from orchestrators and cancels tasks.

It has its own connection, since a busy worker takes no tasks but must receive cancellations. Those of all shards are
published at home.
"""

import logging
import threading
from collections.abc import Callable, Collection
from secrets import token_hex
from typing import Any

from avtomatika import broker
from avtomatika.broker import Consumer
from avtomatika.broker.backoff import Backoff
from avtomatika.schemas import wire
from avtomatika.worker.runtime import Runtime

logger = logging.getLogger(__name__)

#: Interval of the checks for revoked leases and a stop request.
_POLL_SECONDS = 0.25
#: Number of messages to read at a time.
_PREFETCH = 100


class Control:
    """Cancels executions of *runtime*; *cancelled_tags* returns delivery tags that were revoked or whose lease is lost.

    *on_rejected* is called each time that orchestrators reject the worker, *on_drain* with True when they drain it and
    with False when they resume it.
    """

    def __init__(
        self,
        connection: Any,
        runtime: Runtime,
        *,
        cancelled_tags: Callable[[], Collection[str]],
        on_rejected: Callable[[], None],
        on_drain: Callable[[bool], None],
    ) -> None:
        self._connection = connection
        self._runtime = runtime
        self._cancelled_tags = cancelled_tags
        self._on_rejected = on_rejected
        self._on_drain = on_drain
        self._queue = f"control.{runtime.worker_id}.{token_hex(4)}"
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._serve, name="control", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join()

    def _serve(self) -> None:
        backoff = Backoff(logger, "cancellations are delayed")

        def listen() -> None:
            home = self._connection.transport_options["prefixes"][:1]
            with broker.for_shards(self._connection, home) as connection:
                broker.declare_control(connection, self._queue)
                consumer = Consumer(connection, [self._queue], prefetch=_PREFETCH)
                backoff.succeeded()
                self._listen(consumer)
                broker.forget_control(connection, self._queue)
                consumer.close()

        backoff.run(listen, until=self._stopping.is_set, wait=self._stopping.wait)

    def _listen(self, consumer: Consumer) -> None:
        while not self._stopping.is_set():
            for delivery in consumer.take(_POLL_SECONDS):
                consumer.ack([delivery.tag])
                self._handle(delivery.body)
            if tags := self._cancelled_tags():
                self._runtime.cancel(lambda execution: execution.origin.tag in tags)

    def _handle(self, body: bytes) -> None:
        try:
            control = wire.load_control(body)
        except wire.InvalidMessageError as error:  # possibly from a newer orchestrator
            logger.warning("%s", error)
            return
        match control:
            case wire.Cancel():
                self._runtime.cancel(lambda execution: control.covers(execution.task.task_id, execution.task.attempt))
            case wire.Rejected(worker_id) if worker_id == self._runtime.worker_id:
                self._on_rejected()
            case wire.Drain(worker_id, is_drained) if worker_id == self._runtime.worker_id:
                self._on_drain(is_drained)
