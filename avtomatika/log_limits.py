"""Limits how often the same thing is logged."""

from collections import OrderedDict
from collections.abc import Callable
from threading import Lock
from time import monotonic

#: The same line is logged once in this time.
INTERVAL_SECONDS = 60.0
#: Different lines logged in this time; more are dropped.
_MOST_LINES = 1000


class LogLimit:
    """Allows each key once a minute. Thread-safe."""

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._logged: OrderedDict[str, float] = OrderedDict()
        self._lock = Lock()

    def allows(self, key: str) -> bool:
        """Return True if the line *key* may be logged now, and count it as logged."""
        with self._lock:
            now = self._clock()
            while self._logged and next(iter(self._logged.values())) <= now - INTERVAL_SECONDS:
                self._logged.popitem(last=False)
            if key in self._logged or len(self._logged) >= _MOST_LINES:
                return False
            self._logged[key] = now
            return True
