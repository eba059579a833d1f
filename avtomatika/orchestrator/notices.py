"""Notices of workers: tasks started, progress, chunks of streams, registrations and heartbeats."""

from collections.abc import Sequence

from avtomatika.broker import Consumer, Delivery
from avtomatika.schemas import wire
from avtomatika.store import Store


class Notices:
    """Records the notices that *consumer* delivers. After UnavailableError, all of them may be recorded again."""

    def __init__(self, *, consumer: Consumer, store: Store) -> None:
        self._consumer = consumer
        self._store = store

    def record(self, notices: Sequence[tuple[Delivery, wire.Notice]]) -> None:
        """Write *notices* and acknowledge them."""
        taken: list[tuple[str, wire.TaskStarted]] = []
        started: list[wire.TaskStarted] = []
        progress: list[wire.Progress] = []
        chunks: list[wire.StreamChunks] = []
        presence: list[wire.Registered | wire.Heartbeat] = []
        tags = []
        for delivery, notice in notices:
            if isinstance(notice, wire.TaskStarted):
                taken.append((delivery.tag, notice))
                continue
            tags.append(delivery.tag)
            if isinstance(notice, wire.TasksStarted):
                started += notice.taken
            elif isinstance(notice, wire.Progress):
                progress.append(notice)
            elif isinstance(notice, wire.StreamChunks):
                chunks.append(notice)
            else:
                presence.append(notice)
        self._store.record_taken(taken)
        self._consumer.release([tag for tag, _ in taken])
        if tags:
            self._store.record_taken([(None, each) for each in started])
            self._store.record_progress(progress)
            self._store.streams.append(chunks)
            self._store.registry.record(presence)
            self._consumer.ack(tags)
