"""A channel of four shards on one server: one credit, turns, and every answer in the shard of its message."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import replace
from queue import Empty
from time import monotonic
from typing import Any

import pytest
import redis
from kombu import Exchange, Queue

from avtomatika import broker
from avtomatika.core.shards import shard_prefixes
from avtomatika.transport import Channel, Outgoing
from avtomatika.transport.keys import prefix_of

from ..support.cluster import Cluster
from ..support.servers import IS_CLUSTER
from ..support.waiting import wait_until
from .conftest import LEASE_SECONDS

PREFIXES = shard_prefixes("g0", 4)


@pytest.fixture
def channel(bench: Any) -> Channel:
    """A channel that has declared the queue ``tasks`` in all shards."""
    channel = bench.channel(prefixes=PREFIXES)
    channel.declare_many(exchanges={"work": "direct"}, queues=["tasks"], bindings=[("tasks", "work", "tasks")])
    return channel


def publish(channel: Channel, prefix: str, *bodies: int, **properties: Any) -> None:
    outgoing = [Outgoing("work", "tasks", f"{body}", shard=prefix, **properties) for body in bodies]
    assert channel.settle_many([([each], ()) for each in outgoing]) == [True] * len(bodies)


def shards(messages: list[Any]) -> Counter[str]:
    return Counter(prefix_of(message.delivery_tag) for message in messages)


def consume_for(reading: Any, seconds: float) -> None:
    until = monotonic() + seconds
    reading.drain_until(lambda: monotonic() > until, seconds=60)


def test_messages_come_from_all_shards(bench: Any, channel: Channel) -> None:
    for place, prefix in enumerate(PREFIXES):
        publish(channel, prefix, place)
    reading = bench.read(prefixes=PREFIXES)

    got = reading.wait_for(4)

    assert sorted(reading.bodies) == [0, 1, 2, 3]
    assert shards(got) == dict.fromkeys(PREFIXES, 1)
    for message in got:
        message.ack()
    reading.drain_until(lambda: not any(bench.redis.xlen(f"{prefix}q:tasks:0") for prefix in PREFIXES))


def test_shards_share_the_credit_in_turns(bench: Any, channel: Channel) -> None:
    for prefix in PREFIXES:
        publish(channel, prefix, *range(10))
    reading = bench.read(prefixes=PREFIXES, prefetch=4)

    for count in range(4, 33, 4):
        got = reading.wait_for(count)[count - 4 :]
        assert len(shards(got)) == 1  # batches of one shard cost less
        assert reading.drain() == []
        for message in got:
            message.ack()

    assert shards(reading.got) == dict.fromkeys(PREFIXES, 8)


def test_no_shard_starves_with_a_credit_of_one(bench: Any, channel: Channel) -> None:
    for prefix in PREFIXES[:2]:
        publish(channel, prefix, *range(20))
    reading = bench.read(prefixes=PREFIXES, prefetch=1)

    for count in range(1, 21):
        reading.wait_for(count)[-1].ack()

    assert shards(reading.got) == dict.fromkeys(PREFIXES[:2], 10)


def test_the_whole_credit_is_used_by_one_busy_shard(bench: Any, channel: Channel) -> None:
    publish(channel, PREFIXES[2], *range(100))
    reading = bench.read(prefixes=PREFIXES, prefetch=30)

    assert [message.payload for message in reading.drain(1)] == [*range(30)]


def test_a_wake_up_asks_only_shards_with_news(bench: Any, channel: Channel) -> None:
    reading = bench.read(prefixes=PREFIXES, sweep_interval_seconds=60, lease_seconds=60)
    for prefix in PREFIXES:
        publish(channel, prefix, 1)
    reading.wait_for(4)
    reading.drain(0.1)
    bench.redis.config_resetstat()

    publish(channel, PREFIXES[3], 1)
    reading.wait_for(5)

    stats = bench.redis.info("commandstats")
    assert stats["cmdstat_evalsha"]["calls"] == 2  # to publish it, and to take it
    assert stats["cmdstat_xread"]["calls"] == 1


def test_all_shards_are_asked_in_one_round_trip(bench: Any, channel: Channel) -> None:
    reading = bench.read(prefixes=PREFIXES, sweep_interval_seconds=60, lease_seconds=60)
    reading.drain(0.1)
    for prefix in PREFIXES:
        publish(channel, prefix, 1)
    reads = bench.redis.info("stats")["total_reads_processed"]

    reading.drain(0)

    assert bench.redis.info("stats")["total_reads_processed"] - reads == 2  # one is this command
    assert shards(reading.got) == dict.fromkeys(PREFIXES, 1)


def test_a_message_of_a_dead_consumer_is_redelivered_alone_in_its_shard(bench: Any, channel: Channel) -> None:
    for prefix in PREFIXES:
        publish(channel, prefix, 1, 2)
    dead = bench.read(prefixes=PREFIXES, prefetch=4)
    held = dead.wait_for(4)
    dead.connection.transport.lease_renewer.stop()
    reading = bench.read(prefixes=PREFIXES)
    batches: list[list[Any]] = []

    def drain() -> bool:
        batches.append(reading.drain(0.1))
        return len(reading.got) >= 8

    reading.drain_until(drain)

    again = [message for message in reading.got if message.properties["deliveries"] == 2]
    assert shards(again) == shards(held)
    assert all(len(batch) == 1 for batch in batches if any(message in again for message in batch))
    assert sorted(reading.bodies) == [1] * 4 + [2] * 4


def test_rejected_messages_stay_in_their_shard(bench: Any, channel: Channel) -> None:
    on_dead = {"exchange": "work", "key": "tasks", "body": "9"}
    for prefix in PREFIXES:
        publish(channel, prefix, 0, 1, 2, headers={"x-on-dead": on_dead})
    reading = bench.read(prefixes=PREFIXES)
    for message in list(reading.wait_for(12)):
        if message.payload == 0:
            message.reject()
        elif message.payload == 1:
            message.requeue()
        else:
            message.ack()

    got = reading.wait_for(20)[12:]

    assert Counter((prefix_of(message.delivery_tag), message.payload) for message in got) == {
        (prefix, body): 1 for prefix in PREFIXES for body in (1, 9)
    }
    dead = [bench.redis.xrange(f"{prefix}q:tasks:dead") for prefix in PREFIXES]
    assert [[fields["reason"] for _, fields in letters] for letters in dead] == [["rejected"]] * 4


def test_leases_are_renewed_and_revoked_in_every_shard(bench: Any, channel: Channel) -> None:
    for prefix in PREFIXES:
        publish(channel, prefix, 1, 2, headers={"x-group": f"job-{prefix}"})
    reading = bench.read(prefixes=PREFIXES, sweep_interval_seconds=0.1)
    got = reading.wait_for(8)
    consume_for(reading, 2 * LEASE_SECONDS)
    assert len(reading.got) == 8
    assert reading.channel.cancelled == frozenset()

    tags = [message.delivery_tag for message in got if message.payload == 1]
    channel.revoke([tags[0], f"job-{prefix_of(tags[1])}"])

    revoked = {tags[0], *(each.delivery_tag for each in got if prefix_of(each.delivery_tag) == prefix_of(tags[1]))}
    reading.drain_until(lambda: reading.channel.cancelled == revoked)


def test_a_settlement_acknowledges_and_publishes_in_one_shard(bench: Any, channel: Channel) -> None:
    for prefix in PREFIXES:
        publish(channel, prefix, 1)
    reading = bench.read(prefixes=PREFIXES)
    tags = [message.delivery_tag for message in reading.wait_for(4)]
    reply = Outgoing("work", "tasks", "2")

    assert reading.channel.settle_many([([reply], [tag]) for tag in tags] + [([reply], ())]) == [True] * 5

    assert shards(reading.wait_for(9)[4:]) == dict.fromkeys(PREFIXES, 1) | {PREFIXES[0]: 2}


def test_one_settlement_is_of_one_shard(channel: Channel) -> None:
    tags = [f"{prefix}q:tasks:0/1-0" for prefix in PREFIXES]
    elsewhere = Outgoing("work", "tasks", "3", shard=PREFIXES[1])

    for messages, acks in [([], tags), ([elsewhere], tags[:1]), ([elsewhere, Outgoing("work", "tasks", "4")], [])]:
        with pytest.raises(ValueError, match="several shards"):
            channel.settle(messages, acks)


def test_closing_requeues_in_every_shard(bench: Any, channel: Channel) -> None:
    for prefix in PREFIXES:
        publish(channel, prefix, 1)
    reading = bench.read(prefixes=PREFIXES)
    reading.wait_for(4)
    reading.channel.close()

    again = bench.read(prefixes=PREFIXES).wait_for(4)

    assert shards(again) == dict.fromkeys(PREFIXES, 1)
    assert {message.properties["deliveries"] for message in again} == {1}


def test_delayed_messages_come_from_every_shard(bench: Any, channel: Channel) -> None:
    for prefix in PREFIXES:
        publish(channel, prefix, 1, delay_seconds=0.3)

    assert shards(bench.read(prefixes=PREFIXES).wait_for(4)) == dict.fromkeys(PREFIXES, 1)


def test_a_fanout_is_read_in_every_shard(bench: Any, channel: Channel) -> None:
    Queue("listener", Exchange("news", "fanout"))(channel).declare()
    reading = bench.read("listener", prefixes=PREFIXES)
    reading.drain(0.1)

    for place, prefix in enumerate(PREFIXES):
        channel.settle([Outgoing("news", "", f"{place}", shard=prefix)], ())

    reading.wait_for(4)
    assert sorted(reading.bodies) == [0, 1, 2, 3]


def test_a_queue_expires_in_every_shard_when_it_is_not_used(bench: Any, channel: Channel) -> None:
    channel.queue_declare("listener", arguments={"x-expires": 200})
    reading = bench.read("listener", prefixes=PREFIXES)
    consume_for(reading, 2 * LEASE_SECONDS)
    assert all(bench.redis.hexists(f"{prefix}queues", "listener") for prefix in PREFIXES)
    reading.connection.close()

    others = bench.read(prefixes=PREFIXES)

    others.drain_until(lambda: not any(bench.redis.hexists(f"{prefix}queues", "listener") for prefix in PREFIXES))


def test_the_broker_counts_purges_and_deletes_in_all_shards(bench: Any, channel: Channel) -> None:
    for prefix in PREFIXES:
        publish(channel, prefix, 1, 2)

    assert channel.queue_declare("tasks", passive=True).message_count == 8
    assert channel.topology.sizes(["tasks"]) == {"tasks": 8}
    assert not channel.topology.delete_queue("tasks", if_empty=True)
    assert channel.queue_purge("tasks") == 8
    assert channel.topology.delete_queue("tasks", if_empty=True)
    assert channel.topology.all_bindings() == channel.topology.queues() == []
    assert not any(bench.redis.hkeys(f"{prefix}queues") for prefix in PREFIXES)


def test_a_lost_shard_is_declared_again(bench: Any) -> None:
    queue = Queue("tasks", Exchange("work", "direct"), "tasks")
    reading = bench.read(prefixes=PREFIXES)
    queue(reading.channel).declare()
    reading.drain(0)
    keys = bench.redis.keys(f"{PREFIXES[1]}*")
    assert keys
    bench.redis.delete(*keys)

    reading.drain_until(lambda: bench.redis.hexists(f"{PREFIXES[1]}queues", "tasks"))

    publish(reading.channel, PREFIXES[1], 1)
    assert shards(reading.wait_for(1)) == {PREFIXES[1]: 1}


def test_a_channel_consumes_only_from_its_shards(bench: Any, channel: Channel) -> None:
    for prefix in PREFIXES:
        publish(channel, prefix, 1)
    consuming = bench.channel(prefixes=PREFIXES)
    consuming.restrict_to(PREFIXES[1:3])
    got: list[Any] = []
    consuming.basic_consume("tasks", False, got.append, "tag")
    for _ in range(5):
        with suppress(Empty):
            consuming.drain_events()

    assert shards(got) == dict.fromkeys(PREFIXES[1:3], 1)


@pytest.mark.skipif(IS_CLUSTER, reason="its servers form a cluster of their own")
def test_leases_are_renewed_while_the_primary_of_other_shards_is_down(make_server: Callable[..., Any]) -> None:
    cluster = Cluster(make_server, primaries=3)
    for node in cluster.nodes:
        with redis.Redis.from_url(node.url) as client:
            client.config_set("cluster-require-full-coverage", "no")
    with broker.connect(cluster.url, prefixes=PREFIXES, lease_seconds=3) as connection:
        broker.declare_tasks(connection, ["encode"])
        with closing(broker.Consumer(connection, ["encode"], prefetch=10)) as consumer:
            task = broker.Outgoing("avt.tasks", "encode", "{}")
            assert all(consumer.settle_many([([replace(task, shard=prefix)], ()) for prefix in PREFIXES]))
            wait_until(lambda: [consumer.take(1), consumer.channel.held == len(PREFIXES)][1], 30, "all are taken")
            owners = {prefix: cluster.owner_of(prefix) for prefix in PREFIXES}
            consumer.ack([tag for tag in consumer.channel.qos.messages if prefix_of(tag) == PREFIXES[0]])
            owners[PREFIXES[0]].kill()

            for prefix, owner in owners.items():
                if owner.is_running:
                    with redis.Redis.from_url(owner.url) as client:
                        for _ in range(3):
                            wait_for_renewal(client, f"{prefix}q:encode:0")


def wait_for_renewal(client: Any, stream: str) -> None:
    idle = [0]

    def is_renewed() -> bool:
        [entry] = client.xpending_range(stream, "avt", "-", "+", 1)
        idle.append(entry["time_since_delivered"])
        return idle[-1] < idle[-2]

    wait_until(is_renewed, 30, f"the lease in {stream} is renewed")
