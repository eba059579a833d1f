"""Reads the server's queues with plain commands, independent of the transport."""

from __future__ import annotations

import json
from base64 import b64decode
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import redis
from kombu import Connection, Exchange, Queue

from .consumers import OPTIONS, OURS, QUEUE


def connect(url: str, **options: Any) -> Connection:
    return Connection(url, transport=OURS, transport_options={**OPTIONS, **options})


def declare(url: str, *names: str) -> None:
    """Declare queues, each bound to the exchange ``storm`` by its name."""
    with connect(url) as connection, connection.channel() as channel:
        for name in names or (QUEUE,):
            Queue(name, Exchange("storm"), routing_key=name)(channel).declare()


def left(url: str, queue: str = QUEUE) -> set[int]:
    """Return the numbers of waiting, unacknowledged and dead-lettered messages."""
    return _numbers(url, f"{{avt.g0}}:q:{queue}:0") | dead(url, queue)


def dead(url: str, queue: str = QUEUE) -> set[int]:
    return _numbers(url, f"{{avt.g0}}:q:{queue}:dead")


def waiting(url: str, queue: str = QUEUE) -> int:
    """Count waiting and unacknowledged messages."""
    with client(url) as server:
        return int(server.xlen(f"{{avt.g0}}:q:{queue}:0"))


def held(url: str, queue: str = QUEUE) -> dict[str, int]:
    """Return the number of unacknowledged messages of each consumer that has any."""
    key = f"{{avt.g0}}:q:{queue}:0"
    with client(url) as server:
        if not server.exists(key) or not server.xinfo_groups(key):
            return {}
        return {each["name"]: int(each["pending"]) for each in server.xpending(key, "avt")["consumers"]}


def describe(url: str, queue: str = QUEUE) -> str:
    """Return consumers of *queue*, the heartbeat and the server's time, for failures."""
    with client(url) as server:
        key = f"{{avt.g0}}:q:{queue}:0"
        consumers = server.xinfo_consumers(key, "avt") if server.exists(key) else []
        return f"consumers {consumers}, heartbeat {server.hgetall('{avt.g0}:beat')}, time {server.time()}"


def left_in_stock(url: str, queue: str = QUEUE) -> set[int]:
    """The same for kombu's own transport."""
    with client(url) as server:
        waiting = [json.loads(text) for text in server.lrange(queue, 0, -1)]
        held = [json.loads(text)[0] for text in server.hvals("unacked")]
    return {int(_plain(message)) for message in (*waiting, *held)}


def _plain(message: dict[str, Any]) -> bytes:
    body: str = message["body"]
    return b64decode(body) if message["properties"].get("body_encoding") == "base64" else body.encode()


def _numbers(url: str, key: str) -> set[int]:
    with client(url) as server:
        return {int(fields["p"].partition("\n")[2]) for _, fields in server.xrange(key)}


@contextmanager
def client(url: str) -> Iterator[Any]:
    with redis.Redis.from_url(url, decode_responses=True) as server:
        yield server
