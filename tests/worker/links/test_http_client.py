"""Requests to a web address, and their end."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from time import monotonic, sleep
from typing import Any

import pytest

from avtomatika.addresses import Address
from avtomatika.errors import UnavailableError
from avtomatika.worker.links import http_client as exchange_module
from avtomatika.worker.links.http_client import HttpClient


class Server(ThreadingHTTPServer):
    """Replies immediately or, if the path says so, when the test ends."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.over = threading.Event()
        self.paths: list[str] = []


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def do_GET(self) -> None:
        self.server.paths.append(self.path)
        if self.path == "/slow":
            self.server.over.wait(60)
        self.send_response(204)
        self.end_headers()

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.do_GET()

    def log_message(self, format: str, *args: Any) -> None:
        return


@contextmanager
def dripping(listener: socket.socket, beginning: bytes) -> Iterator[None]:
    """Send *beginning* on the first connection, then a byte every 50 ms until the end."""
    over = threading.Event()

    def serve() -> None:
        connected, _ = listener.accept()
        with connected, suppress(OSError):
            connected.sendall(beginning)
            while not over.wait(0.05):
                connected.sendall(b" ")

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield server
    server.over.set()
    server.shutdown()
    server.server_close()


@pytest.fixture
def exchange(server: Server) -> Iterator[HttpClient]:
    exchange = HttpClient(Address(f"http://127.0.0.1:{server.server_address[1]}"), {})
    yield exchange
    exchange.close()


@pytest.mark.parametrize("is_connected", [False, True])
def test_after_shut_down_no_request_is_sent(server: Server, exchange: HttpClient, is_connected: bool) -> None:
    if is_connected:
        exchange.request("GET", "/quick")
    exchange.shut_down()

    for _ in range(2):
        with pytest.raises(UnavailableError):
            exchange.request("GET", "/slow", wait_seconds=30)

    assert server.paths == ["/quick"] * is_connected


def test_a_running_request_fails_at_shut_down(server: Server, exchange: HttpClient) -> None:
    begun = monotonic()

    def end() -> None:
        while not server.paths:
            sleep(0.01)
        exchange.shut_down()

    threading.Thread(target=end, daemon=True).start()
    with pytest.raises(UnavailableError):
        exchange.request("GET", "/slow", wait_seconds=30)

    assert monotonic() - begun < 20
    assert server.paths == ["/slow"]


@pytest.mark.parametrize(
    "beginning", [b"HTTP/1.1 200 OK\r\nX-Slow: ", b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"]
)
def test_a_dripping_reply_ends_within_the_time_limit(beginning: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exchange_module, "_TIMEOUT_SECONDS", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as listener, dripping(listener, beginning):
        exchange = HttpClient(Address(f"http://127.0.0.1:{listener.getsockname()[1]}"), {})
        begun = monotonic()
        with pytest.raises(UnavailableError, match="timed out"):
            exchange.request("GET", "/")
        exchange.close()

    assert monotonic() - begun < 5 * 0.3


def test_no_content_is_an_invalid_reply_to_a_request_with_a_body(exchange: HttpClient) -> None:
    with pytest.raises(UnavailableError, match="204"):
        exchange.request("POST", "/", {"worker_id": "w-1"})


@pytest.mark.parametrize(("text", "seconds"), [("30", 30), ("9" * 5000, 60), ("soon", 0), ("-1", 0), ("²", 0)])
def test_retry_after_is_limited(text: str, seconds: int) -> None:
    assert exchange_module._seconds(text) == seconds


def test_after_an_abort_the_next_request_is_sent(server: Server, exchange: HttpClient) -> None:
    exchange.request("GET", "/quick")
    exchange.abort()

    exchange.request("GET", "/again")

    assert server.paths == ["/quick", "/again"]
