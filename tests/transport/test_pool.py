"""The connection pool: bounded, first come first served, closes idle connections."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from signal import SIGCONT, SIGSTOP
from typing import Any

import pytest
from redis.exceptions import ConnectionError, TimeoutError

from avtomatika.transport import RedisClient, connect as connect_client
from avtomatika.transport.connection import pool

from ..support.waiting import wait_until


@pytest.fixture
def connect(redis_url: str) -> Iterator[Callable[..., RedisClient]]:
    """``connect(max_connections=3)``: a client that is closed after the test."""
    servers: list[RedisClient] = []

    def connect(url: str = redis_url, **options: Any) -> RedisClient:
        servers.append(RedisClient.connect(url, **options))
        return servers[-1]

    yield connect
    for server in servers:
        server.close()


def at_once(count: int, call: Callable[[], Any]) -> list[Any]:
    """Return the results of calling *call* in *count* threads simultaneously."""
    gate = threading.Barrier(count)

    def run() -> Any:
        gate.wait()
        return call()

    with ThreadPoolExecutor(count) as threads:
        return [future.result() for future in [threads.submit(run) for _ in range(count)]]


def test_a_burst_of_threads_shares_few_connections(connect: Callable[..., RedisClient]) -> None:
    server = connect(max_connections=3)
    seen: list[int] = []

    def call() -> Any:
        answer = server.execute(("EVAL", "for n = 1, 100000 do end return 1", 0))
        seen.append(server.connections)
        return answer

    assert at_once(50, call) == [1] * 50
    assert max(seen) <= 3


def test_idle_connections_are_closed_except_one(connect: Callable[..., RedisClient]) -> None:
    server = connect(max_connections=5)
    at_once(20, lambda: server.execute(("EVAL", "for n = 1, 1000000 do end return 1", 0)))
    assert server.connections > 1

    wait_until(lambda: server.connections == 1, pool.IDLE_SECONDS * 5)
    assert server.execute(("PING",)) == b"PONG"
    assert not [thread for thread in threading.enumerate() if thread.name == "avtomatika-idle-connections"]


def test_closing_leaves_no_connection_and_no_thread(connect: Callable[..., RedisClient]) -> None:
    server = connect(max_connections=5)
    at_once(20, lambda: server.execute(("EVAL", "for n = 1, 1000000 do end return 1", 0)))

    server.close()

    assert server.connections == 0
    wait_until(lambda: not [each for each in threading.enumerate() if each.name == "avtomatika-idle-connections"], 1)


def test_a_caller_that_waits_too_long_gets_an_error(redis_url: str) -> None:
    connections = pool.Pool(connect_client(redis_url), max_connections=1, wait_seconds=0.1)
    held = connections.acquire()

    with pytest.raises(ConnectionError, match=r"none of 1 connections became free within 0\.1 seconds"):
        connections.acquire()

    connections.release(held)
    assert connections.acquire() is held
    connections.discard(held)
    assert connections.open == 0


def test_a_refused_connection_frees_its_slot(
    connect: Callable[..., RedisClient], make_server: Callable[..., Any]
) -> None:
    own = make_server()
    server = connect(own.url, max_connections=2)
    assert server.execute(("PING",)) == b"PONG"
    own.kill()

    for _ in range(5):
        with pytest.raises(ConnectionError):
            server.execute(("PING",))
    assert server.connections == 0

    own.start()
    assert at_once(4, lambda: server.execute(("PING",))) == [b"PONG"] * 4


def test_waiters_are_served_after_a_pause_of_the_server(
    connect: Callable[..., RedisClient], make_server: Callable[..., Any]
) -> None:
    own = make_server()
    server = connect(own.url, max_connections=4, socket_timeout=0.5)
    server.execute(("PING",))
    pid = own.pid
    os.kill(pid, SIGSTOP)
    try:

        def call() -> bool:
            try:
                return bool(server.execute(("PING",)))
            except (ConnectionError, TimeoutError):
                return False

        assert not all(at_once(40, call))
    finally:
        os.kill(pid, SIGCONT)

    assert all(at_once(40, call))
    assert server.connections <= 4


def test_an_interrupted_waiter_loses_no_connection(connect: Callable[..., RedisClient]) -> None:
    server = connect(max_connections=1)
    connections = server.pool_of(server.prefix)
    held = connections.acquire()

    class Interrupted(pool._Waiter):
        def __init__(self) -> None:
            super().__init__()
            self.served.wait = self._interrupt  # type: ignore[method-assign]

        def _interrupt(self, timeout: float | None = None) -> bool:
            connections.release(held)
            raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(pool, "_Waiter", Interrupted)
        with pytest.raises(KeyboardInterrupt):
            connections.acquire()

    assert connections.acquire() is held
    connections.release(held)
