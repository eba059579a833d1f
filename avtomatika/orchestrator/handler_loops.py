"""The event loops of async handlers: one for all blueprints, and one of its own for each blueprint that blocks it.

A handler that blocks harms its own blueprint at most: handlers that have not begun go to another loop, and when the
blocking one is given up with its loop, those that had begun are displaced: they run again.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence

from .handler_call import HandlerCall, HandlerDisplacedError, HandlerResult
from .handler_loop import HandlerLoop
from .handler_threads import ThreadsOfLoop

logger = logging.getLogger(__name__)

#: A loop that does not answer for so long is blocked.
_BLOCKED_SECONDS = 1.0
_SHARED = ""


class HandlerLoops:
    """Loops for one caller; *finish* is called in their threads with each call that ends."""

    def __init__(self, finish: Callable[[HandlerCall, HandlerResult], None], *, threads: int) -> None:
        self._finish = finish
        self._threads = ThreadsOfLoop(at_most=threads)
        self._loops: dict[str, HandlerLoop] = {}
        #: Blueprints whose handlers have blocked the shared loop.
        self._own: set[str] = set()
        #: Loops that take no new calls: they run what has begun in them.
        self._leaving: list[HandlerLoop] = []
        #: Loops that were given up, and the calls that were cancelled, as long as they run on.
        self._abandoned: list[HandlerLoop] = []
        self._cancelled: set[HandlerCall] = set()

    @property
    def abandoned(self) -> int:
        """How many handlers, threads and loops were given up and still run."""
        self._abandoned = [loop for loop in self._abandoned if loop.is_alive]
        if self._cancelled:
            self._cancelled &= {call for loop in (*self._loops.values(), *self._leaving) for call in loop.begun}
        return len(self._abandoned) + len(self._cancelled) + self._threads.abandoned

    def add(self, calls: Sequence[HandlerCall]) -> None:
        """Have *calls* run."""
        by_loop: dict[str, list[HandlerCall]] = {}
        for call in calls:
            by_loop.setdefault(call.group if call.group in self._own else _SHARED, []).append(call)
        for name, of_loop in by_loop.items():
            if name not in self._loops:
                self._loops[name] = HandlerLoop(self._finish, self._threads)
            self._loops[name].begin(of_loop)

    def grow(self) -> None:
        """Have one more thread help where async handlers wait for one."""
        self._threads.grow()

    def give_up(
        self, now: float, is_late: Callable[[HandlerCall], bool]
    ) -> Iterator[tuple[HandlerCall, BaseException | None]]:
        """End calls that are late; answers them, and with an error those that are displaced."""
        for loop in (*self._loops.values(), *self._leaving):
            loop.look(now)
            if loop.blocked_seconds > _BLOCKED_SECONDS:
                yield from self._look_at_blocked(loop, is_late)
            else:
                yield from self._cancel(loop, [call for call in loop.begun if is_late(call)])
        for loop in [loop for loop in self._leaving if not loop.begun]:
            self._leaving.remove(loop)
            loop.stop()

    def close(self) -> None:
        """Stop; what still runs is abandoned."""
        self._threads.close()
        for loop in (*self._loops.values(), *self._leaving):
            loop.stop()

    def _cancel(self, loop: HandlerLoop, calls: Sequence[HandlerCall]) -> Iterator[tuple[HandlerCall, None]]:
        late = [call for call in calls if call not in self._cancelled]
        for call in late:
            yield call, None  # first, so that this is the outcome that counts
            self._cancelled.add(call)
            loop.cancel(call)
        self._threads.abandon(late)

    # ------------------------------------------------------------ blocked loops

    def _look_at_blocked(
        self, loop: HandlerLoop, is_late: Callable[[HandlerCall], bool]
    ) -> Iterator[tuple[HandlerCall, BaseException | None]]:
        culprit, begun = loop.culprit(), loop.begun
        if loop is self._loops.get(_SHARED):
            self._leave(loop, culprit)
        known = [culprit] if culprit in begun else begun  # all are suspects where no handler is seen to block it
        late = [call for call in known if is_late(call)]
        if not late and known:
            return
        for call in begun:
            is_displaced = call not in late
            yield call, HandlerDisplacedError("a handler blocked the event loop") if is_displaced else None
        self._drop(loop)

    def _leave(self, loop: HandlerLoop, culprit: HandlerCall | None) -> None:
        """Have handlers that have not begun run elsewhere, and those of the blueprint that blocks apart from others."""
        whose = "an unknown blueprint" if culprit is None else f"blueprint {culprit.group!r}"
        logger.warning(
            "an async handler of %s blocks the event loop; its blueprint gets one of its own. It is at:\n%s",
            whose,
            loop.stack(),
        )
        if culprit is not None:
            self._own.add(culprit.group)
        del self._loops[_SHARED]
        self._leaving.append(loop)
        self.add(loop.take_back())

    def _drop(self, loop: HandlerLoop) -> None:
        """Give up *loop*: it ends when it answers again."""
        for name in [name for name, known in self._loops.items() if known is loop]:
            del self._loops[name]
        if loop in self._leaving:
            self._leaving.remove(loop)
        self._abandoned.append(loop)
        loop.stop()
        self.add(loop.take_back())
