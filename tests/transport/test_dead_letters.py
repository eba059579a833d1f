"""Dead letters: too many deliveries, undecodable messages, and notifications."""

from __future__ import annotations

import json
import pickle
from time import monotonic
from typing import Any

import pytest
from kombu import Queue
from kombu.exceptions import ContentDisallowed

from avtomatika.transport import Inspector

ON_DEAD = {"exchange": "work", "key": "told", "body": json.dumps({"dead": True})}

MALFORMED = [
    b"",
    b"no json",
    b"\xff\xfe",
    b"\n",
    b"\xff\xfe\n{}",
    b"null\n{}",
    b"[]\n{}",
    b"1 2\n{}",
    b"{}\n{}",
    b'{"headers":{},"properties":{}}',
    b'{"headers":{}}\n{}',
    b'{"properties":{}}\n{}',
    b'{"headers":[],"properties":{}}\n{}',
    b'{"headers":null,"properties":{}}\n{}',
    b'{"headers":{},"properties":[]}\n{}',
    b'{"headers":{},"properties":{"delivery_info":7}}\n{}',
    b'{"headers":{},"properties":{"n":NaN}}\n{}',
    b'{"headers":{"a":"\\ud800"},"properties":{}}\n{}',
    b'{"a":' * 20_000 + b"\n{}",
]


@pytest.mark.parametrize("payload", MALFORMED, ids=range(len(MALFORMED)))
def test_an_undecodable_message_is_dead_lettered_unchanged(bench: Any, payload: bytes) -> None:
    bench.queue()
    bench.redis.xadd("{avt.g0}:q:tasks:0", {"p": payload})
    bench.publish("good")
    reading = bench.read()

    reading.wait_for(1)

    assert reading.bodies == ["good"]
    assert bench.dead_payloads() == [payload]
    assert bench.dead_reasons() == ["malformed"]
    assert bench.left() == 1


def test_an_entry_with_unknown_fields_is_dead_lettered_with_them(bench: Any) -> None:
    bench.queue()
    bench.redis.xadd("{avt.g0}:q:tasks:0", {"what": "this"})
    reading = bench.read()

    reading.drain_until(bench.dead)

    assert bench.dead()[0]["what"] == "this"
    assert reading.got == []


def test_a_message_delivered_too_often_is_dead_lettered_and_its_sender_notified(bench: Any) -> None:
    bench.queue()
    bench.queue("notices", key="told")
    bench.publish({"n": 1}, headers={"x-on-dead": ON_DEAD})
    reading = bench.read(max_deliveries=3)

    for count in range(1, 4):
        message = reading.wait_for(count)[-1]
        assert message.properties["deliveries"] == count
        message.requeue()
    reading.drain_until(bench.dead)

    assert bench.dead_reasons() == ["max_deliveries"]
    assert bench.dead()[0]["deliveries"] == "3"
    [notice] = bench.read("notices").wait_for(1)
    assert notice.payload == {"dead": True}
    assert notice.headers == {"x-death-reason": "max_deliveries", "x-deliveries": 3}


def test_a_message_whose_consumers_die_is_dead_lettered(bench: Any) -> None:
    bench.queue()
    bench.queue("notices", key="told")
    bench.publish({"n": 1}, headers={"x-on-dead": ON_DEAD})
    bench.read(max_deliveries=1, lease_seconds=60).wait_for(1)
    bench.beat()
    reading = bench.read(max_deliveries=1)

    reading.drain_until(bench.dead)

    assert bench.dead_reasons() == ["max_deliveries"]
    assert bench.left("notices") == 1
    assert reading.got == []


def test_a_rejected_message_notifies_its_sender(bench: Any) -> None:
    bench.queue()
    bench.queue("notices", key="told")
    bench.publish({"n": 1}, headers={"x-on-dead": ON_DEAD})

    bench.read().wait_for(1)[0].reject()

    [notice] = bench.read("notices").wait_for(1)
    assert notice.headers["x-death-reason"] == "rejected"


@pytest.mark.parametrize("wish", [{**ON_DEAD, "key": "nowhere"}, {"exchange": 1}, "nonsense"])
def test_an_unroutable_notification_does_not_prevent_dead_lettering(bench: Any, wish: object) -> None:
    bench.queue()
    bench.publish({"n": 1}, headers={"x-on-dead": wish})

    bench.read().wait_for(1)[0].reject()

    assert bench.dead_reasons() == ["rejected"]
    assert bench.left() == 0


def test_an_unaccepted_body_calls_on_decode_error(bench: Any) -> None:
    bench.queue()
    pickled = pickle.dumps({"run": "this"})
    bench.publish(pickled, content_type="application/x-python-serialize", content_encoding="binary")
    bench.publish("good")
    refused: list[Exception] = []
    bodies: list[Any] = []

    def refuse(message: Any, error: Exception) -> None:
        refused.append(error)
        message.reject()

    connection = bench.connect()
    with connection.Consumer(
        [Queue("tasks", no_declare=True)],
        callbacks=[lambda body, message: bodies.append(body)],
        accept=["json"],
        on_decode_error=refuse,
    ):
        while not bodies:
            connection.drain_events(timeout=5)

    assert bodies == ["good"]
    assert isinstance(refused[0], ContentDisallowed)
    [letter] = bench.dead_payloads()
    assert letter.endswith(b"\n" + pickled)


def reject(bench: Any, count: int, queue: str = "tasks", **options: Any) -> None:
    bench.queue(queue)
    bench.publish(*range(count), key=queue)
    for message in bench.read(queue, **options).wait_for(count):
        message.reject()


def test_a_queue_keeps_its_latest_dead_letters(bench: Any, caplog: pytest.LogCaptureFixture) -> None:
    reject(bench, 5, max_dead_letters=3)

    assert [letter["p"][-1] for letter in bench.dead()] == ["2", "3", "4"]
    assert "queue tasks has 3 dead letters: the oldest were removed" in caplog.text


def test_dead_letters_are_deleted_after_their_retention(bench: Any) -> None:
    reject(bench, 2, dead_letter_seconds=0.2)
    channel = bench.channel()
    inspector = Inspector(channel.server, channel.router)

    deadline = monotonic() + 10
    while inspector.dead_letters(limit=10):
        assert monotonic() < deadline
    reject(bench, 1, "others")

    assert bench.redis.keys("{avt.g0}:q:tasks:dead") == []
    assert bench.redis.zrange("{avt.g0}:dead", 0, -1) == ["others"]


def test_a_consumer_deletes_old_dead_letters_of_its_queue(bench: Any) -> None:
    reject(bench, 2)
    reading = bench.read(dead_letter_seconds=0.001)
    reading.drain()

    reading.channel.close()

    assert bench.dead() == []


def test_dead_letters_of_a_deleted_queue_are_listed(bench: Any) -> None:
    reject(bench, 2)
    channel = bench.channel()
    channel.topology.delete_queue("tasks")

    letters = Inspector(channel.server, channel.router).dead_letters(limit=10)

    assert [letter.queue for letter in letters] == ["tasks", "tasks"]
