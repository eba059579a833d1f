"""End with the process that started us: nothing may run on that nobody looks after."""

from __future__ import annotations

import os
import signal
import threading
from time import sleep

#: The process id of whoever started us and wants us to end with it.
PARENT_VARIABLE = "AVTOMATIKA_PARENT"
_LOOK_EVERY_SECONDS = 0.5
#: Between the signal to finish in order and the one that needs no consent.
_GRACE_SECONDS = 35.0


def end_with_parent() -> None:
    """Watch, in a thread of its own, the parent that the environment names; without one there is nothing to do."""
    parent = os.environ.get(PARENT_VARIABLE)
    if parent:
        threading.Thread(target=_watch, args=(int(parent),), name="parent", daemon=True).start()


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        sleep(_LOOK_EVERY_SECONDS)
    os.kill(os.getpid(), signal.SIGTERM)
    sleep(_GRACE_SECONDS)
    os.kill(os.getpid(), signal.SIGKILL)
