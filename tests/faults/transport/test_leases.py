"""Leases under faults: a live consumer keeps its messages, a dead or suspended one loses them."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterable
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import pytest
from kombu import Exchange, Queue

from ...support.waiting import wait_until
from . import queues
from .consumers import QUEUE, Post
from .ledger import Ledger
from .processes import Consumers

pytestmark = [pytest.mark.faults, pytest.mark.timeout(120)]

LEASE_SECONDS = 1.0
#: In the middle of 200 messages.
POISON = 100


def publish(url: str, numbers: Iterable[int], **properties: Any) -> None:
    with queues.connect(url) as connection, connection.Producer() as producer:
        for number in numbers:
            producer.publish(str(number), exchange="storm", routing_key=QUEUE, **properties)


def kill_and_restart(server: Any) -> None:
    server.kill()
    sleep(2 * LEASE_SECONDS)
    server.start()


def suspend(server: Any) -> None:
    pid = server.pid
    os.kill(pid, signal.SIGSTOP)
    sleep(2 * LEASE_SECONDS)
    os.kill(pid, signal.SIGCONT)


def leave_alone(server: Any) -> None:
    sleep(2 * LEASE_SECONDS)


@pytest.mark.parametrize("trouble", [leave_alone, kill_and_restart, suspend])
def test_a_task_of_ten_leases_is_delivered_once(
    make_server: Callable[..., Any], tmp_path: Path, trouble: Callable[[Any], None]
) -> None:
    server = make_server(appendfsync="always")
    ledger = Ledger(tmp_path / "seen")
    queues.declare(server.url)
    worker = Post(server.url, str(ledger.path), prefetch=1, work_seconds=10 * LEASE_SECONDS)
    idle = Post(server.url, str(tmp_path / "idle"))
    with Consumers(worker, count=1):
        publish(server.url, [1])
        wait_until(lambda: queues.held(server.url), 5, "the message taken")
        with Consumers(idle):
            sleep(2 * LEASE_SECONDS)
            trouble(server)
            wait_until(lambda: ledger.seen or queues.waiting(server.url) == 0, 15, "the end of the work")
            wait_until(lambda: queues.waiting(server.url) == 0, 5, "its acknowledgement")

    assert ledger.seen == {1: 1}
    assert (tmp_path / "idle").read_bytes() == b""


def test_a_consumer_suspended_for_a_lease_loses_its_message(redis_url: str, tmp_path: Path) -> None:
    queues.declare(redis_url)
    sleeper = Post(redis_url, str(tmp_path / "sleeper"), prefetch=1, work_seconds=1.5)
    with Consumers(sleeper, count=1) as sleepers:
        publish(redis_url, [1])
        wait_until(lambda: queues.held(redis_url), 5, "the message taken")
        first = set(queues.held(redis_url))
        sleepers.suspend(0)
        other = Post(redis_url, str(tmp_path / "other"), prefetch=1, work_seconds=4)
        with Consumers(other, count=1) as others:
            wait_until(
                lambda: queues.held(redis_url).keys() - first,
                20,
                lambda: f"another holds it; {queues.describe(redis_url)}, exit codes {others.deaths}",
            )
            sleepers.resume(0)
            wait_until((tmp_path / "sleeper").read_bytes, 5, "the sleeper's late end")
            sleep(0.2)
            still_held = queues.held(redis_url).keys() - first
            waiting = queues.waiting(redis_url)
            wait_until(lambda: queues.waiting(redis_url) == 0, 8, "the other's acknowledgement")

    assert still_held
    assert waiting == 1
    assert (tmp_path / "other").read_bytes() == b"1\n"


@pytest.mark.parametrize("work_seconds", [0.0, 2.0], ids=["idle", "busy"])
def test_messages_of_a_killed_consumer_are_processed_by_others_in_time(
    redis_url: str, tmp_path: Path, work_seconds: float
) -> None:
    """*busy*: each message of the other keeps it away from the server for two leases."""
    ledger = Ledger(tmp_path / "seen")
    queues.declare(redis_url)
    doomed = Post(redis_url, str(tmp_path / "doomed"), prefetch=5, work_seconds=60)
    publish(redis_url, range(5))
    with Consumers(doomed, count=1) as consumers:
        wait_until(lambda: sum(queues.held(redis_url).values()) == 5, 5, "all five taken")
        with Consumers(Post(redis_url, str(ledger.path), prefetch=1, work_seconds=work_seconds), count=1):
            publish(redis_url, range(100, 100 + (20 if work_seconds else 0)))
            sleep(LEASE_SECONDS)
            consumers.kill(0)
            killed = monotonic()
            wait_until(lambda: ledger.seen.keys() & set(range(5)), 20, "the first of them")

            assert monotonic() - killed < LEASE_SECONDS + 5 + work_seconds


def test_a_message_that_kills_its_consumers_affects_no_other(redis_url: str, tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "seen")
    queues.declare(redis_url, QUEUE, "notices")
    told = {"exchange": "storm", "key": "notices", "body": "4711"}
    publish(redis_url, range(100))
    publish(redis_url, [POISON], headers={"x-on-dead": told})
    publish(redis_url, range(101, 200))
    post = Post(redis_url, str(ledger.path), prefetch=200, poison=POISON)
    with Consumers(post, count=2) as consumers:

        def is_dead() -> bool:
            consumers.replace_dead()
            return queues.dead(redis_url) == {POISON}

        wait_until(is_dead, 40, "the burial")
        wait_until(lambda: queues.waiting(redis_url) == 0, 40, "an empty queue")

    with queues.client(redis_url) as server:
        [(_, letter)] = server.xrange(f"{{avt.g0}}:q:{QUEUE}:dead")
    assert (letter["reason"], letter["deliveries"]) == ("max_deliveries", "5")
    assert ledger.seen.keys() == set(range(200)) - {POISON}
    with queues.connect(redis_url) as connection:
        notice = Queue("notices", Exchange("storm"), no_declare=True)(connection.channel()).get()
    assert notice.body == b"4711"
    assert notice.headers == {"x-death-reason": "max_deliveries", "x-deliveries": 5}
