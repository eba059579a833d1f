"""SIGTERM and SIGINT as calls in a thread."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from queue import SimpleQueue


@contextmanager
def calling_on_signals(stop: Callable[[int], object]) -> Iterator[None]:
    """Call *stop* with the number of each SIGTERM and SIGINT. It runs in a thread of its own, so it may take locks that
    the interrupted main thread holds. Has no effect outside the main thread, where Python does not allow handlers."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    received: SimpleQueue[int | None] = SimpleQueue()  # its put() is safe in handlers

    def serve() -> None:
        for number in iter(received.get, None):
            stop(number)

    thread = threading.Thread(target=serve, name="signals", daemon=True)
    thread.start()
    numbers = (signal.SIGTERM, signal.SIGINT)
    before = {number: signal.signal(number, lambda number, _: received.put(number)) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        received.put(None)
        thread.join()
