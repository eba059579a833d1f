"""Looking at queues from outside: figures, positions, the next messages, dead letters."""

from __future__ import annotations

from typing import Any

import pytest

from avtomatika.transport import Inspector, NoRouteError, Queued, QueueStats, RedisClient, Router, Unacked


@pytest.fixture
def survey(bench: Any, redis_url: str) -> Any:
    server = RedisClient.connect(redis_url)
    yield Inspector(server, Router(server))
    server.close()


def test_figures_tell_what_waits_is_held_delayed_and_dead(bench: Any, survey: Inspector) -> None:
    bench.queue()
    bench.queue("empty", key="nothing")
    bench.publish("dead")
    bench.read().wait_for(1)[0].reject()
    bench.publish("held")
    bench.read(prefetch=1).wait_for(1)
    bench.publish("low", "high", priority=7)
    bench.publish("later", headers={"x-delay": 60_000})

    empty, tasks = survey.stats()

    assert empty == QueueStats(name="empty")
    assert (tasks.name, tasks.waiting, tasks.held, tasks.delayed, tasks.dead) == ("tasks", 2, 1, 1, 1)
    assert tasks.consumers >= 1
    assert survey.stats(["tasks", "no such"]) == [tasks]


def test_the_place_of_a_message_counts_what_is_taken_before_it(bench: Any, survey: Inspector) -> None:
    bench.queue()
    for number in range(3):
        bench.publish(number, headers={"x-group": f"g{number}"})
    bench.publish("urgent", headers={"x-group": "urgent"}, priority=9)

    positions = [survey.locate("tasks", group) for group in ("urgent", "g0", "g2", "none")]

    assert positions == [Queued(0), Queued(1), Queued(3), None]
    assert survey.locate("no such", "g0") is None


def test_the_place_of_what_is_held_is_its_consumer(bench: Any, survey: Inspector) -> None:
    bench.queue()
    bench.publish("a", headers={"x-group": "a"})
    bench.publish("b", headers={"x-group": "b"})
    bench.read(prefetch=1).wait_for(1)

    held = survey.locate("tasks", "a")

    assert isinstance(held, Unacked)
    assert (held.deliveries, held.silent_ms < 60_000) == (1, True)
    assert survey.locate("tasks", "b") == Queued(0)


def test_what_is_too_far_behind_is_not_looked_for(bench: Any, survey: Inspector) -> None:
    bench.queue()
    for number in range(6):
        bench.publish(number, headers={"x-group": f"g{number}"})

    assert survey.locate("tasks", "g4", most=5) == Queued(4)
    assert survey.locate("tasks", "g5", most=5) is None


def test_peeking_shows_the_next_messages_and_takes_none(bench: Any, survey: Inspector) -> None:
    bench.queue()
    bench.publish("held")
    reading = bench.read(prefetch=1)
    reading.wait_for(1)
    bench.publish("first", "second", "third")
    bench.publish("urgent", priority=9)

    seen = survey.peek("tasks", limit=3)

    assert [(letter.priority, letter.body) for letter in seen] == [(9, b'"urgent"'), (0, b'"first"'), (0, b'"second"')]
    assert [letter.reason for letter in seen] == [None, None, None]
    assert survey.stats(["tasks"])[0].waiting == 4


def test_dead_letters_are_listed_newest_first_whatever_they_are(bench: Any, survey: Inspector) -> None:
    bench.queue()
    bench.queue("others", key="others")
    bench.redis.xadd("avt:q:tasks:0", {"p": b"no message"})
    reading = bench.read()
    reading.drain_until(bench.dead)
    bench.publish({"n": 1}, key="others", priority=3)
    bench.read("others").wait_for(1)[0].reject()

    rejected, malformed = survey.dead_letters(limit=10)

    assert (rejected.queue, rejected.reason, rejected.priority) == ("others", "rejected", 3)
    assert (rejected.deliveries, rejected.routing_key, rejected.body) == (1, "others", b'{"n": 1}')
    assert (malformed.queue, malformed.reason, malformed.body) == ("tasks", "malformed", b"")
    assert survey.dead_letters(limit=1) == [rejected]
    assert survey.dead_letters(limit=10, queue="tasks") == [malformed]
    assert survey.find_dead_letter(rejected.id) == rejected


def test_a_dead_letter_goes_back_into_its_queue_once(bench: Any, survey: Inspector) -> None:
    bench.queue()
    bench.publish({"n": 1}, priority=3, headers={"x-group": "g"})
    bench.read().wait_for(1)[0].reject()
    [letter] = survey.dead_letters(limit=1)

    done = [survey.requeue(letter), survey.requeue(letter)]

    assert done == [True, False]
    assert survey.dead_letters(limit=1) == []
    assert survey.locate("tasks", "g") == Queued(0)
    [message] = bench.read().wait_for(1)
    assert (message.payload, message.properties["deliveries"], message.properties["priority"]) == ({"n": 1}, 1, 3)


def test_a_dead_letter_whose_queue_is_gone_stays(bench: Any, survey: Inspector) -> None:
    bench.queue()
    bench.publish({"n": 1})
    bench.read().wait_for(1)[0].reject()
    [letter] = survey.dead_letters(limit=1)
    bench.channel().queue_delete("tasks")

    with pytest.raises(NoRouteError):
        survey.requeue(letter)

    assert survey.find_dead_letter(letter.id) == letter


def test_a_dead_letter_is_dropped_once(bench: Any, survey: Inspector) -> None:
    bench.queue()
    bench.publish({"n": 1})
    bench.read().wait_for(1)[0].reject()
    [letter] = survey.dead_letters(limit=1)

    assert [survey.delete(letter.id), survey.delete(letter.id)] == [True, False]


@pytest.mark.parametrize("letter_id", ["", "tasks", "tasks:", "tasks:x-0", "tasks:1", "tasks:+", "tasks:٣-٠"])
def test_what_is_no_name_of_a_letter_names_none(bench: Any, survey: Inspector, letter_id: str) -> None:
    bench.queue()

    assert survey.find_dead_letter(letter_id) is None
    assert survey.delete(letter_id) is False
