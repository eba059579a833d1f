"""A bounded pool of connections to one server.

redis-py's own pool raises an error when all its connections are in use, never closes an idle one, and costs more than
sending a command and reading its reply. Here callers wait for a connection in order of arrival.
"""

import os
from collections import deque
from collections.abc import Callable
from threading import Event, Lock, Timer
from time import monotonic
from typing import Any

from redis import Redis
from redis.exceptions import ConnectionError, ResponseError

SOCKET_TIMEOUT_SECONDS = 10.0
#: Default maximum number of connections per pool.
MAX_CONNECTIONS = 10
#: A connection idle for longer may have been closed by the server: check it before use.
_FRESH_SECONDS = 1.0
#: A connection idle for longer is closed, unless it is the only one.
IDLE_SECONDS = 2.0


class Pool:
    """Opens at most *max_connections* connections of *client*. Safe to share between threads and across a fork.

    :meth:`acquire` waits for a connection in use elsewhere, at most *wait_seconds*, by default twice the timeout of a
    command. *on_failure* is called when one cannot be opened or has failed.
    """

    def __init__(
        self,
        client: Redis,
        *,
        max_connections: int = MAX_CONNECTIONS,
        wait_seconds: float | None = None,
        on_failure: Callable[[ResponseError | None], object] = bool,
    ) -> None:
        #: Creates the connections.
        self.factory = client.connection_pool
        self._max_connections = min(max_connections, client.connection_pool.max_connections)
        timeout: float = self.factory.connection_kwargs.get("socket_timeout") or SOCKET_TIMEOUT_SECONDS
        self._wait_seconds = wait_seconds or 2 * timeout
        self._on_failure = on_failure
        self._reset()

    def _reset(self) -> None:
        #: Idle connections with the time since when, longest idle first.
        self._idle: deque[tuple[Any, float]] = deque()
        self._waiters: deque[_Waiter] = deque()
        self._lock = Lock()
        #: Number of connections open or being opened.
        self._open = 0
        self._closer: Timer | None = None
        self._pid = os.getpid()

    @property
    def open(self) -> int:
        """Number of connections that are open or being opened."""
        return self._open

    def acquire(self) -> Any:
        """Return an open connection for exclusive use. Raises ConnectionError if none becomes free in time."""
        if self._pid != os.getpid():  # after a fork: these sockets are the parent's
            self._reset()
        try:
            connection, since = self._idle.pop()
        except IndexError:
            found = self._open_or_wait()
            if found is None:
                return self._connect()
            connection, since = found
        if monotonic() - since > _FRESH_SECONDS:
            return self._checked(connection)
        return connection

    def release(self, connection: Any) -> None:
        """Return *connection* to the pool; all its replies must have been read."""
        self._idle.append((connection, monotonic()))
        if self._waiters:
            self._serve_waiters()
        elif len(self._idle) > 1 and self._closer is None:
            self._close_idle_later()

    def discard(self, connection: Any) -> None:
        """Close *connection*."""
        connection.disconnect()
        self.factory.release(connection)
        self._free_place()

    def fail(self, connection: Any, refusal: ResponseError | None = None) -> None:
        """Close *connection*, which failed, or whose server does not serve the keys any more, as *refusal* says."""
        self.discard(connection)
        self._on_failure(refusal)

    def close(self) -> None:
        """Close all idle connections; the next caller opens a new one."""
        with self._lock:
            closer, self._closer = self._closer, None
        if closer is not None:
            closer.cancel()
        while self._idle:
            self._close_oldest()

    # ------------------------------------------------------------ inside

    def _open_or_wait(self) -> tuple[Any, float] | None:
        """Return an idle connection with the time since when, or None to let the caller open one."""
        with self._lock:
            if self._open < self._max_connections:
                self._open += 1
                return None
            waiter = _Waiter()
            self._waiters.append(waiter)
        try:
            self._serve_waiters()  # one may have become idle before this caller was queued
            is_served = waiter.served.wait(self._wait_seconds)
        except BaseException:
            self._withdraw(waiter)
            raise
        if not is_served and not self._leave(waiter):
            raise ConnectionError(
                f"none of {self._max_connections} connections became free within {self._wait_seconds:g} seconds"
            )
        return waiter.found

    def _leave(self, waiter: "_Waiter") -> bool:
        """Remove *waiter* from the queue; return whether it had been served before."""
        with self._lock:
            if waiter in self._waiters:
                self._waiters.remove(waiter)
                return False
        return True

    def _withdraw(self, waiter: "_Waiter") -> None:
        """Pass on the connection that an interrupted caller was given."""
        if not self._leave(waiter):
            return
        if waiter.found is None:
            self._free_place()
        else:
            self.release(waiter.found[0])

    def _serve_waiters(self) -> None:
        with self._lock:
            while self._waiters:
                try:
                    found = self._idle.pop()
                except IndexError:
                    return
                self._waiters.popleft().serve(found)

    def _free_place(self) -> None:
        """After closing a connection, let the first waiter open one."""
        with self._lock:
            if self._waiters:
                self._waiters.popleft().serve(None)
            else:
                self._open -= 1

    def _connect(self) -> Any:
        try:
            return self.factory.get_connection()
        except BaseException:
            self._free_place()
            self._on_failure(None)
            raise

    def _checked(self, connection: Any) -> Any:
        """Return *connection*, or a new one if the server has closed it."""
        self.factory.release(connection)
        return self._connect()

    def _close_oldest(self) -> None:
        try:
            connection, _ = self._idle.popleft()
        except IndexError:
            return
        self.discard(connection)

    def _close_idle_later(self) -> None:
        with self._lock:
            if self._closer is None:
                self._closer = Timer(IDLE_SECONDS, self._close_idle)
                self._closer.name = "avtomatika-idle-connections"
                self._closer.daemon = True
                self._closer.start()

    def _close_idle(self) -> None:
        """Close connections that have been idle for too long, but keep one; look again if more are left."""
        with self._lock:
            if self._closer is None:  # the pool was closed
                return
            self._closer = None  # from here on release() starts the next one
        while len(self._idle) > 1 and self._idle[0][1] + IDLE_SECONDS <= monotonic():
            self._close_oldest()
        if len(self._idle) > 1:
            self._close_idle_later()


class _Waiter:
    """A caller in the queue for a connection."""

    def __init__(self) -> None:
        self.served = Event()
        self.found: tuple[Any, float] | None = None

    def serve(self, found: tuple[Any, float] | None) -> None:
        self.found = found
        self.served.set()
