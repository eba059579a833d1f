"""Result sender of broker links: publishes results in batches, each atomically with the acknowledgement of its task."""

import logging
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from avtomatika import broker
from avtomatika.broker import Consumer, Outgoing
from avtomatika.core.plan import WORKERS
from avtomatika.core.signing import WorkerKey
from avtomatika.errors import NoRouteError, TooManyRequestsError, UnavailableError
from avtomatika.schemas import wire
from avtomatika.worker.execution import TaskExecution
from avtomatika.worker.spool import SpooledResult

from .handoff import Handoff
from .heartbeats import MAX_QUEUED_NOTICES
from .outbox import PendingResult, send_each
from .oversize import OversizeResult

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class SpooledMessage:
    """A spooled result, and the tag of the delivery that it answers; *is_leased*: this consumer has that delivery."""

    message: Outgoing
    tag: str
    is_leased: bool = False


class BrokerResultSender:
    """Publishes through *consumer*, signed with the worker's *key* if it has a token."""

    def __init__(
        self, consumer: Consumer, key: WorkerKey | None = None, handoff: Handoff | None = None, *, worker_id: str
    ) -> None:
        """Results of tasks that moved to web addresses are sent by *handoff*."""
        self._consumer = consumer
        self._key = key
        self._handoff = handoff
        self._worker_id = worker_id

    def prepare(self, execution: TaskExecution) -> PendingResult:
        return PendingResult(execution.task.task_id, execution.task.attempt, execution)

    def serialize(self, pending: PendingResult) -> Mapping[str, Any]:
        [message], tags = _settlement(pending, self._key)
        return {
            "exchange": message.exchange,
            "routing_key": message.routing_key,
            "body": message.body,
            "headers": dict(message.headers),
            "tag": tags[0],
        }

    def deserialize(self, spooled: SpooledResult) -> PendingResult:
        content = spooled.content
        message = Outgoing(content["exchange"], content["routing_key"], content["body"], headers=content["headers"])
        return PendingResult(spooled.task_id, spooled.attempt, SpooledMessage(message, content["tag"]), spooled.path)

    def keep(self, execution: TaskExecution) -> OversizeResult:
        headers = broker.forwarded_headers(execution.origin.headers)
        return OversizeResult.of(execution, headers, execution.origin.tag)

    def on_kept(self, oversize: OversizeResult) -> None:
        if not oversize.is_acknowledged:  # the task must not be run again
            self._consumer.settle_many([([], [str(oversize.tag)])])
            oversize.is_acknowledged = True

    def content_of(self, oversize: OversizeResult) -> SpooledMessage:
        message = broker.result_message(
            oversize.task, oversize.result, headers=oversize.headers, signer=self._key, encoded=oversize.encoded
        )
        return SpooledMessage(message, str(oversize.tag), is_leased=not oversize.is_acknowledged)

    def send(self, results: deque[PendingResult]) -> None:
        handoff = self._handoff
        handed_off = [] if handoff is None else [pending for pending in results if handoff.is_adopted(pending.content)]
        if handoff is None or not handed_off:
            self._send(results)
            return
        handed, own = deque(handed_off), deque(pending for pending in results if pending not in handed_off)
        results.clear()
        try:
            handoff.deliver(handed)
        finally:  # neither batch waits for the other
            try:
                if own:
                    self._send(own)
            finally:
                results.extend((*handed, *own))

    def _send(self, results: deque[PendingResult]) -> None:
        try:
            leased = self._consumer.settle_many([_settlement(pending, self._key) for pending in results])
        except UnavailableError:
            raise
        except Exception:  # one result cannot be routed: find it and send the others
            for pending in send_each(results, self._send_one):
                self._discard(pending, "its plan is not bound")
            return
        for pending, was_leased in zip(results, leased, strict=True):
            self._on_settled(pending, was_leased)
        results.clear()

    def send_progress(self, progress: Sequence[wire.Progress]) -> None:
        left = progress if self._handoff is None else self._handoff.send_progress(progress)
        if left and self._consumer.message_count(WORKERS) <= MAX_QUEUED_NOTICES:
            self._consumer.settle_many([([broker.task_progress(each, signer=self._key) for each in left], ())])

    def send_chunks(self, chunks: Sequence[wire.RunChunks]) -> None:
        if self._handoff is not None and not (chunks := self._handoff.send_chunks(chunks)):
            return
        if self._consumer.message_count(WORKERS) > MAX_QUEUED_NOTICES:
            raise TooManyRequestsError("orchestrators do not keep up with notices of workers")
        rows = [(c.job_id, c.task_id, c.attempt, c.ticket, c.run, c.chunks) for c in chunks]
        message = broker.stream_chunks(wire.StreamChunks(self._worker_id, rows), signer=self._key)
        self._consumer.settle_many([([message], ())])

    def abort(self) -> None:
        """Abort the handoff's request; requests to the broker have time-outs."""
        if self._handoff is not None:
            self._handoff.abort()

    def _send_one(self, pending: PendingResult) -> None:
        """Send one result. Raises NoRouteError if it cannot be routed and is still wanted."""
        try:
            [was_leased] = self._consumer.settle_many([_settlement(pending, self._key)])
            self._on_settled(pending, was_leased)
        except UnavailableError:
            raise
        except Exception as error:
            if isinstance(error, NoRouteError) and self._is_wanted(pending):
                raise
            self._discard(pending, str(error))

    def _is_wanted(self, pending: PendingResult) -> bool:
        content = pending.content
        return not isinstance(content, TaskExecution) or content.origin.tag not in self._consumer.cancelled

    def _discard(self, pending: PendingResult, error: str) -> None:
        logger.error("task %s: its result cannot be sent: %s", pending.task_id, error)
        if isinstance(pending.content, TaskExecution):
            self._consumer.dead_letter(pending.content.origin, reason="no_answer", error=error)

    def _on_settled(self, pending: PendingResult, was_leased: bool) -> None:
        if not was_leased:
            task_id, attempt = pending.task_id, pending.attempt
            logger.warning("task %s, attempt %d: already answered, or leased to another worker", task_id, attempt)
        content = pending.content
        if isinstance(content, SpooledMessage) and not content.is_leased:  # the task must not be run again
            self._consumer.revoke([content.tag])


def result_message(execution: TaskExecution, key: WorkerKey | None) -> Outgoing:
    """Return the message for a result."""
    if execution.result is None:
        raise RuntimeError(f"task {execution.task.task_id} has no result yet")
    headers = broker.forwarded_headers(execution.origin.headers)
    return broker.result_message(
        execution.task, execution.result, headers=headers, signer=key, encoded=execution.encoded
    )


def _settlement(pending: PendingResult, key: WorkerKey | None) -> tuple[list[Outgoing], list[str]]:
    """Return messages and tags to settle. A spooled result acknowledges nothing: its consumer has exited."""
    content = pending.content
    if isinstance(content, SpooledMessage):
        return [content.message], [content.tag] if content.is_leased else []
    return [result_message(content, key)], [content.origin.tag]
