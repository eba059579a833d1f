"""Consumers for the processes that are killed: they record each message before acknowledging it."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from kombu import Connection, Consumer, Queue
from kombu.mixins import ConsumerMixin

from .ledger import Diary

OURS = "avtomatika.transport:Transport"
#: kombu's own Redis transport.
STOCK = "redis"
QUEUE = "storm"
OPTIONS: Mapping[str, Any] = {
    "lease_seconds": 1,
    "visibility_timeout": 1,
    "sweep_interval_seconds": 0.2,
    "max_retries": 1,
    "interval_start": 0,
}
#: Intervals at which kombu's transport restores messages of dead consumers.
STOCK_OPTIONS: Mapping[str, Any] = {"visibility_timeout": 1, "unacked_restore_throttle": 1}


@dataclass(frozen=True)
class Post:
    """The settings of a consumer: queue, mode and record file."""

    url: str
    diary: str
    prefetch: int = 10
    work_seconds: float = 0.0
    transport: str = OURS
    options: Mapping[str, Any] = field(default_factory=lambda: OPTIONS)
    queues: tuple[str, ...] = (QUEUE,)
    order: Literal["note, ack", "ack, note"] = "note, ack"
    #: The message that kills its consumer.
    poison: int | None = None

    def connect(self) -> Connection:
        return Connection(self.url, transport=self.transport, transport_options=dict(self.options))

    def named_queues(self) -> list[Queue]:
        if self.transport == STOCK:
            return [Queue(name, routing_key=name) for name in self.queues]
        return [Queue(name, no_declare=True) for name in self.queues]


def mixin(post: Post) -> None:
    """A ConsumerMixin, as in kombu's manual: reconnects after each error."""
    _Mixin(post).run()


class _Mixin(ConsumerMixin):
    def __init__(self, post: Post) -> None:
        self.connection = post.connect()
        self._post = post
        self._work = _Work(post)

    def get_consumers(self, Consumer: Any, channel: Any) -> list[Any]:
        return [Consumer(self._post.named_queues(), on_message=self._work, prefetch_count=self._post.prefetch)]


def bare(post: Post) -> None:
    """One connection and one channel, kept after errors."""
    connection = post.connect()
    channel = None
    while True:
        try:
            if channel is None:
                channel = connection.channel()
                consumer = Consumer(channel, post.named_queues(), on_message=_Work(post))
                consumer.qos(prefetch_count=post.prefetch)
                consumer.consume()
            connection.drain_events(timeout=1)
        except TimeoutError:
            continue
        except (*connection.connection_errors, *connection.channel_errors):
            time.sleep(0.05)


def in_another_time(post: Post) -> None:
    """On a host whose clock is two hours fast."""
    real, real_ns = time.time, time.time_ns
    time.time = lambda: real() + 7200
    time.time_ns = lambda: real_ns() + 7200 * 10**9
    bare(post)


class _Work:
    """Processes one message."""

    def __init__(self, post: Post) -> None:
        self._post = post
        self._diary = Diary(post.diary)

    def __call__(self, message: Any) -> None:
        number = int(message.body)
        if number == self._post.poison:
            os.kill(os.getpid(), signal.SIGKILL)
        if self._post.order == "ack, note":
            message.ack()
        if self._post.work_seconds:
            time.sleep(self._post.work_seconds)
        self._diary.note(number)
        if self._post.order == "note, ack":
            message.ack()
