"""A loop in a thread of its own, beside the one of the process."""

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
    """Run *loop* meanwhile, which does *what*, in words.

    Where it breaks down *on_crash* is called, and RuntimeError raised at the end: nobody should live on without it.
    """
    crashed: list[BaseException] = []

    def run() -> None:
        try:
            loop.run()
        except BaseException as error:
            logger.exception("%s has broken down", what)
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
        raise RuntimeError(f"{what} has broken down") from crashed[0]
