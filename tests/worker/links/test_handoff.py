"""A broker and web addresses of one group in one list: while the broker is down, its tasks are kept and answered over
HTTP."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from time import sleep
from typing import Any
from urllib.parse import urlsplit

import pytest
import redis

from avtomatika.schemas import wire
from avtomatika.store import Store

from ...support.processes import Process
from ...support.scripted_orchestrator import Office, task
from ...support.tcp_proxy import TcpProxy
from ...support.web import WebServer
from ...support.workers import wait_until_begun

LEASE_SECONDS = 3
KEPT = "1 of 1 tasks from the broker are now kept over HTTP"


@pytest.fixture
def office(redis_url: str, make_office: Callable[..., Office]) -> Office:
    return make_office(redis_url, lease_seconds=LEASE_SECONDS)


@pytest.fixture
def wire_to_broker(redis_url: str) -> Iterator[TcpProxy]:
    """A proxy between the worker and the broker."""
    with TcpProxy(urlsplit(redis_url).port or 0) as proxy:
        yield proxy


@pytest.fixture
def worker(
    redis_url: str,
    wire_to_broker: TcpProxy,
    make_web: Callable[..., WebServer],
    make_worker: Callable[..., Process],
) -> Process:
    """A worker that takes tasks from the broker and can use the web address."""
    web = make_web(redis_url, WORKER_TOKEN="the-workers-token", WORKER_LEASE_SECONDS=str(LEASE_SECONDS))
    path = urlsplit(redis_url).path
    addresses = [{"url": f"redis://127.0.0.1:{wire_to_broker.port}{path}"}, {"url": f"http://{web.address}"}]
    worker = make_worker(
        ORCHESTRATORS_CONFIG=json.dumps(addresses),
        WORKER_TOKEN="the-workers-token",
        WORKER_ID="worker-1",
        WORKER_LEASE_SECONDS=str(LEASE_SECONDS),
        WORKER_DRAIN_TIMEOUT="1",
    )
    worker.wait_for_log(f"registered with http://{web.address}")
    sleep(1)  # a standby is polled at the start and then every 5 seconds
    return worker


def give(office: Office, redis_url: str, **params: Any) -> None:
    """Publish a task with a ticket, like an orchestrator."""
    with closing(Store.connect(redis_url)) as store:
        given = task(0, params)
        ticket = store.keyring.secret.ticket(given.task_id, given.attempt)
    office.give_text(wire.dump_task(replace(given, ticket=ticket)))


@pytest.mark.faults
def test_a_task_continues_over_http_when_its_broker_is_unreachable(
    office: Office, redis_url: str, worker: Process, wire_to_broker: TcpProxy, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    give(office, redis_url, gate=str(gate), by="both")
    wait_until_begun(gate)

    wire_to_broker.refuse()
    worker.wait_for_log(KEPT)
    office.nothing_comes("work", seconds=2 * LEASE_SECONDS)  # the web address keeps it
    gate.touch()

    [result] = office.results(1)
    assert (result.worker_id, result.data) == ("worker-1", {"by": "both"})
    assert office.depth("work") == 0

    wire_to_broker.accept()
    give(office, redis_url, by="either")
    assert office.results(1)[0].data == {"by": "either"}


def test_a_result_is_sent_over_http_when_its_broker_is_unreachable(
    office: Office, redis_url: str, worker: Process, wire_to_broker: TcpProxy, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    give(office, redis_url, gate=str(gate), by="the web")
    wait_until_begun(gate)

    wire_to_broker.refuse()
    gate.touch()
    worker.wait_for_log("unsent results wait")

    [result] = office.results(1)
    assert (result.worker_id, result.data) == ("worker-1", {"by": "the web"})
    assert office.depth("work") == 0


def test_an_adopted_task_is_cancelled_over_http(
    office: Office, redis_url: str, worker: Process, wire_to_broker: TcpProxy, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    with redis.Redis.from_url(redis_url) as client:
        client.hset("{avt.g0}:job:g0-1", "v", 1)
        client.hset("{avt.g0}:job:g0-1:tasks", "g0-1.0.0", 1)
        give(office, redis_url, gate=str(gate))
        wait_until_begun(gate)
        wire_to_broker.refuse()
        worker.wait_for_log(KEPT)

        client.hdel("{avt.g0}:job:g0-1:tasks", "g0-1.0.0")

        [result] = office.results(1)
    assert result.data == {"result": "cancelled"}


def test_a_stopping_worker_requeues_adopted_tasks(
    office: Office, redis_url: str, worker: Process, wire_to_broker: TcpProxy, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    give(office, redis_url, gate=str(gate), by="another one")
    wait_until_begun(gate)
    wire_to_broker.refuse()
    worker.wait_for_log(KEPT)

    worker.process.terminate()

    [delivery] = office.take("work", 1)
    assert wire.load_task(delivery.body).task_id == "g0-1.0.0"
    assert delivery.deliveries == 1  # as if it had never been started
