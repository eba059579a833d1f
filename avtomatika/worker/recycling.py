"""Recycling: replace a process after a number of tasks or above a memory limit, against leaks in skills.

The worker restarts for skills in threads and in the event loop; child processes are replaced one at a time instead.
"""

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

logger = logging.getLogger(__name__)

#: Interval between memory checks.
_CHECK_SECONDS = 1.0
_PAGE_BYTES = 4096


@dataclass(frozen=True, slots=True)
class RecycleLimits:
    """A process is replaced after *tasks* tasks or above *memory_bytes* of memory; None disables a limit."""

    tasks: int | None = None
    memory_bytes: int | None = None

    def reached(self, tasks: int, memory_bytes: int) -> str | None:
        """Return which limit is reached."""
        if self.tasks is not None and tasks >= self.tasks:
            return f"{tasks} tasks finished"
        if self.memory_bytes is not None and memory_bytes > self.memory_bytes:
            return f"{memory_bytes // 1024**2} MiB of memory in use"
        return None


class WorkerRecycler:
    """Calls *recycle* once, when one of *limits* is reached."""

    def __init__(self, recycle: Callable[[], None], limits: RecycleLimits) -> None:
        self._recycle = recycle
        self._limits = limits
        self._done = 0
        self._checked_at = 0.0
        self._lock = threading.Lock()
        #: True once a limit is reached.
        self.is_due = False

    def task_done(self) -> None:
        """Count a finished task. Any thread may call it."""
        with self._lock:
            self._done += 1
            reason = None if self.is_due else self._reached_limit()
            self.is_due = self.is_due or reason is not None
        if reason is not None:
            logger.info("%s: restarting after running tasks finish", reason)
            self._recycle()

    def _reached_limit(self) -> str | None:
        used_bytes, now = 0, monotonic()
        if self._limits.memory_bytes is not None and now - self._checked_at >= _CHECK_SECONDS:
            self._checked_at, used_bytes = now, memory_bytes()
        return self._limits.reached(self._done, used_bytes)


def memory_bytes() -> int:
    """Return the resident memory of this process, or 0 if the system does not report it."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE_BYTES
    except OSError:
        return 0
