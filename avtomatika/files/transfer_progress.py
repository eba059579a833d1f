"""Progress of a task's transfers, and whether the task is cancelled."""

import threading
from asyncio import CancelledError
from collections.abc import Callable
from time import monotonic

#: Interval of progress reports; shorter transfers report none.
_REPORT_EVERY_SECONDS = 0.5
#: Interval at which a transfer that waits for the network checks for cancellation.
POLL_SECONDS = 0.2
_UNITS = ("bytes", "kB", "MB", "GB", "TB")


class Cancellation:
    """*is_cancelled* says whether to stop early; *report_progress* takes a fraction from 0 to 1 and a message."""

    def __init__(
        self,
        is_cancelled: Callable[[], bool] = lambda: False,
        report_progress: Callable[[float, str], None] = lambda fraction, message: None,
    ) -> None:
        self.is_cancelled = is_cancelled
        self.report_progress = report_progress
        #: The direction and the size of each transferred file.
        self.transferred: list[tuple[str, int]] = []

    def check(self) -> None:
        """Raise CancelledError if the task is cancelled."""
        if self.is_cancelled():
            raise CancelledError


class ProgressMeter:
    """Counts transferred bytes of *total_bytes*; *verb* names their direction in messages. Thread-safe."""

    def __init__(self, cancellation: Cancellation, verb: str, total_bytes: int) -> None:
        self.cancellation = cancellation
        self._verb = verb
        self._total = total_bytes
        self._lock = threading.Lock()
        self._done = 0
        self._reported_at = monotonic()

    def add(self, number: int) -> None:
        """Add *number* bytes; negative if a part is transferred again."""
        with self._lock:
            self._done += number
            now = monotonic()
            if now - self._reported_at < _REPORT_EVERY_SECONDS:
                return
            self._reported_at, done = now, min(self._done, self._total)
        fraction = done / self._total if self._total else 1.0
        self.cancellation.report_progress(
            fraction, f"{self._verb} files: {size_text(done)} of {size_text(self._total)}"
        )


def size_text(number: int) -> str:
    """Format a *number* of bytes.

    >>> size_text(999), size_text(1_500_000)
    ('999 bytes', '1.5 MB')
    """
    value, unit = float(number), 0
    while value >= 1000 and unit < len(_UNITS) - 1:
        value, unit = value / 1000, unit + 1
    return f"{number} bytes" if unit == 0 else f"{value:.1f} {_UNITS[unit]}"
