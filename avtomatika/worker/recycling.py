"""Recycling: restart a worker after a number of tasks or above a memory limit, against leaks in skills.

For skills in threads and in the event loop; child processes are replaced one at a time instead.
"""

import logging
import threading
from collections.abc import Callable
from pathlib import Path
from time import monotonic

logger = logging.getLogger(__name__)

#: Interval between memory checks.
_CHECK_SECONDS = 1.0
_PAGE_BYTES = 4096


class WorkerRecycler:
    """Calls *recycle* once, after *tasks* tasks or above *memory_bytes* of memory; None disables a limit."""

    def __init__(self, recycle: Callable[[], None], *, tasks: int | None, memory_bytes: int | None) -> None:
        self._recycle = recycle
        self._tasks = tasks
        self._memory_bytes = memory_bytes
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
        if self._tasks is not None and self._done >= self._tasks:
            return f"{self._done} tasks finished"
        now = monotonic()
        if self._memory_bytes is not None and now - self._checked_at >= _CHECK_SECONDS:
            self._checked_at = now
            used_bytes = memory_bytes()
            if used_bytes > self._memory_bytes:
                return f"{used_bytes // 1024**2} MiB of memory in use"
        return None


def memory_bytes() -> int:
    """Return the resident memory of this process, or 0 if the system does not report it."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE_BYTES
    except OSError:
        return 0
