"""The inspector: statistics, positions, waiting messages and dead letters."""

from __future__ import annotations

from typing import Any

import pytest

from avtomatika.transport import Inspector, NoRouteError, Queued, QueueStats, RedisClient, Router, Unacked


class CountingClient(RedisClient):
    """Counts its round trips."""

    round_trips = 0

    def pipeline(self, commands: Any, **options: Any) -> list[Any]:
        self.round_trips += bool(commands)
        return super().pipeline(commands, **options)


@pytest.fixture
def inspector(bench: Any, redis_url: str) -> Any:
    server = RedisClient.connect(redis_url)
    yield Inspector(server, Router(server))
    server.close()


def test_stats_count_waiting_unacknowledged_delayed_and_dead_messages(bench: Any, inspector: Inspector) -> None:
    bench.queue()
    bench.queue("empty", key="nothing")
    bench.publish("dead")
    bench.read().wait_for(1)[0].reject()
    bench.publish("held")
    bench.read(prefetch=1).wait_for(1)
    bench.publish("low", "high", priority=7)
    bench.publish("later", headers={"x-delay": 60_000})

    empty, tasks = inspector.stats()

    assert empty == QueueStats(name="empty")
    assert (tasks.name, tasks.waiting, tasks.held, tasks.delayed, tasks.dead) == ("tasks", 2, 1, 1, 1)
    assert tasks.consumers == 2
    assert [each.name for each in inspector.stats(["tasks", "no such"])] == ["tasks"]


def test_the_first_message_that_waits_has_the_longest_wait(bench: Any, inspector: Inspector) -> None:
    bench.queue()
    seconds, _ = bench.redis.time()
    for ago in (600, 90, 30):
        bench.redis.xadd("{avt.g0}:q:tasks:0", {"p": "x"}, id=f"{(seconds - ago) * 1000}-1")
    bench.redis.xgroup_create("{avt.g0}:q:tasks:0", "avt", "0")
    bench.redis.xreadgroup("avt", "holder", {"{avt.g0}:q:tasks:0": ">"}, count=1)

    [tasks] = inspector.stats(["tasks"])

    assert (tasks.waiting, tasks.held) == (2, 1)
    assert 90_000 <= tasks.waited_ms < 150_000


def test_stats_take_two_round_trips_for_any_number_of_queues(bench: Any, redis_url: str) -> None:
    server = CountingClient.connect(redis_url)
    inspector = Inspector(server, Router(server))
    names = [f"q{number:03}" for number in range(230)]
    bench.channel().declare_many(exchanges={}, queues=names, bindings=[])

    assert [each.name for each in inspector.stats()] == names
    assert server.round_trips == 2
    server.close()


def test_the_position_of_a_message_counts_messages_before_it(bench: Any, inspector: Inspector) -> None:
    bench.queue()
    for number in range(3):
        bench.publish(number, headers={"x-group": f"g{number}"})
    bench.publish("urgent", headers={"x-group": "urgent"}, priority=9)

    positions = [inspector.locate("tasks", group) for group in ("urgent", "g0", "g2", "none")]

    assert positions == [Queued(0), Queued(1), Queued(3), None]
    assert inspector.locate("no such", "g0") is None


def test_the_position_of_an_unacknowledged_message_is_its_consumer(bench: Any, inspector: Inspector) -> None:
    bench.queue()
    bench.publish("a", headers={"x-group": "a"})
    bench.publish("b", headers={"x-group": "b"})
    bench.read(prefetch=1).wait_for(1)

    held = inspector.locate("tasks", "a")

    assert isinstance(held, Unacked)
    assert (held.deliveries, held.silent_ms < 60_000) == (1, True)
    assert inspector.locate("tasks", "b") == Queued(0)


def test_locating_is_limited_to_the_first_messages(bench: Any, inspector: Inspector) -> None:
    bench.queue()
    for number in range(6):
        bench.publish(number, headers={"x-group": f"g{number}"})

    assert inspector.locate("tasks", "g4", most=5) == Queued(4)
    assert inspector.locate("tasks", "g5", most=5) is None


def test_peek_returns_the_next_messages_without_taking_them(bench: Any, inspector: Inspector) -> None:
    bench.queue()
    bench.publish("held")
    reading = bench.read(prefetch=1)
    reading.wait_for(1)
    bench.publish("first", "second", "third")
    bench.publish("urgent", priority=9)

    seen = inspector.peek("tasks", limit=3)

    assert [(letter.priority, letter.body) for letter in seen] == [(9, b'"urgent"'), (0, b'"first"'), (0, b'"second"')]
    assert [letter.reason for letter in seen] == [None, None, None]
    assert inspector.stats(["tasks"])[0].waiting == 4


def test_dead_letters_are_listed_newest_first(bench: Any, inspector: Inspector) -> None:
    bench.queue()
    bench.queue("others", key="others")
    bench.redis.xadd("{avt.g0}:q:tasks:0", {"p": b"no message"})
    reading = bench.read()
    reading.drain_until(bench.dead)
    bench.publish({"n": 1}, key="others", priority=3)
    bench.read("others").wait_for(1)[0].reject()

    rejected, malformed = inspector.dead_letters(limit=10)

    assert (rejected.queue, rejected.reason, rejected.priority) == ("others", "rejected", 3)
    assert (rejected.deliveries, rejected.routing_key, rejected.body) == (1, "others", b'{"n": 1}')
    assert (malformed.queue, malformed.reason, malformed.body) == ("tasks", "malformed", b"")
    assert inspector.dead_letters(limit=1) == [rejected]
    assert inspector.dead_letters(limit=10, queue="tasks") == [malformed]
    assert inspector.find_dead_letter(rejected.id) == rejected


def test_a_dead_letter_is_requeued_once(bench: Any, inspector: Inspector) -> None:
    bench.queue()
    bench.publish({"n": 1}, priority=3, headers={"x-group": "g"})
    bench.read().wait_for(1)[0].reject()
    [letter] = inspector.dead_letters(limit=1)

    done = [inspector.requeue(letter), inspector.requeue(letter)]

    assert done == [True, False]
    assert inspector.dead_letters(limit=1) == []
    assert inspector.locate("tasks", "g") == Queued(0)
    [message] = bench.read().wait_for(1)
    assert (message.payload, message.properties["deliveries"], message.properties["priority"]) == ({"n": 1}, 1, 3)


def test_a_dead_letter_of_a_deleted_queue_is_kept(bench: Any, inspector: Inspector) -> None:
    bench.queue()
    bench.publish({"n": 1})
    bench.read().wait_for(1)[0].reject()
    [letter] = inspector.dead_letters(limit=1)
    bench.channel().queue_delete("tasks")

    with pytest.raises(NoRouteError):
        inspector.requeue(letter)

    assert inspector.find_dead_letter(letter.id) == letter


def test_a_dead_letter_is_deleted_once(bench: Any, inspector: Inspector) -> None:
    bench.queue()
    bench.publish({"n": 1})
    bench.read().wait_for(1)[0].reject()
    [letter] = inspector.dead_letters(limit=1)

    assert [inspector.delete(letter.id), inspector.delete(letter.id)] == [True, False]


@pytest.mark.parametrize("letter_id", ["", "tasks", "tasks:", "tasks:x-0", "tasks:1", "tasks:+", "tasks:٣-٠"])
def test_an_invalid_id_finds_no_dead_letter(bench: Any, inspector: Inspector, letter_id: str) -> None:
    bench.queue()

    assert inspector.find_dead_letter(letter_id) is None
    assert inspector.delete(letter_id) is False
