"""Wear: a worker whose skills leak begins anew after so many tasks, or when it holds too much memory.

For skills in threads and in the event loop; those in processes have theirs replaced one by one.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from pathlib import Path
from time import monotonic

logger = logging.getLogger(__name__)

#: How often memory is looked at.
_LOOK_SECONDS = 1.0
_PAGE_BYTES = 4096


class WorkerRecycler:
    """Calls *wear_out* once when *tasks* were done, or more than *memory_bytes* are held; None: never."""

    def __init__(self, wear_out: Callable[[], None], *, tasks: int | None, memory_bytes: int | None) -> None:
        self._wear_out = wear_out
        self._tasks = tasks
        self._memory_bytes = memory_bytes
        self._done = 0
        self._looked_at = 0.0
        self._lock = threading.Lock()
        #: Whether it is time to begin anew.
        self.is_worn = False

    def ended(self) -> None:
        """One more task was done. Any thread."""
        with self._lock:
            self._done += 1
            why = None if self.is_worn else self._why()
            self.is_worn = self.is_worn or why is not None
        if why is not None:
            logger.info("%s: letting what is begun end, and beginning anew", why)
            self._wear_out()

    def _why(self) -> str | None:
        if self._tasks is not None and self._done >= self._tasks:
            return f"{self._done} tasks are done"
        now = monotonic()
        if self._memory_bytes is not None and now - self._looked_at >= _LOOK_SECONDS:
            self._looked_at = now
            held = memory_bytes()
            if held > self._memory_bytes:
                return f"{held // 1024**2} MiB of memory are held"
        return None


def memory_bytes() -> int:
    """What this process holds of memory, 0 where the system does not tell."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE_BYTES
    except OSError:
        return 0
