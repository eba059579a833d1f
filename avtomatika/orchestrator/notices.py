"""Notices of workers: that one has begun with a task and how far it is, that it is there, that it is still there."""

from __future__ import annotations

from collections.abc import Sequence

from avtomatika.broker import Consumer, Delivery
from avtomatika.schemas import wire
from avtomatika.store import Store


class Notices:
    """Writes down what *intake* brings of them. Where it raises UnavailableError, all may be noted again."""

    def __init__(self, *, intake: Consumer, store: Store) -> None:
        self._intake = intake
        self._store = store

    def note(self, notices: Sequence[tuple[Delivery, wire.Notice]]) -> None:
        """Write them down and acknowledge them."""
        taken: list[tuple[str, wire.Taken]] = []
        begun: list[wire.Taken] = []
        progress: list[wire.Progress] = []
        heard: list[wire.Registered | wire.Beat] = []
        tags = []
        for delivery, notice in notices:
            if isinstance(notice, wire.Taken):
                taken.append((delivery.tag, notice))
                continue
            tags.append(delivery.tag)
            if isinstance(notice, wire.Begun):
                begun += notice.taken
            elif isinstance(notice, wire.Progress):
                progress.append(notice)
            else:
                heard.append(notice)
        self._store.taken(taken)
        self._intake.release([tag for tag, _ in taken])
        if tags:
            self._store.begun(begun)
            self._store.progress(progress)
            self._store.registry.hear(heard)
            self._intake.ack(tags)
