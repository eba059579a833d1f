"""Own queues of workers over HTTP, which are declared while their workers send heartbeats."""

from collections.abc import Callable
from threading import Lock
from time import monotonic
from typing import Any

from avtomatika import broker

#: The broker removes a queue without consumers after 15 minutes, but its worker may be busy for longer.
_DECLARE_EVERY_SECONDS = 5 * 60.0


class WorkerQueues:
    """Declares queues with connections from *connect*. Thread-safe."""

    def __init__(self, connect: Callable[[], Any], *, clock: Callable[[], float] = monotonic) -> None:
        self._connect = connect
        self._clock = clock
        self._declared: dict[str, float] = {}
        self._lock = Lock()

    def keep(self, worker_id: str, *, is_new: bool = False) -> None:
        """Declare the queue of *worker_id* if it *is_new* or was not declared for a while. Raises UnavailableError."""
        now = self._clock()
        with self._lock:
            if not is_new and now - self._declared.get(worker_id, float("-inf")) < _DECLARE_EVERY_SECONDS:
                return
            self._declared = {name: at for name, at in self._declared.items() if now - at < _DECLARE_EVERY_SECONDS}
        with self._connect() as connection:
            broker.declare_tasks(connection, (), worker_id=worker_id)
        with self._lock:
            self._declared[worker_id] = now
