"""Time limits: a thread that regularly checks the running tasks."""

import logging
import threading
from collections.abc import Callable

logger = logging.getLogger(__name__)

#: Interval between checks.
CHECK_SECONDS = 0.2


class TimeLimitWatcher:
    """Calls *check* at regular intervals once started."""

    def __init__(self, check: Callable[[], None]) -> None:
        self._check = check
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()

    def start(self) -> None:
        """Start the thread, unless it runs already."""
        if self._thread is None:
            with self._lock:
                if self._thread is None:
                    self._thread = threading.Thread(target=self._serve, name="watch", daemon=True)
                    self._thread.start()

    def stop(self) -> None:
        self._stopped.set()

    def _serve(self) -> None:
        while not self._stopped.wait(CHECK_SECONDS):
            try:
                self._check()
            except Exception:  # time limits of all tasks depend on this loop
                logger.exception("error while checking time limits; continuing")
