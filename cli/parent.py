"""End a process when its parent dies, however that happened."""

import os
import signal
import threading
from time import sleep

#: Process id of the parent that this process must not outlive.
PARENT_VARIABLE = "AVTOMATIKA_PARENT"
_POLL_SECONDS = 0.5
#: Time for a graceful shutdown between SIGTERM and SIGKILL.
_GRACE_SECONDS = 35.0


def end_with_parent() -> None:
    """Start a thread that ends this process when the parent named in the environment has died."""
    parent = os.environ.get(PARENT_VARIABLE)
    if parent:
        threading.Thread(target=_watch, args=(int(parent),), name="parent", daemon=True).start()


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        sleep(_POLL_SECONDS)
    os.kill(os.getpid(), signal.SIGTERM)
    sleep(_GRACE_SECONDS)
    os.kill(os.getpid(), signal.SIGKILL)
