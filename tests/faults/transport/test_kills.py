"""Consumers killed with -9 at random moments: nothing lost, only unacknowledged messages redelivered."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from kombu import Connection, Exchange, Queue

from ...support.scale import SCALE, chance
from ...support.waiting import wait_until
from . import queues
from .consumers import QUEUE, STOCK, STOCK_OPTIONS, Post, bare, mixin
from .ledger import Ledger
from .processes import Consume, Consumers

pytestmark = [pytest.mark.faults, pytest.mark.timeout(60 + 60 * SCALE)]

MESSAGES = 2_000 * SCALE
KILLS = 20 * SCALE
#: Two consumers need a little longer for all of it than the kills take.
WORK_SECONDS = 0.002


def publish(connection: Connection, ledger: Ledger, count: int) -> None:
    with connection.Producer() as producer:
        queue = Queue(QUEUE, Exchange("storm"), routing_key=QUEUE)
        for number in range(count):
            producer.publish(str(number), exchange=queue.exchange, routing_key=QUEUE, declare=[queue])
            ledger.confirm(number)


def storm(
    post: Post, ledger: Ledger, consume: Consume, is_idle: Callable[[], bool], *, messages: int = MESSAGES
) -> None:
    """Publish, kill, and let the remaining consumers finish."""
    with post.connect() as connection:
        publish(connection, ledger, messages)
    with Consumers(post, consume=consume) as consumers:
        consumers.storm(KILLS, chance(f"{post.transport} prefetch {post.prefetch}"))
        assert not is_idle(), "the consumers were done before the kills"
        wait_until(is_idle, 60, "an empty queue")


def tell(what: str, ledger: Ledger, lost: list[int]) -> None:
    print(f"{what}: {MESSAGES} messages, {KILLS} kills: {len(lost)} lost, {ledger.repeats} repeated")


@pytest.mark.parametrize("prefetch", [1, 10])
@pytest.mark.parametrize("consume", [bare, mixin])
def test_nothing_is_lost_and_only_unacknowledged_messages_are_redelivered(
    redis_url: str, tmp_path: Path, prefetch: int, consume: Consume
) -> None:
    ledger = Ledger(tmp_path / "seen")
    queues.declare(redis_url)
    post = Post(redis_url, str(ledger.path), prefetch, WORK_SECONDS)

    storm(post, ledger, consume, lambda: queues.waiting(redis_url) == 0)

    lost = ledger.lost(queues.left(redis_url))
    tell(f"ours, {consume.__name__}, prefetch {prefetch}", ledger, lost)
    assert len(ledger.confirmed) == MESSAGES
    assert lost == []
    assert ledger.repeats <= KILLS * prefetch


def test_a_consumer_that_acknowledges_too_early_is_caught(redis_url: str, tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "seen")
    queues.declare(redis_url)
    post = Post(redis_url, str(ledger.path), 10, 10 * WORK_SECONDS, order="ack, note")

    storm(post, ledger, bare, lambda: queues.waiting(redis_url) == 0, messages=MESSAGES // 10)

    assert ledger.lost(queues.left(redis_url)), "messages acknowledged before their work survived: nobody looks"


def test_losses_of_kombus_own_transport_for_comparison(redis_url: str, tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "seen")
    post = Post(redis_url, str(ledger.path), 10, WORK_SECONDS, transport=STOCK, options=STOCK_OPTIONS)

    def is_idle() -> bool:
        with queues.client(redis_url) as server:
            return not (server.llen(QUEUE) or server.hlen("unacked"))

    storm(post, ledger, mixin, is_idle)

    tell("kombu's own, prefetch 10", ledger, ledger.lost(queues.left_in_stock(redis_url)))
    assert ledger.seen.keys() <= ledger.confirmed.keys()
