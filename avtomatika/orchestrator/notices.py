"""Notices of workers: tasks started, progress, chunks of streams, registrations and heartbeats."""

from collections.abc import Sequence

from avtomatika.broker import Consumer, Delivery
from avtomatika.schemas import wire
from avtomatika.store import Store

from .worker_control import notify_drained


class Notices:
    """Records the notices that *consumer* delivers. After UnavailableError, all of them may be recorded again."""

    def __init__(self, *, consumer: Consumer, store: Store) -> None:
        self._consumer = consumer
        self._store = store

    def record(self, notices: Sequence[tuple[Delivery, wire.Notice]]) -> None:
        """Write *notices* and acknowledge them."""
        taken = [(found.tag, notice) for found, notice in notices if isinstance(notice, wire.TaskStarted)]
        self._store.record_taken(taken)
        self._consumer.release([tag for tag, _ in taken])
        if len(taken) < len(notices):
            found = [notice for _, notice in notices]
            started = [each for notice in found if isinstance(notice, wire.TasksStarted) for each in notice.taken]
            self._store.record_taken([(None, each) for each in started])
            self._store.record_progress([notice for notice in found if isinstance(notice, wire.Progress)])
            self._store.streams.append([notice for notice in found if isinstance(notice, wire.StreamChunks)])
            self._store.registry.record([each for each in found if isinstance(each, wire.Registered | wire.Heartbeat)])
            heartbeats = [notice for notice in found if isinstance(notice, wire.Heartbeat)]
            notify_drained(self._consumer, heartbeats, self._store.registry.is_drained)
            self._consumer.ack([delivery.tag for delivery, each in notices if not isinstance(each, wire.TaskStarted)])
