"""The outbox: the thread that sends what a runtime has done, and keeps what cannot be sent now, in the spool.

How things are sent is the affair of a courier; each link has one of its own.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import Any, Protocol

from avtomatika.broker.backoff import pause_seconds
from avtomatika.errors import AvtomatikaError, NoRouteError
from avtomatika.schemas import wire
from avtomatika.worker.execution import TaskExecution
from avtomatika.worker.runtime import Runtime
from avtomatika.worker.spool import SpooledResult, SpoolPartition

logger = logging.getLogger(__name__)

#: How long the thread sleeps when nobody wakes it.
_IDLE_SECONDS = 10.0
#: Longest pause before the next try while the link stops.
_LAST_PAUSE_SECONDS = 0.1
#: After so many tries a link that stops leaves to the spool what is there.
_LAST_TRIES = 5
#: Pause before a result is sent again that no queue is bound for ...
_DEFER_SECONDS = 2.0
#: ... and after how long it is given up.
_MAX_DEFER_SECONDS = 24 * 3600.0


@dataclass(slots=True, eq=False)
class PendingResult:
    """The result of an attempt, ready to be sent; *content* is its courier's, *place* where it lies in the spool.

    It is not sent before ``due_at``, of the monotonic clock.
    """

    task_id: str
    attempt: int
    content: Any
    place: Path | None = None
    due_at: float = 0.0
    written_at: float = field(default_factory=monotonic)

    def defer(self) -> bool:
        """Have it sent again later; False where that was done for long enough."""
        self.due_at = monotonic() + _DEFER_SECONDS
        return self.due_at - self.written_at < _MAX_DEFER_SECONDS


class ResultSender(Protocol):
    """Brings letters to where their tasks came from."""

    def write(self, assignment: TaskExecution) -> PendingResult:
        """The letter about an assignment that has its result."""

    def pack(self, letter: PendingResult) -> Mapping[str, Any]:
        """The content of a letter as JSON, for the spool. No token may be in it."""

    def unpack(self, kept: SpooledResult) -> PendingResult:
        """A letter out of the spool, perhaps of another worker that has ended."""

    def send(self, letters: deque[PendingResult]) -> None:
        """Send *letters*, the first ones first, and take those out that are done with, in whatever way.

        Raises AvtomatikaError where those that are left must wait; single ones are deferred.
        """

    def tell(self, progress: Sequence[wire.Progress]) -> None:
        """Send word of progress. Raises AvtomatikaError; it is not asked again."""

    def abort(self) -> None:
        """Have what is under way fail, where it could take long. Any thread."""


def send_each(letters: deque[PendingResult], send: Callable[[PendingResult], None]) -> list[PendingResult]:
    """*send* one after the other; one whose binding is missing, perhaps for a moment, is deferred. What is done with is
    taken out of *letters*. Answers those that were given up."""
    deferred: list[PendingResult] = []
    given_up: list[PendingResult] = []
    try:
        while letters:
            letter = letters[0]
            try:
                send(letter)
            except NoRouteError as error:
                (deferred if letter.defer() else given_up).append(letter)
                logger.warning("task %s: its result is not sent: %s", letter.task_id, error)
            letters.popleft()
    finally:
        letters.extend(deferred)
    return given_up


class Outbox:
    """Sends by *courier* what *runtime* has done."""

    def __init__(self, runtime: Runtime, courier: ResultSender, shelf: SpoolPartition | None = None) -> None:
        self._runtime = runtime
        self._courier = courier
        self._shelf = shelf
        self._unsent: deque[PendingResult] = deque()
        self._finishing = threading.Event()
        self._done = threading.Event()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._serve, name="outbox", daemon=True)

    def start(self) -> None:
        """Begin, with what was left in the spool."""
        for kept in () if self._shelf is None else self._shelf.left():
            logger.info("task %s, attempt %d: its result was spooled, and is sent now", kept.task_id, kept.attempt)
            self._unsent.append(self._courier.unpack(kept))
        self._thread.start()

    def finish(self, timeout_seconds: float) -> bool:
        """Whether all that is in hand ended, and was sent, in time. For when nothing new is begun any more."""
        self._done.clear()
        self._finishing.set()
        self._runtime.wake()
        return self._done.wait(timeout_seconds)

    @property
    def deferred(self) -> int:
        """How many results wait for a binding."""
        now = monotonic()
        return sum(letter.due_at > now for letter in list(self._unsent))

    @property
    def unsent(self) -> list[PendingResult]:
        """What waits to be sent."""
        return list(self._unsent)

    def stop(self) -> list[PendingResult]:
        """End the thread; answers what is neither sent nor in the spool."""
        self._stopping.set()
        self._finishing.set()
        self._runtime.wake()
        self._courier.abort()
        self._thread.join()
        self._keep()
        return [letter for letter in self._unsent if letter.place is None]

    # ------------------------------------------------------------ in the thread

    def _serve(self) -> None:
        failures = 0
        while not self._stopping.is_set():
            self._runtime.move("outbox")
            try:
                self._turn()
                failures = 0
            except Exception as error:  # whatever it is: nobody else will send them
                failures += 1
                if failures >= _LAST_TRIES and not self._runtime.busy and all(letter.place for letter in self._unsent):
                    self._done.set()
                self._pause(error, failures)

    def _turn(self) -> None:
        """Send what has ended, and wait for it if nothing has."""
        reports = self._runtime.reports
        for assignment in self._runtime.collect(min(_IDLE_SECONDS, reports.wait_seconds, self._due_in)):
            self._unsent.append(self._courier.write(assignment))
        if told := reports.due():
            self._tell(told)
        if self._unsent:
            self._send()
        if not self._runtime.busy and all(letter.place and letter.due_at for letter in self._unsent):
            self._done.set()

    @property
    def _due_in(self) -> float:
        """Seconds until there is something to send."""
        if not self._unsent:
            return _IDLE_SECONDS
        return max(min(letter.due_at for letter in self._unsent) - monotonic(), 0.0)

    def _send(self) -> None:
        now = monotonic()
        due = [letter for letter in self._unsent if letter.due_at <= now]
        left = deque(due)
        try:
            self._courier.send(left)
        finally:
            sent = set(due).difference(left)
            self._unsent = deque(letter for letter in self._unsent if letter not in sent)
            self._drop(sent)
            if left:
                self._keep()

    def _keep(self) -> None:
        """Have what waits on disk, too."""
        if self._shelf is not None:
            for letter in self._unsent:
                if letter.place is None:
                    letter.place = self._shelf.keep(letter.task_id, letter.attempt, self._courier.pack(letter))

    def _drop(self, sent: Iterable[PendingResult]) -> None:
        for letter in sent:
            if letter.place is not None and self._shelf is not None:
                self._shelf.drop(letter.place)

    def _tell(self, told: Sequence[wire.Progress]) -> None:
        try:
            self._courier.tell(told)
        except AvtomatikaError as error:
            logger.info("%s; nobody hears how far %d tasks are", error, len(told))

    def _pause(self, error: Exception, failures: int) -> None:
        pause = pause_seconds(failures)
        trace = None if isinstance(error, AvtomatikaError) else error
        logger.warning("%s; results (%d) wait %.1f s", error, len(self._unsent), pause, exc_info=trace)
        if not self._finishing.wait(pause):
            return
        self._stopping.wait(min(pause, _LAST_PAUSE_SECONDS))
