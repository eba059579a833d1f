"""Revoked messages are dropped instead of delivered."""

from __future__ import annotations

from typing import Any


def test_messages_of_a_revoked_group_are_dropped(bench: Any) -> None:
    bench.queue()
    bench.publish(1, 2, headers={"x-group": "job-1"})
    bench.publish(3, headers={"x-group": "job-2"})
    bench.publish(4)
    bench.redis.zadd("{avt.g0}:revoked", {"job-1": bench.redis.time()[0] * 1000 + 60_000})

    reading = bench.read(prefetch=1)
    reading.wait_for(1)[0].ack()
    reading.wait_for(2)[1].ack()

    assert reading.bodies == [3, 4]
    reading.drain_until(lambda: bench.left() == 0)


def test_a_message_may_belong_to_several_groups(bench: Any) -> None:
    bench.queue()
    for attempt in (1, 2, 3):
        bench.publish(attempt, headers={"x-group": f"job-1 task-1/{attempt}"})
    held = bench.read(prefetch=1)
    held.wait_for(1)
    for name in ("task-1/1", "task-1/2"):
        bench.redis.zadd("{avt.g0}:revoked", {name: bench.redis.time()[0] * 1000 + 60_000})

    assert [message.payload for message in bench.read().wait_for(1)] == [3]


def test_one_message_is_revoked_by_its_tag(bench: Any) -> None:
    bench.queue()
    bench.publish(1, 2)
    [(entry, _), _] = bench.redis.xrange("{avt.g0}:q:tasks:0")
    bench.redis.zadd("{avt.g0}:revoked", {f"{{avt.g0}}:q:tasks:0/{entry}": bench.redis.time()[0] * 1000 + 60_000})

    assert [message.payload for message in bench.read().wait_for(1)] == [2]


def test_an_orphan_of_a_revoked_group_is_dropped(bench: Any) -> None:
    bench.queue()
    bench.publish(1, headers={"x-group": "job-1"})
    bench.read(lease_seconds=60).wait_for(1)
    bench.redis.zadd("{avt.g0}:revoked", {"job-1": bench.redis.time()[0] * 1000 + 60_000})
    bench.beat()
    reading = bench.read()

    reading.drain_until(lambda: bench.left() == 0)

    assert reading.got == []


def test_expired_revocations_are_deleted(bench: Any) -> None:
    bench.queue()
    bench.redis.zadd("{avt.g0}:revoked", {"job-1": 1})

    bench.read().drain(0.05)

    assert not bench.redis.exists("{avt.g0}:revoked")
