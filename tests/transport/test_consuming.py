"""Consuming: batches, credit, priorities, acknowledgements, rejects and callbacks that raise."""

from __future__ import annotations

from threading import Thread
from time import monotonic
from typing import Any

import pytest
from kombu import Queue

from avtomatika.transport import CallbackError, Outgoing


def test_a_batch_comes_in_one_drain_and_in_order(bench: Any) -> None:
    bench.queue()
    bench.publish(*range(20))
    reading = bench.read(prefetch=50)

    reading.drain(1)

    assert reading.bodies == list(range(20))


def test_large_messages_come_half_a_mebibyte_at_a_time(bench: Any) -> None:
    bench.queue()
    bench.publish(*["x" * 150_000] * 10)
    reading = bench.read()

    sizes = [len(reading.drain(1)) for _ in range(3)]

    assert sizes == [4, 4, 2]


def test_credit_limits_unacknowledged_messages(bench: Any) -> None:
    bench.queue()
    bench.publish(*range(30))
    reading = bench.read(prefetch=7)

    reading.drain(1)
    reading.drain(0.05)
    assert len(reading.got) == 7

    for message in reading.got[:3]:
        message.ack()
    reading.drain(1)
    assert len(reading.got) == 10
    assert bench.redis.xpending("{avt.g0}:q:tasks:0", "avt")["pending"] == 7


def test_credit_counts_over_all_queues_of_a_channel(bench: Any) -> None:
    bench.queue("a")
    bench.queue("b")
    bench.publish(*range(5), key="a")
    bench.publish(*range(5), key="b")
    reading = bench.read("a", "b", prefetch=6)

    reading.drain(1)
    reading.drain(0.05)

    assert len(reading.got) == 6


def test_an_acknowledged_message_is_deleted(bench: Any) -> None:
    bench.queue()
    bench.publish(1)
    reading = bench.read()

    reading.wait_for(1)[0].ack()

    reading.drain_until(lambda: bench.left() == 0)


def test_an_acknowledgement_is_sent_without_another_take(bench: Any) -> None:
    bench.queue()
    bench.publish(1)
    bench.read().wait_for(1)[0].ack()
    began = monotonic()

    while bench.left():
        assert monotonic() < began + 2


def test_a_message_is_acknowledged_from_another_thread(bench: Any) -> None:
    bench.queue()
    bench.publish(1, 2)
    reading = bench.read(prefetch=1)
    [first] = reading.wait_for(1)
    Thread(target=first.ack).start()

    reading.wait_for(2, seconds=1)

    assert reading.bodies == [1, 2]


def test_an_acknowledgement_wakes_a_consumer_without_credit(bench: Any) -> None:
    bench.queue()
    bench.publish(1, 2)
    reading = bench.read(prefetch=1)
    [first] = reading.wait_for(1)
    began = monotonic()
    Thread(target=first.ack).start()

    reading.drain(5)

    assert len(reading.got) == 2
    assert monotonic() - began < 0.5


def test_a_waiting_consumer_gets_a_message_immediately(bench: Any) -> None:
    bench.queue()
    reading = bench.read()
    reading.drain(0.05)
    channel = bench.channel()
    channel.settle([Outgoing("work", "tasks", "0")], [])
    reading.wait_for(1)
    publisher = Thread(target=lambda: channel.settle([Outgoing("work", "tasks", "1")], []))
    began = monotonic()
    publisher.start()

    reading.drain(5)
    publisher.join()

    assert reading.bodies == [0, 1]
    assert monotonic() - began < 0.5


def test_a_message_of_a_new_priority_wakes_a_waiting_consumer(bench: Any) -> None:
    bench.queue()
    reading = bench.read()
    reading.drain(0.05)
    channel = bench.channel()
    publisher = Thread(target=lambda: channel.settle([Outgoing("work", "tasks", "1", priority=9)], []))
    began = monotonic()
    publisher.start()

    reading.drain(5)
    publisher.join()

    assert reading.bodies == [1]
    assert monotonic() - began < 0.5


def test_higher_priorities_come_first_under_prefetch(bench: Any) -> None:
    bench.queue()
    for n in range(30):
        bench.publish(n, priority=n % 3 * 4)
    reading = bench.read(prefetch=4)

    while len(reading.got) < 30:
        for message in reading.drain(1):
            message.ack()

    priorities = [message.properties["priority"] for message in reading.got]
    assert priorities == sorted(priorities, reverse=True)
    assert reading.bodies[:10] == list(range(2, 30, 3))


def test_a_long_queue_does_not_starve_the_others(bench: Any) -> None:
    bench.queue("a")
    bench.queue("b")
    bench.publish(*range(20), key="a")
    bench.publish("b", key="b")
    reading = bench.read("a", "b", prefetch=5)

    for _ in range(2):
        for message in reading.drain(1):
            message.ack()

    assert "b" in reading.bodies


def test_two_consumers_share_without_duplicates(bench: Any) -> None:
    bench.queue()
    bench.publish(*range(40))
    one, two = bench.read(prefetch=10), bench.read(prefetch=10)

    while len(one.got) + len(two.got) < 40:
        for message in one.drain(0.01) + two.drain(0.01):
            message.ack()

    assert sorted(one.bodies + two.bodies) == list(range(40))
    assert one.got
    assert two.got


def test_reject_with_requeue_moves_it_to_the_tail_and_counts(bench: Any) -> None:
    bench.queue()
    bench.publish(1, 2)
    reading = bench.read(prefetch=10)
    first, _ = reading.wait_for(2)

    first.requeue()
    reading.wait_for(3)

    assert reading.bodies == [1, 2, 1]
    assert reading.got[2].properties["deliveries"] == 2
    assert reading.got[2].delivery_info["redelivered"]


def test_reject_without_requeue_makes_a_dead_letter(bench: Any) -> None:
    bench.queue()
    bench.publish({"n": 1})
    reading = bench.read()

    reading.wait_for(1)[0].reject()

    [dead] = bench.dead()
    assert dead["reason"] == "rejected"
    assert dead["deliveries"] == "1"
    assert dead["queue"] == "tasks"
    assert bench.left() == 0


def test_returned_messages_are_redelivered_without_counting_a_delivery(bench: Any) -> None:
    bench.queue()
    bench.publish(1)
    first = bench.read()
    [message] = first.wait_for(1)

    first.channel.return_unstarted([message.delivery_tag])

    [again] = bench.read().wait_for(1, seconds=0.5)
    assert again.properties["deliveries"] == 1


def test_closing_requeues_unacknowledged_messages_without_counting_a_delivery(bench: Any) -> None:
    bench.queue()
    bench.publish(1, 2, 3)
    reading = bench.read()
    reading.wait_for(3)[0].ack()
    reading.channel.close()

    got = bench.read().wait_for(2, seconds=0.5)

    assert [(message.payload, message.properties["deliveries"]) for message in got] == [(2, 1), (3, 1)]


def test_closing_requeues_only_undelivered_messages_without_requeue_on_close(bench: Any) -> None:
    bench.queue()
    bench.publish(1, 2, 3)
    reading = bench.read(requeue_on_close=False)

    def fail(message: Any) -> None:
        raise ValueError("user")

    reading.consumer.on_message = fail
    with pytest.raises(ValueError, match="user"):
        reading.drain(1)
    reading.channel.close()

    got = bench.read().wait_for(2, seconds=0.5)
    assert [message.payload for message in got] == [2, 3]


@pytest.mark.parametrize("error", [KeyError("user"), OSError("user"), TimeoutError("user"), ConnectionError("user")])
def test_a_callback_error_is_not_a_connection_error(bench: Any, error: Exception) -> None:
    bench.queue()
    bench.publish(1, 2)
    reading = bench.read()
    errors = [error]
    good: list[Any] = []

    def work(message: Any) -> None:
        if errors:
            raise errors.pop()
        good.append(message.payload)

    reading.consumer.on_message = work
    with pytest.raises(CallbackError) as failed:
        reading.drain(1)
    assert failed.value.__cause__ is error
    assert not isinstance(failed.value, reading.connection.connection_errors + reading.connection.channel_errors)

    reading.drain(1)
    assert good == [2]


def test_no_ack_acknowledges_on_receipt(bench: Any) -> None:
    bench.queue()
    bench.publish(1, 2, 3)
    reading = bench.read(no_ack=True, prefetch=1)

    reading.wait_for(3)

    reading.drain_until(lambda: bench.left() == 0)


def test_basic_get_takes_one_or_none(bench: Any) -> None:
    queue = bench.queue()
    channel = bench.channel()
    assert queue(channel).get() is None
    bench.publish(1, 2)

    message = queue(channel).get()

    assert message.payload == 1
    message.ack()
    assert queue(channel).get(no_ack=True).payload == 2
    assert queue(channel).get() is None


def test_size_and_purge_ignore_unacknowledged_messages(bench: Any) -> None:
    queue = bench.queue()
    bench.publish(*range(10))
    reading = bench.read(prefetch=4)
    reading.drain(1)
    channel = bench.channel()

    assert channel.queue_declare("tasks", passive=True).message_count == 6
    assert queue(channel).purge() == 6
    assert bench.left() == 4
    reading.got[0].ack()
    reading.drain_until(lambda: bench.left() == 3)


def test_deleting_a_queue_deletes_its_bindings(bench: Any) -> None:
    queue = bench.queue()
    bench.publish(1)
    channel = bench.channel()

    queue(channel).delete()

    assert channel.topology.all_bindings() == []
    assert not bench.redis.exists("{avt.g0}:q:tasks:0")


def test_a_cancelled_consumer_gets_nothing_more(bench: Any) -> None:
    bench.queue()
    reading = bench.read()
    reading.consumer.cancel()
    bench.publish(1)

    reading.drain(0.05)

    assert reading.got == []


def test_channels_of_one_connection_wait_together(bench: Any) -> None:
    bench.queue("a")
    bench.queue("b")
    reading = bench.read("a")
    got: list[Any] = []
    channel = reading.connection.channel()
    other = channel.Consumer([Queue("b", no_declare=True)], on_message=got.append)
    other.consume()
    reading.drain(0.05)
    bench.publish(1, key="b")

    reading.drain(2)

    assert [message.payload for message in got] == [1]


def test_a_take_is_one_round_trip_for_any_number_of_queues(bench: Any) -> None:
    names = [f"q{n}" for n in range(20)]
    bench.channel().declare_many(queues=names)
    reading = bench.read(*names, sweep_interval_seconds=60)
    reading.drain(0)
    bench.redis.config_resetstat()

    reading.drain(0)

    stats = bench.redis.info("commandstats")
    assert stats["cmdstat_evalsha"]["calls"] == 1


def names(bench: Any, queue: str = "tasks") -> list[str]:
    return [each["name"] for each in bench.redis.xinfo_consumers(f"{{avt.g0}}:q:{queue}:0", "avt")]


def test_a_closed_channel_leaves_no_consumer_name(bench: Any) -> None:
    """Closed while consuming, after cancelling, and after single messages only."""
    for queue in ("tasks", "others"):
        bench.queue(queue)
        bench.publish(1, 2, 3, key=queue)
    reading = bench.read("tasks", "others")
    for message in reading.wait_for(6):
        message.ack()
    reading.consumer.cancel_by_queue("others")
    reading.channel.close()
    bench.publish(4)
    asking = bench.channel()
    asking.basic_get("tasks").ack()
    asking.close()

    assert names(bench) == names(bench, "others") == []


def test_names_of_dead_consumers_are_removed(bench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("avtomatika.transport.leases.maintenance._IDLE_CONSUMER_SECONDS", 0.0)
    bench.queue()
    bench.publish(1)
    reading = bench.read()
    reading.wait_for(1)
    bench.redis.xgroup_createconsumer("{avt.g0}:q:tasks:0", "avt", "died")

    deadline = monotonic() + 10
    while "died" in names(bench):
        assert monotonic() < deadline
        reading.channel.prefetch_buffer.readers[0].maintenance.clean_up()


def test_a_channel_forgets_queues_that_it_no_longer_reads(bench: Any) -> None:
    for queue in ("tasks", "others"):
        bench.queue(queue)
        bench.publish(1, key=queue)
    reading = bench.read("tasks", "others")
    for message in reading.wait_for(2):
        message.ack()
    reading.consumer.cancel_by_queue("others")
    reading.drain()

    reader = reading.channel.prefetch_buffer.readers[0]
    reader.maintenance.clean_up()

    assert names(bench, "others") == []
    assert names(bench) == [reading.channel.router.consumer_name]
    assert reader.maintenance._subscriptions.read_streams == {"{avt.g0}:q:tasks:0"}
