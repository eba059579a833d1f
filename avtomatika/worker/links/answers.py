"""Answers: the thread that sends results to the broker, each together with the acknowledgement of its task.

Many that have ended go in one round trip. What cannot be sent because the broker is away waits here.
"""

from __future__ import annotations

import logging
import threading

from avtomatika import broker
from avtomatika.broker import Intake, Outgoing
from avtomatika.errors import Unavailable
from avtomatika.worker.assignment import Assignment
from avtomatika.worker.runtime import Runtime

from .backoff import pause_seconds

logger = logging.getLogger(__name__)

#: How long the thread sleeps when nobody wakes it.
_IDLE_SECONDS = 10.0


class Answers:
    """Sends by *intake* what *runtime* has done."""

    def __init__(self, intake: Intake, runtime: Runtime) -> None:
        self._intake = intake
        self._runtime = runtime
        self._unsent: list[Assignment] = []
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._serve, name="answers", daemon=True)

    @property
    def is_done(self) -> bool:
        """Whether nothing is in hand any more, and nothing waits to be sent."""
        return not self._runtime.busy and not self._unsent

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """End the thread; whoever calls goes on with :meth:`turn`."""
        self._stopping.set()
        self._runtime.wake()
        self._thread.join()

    def turn(self, wait_seconds: float) -> None:
        """Send what has ended, and wait for it if nothing has. Raises Unavailable: then it is sent the next time."""
        self._unsent += self._runtime.collect(0 if self._unsent else wait_seconds)
        if self._unsent:
            self._send()

    def _serve(self) -> None:
        failures = 0
        while not self._stopping.is_set():
            try:
                self.turn(_IDLE_SECONDS)
                failures = 0
            except Exception as error:  # whatever it is: nobody else will send them
                failures += 1
                pause = pause_seconds(failures)
                trace = None if isinstance(error, Unavailable) else error
                logger.warning("%s; results (%d) wait %.1f s", error, len(self._unsent), pause, exc_info=trace)
                self._stopping.wait(pause)

    def _send(self) -> None:
        settlements = [([answer(assignment)], [assignment.origin.tag]) for assignment in self._unsent]
        try:
            held = self._intake.settle_many(settlements)
        except Unavailable:
            raise
        except Exception:  # one of them leads nowhere: find out which, and send the others
            self._send_one_by_one()
            return
        for assignment, was_held in zip(self._unsent, held, strict=True):
            if not was_held:
                _tell_lost(assignment)
        self._unsent.clear()

    def _send_one_by_one(self) -> None:
        while self._unsent:
            assignment = self._unsent[0]
            try:
                [was_held] = self._intake.settle_many([([answer(assignment)], [assignment.origin.tag])])
                if not was_held:
                    _tell_lost(assignment)
            except Unavailable:
                raise
            except Exception as error:
                logger.error("task %s: its result cannot be sent: %s", assignment.task.task_id, error)
                self._intake.bury(assignment.origin, reason="no_answer", error=str(error))
            del self._unsent[0]


def answer(assignment: Assignment) -> Outgoing:
    """The message that a result becomes."""
    if assignment.result is None:
        raise RuntimeError(f"task {assignment.task.task_id} has no result yet")
    return broker.answer(assignment.task, assignment.result)


def _tell_lost(assignment: Assignment) -> None:
    task = assignment.task
    logger.warning("task %s, attempt %d: answered before, or held by somebody else now", task.task_id, task.attempt)
