"""The server killed, suspended, full or flushed: confirmed messages are delivered, everything else raises an error."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import pytest

from ...support.scale import SCALE
from ...support.waiting import wait_until
from . import queues
from .consumers import OPTIONS, QUEUE, Post, bare, in_another_time
from .processes import Consumers
from .traffic import SOCKET_TIMEOUT_SECONDS, under_way

pytestmark = [pytest.mark.faults, pytest.mark.timeout(120 * SCALE)]

STREAM = f"{{avt.g0}}:q:{QUEUE}:0"
#: Longest suspension of the server.
STOP_SECONDS = min(3 * SCALE, 10)
#: A missing reply, then a new connection that fails or gets no reply.
PUBLISH_LIMIT_SECONDS = 3 * SOCKET_TIMEOUT_SECONDS + 1
#: Messages that a server with AOF everysec may lose when killed while the disk lags.
LAG_SECONDS = 2.0


@pytest.mark.parametrize("appendfsync", ["always", "everysec"])
def test_a_killed_server_loses_nothing(make_server: Callable[..., Any], tmp_path: Path, appendfsync: str) -> None:
    server = make_server(appendfsync=appendfsync)
    kills = []
    with under_way(server.url, tmp_path) as scene:
        for _ in range(3):
            kills.append(monotonic())
            server.kill()
            sleep(0.3)
            server.start()
            scene.goes_on()
        scene.end()
        scene.tell(f"three kills, {appendfsync}")

        excused = LAG_SECONDS if appendfsync == "everysec" else 0.0
        lost_for_good = [
            number
            for number in scene.lost
            if not any(0 <= killed - scene.ledger.confirmed[number] <= excused for killed in kills)
        ]
        assert lost_for_good == []
        assert scene.traffic.errors
        assert scene.traffic.longest_seconds < PUBLISH_LIMIT_SECONDS


def test_a_restarted_server_loses_nothing(own_server: Any, tmp_path: Path) -> None:
    with under_way(own_server.url, tmp_path) as scene:
        for _ in range(2):
            own_server.stop()
            own_server.start()
            scene.goes_on()
        scene.end()
        scene.tell("two restarts")

        assert scene.lost == []


def test_a_suspended_server_loses_nothing_and_publishers_time_out(own_server: Any, tmp_path: Path) -> None:
    pid = own_server.pid
    with under_way(own_server.url, tmp_path) as scene:
        os.kill(pid, signal.SIGSTOP)
        sleep(STOP_SECONDS)
        os.kill(pid, signal.SIGCONT)
        resumed = monotonic()
        scene.goes_on()
        scene.end()
        scene.tell(f"stopped for {STOP_SECONDS} s")

        assert scene.lost == []
        assert scene.traffic.longest_seconds < PUBLISH_LIMIT_SECONDS
        assert min(at for at in scene.ledger.confirmed.values() if at > resumed) < resumed + 2


def test_connections_cut_again_and_again_lose_nothing(redis_url: str, tmp_path: Path) -> None:
    with under_way(redis_url, tmp_path) as scene:
        with queues.client(redis_url) as server:
            for _ in range(30 * SCALE):
                sleep(0.1)
                server.client_kill_filter(_type="normal", skipme=True)
        scene.goes_on()
        scene.end()
        scene.tell("all connections cut every 0.1 s")

        assert scene.lost == []
        assert scene.traffic.errors


def test_forgotten_scripts_are_reloaded(redis_url: str, tmp_path: Path) -> None:
    with under_way(redis_url, tmp_path) as scene:
        with queues.client(redis_url) as server:
            for _ in range(20 * SCALE):
                sleep(0.05)
                server.script_flush()
        scene.goes_on()
        scene.end()

        assert scene.lost == []
        assert scene.ledger.repeats == 0
        assert scene.traffic.errors.keys() <= {"NoScriptError"}


def test_a_destroyed_consumer_group_is_recreated_without_loss(redis_url: str, tmp_path: Path) -> None:
    with under_way(redis_url, tmp_path) as scene:
        with queues.client(redis_url) as server:
            for _ in range(5 * SCALE):
                sleep(0.1)
                server.xgroup_destroy(STREAM, "avt")
        scene.goes_on()
        scene.end()
        scene.tell("group destroyed")

        assert scene.lost == []
        assert not scene.traffic.errors


def test_a_deleted_stream_loses_only_its_messages(redis_url: str, tmp_path: Path) -> None:
    with under_way(redis_url, tmp_path) as scene, queues.client(redis_url) as server:
        for _ in range(5 * SCALE):
            sleep(0.1)
            server.delete(STREAM)
        deleted = monotonic()
        scene.goes_on()
        scene.end()
        scene.tell("stream deleted")

        assert [number for number in scene.lost if scene.ledger.confirmed[number] > deleted] == []


def test_after_a_flush_publishers_get_errors_and_recover(redis_url: str, tmp_path: Path) -> None:
    with under_way(redis_url, tmp_path) as scene, queues.client(redis_url) as server:
        server.flushall()
        flushed = monotonic()
        scene.goes_on()
        scene.end()
        scene.tell("flushed")

        assert scene.traffic.errors["NoRouteError"] > 0
        assert [number for number in scene.lost if scene.ledger.confirmed[number] > flushed] == []


def test_a_full_server_rejects_publishers_and_serves_consumers(own_server: Any, tmp_path: Path) -> None:
    with under_way(own_server.url, tmp_path) as scene, queues.client(own_server.url) as server:
        server.config_set("maxmemory", 1)
        wait_until(lambda: scene.traffic.errors["OutOfMemoryError"] > 10, 10, "a refusal")
        wait_until(lambda: queues.waiting(own_server.url) == 0, 10, "an empty queue while it is full")
        scene.consumers.replace(0)
        server.config_set("maxmemory", 0)
        scene.goes_on()
        scene.end()
        scene.tell("full")

        assert scene.lost == []
        assert scene.traffic.errors.keys() == {"OutOfMemoryError"}


def test_a_consumer_attaches_to_a_full_server_and_empties_it(own_server: Any, tmp_path: Path) -> None:
    with under_way(own_server.url, tmp_path) as scene, queues.client(own_server.url) as server:
        scene.consumers.kill(0)
        scene.consumers.kill(1)
        sleep(0.5)
        assert queues.waiting(own_server.url) > 0
        server.config_set("maxmemory", 1)
        with Consumers(Post(own_server.url, str(scene.ledger.path), options=OPTIONS), count=1):
            wait_until(lambda: queues.waiting(own_server.url) == 0, 10, "an empty queue while it is full")

        assert scene.lost == []


def test_a_host_with_a_wrong_clock_reclaims_nothing(redis_url: str, tmp_path: Path) -> None:
    queues.declare(redis_url)
    slow = Post(redis_url, str(tmp_path / "slow"), prefetch=1, work_seconds=3.0)
    ahead = Post(redis_url, str(tmp_path / "ahead"), prefetch=10)
    with Consumers(slow, consume=bare), queues.connect(redis_url) as connection, connection.Producer() as producer:
        for number in range(2):
            producer.publish(str(number), exchange="storm", routing_key=QUEUE)
        wait_until(lambda: sum(queues.held(redis_url).values()) == 2, 5, "both messages taken")
        with Consumers(ahead, consume=in_another_time):
            wait_until(lambda: queues.waiting(redis_url) == 0, 10, "both messages done")

    assert (tmp_path / "ahead").read_bytes() == b""
    assert sorted((tmp_path / "slow").read_bytes().split()) == [b"0", b"1"]
