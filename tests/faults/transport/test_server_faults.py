"""The server killed, stopped, full, emptied: what it has confirmed and kept is delivered, everything else is loud."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import pytest

from . import queues
from .consumers import OPTIONS, QUEUE, Post, bare, in_another_time
from .scale import SCALE
from .traffic import SOCKET_TIMEOUT_SECONDS, under_way
from .troop import Consumers, wait_until

pytestmark = [pytest.mark.faults, pytest.mark.timeout(120 * SCALE)]

STREAM = f"avt:q:{QUEUE}:0"
#: How long the server may be stopped at a time.
STOP_SECONDS = min(3 * SCALE, 10)
#: An answer that does not come, then a new connection that is not made, or has nobody who speaks.
PUBLISH_LIMIT_SECONDS = 3 * SOCKET_TIMEOUT_SECONDS + 1
#: What a server with AOF everysec may lose when it is killed while the disk lags behind.
LAG_SECONDS = 2.0


@pytest.mark.parametrize("appendfsync", ["always", "everysec"])
def test_a_killed_server_that_comes_back_has_lost_nothing(
    make_server: Callable[..., Any], tmp_path: Path, appendfsync: str
) -> None:
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


def test_a_server_ended_and_started_again_has_lost_nothing(own_server: Any, tmp_path: Path) -> None:
    with under_way(own_server.url, tmp_path) as scene:
        for _ in range(2):
            own_server.stop()
            own_server.start()
            scene.goes_on()
        scene.end()
        scene.tell("two restarts")

        assert scene.lost == []


def test_a_server_that_stands_still_loses_nothing_and_holds_up_nobody_for_long(own_server: Any, tmp_path: Path) -> None:
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


def test_forgotten_scripts_are_not_noticed(redis_url: str, tmp_path: Path) -> None:
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


def test_a_group_that_is_destroyed_is_made_again_and_nothing_is_lost(redis_url: str, tmp_path: Path) -> None:
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


def test_a_stream_that_is_deleted_takes_only_what_was_in_it(redis_url: str, tmp_path: Path) -> None:
    with under_way(redis_url, tmp_path) as scene, queues.client(redis_url) as server:
        for _ in range(5 * SCALE):
            sleep(0.1)
            server.delete(STREAM)
        deleted = monotonic()
        scene.goes_on()
        scene.end()
        scene.tell("stream deleted")

        assert [number for number in scene.lost if scene.ledger.confirmed[number] > deleted] == []


def test_after_a_flush_publishers_are_told_and_everything_goes_on(redis_url: str, tmp_path: Path) -> None:
    with under_way(redis_url, tmp_path) as scene, queues.client(redis_url) as server:
        server.flushall()
        flushed = monotonic()
        scene.goes_on()
        scene.end()
        scene.tell("flushed")

        assert scene.traffic.errors["NoRouteError"] > 0
        assert [number for number in scene.lost if scene.ledger.confirmed[number] > flushed] == []


def test_a_full_server_refuses_publishers_and_serves_consumers_old_and_new(own_server: Any, tmp_path: Path) -> None:
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


def test_a_host_whose_clock_is_wrong_takes_over_nothing(redis_url: str, tmp_path: Path) -> None:
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
