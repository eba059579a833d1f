"""How often somebody may try to log in: after some failures an address has to wait. Each process counts for itself."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable
from math import ceil
from threading import Lock
from time import monotonic

#: So many failures within so many seconds.
FAILURES, WINDOW_SECONDS = 10, 60.0
#: Of more addresses than these, those that failed longest ago are forgotten.
_ADDRESSES = 10_000


class Attempts:
    """Threads may share it."""

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._failures: OrderedDict[str, deque[float]] = OrderedDict()
        self._lock = Lock()

    def wait_seconds(self, address: str) -> int:
        """How long *address* has to wait until it may try again; 0 for not at all."""
        with self._lock:
            failures = self._failures.get(address)
            if failures is None or len(failures) < FAILURES:
                return 0
            return max(0, ceil(failures[0] + WINDOW_SECONDS - self._clock()))

    def failed(self, address: str) -> None:
        """Count one more failure."""
        with self._lock:
            self._failures.setdefault(address, deque(maxlen=FAILURES)).append(self._clock())
            self._failures.move_to_end(address)
            if len(self._failures) > _ADDRESSES:
                self._failures.popitem(last=False)
