"""Progress reports of skills, limited to one a second for each task."""

import threading
from collections.abc import Callable, Iterable
from time import monotonic

from avtomatika.schemas import wire

from .task_stream import encodable

#: Interval between two reports of a task; in between only the latest is kept.
INTERVAL_SECONDS = 1.0
#: Maximum length of a message, in characters.
MAX_MESSAGE = 1_000


class ProgressReports:
    """The latest report of each task. Any thread may report; *wake* is called when there is a new one to send."""

    def __init__(self, wake: Callable[[], None], *, clock: Callable[[], float] = monotonic) -> None:
        self._wake = wake
        self._clock = clock
        self._lock = threading.Lock()
        self._pending: dict[str, wire.Progress] = {}
        self._sent_at: dict[str, float] = {}

    def report(self, progress: wire.Progress) -> None:
        with self._lock:
            is_new = progress.task_id not in self._pending
            self._pending[progress.task_id] = progress
        if is_new:
            self._wake()

    def due(self) -> list[wire.Progress]:
        """Remove and return the reports to send now. A report that gets lost is not sent again."""
        if not self._pending:
            return []
        now = self._clock()
        with self._lock:
            due = [each for each in self._pending.values() if self._due_at(each.task_id) <= now]
            for each in due:
                del self._pending[each.task_id]
                self._sent_at[each.task_id] = now
        return due

    @property
    def wait_seconds(self) -> float:
        """Seconds until a report is due; infinite without reports."""
        if not self._pending:
            return float("inf")
        with self._lock:
            soonest = min((self._due_at(task_id) for task_id in self._pending), default=float("inf"))
        return max(soonest - self._clock(), 0.0)

    def forget(self, task_ids: Iterable[str]) -> None:
        """Drop the reports of finished tasks."""
        if self._sent_at or self._pending:
            with self._lock:
                for task_id in task_ids:
                    self._pending.pop(task_id, None)
                    self._sent_at.pop(task_id, None)

    def _due_at(self, task_id: str) -> float:
        return self._sent_at.get(task_id, float("-inf")) + INTERVAL_SECONDS


def validated(progress: object, message: object) -> tuple[float, str]:
    """Return the arguments if they are valid. Raises ValueError unless *progress* is a number from 0 to 1."""
    if not isinstance(progress, int | float) or isinstance(progress, bool) or not 0 <= progress <= 1:
        raise ValueError(f"progress must be a number from 0 to 1, not {progress!r}")
    return float(progress), encodable(str(message)[:MAX_MESSAGE])
