"""Held requests: a limit on their number, shares of the limit by client, and detection of clients that disconnect.

A held request uses no connection to the server: see :mod:`avtomatika.store.job_watcher`.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Event, Lock, Thread
from typing import Any

from avtomatika.errors import TooManyRequestsError, UnavailableError

from .connections import is_disconnected

#: Default limit of held requests in a web process, and the share of it that one client may use.
MAX_HELD, CLIENT_SHARE = 4000, 0.5
#: Interval at which the connections of held requests are checked.
_CHECK_SECONDS = 0.5


@dataclass(frozen=True, slots=True, eq=False)
class _HeldRequest:
    client: str
    connection: Any
    #: Called when the client has disconnected.
    on_disconnect: Callable[[], object]


class HeldRequests:
    """Counts held requests and detects disconnected clients. Thread-safe."""

    def __init__(self, limit: int = MAX_HELD, *, client_share: float = CLIENT_SHARE) -> None:
        self._limit = limit
        self._client_limit = max(1, round(limit * client_share))
        self._held: set[_HeldRequest] = set()
        self._of_client: Counter[str] = Counter()
        self._lock = Lock()
        self._ending = Event()
        self._checker: Thread | None = None

    def __len__(self) -> int:
        return len(self._held)

    @contextmanager
    def hold_slot(self, client: str, connection: Any, *, on_disconnect: Callable[[], object]) -> Iterator[None]:
        """Hold a request of *client*; *on_disconnect* is called when *connection* is closed or the process stops.

        Raises UnavailableError if too many requests are held, TooManyRequestsError if too many of this client are.
        """
        held = _HeldRequest(client, connection, on_disconnect)
        self._add(held)
        try:
            if self._ending.is_set():
                on_disconnect()
            yield
        finally:
            self._remove(held)

    def end(self) -> None:
        """End all held requests now, and later ones at once: the process stops."""
        self._ending.set()
        for held in list(self._held):
            held.on_disconnect()

    def _add(self, held: _HeldRequest) -> None:
        with self._lock:
            if len(self._held) >= self._limit:
                raise UnavailableError("too many requests are waiting; retry later, or without waiting")
            if self._of_client[held.client] >= self._client_limit:
                raise TooManyRequestsError(
                    f"{self._client_limit} requests of this client are waiting; retry later, or without waiting"
                )
            self._held.add(held)
            self._of_client[held.client] += 1
            if self._checker is None:
                self._checker = Thread(target=self._check, name="held-requests", daemon=True)
                self._checker.start()

    def _remove(self, held: _HeldRequest) -> None:
        with self._lock:
            self._held.discard(held)
            self._of_client[held.client] -= 1
            if not self._of_client[held.client]:
                del self._of_client[held.client]

    def _check(self) -> None:
        """Check connections in a thread that runs while requests are held."""
        while True:
            for held in list(self._held):
                if is_disconnected(held.connection):
                    held.on_disconnect()
            self._ending.wait(_CHECK_SECONDS)
            with self._lock:
                if not self._held:
                    self._checker = None
                    return
