"""Handler calls and their results."""

import sys
import traceback
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

from avtomatika.core.frozen import dataclass

#: Stack frames shown in a log.
_FRAMES = 12


@dataclass(slots=True, eq=False)
class HandlerCall:
    """A function to run for *owner*, which identifies the result.

    *group* is the handler's blueprint; *parent* is the call of an async handler that runs this one in a thread.
    ``started`` is set when it runs.
    """

    owner: Any
    function: Callable[[], Any]
    is_async: bool
    group: str = ""
    parent: "HandlerCall | None" = None
    started: float | None = None

    def extend(self, seconds: float) -> None:
        """Extend the time limit by *seconds* during which the call could not run."""
        if self.started is not None:
            self.started += seconds


@dataclass(frozen=True, slots=True)
class HandlerResult:
    """The return value or exception of a call."""

    owner: Any
    returned: Any = None
    raised: BaseException | None = None


class HandlerTimeoutError(Exception):
    """A handler exceeded its time limit."""


class HandlerDisplacedError(Exception):
    """The event loop of an async handler was abandoned because another handler blocked it. Run this one again."""


#: The call that the running code belongs to, in async handlers and the tasks they create.
CURRENT_CALL: ContextVar[HandlerCall | None] = ContextVar("CURRENT_CALL", default=None)


def stack_of(thread_id: int | None) -> str:
    """Return the innermost frames of a running thread, for a log."""
    frame = None if thread_id is None else sys._current_frames().get(thread_id)
    return "(no frame)" if frame is None else "".join(traceback.format_stack(frame)[-_FRAMES:]).rstrip()
