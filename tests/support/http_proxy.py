"""An HTTP proxy that changes, delays or cuts responses as networks and busy servers do."""

from __future__ import annotations

import http.client
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from urllib.parse import urlsplit

_SLOW_DOWN = b"<?xml version='1.0'?><Error><Code>SlowDown</Code><Message>Please slow down.</Message></Error>"
_BROKEN = b"<?xml version='1.0'?><Error><Code>InternalError</Code><Message>We are sorry.</Message></Error>"


@dataclass
class Answer:
    status: int
    headers: list[tuple[str, str]]
    body: bytes


@dataclass
class Fault:
    """A change of the first *times* responses to requests of *method* below *path*; ``seen`` counts all of them."""

    method: str
    happen: Callable[[Handler, Answer], None]
    times: int = 1
    path: str = "/"
    seen: int = field(default=0, init=False)


class HttpProxy:
    """Forward all requests; change the responses that ``faults`` selects."""

    def __init__(self, url: str, *, tls: ssl.SSLContext | None = None) -> None:
        """With *tls* the proxy serves https; it always forwards by http."""
        self.upstream = urlsplit(url).netloc
        self.faults: list[Fault] = []
        self.released = threading.Event()
        #: Called before a request is forwarded.
        self.before: Callable[[str, str], None] = lambda method, path: None
        self._lock = threading.Lock()
        proxy = self

        class Bound(Handler):
            def handle_any(self) -> None:
                self.pass_on(proxy)

            do_GET = do_PUT = do_POST = do_PATCH = do_HEAD = do_DELETE = handle_any

        self._server = _Server(("127.0.0.1", 0), Bound)
        port = self._server.server_address[1]
        self.url = f"http://127.0.0.1:{port}"
        if tls is not None:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
            self.url = f"https://localhost:{port}"

    def __enter__(self) -> HttpProxy:
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self.released.set()
        self._server.shutdown()
        self._server.server_close()

    def fail(self, method: str, happen: Callable[[Handler, Answer], None], times: int = 1, *, path: str = "/") -> Fault:
        self.faults.append(Fault(method, happen, times, path))
        return self.faults[-1]

    def fault_for(self, method: str, path: str) -> Fault | None:
        with self._lock:
            for fault in self.faults:
                if fault.method == method and path.startswith(fault.path):
                    fault.seen += 1
                    if fault.seen <= fault.times:
                        return fault
        return None


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """Clients close connections on purpose."""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    proxy: HttpProxy

    def pass_on(self, proxy: HttpProxy) -> None:
        self.proxy = proxy
        body = self._body()
        proxy.before(self.command, self.path)
        answer = self._ask(body)
        fault = proxy.fault_for(self.command, self.path)
        if fault is None:
            self.give(answer)
        else:
            fault.happen(self, answer)

    def give(self, answer: Answer, *, length: int | None = None) -> None:
        self.send_response(answer.status)
        for name, value in answer.headers:
            self.send_header(name, value)
        if not any(name.lower() == "content-length" for name, _ in answer.headers):
            self.send_header("Content-Length", str(len(answer.body) if length is None else length))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.body)

    def cut(self) -> None:
        """End the connection with a reset."""
        self.wfile.flush()
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()
        self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:
        return

    def finish(self) -> None:
        try:
            super().finish()
        except (OSError, ValueError):  # the connection was closed on purpose
            return

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") == "chunked":
            return b"".join(self._chunks())
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def _chunks(self) -> Iterator[bytes]:
        while size := int(self.rfile.readline(), 16):
            yield self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()

    def _ask(self, body: bytes) -> Answer:
        ours = ("expect", "transfer-encoding")
        headers = {name: value for name, value in self.headers.items() if name.lower() not in ours}
        with closing(http.client.HTTPConnection(self.proxy.upstream, timeout=30)) as connection:
            connection.request(self.command, self.path, body, headers)
            response = connection.getresponse()
            got = response.read()
        dropped = {"connection", "transfer-encoding", "server", "date"} | (
            {"content-length"} if self.command != "HEAD" else set()
        )
        return Answer(response.status, [each for each in response.getheaders() if each[0].lower() not in dropped], got)


# ---------------------------------------------------------------- faults


def broken(handler: Handler, answer: Answer) -> None:
    """Respond with 500."""
    handler.give(Answer(500, [("Content-Type", "application/xml")], _BROKEN))


def busy(handler: Handler, answer: Answer) -> None:
    """Respond with 503 SlowDown."""
    handler.give(Answer(503, [("Content-Type", "application/xml")], _SLOW_DOWN))


def reset(handler: Handler, answer: Answer) -> None:
    """Reset the connection in the middle of the body."""
    handler.give(Answer(answer.status, answer.headers, answer.body[: len(answer.body) // 2]), length=len(answer.body))
    handler.cut()


def silence(handler: Handler, answer: Answer) -> None:
    """Send nothing, and keep the connection open."""
    handler.proxy.released.wait(60)
    handler.close_connection = True


def half_silence(handler: Handler, answer: Answer) -> None:
    """Send half of the body, then nothing."""
    handler.give(Answer(answer.status, answer.headers, answer.body[: len(answer.body) // 2]), length=len(answer.body))
    handler.wfile.flush()
    handler.proxy.released.wait(60)
    handler.close_connection = True


def short(handler: Handler, answer: Answer) -> None:
    """Send a complete response that is shorter than the object."""
    handler.give(Answer(answer.status, answer.headers, answer.body[:-1]))


def altered(handler: Handler, answer: Answer) -> None:
    """Change one byte."""
    handler.give(Answer(answer.status, answer.headers, bytes([answer.body[0] ^ 1]) + answer.body[1:]))
