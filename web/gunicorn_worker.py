"""The gunicorn worker: gevent's, with time limits for receiving requests and sending responses, and a connection limit
that locks out no client.

gunicorn's own gevent worker limits only the time for the head of a request (its ``keepalive``), and stops accepting
connections when it has ``worker_connections`` of them, active or not.

gunicorn's main process imports this module, and gevent patches the standard library only after the fork. So this module
must not import modules that hold locks, events or sockets, and it imports nothing of the app.
"""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from socket import SHUT_RD, SHUT_RDWR
from time import monotonic
from typing import Any, Literal

import gevent
from gunicorn.workers.ggevent import GeventWorker
from werkzeug.exceptions import RequestTimeout

from . import EXTENSION

#: Time limit for the body of a request.
BODY_SECONDS = 30.0
#: Time limit for a client to receive a chunk of a response.
SEND_SECONDS = 30.0
#: Connections between our limit and the one at which gunicorn stops accepting.
_SPARE = 64


class Worker(GeventWorker):
    """Beyond the connection limit, closes the oldest connection that is still sending its request, of the address that
    has most of those."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._limit = max(self.worker_connections - _SPARE, 1)
        #: Greenlet -> the socket and the address of its client.
        self._clients: dict[Any, tuple[Any, str]] = {}
        #: Greenlets that are receiving a request, the longest first, and the part that they receive.
        self._receiving: dict[Any, Literal["head", "body"]] = {}

    def handle(self, listener: Any, client: Any, addr: Any) -> None:
        greenlet = gevent.getcurrent()
        self._clients[greenlet] = (client, addr[0] if addr else "")
        if len(self._clients) > self._limit:
            self._close_one()
        try:
            super().handle(listener, client, addr)
        finally:
            del self._clients[greenlet]
            self._receiving.pop(greenlet, None)

    def timeout_ctx(self) -> Any:
        """Mark the connection as receiving: gunicorn reads the head of a request in this context."""
        self._receiving[gevent.getcurrent()] = "head"
        return super().timeout_ctx()

    def handle_request(self, listener_name: Any, req: Any, sock: Any, addr: Any) -> Any:
        self._receiving.pop(gevent.getcurrent(), None)
        sock.settimeout(SEND_SECONDS)
        req.body = _TimedBody(req.body, self)
        try:
            return super().handle_request(listener_name, req, sock, addr)
        except TimeoutError:
            raise StopIteration from None  # the client does not read: gunicorn closes the connection

    def handle_exit(self, sig: Any, frame: Any) -> None:
        super().handle_exit(sig, frame)
        if self.booted:
            gevent.spawn(self._end)

    def _end(self) -> None:
        """Complete held requests, and close connections that have no request in progress."""
        self.wsgi.extensions[EXTENSION].held.end()
        for greenlet, part in list(self._receiving.items()):
            if part == "head":
                self._shut_down(greenlet, SHUT_RD)  # a request that has arrived is still answered

    @contextmanager
    def receiving_body(self) -> Iterator[None]:
        """Mark the connection of the current greenlet as receiving the body of a request."""
        greenlet = gevent.getcurrent()
        self._receiving[greenlet] = "body"
        try:
            yield
        finally:
            self._receiving.pop(greenlet, None)

    def _close_one(self) -> None:
        addresses = Counter(self._clients[greenlet][1] for greenlet in self._receiving)
        for address, _ in addresses.most_common(1):
            greenlet = next(each for each in self._receiving if self._clients[each][1] == address)
            del self._receiving[greenlet]
            self._shut_down(greenlet, SHUT_RDWR)

    def _shut_down(self, greenlet: Any, how: int) -> None:
        with suppress(OSError):  # the client has closed it
            self._clients[greenlet][0].shutdown(how)


class _TimedBody:
    """The body of a request, which must arrive within :data:`BODY_SECONDS` of its first read."""

    def __init__(self, body: Any, worker: Worker) -> None:
        self._body = body
        self._worker = worker
        self._left = BODY_SECONDS

    def read(self, *args: Any) -> Any:
        return self._timed(self._body.read, *args)

    def readline(self, *args: Any) -> Any:
        return self._timed(self._body.readline, *args)

    def readlines(self, *args: Any) -> Any:
        return self._timed(self._body.readlines, *args)

    def __iter__(self) -> Iterator[Any]:
        while line := self.readline():
            yield line

    def _timed(self, read: Any, *args: Any) -> Any:
        began = monotonic()
        late = RequestTimeout(f"the body did not arrive within {BODY_SECONDS:g} seconds")
        with self._worker.receiving_body(), gevent.Timeout(self._left, late):
            found = read(*args)
        self._left -= monotonic() - began
        return found
