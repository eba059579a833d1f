"""Failover with Sentinel: a lost or demoted primary, and clients that find the new one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any

import pytest

from avtomatika.transport import connect

from ...support.sentinel import MASTER_NAME, SentinelProcess
from ...support.waiting import wait_until
from . import queues
from .traffic import under_way

pytestmark = [pytest.mark.faults, pytest.mark.timeout(120)]

#: Messages that a failover may lose: confirmed by the old primary, not replicated yet.
LAG_SECONDS = 1.0


@dataclass
class Pair:
    primary: Any
    replica: Any
    sentinel: SentinelProcess

    def wait_for_failover(self) -> None:
        wait_until(lambda: self.sentinel.primary_port == self.replica.port, 30, "the failover")


@pytest.fixture
def pair(make_server: Callable[..., Any], tmp_path: Path) -> Iterator[Pair]:
    primary = make_server(**{"repl-diskless-sync-delay": 0})
    replica = make_server()
    with queues.client(replica.url) as server:
        server.replicaof("127.0.0.1", primary.port)
        wait_until(lambda: server.info("replication")["master_link_status"] == "up", 20, "the first synchronisation")
    with SentinelProcess(tmp_path, primary.port) as sentinel:
        yield Pair(primary, replica, sentinel)


def test_a_killed_primary_is_replaced_and_at_most_the_lag_is_lost(pair: Pair, tmp_path: Path) -> None:
    with under_way(pair.primary.url, tmp_path, way=pair.sentinel.url) as scene:
        killed = monotonic()
        pair.primary.kill()
        pair.wait_for_failover()
        scene.url = pair.replica.url
        scene.goes_on()
        scene.end()
        scene.tell("failover after a kill")

        assert [number for number in scene.lost if scene.ledger.confirmed[number] < killed - LAG_SECONDS] == []
        assert scene.traffic.errors


def test_a_demoted_primary_loses_nothing(pair: Pair, tmp_path: Path) -> None:
    with under_way(pair.primary.url, tmp_path, way=pair.sentinel.url) as scene:
        asked = monotonic()
        pair.sentinel.fail_over()
        pair.wait_for_failover()
        scene.url = pair.replica.url
        scene.goes_on()
        scene.end()
        scene.tell("failover by command")

        assert [number for number in scene.lost if scene.ledger.confirmed[number] < asked - LAG_SECONDS] == []


@pytest.mark.parametrize(
    "url",
    [
        "sentinel://127.0.0.1:{port}/0?master_name={name}",
        "sentinel://127.0.0.1:1;127.0.0.1:{port}/0?master_name={name}",
        "sentinel://127.0.0.1:1/0;sentinel://127.0.0.1:{port}/0?master_name={name}",
    ],
)
def test_every_form_of_the_url_leads_to_the_primary(pair: Pair, url: str) -> None:
    with connect(url.format(port=pair.sentinel.port, name=MASTER_NAME)) as client:
        assert client.info("server")["tcp_port"] == pair.primary.port


def test_the_primary_may_be_named_as_in_kombu(pair: Pair) -> None:
    url = f"sentinel://127.0.0.1:1;sentinel://127.0.0.1:{pair.sentinel.port}"
    with queues.connect(url, master_name=MASTER_NAME, sentinel_kwargs={"socket_timeout": 1}) as connection:
        channel = connection.channel()

        channel.queue_declare("q")

        assert channel.queue_declare("q", passive=True).queue == "q"
