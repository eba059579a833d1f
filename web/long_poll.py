"""Requests that are held until something happens: how many at a time, whose, and whether their clients are still there.

A held request uses no connection to the server: see :mod:`.watching`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Event, Lock, Thread
from typing import Any

from avtomatika.errors import TooManyRequestsError, UnavailableError

from .connections import is_disconnected

#: Default limit of held requests of one web process, and the share of it that one client may use.
MAX_HELD, CLIENT_SHARE = 4000, 0.5
#: How often the connections of held requests are checked.
_CHECK_SECONDS = 0.5


@dataclass(frozen=True, slots=True, eq=False)
class _Held:
    client: str
    connection: Any
    #: Called when the client has left.
    on_left: Callable[[], object]


class HeldRequests:
    """Counts held requests and detects clients that left. Threads may share it."""

    def __init__(self, limit: int = MAX_HELD, *, client_share: float = CLIENT_SHARE) -> None:
        self._limit = limit
        self._client_limit = max(1, round(limit * client_share))
        self._held: set[_Held] = set()
        self._of_client: Counter[str] = Counter()
        self._lock = Lock()
        self._ending = Event()
        self._checker: Thread | None = None

    def __len__(self) -> int:
        return len(self._held)

    @contextmanager
    def place(self, client: str, connection: Any, *, on_left: Callable[[], object]) -> Iterator[None]:
        """Hold a request of *client*; *on_left* is called when *connection* is closed, and when the process ends.

        Raises UnavailableError where too many requests are held, and TooManyRequestsError where too many of this
        client are.
        """
        held = _Held(client, connection, on_left)
        self._add(held)
        try:
            if self._ending.is_set():
                on_left()
            yield
        finally:
            self._remove(held)

    def end(self) -> None:
        """Have every held request end now, and every later one at once: the process ends."""
        self._ending.set()
        for held in list(self._held):
            held.on_left()

    def _add(self, held: _Held) -> None:
        with self._lock:
            if len(self._held) >= self._limit:
                raise UnavailableError("too many requests wait already; ask later, or without waiting")
            if self._of_client[held.client] >= self._client_limit:
                raise TooManyRequestsError(
                    f"{self._client_limit} requests of this client wait already; ask later, or without waiting"
                )
            self._held.add(held)
            self._of_client[held.client] += 1
            if self._checker is None:
                self._checker = Thread(target=self._check, name="held-requests", daemon=True)
                self._checker.start()

    def _remove(self, held: _Held) -> None:
        with self._lock:
            self._held.discard(held)
            self._of_client[held.client] -= 1
            if not self._of_client[held.client]:
                del self._of_client[held.client]

    def _check(self) -> None:
        """Runs in a thread of its own while requests are held."""
        while True:
            for held in list(self._held):
                if is_disconnected(held.connection):
                    held.on_left()
            self._ending.wait(_CHECK_SECONDS)
            with self._lock:
                if not self._held:
                    self._checker = None
                    return
