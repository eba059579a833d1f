"""Consumers killed with -9 while limits stop messages: no limit is ever exceeded, and no slot is lost."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest
from kombu import Exchange, Queue

from avtomatika.transport import FlowControl, RedisClient, Router

from ...support.scale import SCALE, chance
from ...support.waiting import wait_until
from . import queues
from .consumers import QUEUE, Post
from .ledger import Ledger
from .processes import Consumers

pytestmark = [pytest.mark.faults, pytest.mark.timeout(120 + 60 * SCALE)]

MESSAGES = 1_000 * SCALE
KILLS = 20 * SCALE
WORK_SECONDS = 0.004
#: Slots of each limit on the server, and of each limit in messages.
OF_CLIENT, OF_ACCOUNT = 3, 2


def publish(url: str, ledger: Ledger) -> None:
    queue = Queue(QUEUE, Exchange("storm"), routing_key=QUEUE, queue_arguments={"x-fair": True})
    with queues.connect(url) as connection, connection.Producer() as producer:
        for number in range(MESSAGES):
            client = f"client:{number % 2}"
            limits = [client, [f"key:{number % 7}", {"concurrency": OF_ACCOUNT}]]
            producer.publish(
                str(number),
                exchange=queue.exchange,
                routing_key=QUEUE,
                declare=[queue],
                headers={"x-flow": {"key": client, "limits": limits}},
            )
            ledger.confirm(number)


@contextmanager
def watched(url: str, problems: list[str], most: list[int]) -> Iterator[None]:
    """Compare again and again, each time at one moment, the messages that are leased with the slots that are held."""
    keys, stop = Router(RedisClient.connect(url)).keys, Event()
    stream, levels = keys.stream(QUEUE, 0), [f"[client:{number}\0" for number in range(2)]

    def watch() -> None:
        with queues.client(url) as server:
            while not stop.wait(0.001):
                pipe = server.pipeline(transaction=True)
                pipe.xpending_range(stream, "avt", "-", "+", 100)
                pipe.hkeys(keys.held(QUEUE))
                for first in levels:
                    pipe.zlexcount(keys.flow_holders, first, first.replace("[", "(").replace("\0", "\1"))
                pipe.zrangebylex(keys.flow_holders, "[key:", "(key;")
                leased, held, *of_clients, of_accounts = pipe.execute()
                accounts = [member.partition("\0")[0] for member in of_accounts]
                most.append(len(leased))
                if {f"0{each['message_id']}" for each in leased} != set(held):
                    problems.append(f"{leased} are leased, but {held} hold slots")
                if max(of_clients) > OF_CLIENT or any(accounts.count(name) > OF_ACCOUNT for name in accounts):
                    problems.append(f"{of_clients} of clients, {accounts}")

    thread = Thread(target=watch)
    thread.start()
    yield
    stop.set()
    thread.join()


@pytest.mark.parametrize("prefetch", [1, 10])
def test_limits_hold_while_consumers_are_killed(redis_url: str, tmp_path: Path, prefetch: int) -> None:
    ledger, server = Ledger(tmp_path / "seen"), RedisClient.connect(redis_url)
    queues.declare(redis_url)
    control = FlowControl(server, Router(server))
    publish(redis_url, ledger)
    for number in range(2):
        control.set_limit(f"client:{number}", concurrency=OF_CLIENT, rate=None)
    problems: list[str] = []
    most: list[int] = []

    post = Post(redis_url, str(ledger.path), prefetch, WORK_SECONDS)
    with Consumers(post, count=8 if prefetch == 1 else 3) as consumers:
        wait_until(lambda: queues.held(redis_url), what="a first message")
        with watched(redis_url, problems, most):
            consumers.storm(KILLS, chance(f"limits, prefetch {prefetch}"))
            assert queues.waiting(redis_url), "the consumers were done before the kills"
            wait_until(lambda: queues.waiting(redis_url) == 0, 120, "an empty queue")

    print(f"{MESSAGES} messages, {KILLS} kills, {len(most)} looks: {max(most)} at once, {ledger.repeats} repeated")
    assert problems == []
    assert max(most) == 2 * OF_CLIENT
    assert ledger.lost(set()) == []
    assert [(limit.running, limit.waiting) for limit in control.limits()] == [(0, 0)] * 2
    server.close()


def test_a_killed_server_keeps_turns_and_slots(make_server: Callable[..., Any], tmp_path: Path) -> None:
    server, ledger = make_server(appendfsync="always"), Ledger(tmp_path / "seen")
    queues.declare(server.url)
    publish(server.url, ledger)
    with Consumers(Post(server.url, str(ledger.path), 10, WORK_SECONDS)):
        for kill in range(3):
            wait_until(lambda kill=kill: len(ledger.seen) > 50 * (kill + 1), 60, "progress")
            server.kill()
            server.start()
        wait_until(lambda: queues.waiting(server.url) == 0, 120, "an empty queue")

    assert ledger.lost(set()) == []
    with queues.client(server.url) as client:
        assert client.keys("*:held") == []
        assert client.keys("*:flow:*") == []
