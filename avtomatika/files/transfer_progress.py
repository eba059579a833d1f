"""Between the transfers of a task and whoever waits for it: how far they are, and whether anybody still wants them."""

from __future__ import annotations

import threading
from asyncio import CancelledError
from collections.abc import Callable
from time import monotonic

#: How often somebody is told; what is over sooner is not told of.
_REPORT_EVERY_SECONDS = 0.5
#: How often a transfer that waits for the network looks whether it is still wanted.
LOOK_EVERY_SECONDS = 0.2
_UNITS = ("bytes", "kB", "MB", "GB", "TB")


class Cancellation:
    """*is_cancelled* tells whether the task is to end early; *tell* takes a share from 0 to 1, and words."""

    def __init__(
        self,
        is_cancelled: Callable[[], bool] = lambda: False,
        report_progress: Callable[[float, str], None] = lambda share, words: None,
    ) -> None:
        self.is_cancelled = is_cancelled
        self.report_progress = report_progress

    def check(self) -> None:
        """Raise CancelledError where nobody wants the task any more."""
        if self.is_cancelled():
            raise CancelledError

    def progress_meter(self, verb: str, total_bytes: int) -> ProgressMeter:
        """For transfers of so many bytes together, which *verb* says the direction of."""
        return ProgressMeter(self, verb, total_bytes)


class ProgressMeter:
    """Counts what has come or gone. Any thread may."""

    def __init__(self, cancellation: Cancellation, verb: str, total_bytes: int) -> None:
        self.cancellation = cancellation
        self._verb = verb
        self._total = total_bytes
        self._lock = threading.Lock()
        self._done = 0
        self._reported_at = monotonic()

    def add(self, number: int) -> None:
        """So many bytes more; fewer where something is to be done again."""
        with self._lock:
            self._done += number
            now = monotonic()
            if now - self._reported_at < _REPORT_EVERY_SECONDS:
                return
            self._reported_at, done = now, min(self._done, self._total)
        share = done / self._total if self._total else 1.0
        self.cancellation.report_progress(share, f"{self._verb} files: {_amount(done)} of {_amount(self._total)}")


def _amount(number: int) -> str:
    """*number* of bytes in words.

    >>> _amount(999), _amount(1_500_000)
    ('999 bytes', '1.5 MB')
    """
    value, unit = float(number), 0
    while value >= 1000 and unit < len(_UNITS) - 1:
        value, unit = value / 1000, unit + 1
    return f"{number} bytes" if unit == 0 else f"{value:.1f} {_UNITS[unit]}"
