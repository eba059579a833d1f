"""Run a loop in a background thread."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Thread
from typing import Protocol

logger = logging.getLogger(__name__)


class Loop(Protocol):
    def run(self) -> None: ...

    def stop(self) -> None: ...


@contextmanager
def run_in_background(loop: Loop, what: str, *, on_crash: Callable[[], None]) -> Iterator[None]:
    """Run *loop*, named *what* in logs, in a thread until the context ends.

    If it crashes, calls *on_crash* and raises RuntimeError at the end of the context: the process must not continue
    without it.
    """
    crashed: list[BaseException] = []

    def run() -> None:
        try:
            loop.run()
        except BaseException as error:
            logger.exception("%s crashed", what)
            crashed.append(error)
            on_crash()

    thread = Thread(target=run, name=what)
    thread.start()
    try:
        yield
    finally:
        loop.stop()
        thread.join()
    if crashed:
        raise RuntimeError(f"{what} crashed") from crashed[0]
