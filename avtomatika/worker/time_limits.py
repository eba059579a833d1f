"""The watch: the thread that looks at the clock for tasks that may take only so long, or that do not stop."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

logger = logging.getLogger(__name__)

#: How often it looks.
EVERY_SECONDS = 0.2


class TimeLimitWatcher:
    """Calls *look* now and then, once something is to be watched."""

    def __init__(self, look: Callable[[], None]) -> None:
        self._look = look
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()

    def begin(self) -> None:
        """Have it done from now on. Cheap where it is done already."""
        if self._thread is None:
            with self._lock:
                if self._thread is None:
                    self._thread = threading.Thread(target=self._serve, name="watch", daemon=True)
                    self._thread.start()

    def end(self) -> None:
        self._ended.set()

    def _serve(self) -> None:
        while not self._ended.wait(EVERY_SECONDS):
            try:
                self._look()
            except Exception:  # time limits of all tasks depend on this loop
                logger.exception("checking the time limits of tasks failed; going on")
