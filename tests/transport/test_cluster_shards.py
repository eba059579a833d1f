"""Consuming from 16 shards on three primaries: waits of each slot, leases, and slots that move meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from threading import Thread
from time import monotonic, sleep
from typing import Any

import pytest
import redis
from kombu import Consumer, Queue
from kombu.asynchronous import Hub

from avtomatika.core.shards import shard_prefixes
from avtomatika.transport import Channel, Keys, Outgoing

from ..support.cluster import Cluster
from ..support.servers import IS_CLUSTER
from ..support.waiting import wait_until
from .conftest import Bench, Reading

pytestmark = pytest.mark.skipif(IS_CLUSTER, reason="its servers form clusters of their own")
PREFIXES = shard_prefixes("g0", 16)
OPTIONS = {"prefixes": PREFIXES, "lease_seconds": 3.0, "sweep_interval_seconds": 60}


@pytest.fixture
def cluster(make_server: Callable[..., Any]) -> Cluster:
    return Cluster(make_server, primaries=3, has_replicas=True)


@pytest.fixture
def bench(cluster: Cluster, make_bench: Callable[[str], Bench]) -> Bench:
    bench = make_bench(cluster.nodes[0].url)  # its own client is of one node
    bench.url = cluster.kombu_url
    return bench


@pytest.fixture
def channel(bench: Bench) -> Channel:
    channel = bench.channel(**OPTIONS)
    channel.declare_many(exchanges={"work": "direct"}, queues=["tasks"], bindings=[("tasks", "work", "tasks")])
    return channel


def publish(channel: Channel, *prefixes: str) -> None:
    """Publish a message to each shard, with its prefix as the body."""
    for prefix in prefixes:
        [done] = channel.settle_many([([Outgoing("work", "tasks", f'"{prefix}"', shard=prefix)], ())])
        assert done is True


def publish_soon(channel: Channel, *prefixes: str) -> Thread:
    def wait_and_publish() -> None:
        sleep(0.3)
        publish(channel, *prefixes)

    thread = Thread(target=wait_and_publish)
    thread.start()
    return thread


def receive(reading: Reading, count: int) -> list[str]:
    """Drain until *count* messages were received, whatever happens to the connection; return their bodies."""
    until = monotonic() + 60
    while len(reading.got) < count:
        assert monotonic() < until, f"only {len(reading.got)} of {count} messages came"
        try:
            reading.drain(1)
        except redis.ConnectionError:
            sleep(0.1)
    return reading.bodies


def evaluations(cluster: Cluster) -> int:
    """Return how many scripts have run on all nodes."""
    total = 0
    for node in cluster.nodes:
        with redis.Redis.from_url(node.url) as client:
            total += client.info("commandstats").get("cmdstat_evalsha", {}).get("calls", 0)
    return total


def test_a_waiting_consumer_gets_messages_of_each_shard(channel: Channel, bench: Bench, cluster: Cluster) -> None:
    reading = bench.read(**OPTIONS)
    reading.drain(0.2)
    before = evaluations(cluster)
    reading.drain(1.5)
    idle = evaluations(cluster) - before

    publisher = publish_soon(channel, *PREFIXES)
    assert sorted(receive(reading, 16)) == sorted(PREFIXES)

    publisher.join()
    assert idle <= 3 * len(PREFIXES)  # heartbeats
    for message in reading.got:
        message.ack()
    reading.drain(0.2)
    assert reading.channel.held == 0


def test_an_event_loop_gets_messages_of_each_shard(channel: Channel, bench: Bench) -> None:
    hub, got = Hub(), list[Any]()
    connection = bench.connect(**OPTIONS)
    hub.propagate_errors = connection.connection_errors
    connection.register_with_event_loop(hub)
    connection.Consumer([Queue("tasks", no_declare=True)], on_message=got.append).consume()
    turns, until = 0, monotonic() + 2
    while monotonic() < until:
        hub.run_once()
        turns += 1

    publisher = publish_soon(channel, *PREFIXES)
    until = monotonic() + 30
    while len(got) < 16:
        assert monotonic() < until
        hub.run_once()

    publisher.join()
    assert sorted(message.payload for message in got) == sorted(PREFIXES)
    assert turns < 60  # one for each reply, and some that look at the clock
    connection.release()
    hub.close()


@pytest.mark.parametrize("move", [Cluster.migrate, Cluster.migrate_at_once])
def test_waiting_goes_on_while_slots_move(
    channel: Channel, bench: Bench, cluster: Cluster, move: Callable[[Cluster, str, Any], None]
) -> None:
    reading = bench.read(**OPTIONS)
    reading.drain(0.2)
    for prefix in PREFIXES[:3]:
        move(cluster, prefix, cluster.other_primary(prefix))
    assert receive(reading, 0) == []

    def publish_all() -> None:
        for prefix in PREFIXES:
            while True:
                try:
                    publish(channel, prefix)
                    break
                except redis.ConnectionError:
                    sleep(0.1)

    publisher = Thread(target=publish_all)
    publisher.start()

    assert set(receive(reading, 16)) == set(PREFIXES)
    publisher.join()


def test_a_consumer_shows_that_it_lives_at_the_owner_of_each_shard(
    channel: Channel, bench: Bench, cluster: Cluster
) -> None:
    reading = bench.read(**OPTIONS)
    reading.drain(0.2)
    name = reading.channel.router.consumer_name

    def is_present(prefix: str) -> bool:
        with redis.Redis.from_url(cluster.owner_of(prefix).url) as owner:
            [(_, count)] = owner.pubsub_numsub(Keys(prefix).presence(name))
        return count == 1

    assert all(map(is_present, PREFIXES))
    owner = cluster.owner_of(PREFIXES[0])
    cluster.fail_over(owner)
    wait_until(lambda: cluster.owner_of(PREFIXES[0]) is not owner, 30, "a replica takes over")
    wait_until(lambda: all(map(is_present, PREFIXES)), 30, "its renewer follows")
    reading.connection.release()
    assert not any(map(is_present, PREFIXES))


def test_leases_of_some_shards_do_not_need_the_owners_of_others(
    channel: Channel, bench: Bench, cluster: Cluster
) -> None:
    for node in cluster.nodes:
        with redis.Redis.from_url(node.url) as client:
            client.config_set("cluster-require-full-coverage", "no")
    owners = {prefix: cluster.owner_of(prefix) for prefix in PREFIXES}
    down = next(owner for owner in owners.values() if owner is not owners[PREFIXES[0]])
    some = [prefix for prefix, owner in owners.items() if owner is not down]
    connection = bench.connect(**OPTIONS)
    channel_of_some = connection.channel()
    channel_of_some.restrict_to(some)
    got: list[Any] = []
    Consumer(channel_of_some, [Queue("tasks", no_declare=True)], on_message=got.append).consume()
    publish(channel, *some)
    reading = Reading(connection, channel_of_some, None, got)
    receive(reading, len(some))
    replica = cluster.replica_of(down)
    replica.kill()
    down.kill()

    def idle_seconds(prefix: str) -> float:
        with redis.Redis.from_url(owners[prefix].url) as owner:
            [pending] = owner.xpending_range(f"{prefix}q:tasks:0", "avt", "-", "+", 10)
        return float(pending["time_since_delivered"]) / 1000

    sleep(OPTIONS["lease_seconds"])
    wait_until(lambda: max(map(idle_seconds, some)) < 2, 10, "all leases are renewed")
    assert channel_of_some.cancelled == frozenset()
