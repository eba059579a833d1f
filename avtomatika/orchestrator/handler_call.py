"""Calls of handlers: what is to be run, and what became of it."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

#: Frames of a stack that a log shows.
_FRAMES = 12


@dataclass(slots=True, eq=False)
class HandlerCall:
    """A function to run, and the *owner* by which its outcome is known again.

    *group* is the blueprint whose handler it is; *parent* the call of an async handler that runs it in a thread.
    ``started`` is when it began to run, None while it waits.
    """

    owner: Any
    function: Callable[[], Any]
    is_async: bool
    group: str = ""
    parent: HandlerCall | None = None
    started: float | None = None

    def forgive(self, seconds: float) -> None:
        """Do not count *seconds* of its time: it could not run meanwhile."""
        if self.started is not None:
            self.started += seconds


@dataclass(frozen=True, slots=True)
class HandlerResult:
    """What became of a call: what it returned, or what it raised."""

    owner: Any
    returned: Any = None
    raised: BaseException | None = None


class HandlerTimeoutError(Exception):
    """A handler took longer than it may."""


class HandlerDisplacedError(Exception):
    """The event loop of an async handler was given up because another handler blocks it: run this one again."""


#: The call that the running code belongs to, in async handlers and the tasks that they create.
CURRENT_CALL: ContextVar[HandlerCall | None] = ContextVar("CURRENT_CALL", default=None)


def stack_of(thread_id: int | None) -> str:
    """The innermost frames of a running thread, for a log."""
    frame = None if thread_id is None else sys._current_frames().get(thread_id)
    return "(no frame)" if frame is None else "".join(traceback.format_stack(frame)[-_FRAMES:]).rstrip()
