"""Answers: how results go to the broker, each together with the acknowledgement of its task, many in one round trip."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from avtomatika import broker
from avtomatika.broker import Consumer, Outgoing
from avtomatika.core.plan import WORKERS
from avtomatika.core.signing import WorkerKey
from avtomatika.errors import NoRouteError, UnavailableError
from avtomatika.schemas import wire
from avtomatika.worker.execution import TaskExecution
from avtomatika.worker.spool import SpooledResult

from .handoff import Handoff
from .heartbeats import MOST_NOTICES
from .outbox import PendingResult, send_each

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class SpooledMessage:
    """A result out of the spool, and the delivery that it answers."""

    message: Outgoing
    tag: str


class BrokerResultSender:
    """The courier of a broker link: sends by *intake*, signed with the *key* of a worker that has a token."""

    def __init__(self, intake: Consumer, key: WorkerKey | None = None, handoff: Handoff | None = None) -> None:
        """What went over to web addresses by *handoff* is answered there."""
        self._intake = intake
        self._key = key
        self._handoff = handoff

    def write(self, assignment: TaskExecution) -> PendingResult:
        return PendingResult(assignment.task.task_id, assignment.task.attempt, assignment)

    def pack(self, letter: PendingResult) -> Mapping[str, Any]:
        [message], tags = _settlement(letter, self._key)
        return {
            "exchange": message.exchange,
            "routing_key": message.routing_key,
            "body": message.body,
            "headers": dict(message.headers),
            "tag": tags[0],
        }

    def unpack(self, kept: SpooledResult) -> PendingResult:
        content = kept.content
        message = Outgoing(content["exchange"], content["routing_key"], content["body"], headers=content["headers"])
        return PendingResult(kept.task_id, kept.attempt, SpooledMessage(message, content["tag"]), kept.place)

    def send(self, letters: deque[PendingResult]) -> None:
        handoff = self._handoff
        gone = [] if handoff is None else [letter for letter in letters if handoff.has(letter.content)]
        if handoff is None or not gone:
            self._send(letters)
            return
        there, here = deque(gone), deque(letter for letter in letters if letter not in gone)
        letters.clear()
        try:
            handoff.bring(there)
        finally:  # neither waits for the other
            try:
                if here:
                    self._send(here)
            finally:
                letters.extend((*there, *here))

    def _send(self, letters: deque[PendingResult]) -> None:
        try:
            held = self._intake.settle_many([_settlement(letter, self._key) for letter in letters])
        except UnavailableError:
            raise
        except Exception:  # one of them leads nowhere: find out which, and send the others
            self._send_one_by_one(letters)
            return
        for letter, was_held in zip(letters, held, strict=True):
            self._settled(letter, was_held)
        letters.clear()

    def tell(self, progress: Sequence[wire.Progress]) -> None:
        left = progress if self._handoff is None else self._handoff.tell(progress)
        if left and self._intake.message_count(WORKERS) <= MOST_NOTICES:
            self._intake.settle_many([([broker.task_progress(each, signer=self._key) for each in left], ())])

    def abort(self) -> None:
        """Everything that the broker is asked has a timeout."""
        if self._handoff is not None:
            self._handoff.abort()

    def _send_one_by_one(self, letters: deque[PendingResult]) -> None:
        for letter in send_each(letters, self._send_one):
            self._give_up(letter, "its plan is not bound")

    def _send_one(self, letter: PendingResult) -> None:
        """Raises NoRouteError where somebody still waits for a result that leads nowhere."""
        try:
            [was_held] = self._intake.settle_many([_settlement(letter, self._key)])
            self._settled(letter, was_held)
        except UnavailableError:
            raise
        except Exception as error:
            if isinstance(error, NoRouteError) and self._is_wanted(letter):
                raise
            self._give_up(letter, str(error))

    def _is_wanted(self, letter: PendingResult) -> bool:
        content = letter.content
        return not isinstance(content, TaskExecution) or content.origin.tag not in self._intake.cancelled

    def _give_up(self, letter: PendingResult, error: str) -> None:
        logger.error("task %s: its result cannot be sent: %s", letter.task_id, error)
        if isinstance(letter.content, TaskExecution):
            self._intake.dead_letter(letter.content.origin, reason="no_answer", error=error)

    def _settled(self, letter: PendingResult, was_held: bool) -> None:
        if not was_held:
            task_id, attempt = letter.task_id, letter.attempt
            logger.warning("task %s, attempt %d: answered before, or held by somebody else now", task_id, attempt)
        if isinstance(letter.content, SpooledMessage):  # whoever has the task, or would get it, need not do it again
            self._intake.revoke([letter.content.tag])


def answer(assignment: TaskExecution, key: WorkerKey | None) -> Outgoing:
    """The message that a result becomes."""
    if assignment.result is None:
        raise RuntimeError(f"task {assignment.task.task_id} has no result yet")
    headers = broker.forwarded_headers(assignment.origin.headers)
    return broker.result_message(assignment.task, assignment.result, headers=headers, signer=key)


def _settlement(letter: PendingResult, key: WorkerKey | None) -> tuple[list[Outgoing], list[str]]:
    """What was found in the spool acknowledges nothing: who held the task has ended."""
    content = letter.content
    if isinstance(content, SpooledMessage):
        return [content.message], []
    return [answer(content, key)], [content.origin.tag]
