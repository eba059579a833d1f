"""Answers: how results go to the broker, each together with the acknowledgement of its task, many in one round trip."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Sequence

from avtomatika import broker
from avtomatika.broker import Intake, Outgoing
from avtomatika.core.signing import WorkerKey
from avtomatika.errors import Unavailable
from avtomatika.schemas import wire
from avtomatika.worker.assignment import Assignment

from .outbox import Letter

logger = logging.getLogger(__name__)


class Answers:
    """The courier of a broker link: sends by *intake*, signed with the *key* of a worker that has a token."""

    def __init__(self, intake: Intake, key: WorkerKey | None = None) -> None:
        self._intake = intake
        self._key = key

    def write(self, assignment: Assignment) -> Letter:
        return Letter(assignment.task.task_id, assignment.task.attempt, assignment)

    def send(self, letters: deque[Letter]) -> None:
        try:
            held = self._intake.settle_many([_settlement(letter, self._key) for letter in letters])
        except Unavailable:
            raise
        except Exception:  # one of them leads nowhere: find out which, and send the others
            self._send_one_by_one(letters)
            return
        for letter, was_held in zip(letters, held, strict=True):
            if not was_held:
                _tell_lost(letter)
        letters.clear()

    def tell(self, progress: Sequence[wire.Progress]) -> None:
        self._intake.settle_many([([broker.progress_notice(each) for each in progress], ())])

    def abort(self) -> None:
        """Everything that the broker is asked has a timeout."""

    def _send_one_by_one(self, letters: deque[Letter]) -> None:
        while letters:
            letter = letters[0]
            try:
                [was_held] = self._intake.settle_many([_settlement(letter, self._key)])
                if not was_held:
                    _tell_lost(letter)
            except Unavailable:
                raise
            except Exception as error:
                logger.error("task %s: its result cannot be sent: %s", letter.task_id, error)
                self._intake.bury(letter.content.origin, reason="no_answer", error=str(error))
            letters.popleft()


def answer(assignment: Assignment, key: WorkerKey | None) -> Outgoing:
    """The message that a result becomes."""
    if assignment.result is None:
        raise RuntimeError(f"task {assignment.task.task_id} has no result yet")
    headers = broker.handed_on(assignment.origin.headers)
    return broker.answer(assignment.task, assignment.result, headers=headers, signer=key)


def _settlement(letter: Letter, key: WorkerKey | None) -> tuple[list[Outgoing], list[str]]:
    return [answer(letter.content, key)], [letter.content.origin.tag]


def _tell_lost(letter: Letter) -> None:
    logger.warning("task %s, attempt %d: answered before, or held by somebody else now", letter.task_id, letter.attempt)
