"""Progress: what skills tell of how far they are, on its way to a link. Each task is heard at most once a second."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from time import monotonic

from avtomatika.schemas import wire

#: How often a task is heard; of what it tells in between, the last counts.
EVERY_SECONDS = 1.0
#: Longest message, in characters.
MAX_MESSAGE = 1_000


class Reports:
    """The latest word of each task. Any thread tells; who asks what is :meth:`due` is woken when that may change."""

    def __init__(self, wake: Callable[[], None], *, clock: Callable[[], float] = monotonic) -> None:
        self._wake = wake
        self._clock = clock
        self._lock = threading.Lock()
        self._waiting: dict[str, wire.Progress] = {}
        self._heard_at: dict[str, float] = {}

    def tell(self, progress: wire.Progress) -> None:
        with self._lock:
            is_new = progress.task_id not in self._waiting
            self._waiting[progress.task_id] = progress
        if is_new:
            self._wake()

    def due(self) -> list[wire.Progress]:
        """What may be sent now. It is forgotten here: one that gets lost does no harm."""
        if not self._waiting:
            return []
        now = self._clock()
        with self._lock:
            due = [each for each in self._waiting.values() if self._due_at(each.task_id) <= now]
            for each in due:
                del self._waiting[each.task_id]
                self._heard_at[each.task_id] = now
        return due

    @property
    def wait_seconds(self) -> float:
        """How long until there is something due; infinite while nobody tells anything."""
        if not self._waiting:
            return float("inf")
        with self._lock:
            soonest = min((self._due_at(task_id) for task_id in self._waiting), default=float("inf"))
        return max(soonest - self._clock(), 0.0)

    def forget(self, task_ids: Iterable[str]) -> None:
        """These tasks have ended: nothing more is to be heard of them."""
        if self._heard_at or self._waiting:
            with self._lock:
                for task_id in task_ids:
                    self._waiting.pop(task_id, None)
                    self._heard_at.pop(task_id, None)

    def _due_at(self, task_id: str) -> float:
        return self._heard_at.get(task_id, float("-inf")) + EVERY_SECONDS


def checked(progress: object, message: object) -> tuple[float, str]:
    """What a skill told, if it can be shown; raises ValueError where it is no share."""
    if not isinstance(progress, int | float) or isinstance(progress, bool) or not 0 <= progress <= 1:
        raise ValueError(f"progress is a number from 0 to 1, not {progress!r}")
    return float(progress), str(message)[:MAX_MESSAGE].encode(errors="replace").decode()
