"""Leases: messages of a dead consumer are redelivered, messages of a live one are not, however long it works."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from threading import Event
from time import monotonic
from typing import Any

import pytest
from kombu import Connection, Consumer, Queue

LEASE_SECONDS = 1.0


def _hold(url: str, prefetch: int, pipe: Any) -> None:
    """In a separate process: take, report the messages, acknowledge none."""
    connection = Connection(
        url, transport="avtomatika.transport:Transport", transport_options={"lease_seconds": LEASE_SECONDS}
    )
    channel = connection.channel()
    got: list[Any] = []
    consumer = Consumer(
        channel, [Queue("tasks", no_declare=True)], on_message=lambda message: got.append(message.payload)
    )
    consumer.qos(prefetch_count=prefetch)
    consumer.consume()
    connection.drain_events(timeout=5)
    pipe.send(got)
    signal.pause()


@contextmanager
def holding(url: str, prefetch: int) -> Iterator[tuple[int, list[Any]]]:
    """Return the pid of a process that holds messages, and the bodies of these."""
    ours, theirs = multiprocessing.get_context("spawn").Pipe()
    process = multiprocessing.get_context("spawn").Process(target=_hold, args=(url, prefetch, theirs))
    process.start()
    with ExitStack() as stack:
        stack.callback(process.close)
        stack.callback(process.join)
        stack.callback(process.kill)
        stack.callback(ours.close)
        theirs.close()
        assert ours.poll(20), "the process took nothing"
        yield process.pid or 0, ours.recv()


def test_messages_of_a_killed_consumer_are_redelivered(bench: Any) -> None:
    bench.queue()
    bench.publish(*range(10))
    bench.beat()
    reading = bench.read(prefetch=20)
    with holding(bench.url, prefetch=6) as (pid, held):
        os.kill(pid, signal.SIGKILL)
        began = monotonic()
        reading.wait_for(10, seconds=8)

    assert held == list(range(6))
    assert reading.bodies[:4] == [6, 7, 8, 9]
    assert sorted(reading.bodies) == list(range(10))
    assert [message.properties["deliveries"] for message in reading.got] == [1] * 4 + [2] * 6
    assert monotonic() - began < LEASE_SECONDS + 3


def test_reclaimed_messages_can_be_acknowledged(bench: Any) -> None:
    bench.queue()
    bench.publish(*range(10))
    bench.read(lease_seconds=60).wait_for(10)
    bench.beat()
    reading = bench.read()

    for count in range(1, 11):
        reading.wait_for(count)[-1].ack()

    reading.drain_until(lambda: bench.left() == 0)
    assert sorted(reading.bodies) == list(range(10))


def test_a_busy_consumer_reclaims_expired_leases(bench: Any) -> None:
    bench.queue()
    bench.publish("orphan")
    bench.beat()
    with holding(bench.url, prefetch=1) as (pid, _):
        os.kill(pid, signal.SIGKILL)
    reading = bench.read(prefetch=1)
    deadline = monotonic() + 8

    while "orphan" not in reading.bodies:
        assert monotonic() < deadline
        bench.publish("busy")
        for message in reading.drain(0.1):
            message.ack()


def test_a_task_longer_than_several_leases_is_delivered_once(bench: Any) -> None:
    bench.queue()
    bench.publish(1)
    bench.beat()
    worker = bench.read(prefetch=1)
    worker.wait_for(1)
    other = bench.read(prefetch=10)
    until = monotonic() + 3.5 * LEASE_SECONDS

    while monotonic() < until:
        other.drain(0.1)

    assert other.got == []
    worker.got[0].ack()
    worker.drain_until(lambda: bench.left() == 0)


def test_a_suspended_consumer_loses_its_lease_and_its_late_ack_is_ignored(bench: Any) -> None:
    bench.queue()
    bench.publish(1)
    bench.beat()
    slow = bench.read(lease_seconds=60)  # renews far too rarely for the others
    [late] = slow.wait_for(1)
    quick = bench.read()
    [message] = quick.wait_for(1, seconds=5)

    late.ack()
    slow.drain(0.05)

    assert message.properties["deliveries"] == 2
    assert bench.left() == 1
    message.ack()
    quick.drain_until(lambda: bench.left() == 0)


def test_after_a_gap_no_lease_is_reclaimed_for_a_lease(bench: Any) -> None:
    bench.queue()
    bench.publish(1)
    bench.read(lease_seconds=60).wait_for(1)
    bench.redis.hset("{avt.g0}:beat", mapping={"at": 1, "run": bench.redis.info("server")["run_id"], "resume": 0})
    reading = bench.read()
    began = monotonic()

    reading.wait_for(1)

    assert monotonic() - began >= LEASE_SECONDS * 0.9


def test_after_a_gap_leases_are_reclaimed_before_the_next_interval(bench: Any) -> None:
    bench.queue()
    bench.publish(1)
    bench.read(lease_seconds=60).wait_for(1)
    bench.redis.hset("{avt.g0}:beat", mapping={"at": 1, "run": bench.redis.info("server")["run_id"], "resume": 0})

    reading = bench.read(sweep_interval_seconds=60)

    assert [message.payload for message in reading.wait_for(1)] == [1]


def test_downtime_of_half_a_lease_counts_as_a_gap(bench: Any) -> None:
    bench.queue()
    bench.publish(1)
    bench.read(lease_seconds=60).wait_for(1)
    bench.redis.hset("{avt.g0}:beat", mapping={"run": bench.redis.info("server")["run_id"], "resume": 0})
    bench.redis.hset("{avt.g0}:beat", "at", bench.redis.time()[0] * 1000 - round(700 * LEASE_SECONDS))
    reading = bench.read()
    began = monotonic()

    reading.wait_for(1)

    assert monotonic() - began >= LEASE_SECONDS * 0.9


def test_a_consumer_with_long_tasks_reclaims_expired_leases(bench: Any) -> None:
    bench.queue()
    bench.publish(1)
    bench.read(lease_seconds=60).wait_for(1)
    bench.beat()
    busy = bench.read()
    until = monotonic() + 5
    working = Event()

    while not busy.got and monotonic() < until:
        busy.drain(0)
        working.wait(0.8 * LEASE_SECONDS)

    assert busy.bodies == [1]


def test_another_run_of_the_server_counts_as_a_gap(bench: Any) -> None:
    bench.queue()
    bench.publish(1)
    bench.read(lease_seconds=60).wait_for(1)
    bench.redis.hset("{avt.g0}:beat", mapping={"at": bench.redis.time()[0] * 1000, "run": "another", "resume": 0})
    reading = bench.read()
    began = monotonic()

    reading.wait_for(1)

    assert monotonic() - began >= LEASE_SECONDS * 0.9


def test_a_redelivered_message_comes_alone(bench: Any) -> None:
    bench.queue()
    bench.publish(*range(6))
    first = bench.read(prefetch=3)
    for message in first.wait_for(3):
        message.requeue()
    reading = bench.read(prefetch=100)

    batches = []
    while sum(map(len, batches)) < 6:
        batches.append([message.payload for message in reading.drain(1)])

    assert batches == [[3, 4, 5], [0], [1], [2]]


def test_messages_behind_a_redelivered_one_are_kept(bench: Any) -> None:
    bench.queue()
    bench.publish("again")
    bench.read(prefetch=1).wait_for(1)[0].requeue()
    bench.publish(1, 2)
    reading = bench.read(prefetch=100)

    batches = [[message.payload for message in reading.drain(1)] for _ in range(2)]

    assert batches == [["again"], [1, 2]]
    assert bench.redis.xpending("{avt.g0}:q:tasks:0", "avt")["pending"] == 3


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_child_holds_no_messages_and_the_parent_continues(bench: Any) -> None:
    bench.queue()
    bench.publish(1)
    reading = bench.read()
    [message] = reading.wait_for(1)
    name = reading.channel.router.consumer_name
    pid = os.fork()
    if pid == 0:
        try:
            is_new = reading.channel.router.consumer_name != name and not reading.channel.qos.messages
            message.ack()
            os._exit(0 if is_new and reading.drain(0.1) == [] and bench.left() == 1 else 1)
        finally:
            os._exit(2)

    _, status = os.waitpid(pid, 0)

    assert os.waitstatus_to_exitcode(status) == 0
    message.ack()
    reading.drain_until(lambda: bench.left() == 0)


def test_a_closed_consumer_without_messages_is_removed(bench: Any) -> None:
    bench.queue()
    bench.publish(1, 2)
    one, two = (bench.read(prefetch=1, requeue_on_close=False) for _ in range(2))
    one.wait_for(1)[0].ack()
    two.wait_for(1)

    one.channel.close()
    two.channel.close()

    [left] = bench.redis.xinfo_consumers("{avt.g0}:q:tasks:0", "avt")
    assert left["name"] == two.channel.router.consumer_name
    assert left["pending"] == 1


@pytest.mark.faults
def test_a_blocked_consumer_keeps_its_message_until_its_process_ends(bench: Any) -> None:
    bench.queue()
    bench.publish(1)
    bench.beat()
    with holding(bench.url, prefetch=1) as (pid, _):
        os.kill(pid, signal.SIGSTOP)
        reading = bench.read(visibility_timeout=60)
        until = monotonic() + 3.5 * LEASE_SECONDS
        while monotonic() < until:
            reading.drain(0.1)
        assert reading.got == []

        bench.publish("of another")  # others lose their leases as usual
        bench.read(lease_seconds=60).wait_for(1)
        os.kill(pid, signal.SIGKILL)
        reading.wait_for(1)

    assert reading.bodies == [1]


def test_a_blocked_consumer_loses_its_lease_after_the_visibility_timeout(bench: Any) -> None:
    bench.queue()
    bench.publish(1)
    bench.beat()
    with holding(bench.url, prefetch=1) as (pid, _):
        os.kill(pid, signal.SIGSTOP)

        bench.read(visibility_timeout=2 * LEASE_SECONDS).wait_for(1)


@pytest.mark.faults
def test_expired_leases_of_others_are_reclaimed_despite_a_blocked_consumer(bench: Any) -> None:
    bench.queue()
    bench.publish(*range(4))
    bench.beat()
    with holding(bench.url, prefetch=1) as (blocked, _), holding(bench.url, prefetch=3) as (killed, _):
        os.kill(blocked, signal.SIGSTOP)
        os.kill(killed, signal.SIGKILL)
        reading = bench.read(visibility_timeout=60)
        reading.wait_for(3)
        reading.drain(2 * LEASE_SECONDS)

        assert sorted(reading.bodies) == [1, 2, 3]


def test_liveness_channels_follow_the_consumers(bench: Any) -> None:
    bench.queue()
    reading = bench.read()
    reading.drain(0.05)
    [channel] = bench.redis.pubsub_channels("{avt.g0}:consumer:*")
    assert channel == f"{{avt.g0}}:consumer:{reading.channel.router.consumer_name}"

    second = reading.connection.channel()
    second.basic_get("tasks")
    assert len(bench.redis.pubsub_channels("{avt.g0}:consumer:*")) == 2
    second.close()
    assert bench.redis.pubsub_channels("{avt.g0}:consumer:*") == [channel]

    bench.redis.client_kill_filter(_type="normal", skipme=True)
    bench.redis.client_kill_filter(_type="pubsub")
    reading.connection.release()
    other = bench.read()
    other.drain_until(lambda: len(bench.redis.pubsub_channels("{avt.g0}:consumer:*")) == 1)


def test_liveness_channels_are_restored_after_a_reconnect(bench: Any) -> None:
    bench.queue()
    bench.publish(1)
    reading = bench.read()
    reading.wait_for(1)
    bench.redis.client_kill_filter(_type="pubsub")
    assert bench.redis.pubsub_channels("{avt.g0}:consumer:*") == []

    reading.drain_until(lambda: bench.redis.pubsub_channels("{avt.g0}:consumer:*"))


def test_messages_of_a_lost_connection_are_requeued_after_a_lease_without_counting_a_delivery(bench: Any) -> None:
    bench.queue()
    bench.publish("ended", "not begun")
    lost = bench.read()
    lost.wait_for(2)
    lost.connection.collect()
    reading = bench.read()
    began = monotonic()
    lost.got[0].ack()

    reading.wait_for(1)

    assert [(message.payload, message.properties["deliveries"]) for message in reading.got] == [("not begun", 1)]
    assert monotonic() - began > 0.8 * LEASE_SECONDS
    assert bench.left() == 1


def test_nothing_of_a_lost_connection_is_kept(bench: Any) -> None:
    earlier = set(threading.enumerate())
    bench.queue()
    bench.publish(1)
    lost = bench.read()
    lost.wait_for(1)
    [lease_renewer] = [
        each for each in threading.enumerate() if each.name == "avtomatika-lease_renewer" and each not in earlier
    ]
    lost.connection.collect()

    lease_renewer.join(timeout=10)

    assert not lease_renewer.is_alive()
    assert bench.redis.xlen("{avt.g0}:q:tasks:0") == 1
    bench.read().drain_until(lambda: len(bench.redis.pubsub_channels("{avt.g0}:consumer:*")) == 1)
