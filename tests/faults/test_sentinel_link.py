"""A worker with sentinel addresses finds the primary that they name, and the next one after a failover."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ..support.processes import Process
from ..support.scripted_orchestrator import Office
from ..support.sentinel import SentinelProcess
from ..support.waiting import wait_until
from ..support.workers import SCRIPT
from .transport import queues

pytestmark = [pytest.mark.faults, pytest.mark.timeout(120)]


@pytest.fixture
def sentinel(make_server: Callable[..., Any], tmp_path: Path) -> Iterator[SentinelProcess]:
    primary, replica = make_server(**{"repl-diskless-sync-delay": 0}), make_server()
    with queues.client(replica.url) as server:
        server.replicaof("127.0.0.1", primary.port)
        wait_until(lambda: server.info("replication")["master_link_status"] == "up", 20, "the first synchronisation")
    with SentinelProcess(tmp_path, primary.port) as process:
        yield process


def test_a_worker_follows_a_failover(sentinel: SentinelProcess, tmp_path: Path) -> None:
    (tmp_path / "my_worker.py").write_text(SCRIPT)
    environ = {"ORCHESTRATORS_CONFIG": f'[{{"url": "{sentinel.url}"}}]', "WORKER_ID": "worker-1"}
    first_port = sentinel.primary_port
    office = Office(f"redis://127.0.0.1:{first_port}/0")
    worker = Process([sys.executable, "my_worker.py"], tmp_path, environ, log=tmp_path / "worker.log")
    try:
        office.give({"by": "first"})
        [before] = office.results(1)
        office.close()
        sentinel.fail_over()
        wait_until(lambda: sentinel.primary_port != first_port, 30, "the failover")

        office = Office(f"redis://127.0.0.1:{sentinel.primary_port}/0")
        office.give({"by": "second"})
        [after] = office.results(1)
    finally:
        worker.kill()
        office.close()

    assert (before.data, after.data) == ({"by": "first"}, {"by": "second"})
    assert f"takes work from sentinel://127.0.0.1:{sentinel.port}/0" in worker.log
