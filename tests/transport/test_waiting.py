"""Waiting: the next take is on the server before there is anything to take, and brings it all the same."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from threading import Thread
from time import monotonic, sleep
from typing import Any

import pytest

_DEADLINE_SECONDS = 20


def _waiting(bench: Any) -> list[dict[str, str]]:
    """Clients that the server will answer when something comes."""
    return [client for client in bench.redis.client_list() if "b" in client["flags"]]


@contextmanager
def _blocked(bench: Any, reading: Any) -> Iterator[dict[str, str]]:
    """*reading* waits, in a thread, until something comes, or its connection ends."""

    def drain() -> None:
        with suppress(*reading.connection.connection_errors):
            reading.drain(_DEADLINE_SECONDS)

    thread = Thread(target=drain)
    thread.start()
    deadline = monotonic() + _DEADLINE_SECONDS
    while not (found := _waiting(bench)):
        assert monotonic() < deadline, "nobody waits"
        sleep(0.002)
    yield found[0]
    thread.join(_DEADLINE_SECONDS)
    assert not thread.is_alive()


@pytest.fixture
def reading(bench: Any) -> Any:
    bench.queue()
    return bench.read(prefetch=2, sweep_interval_seconds=60)


def test_what_comes_goes_to_one_of_those_who_wait(bench: Any, reading: Any) -> None:
    other = bench.read(prefetch=2, sweep_interval_seconds=60)

    with _blocked(bench, reading):
        other.drain(0)
        bench.publish("a", "b", "c")

    reading.drain(0)
    other.drain(0.1)
    assert sorted(reading.bodies + other.bodies) == ["a", "b", "c"]
    assert len(reading.got) <= 2


def test_a_server_that_has_forgotten_the_script_gives_it_all_the_same(bench: Any, reading: Any) -> None:
    with _blocked(bench, reading):
        bench.redis.script_flush()
        bench.publish("a")

    assert reading.bodies == ["a"]


def test_what_comes_when_the_time_is_up_is_not_lost(bench: Any, reading: Any) -> None:
    reading.consumer.qos(prefetch_count=1000)
    publisher = Thread(target=lambda: [bench.publish(number) for number in range(100)])
    publisher.start()
    while publisher.is_alive():
        reading.drain(0.001)
    reading.wait_for(100)

    assert reading.bodies == list(range(100))
    assert {message.properties["deliveries"] for message in reading.got} == {1}


def test_who_is_cut_off_while_he_waits_takes_nothing_with_him(bench: Any, reading: Any) -> None:
    with _blocked(bench, reading) as client:
        bench.redis.client_kill_filter(_id=client["id"])
    bench.publish("a")

    reading.wait_for(1)

    assert [message.properties["deliveries"] for message in reading.got] == [1]
