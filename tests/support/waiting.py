"""Wait for a condition, with a deadline."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic, sleep
from typing import TypeVar

T = TypeVar("T")


def wait_until(
    condition: Callable[[], T],
    seconds: float = 20,
    what: object = "the condition",
    *,
    pause_seconds: float = 0.02,
) -> T:
    """Call *condition* until its value is true, and return that value; fail after *seconds*.

    *what* names the condition in the failure; a function is called then, as for the log of a process.
    """
    deadline = monotonic() + seconds
    while not (value := condition()):
        if monotonic() > deadline:
            raise AssertionError(f"not within {seconds} s: {what() if callable(what) else what}")
        sleep(pause_seconds)
    return value
