"""Addresses that are down, slow, invalid or flapping delay no other."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from time import monotonic

import pytest

from ...support.processes import Process
from ...support.scripted_orchestrator import Office
from ...support.servers import OwnServer
from ...support.tcp_proxy import TcpProxy
from ...support.web import WebServer

pytestmark = pytest.mark.faults

MODES = pytest.mark.parametrize("mode", ["FAILOVER", "ROUND_ROBIN"])
#: No process listens there.
DEAD = ["http://127.0.0.1:1", "redis://127.0.0.1:1/0"]
TASKS = 20
#: For one task: far less than one reply of the slow addresses takes.
WITHIN_SECONDS = 8


@MODES
def test_unreachable_and_invalid_addresses_delay_no_other(
    redis_url: str, office: Office, make_web: Callable[..., WebServer], make_worker: Callable[..., Process], mode: str
) -> None:
    web = make_web(redis_url, WORKER_TOKEN="the-workers-token")
    with (
        answering(500, b'{"error": "no"}') as ill,
        answering(200, b"<html>") as page,
        answering(200, b'{"status": ') as half,
        answering(200, b"[]") as odd,
    ):
        worker = make_worker(
            **listed(*DEAD, ill, page, half, odd, f"http://{web.address}"), MULTI_ORCHESTRATOR_MODE=mode
        )
        worker.wait_for_log(f"registered with http://{web.address}")

        assert seconds_for_tasks(office) < WITHIN_SECONDS


@MODES
def test_slow_and_silent_addresses_delay_no_other(
    redis_url: str,
    office: Office,
    make_web: Callable[..., WebServer],
    make_worker: Callable[..., Process],
    mode: str,
) -> None:
    web = make_web(redis_url, WORKER_TOKEN="the-workers-token")
    port = int(redis_url.rpartition(":")[2].partition("/")[0])
    with answering(200, b'{"status": "registered"}', after_seconds=10) as slow, TcpProxy(port) as silent:
        silent.silent = "down"
        addresses = (slow, f"redis://127.0.0.1:{silent.port}/0", f"http://{web.address}")
        worker = make_worker(**listed(*addresses), MULTI_ORCHESTRATOR_MODE=mode)
        worker.wait_for_log(f"registered with http://{web.address}")

        assert seconds_for_tasks(office) < WITHIN_SECONDS


@MODES
def test_a_flapping_address_delays_no_other_and_loses_nothing(
    make_server: Callable[..., OwnServer],
    make_office: Callable[..., Office],
    make_web: Callable[..., WebServer],
    make_worker: Callable[..., Process],
    mode: str,
) -> None:
    urls = [make_server().url for _ in range(2)]
    flapping_office, steady_office = (make_office(url) for url in urls)
    flapping, steady = (make_web(url, WORKER_TOKEN="the-workers-token") for url in urls)
    with TcpProxy(int(flapping.address.rpartition(":")[2])) as proxy:
        addresses = (f"http://127.0.0.1:{proxy.port}", f"http://{steady.address}")
        with coming_and_going(proxy):
            worker = make_worker(**listed(*addresses), MULTI_ORCHESTRATOR_MODE=mode)
            worker.wait_for_log(f"registered with http://{steady.address}")
            flapping_office.give(*({"by": number} for number in range(TASKS)))

            assert seconds_for_tasks(steady_office) < 2 * WITHIN_SECONDS
        results = flapping_office.results(TASKS)
    assert sorted(result.data["by"] for result in results) == list(range(TASKS))


def listed(*urls: str) -> dict[str, str]:
    return {"ORCHESTRATORS_CONFIG": json.dumps([{"url": url} for url in urls]), "WORKER_TOKEN": "the-workers-token"}


def seconds_for_tasks(office: Office) -> float:
    """Return the time for *count* tasks, each sent when the previous one was answered."""
    begun = monotonic()
    for number in range(TASKS):
        office.give({"by": number})
        office.results(1)
    return monotonic() - begun


@contextmanager
def answering(status: int, body: bytes, *, after_seconds: float = 0) -> Iterator[str]:
    """Yield the address of a web server that gives the same reply to every request."""
    ended = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            ended.wait(after_seconds)
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = do_PATCH = answer

        def log_message(self, *args: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.handle_error = lambda *_: None  # type: ignore[method-assign]
    thread = threading.Thread(target=server.serve_forever)
    with ExitStack() as stack:
        for end in (thread.join, server.server_close, server.shutdown, ended.set):
            stack.callback(end)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"


@contextmanager
def coming_and_going(proxy: TcpProxy) -> Iterator[None]:
    """Switch *proxy* on and off every second; it ends switched on."""
    ended = threading.Event()

    def flap() -> None:
        while not ended.wait(1):
            proxy.refuse()
            ended.wait(1)
            proxy.accept()

    thread = threading.Thread(target=flap)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
