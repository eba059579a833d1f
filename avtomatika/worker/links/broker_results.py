"""Result sender of broker links: publishes results in batches, each atomically with the acknowledgement of its task."""

import logging
from collections import deque
from collections.abc import Mapping, Sequence
from threading import Lock
from typing import Any

from avtomatika import broker
from avtomatika.broker import Consumer, Outgoing
from avtomatika.core.plan import WORKERS
from avtomatika.core.signing import WorkerKey
from avtomatika.errors import NoRouteError, TooManyRequestsError, UnavailableError
from avtomatika.schemas import wire

from .handoff import Handoff
from .heartbeats import MAX_QUEUED_NOTICES
from .pending import PendingResult, send_each

logger = logging.getLogger(__name__)


class BrokerResultSender:
    """Publishes through *consumer*, signed with the worker's *key* if it has a token."""

    def __init__(
        self,
        consumer: Consumer,
        key: WorkerKey | None = None,
        handoff: Handoff | None = None,
        *,
        worker_id: str,
        announcing: Lock,
    ) -> None:
        """Results of tasks that moved to web addresses are sent by *handoff*. No result is sent while *announcing* is
        held."""
        self._announcing = announcing
        self._consumer = consumer
        self._key = key
        self._handoff = handoff
        self._worker_id = worker_id

    def prepare(self, pending: PendingResult) -> None:
        """Sign the message: a worker that sends it later may have another token."""
        if pending.message is None:
            [shard] = self._consumer.by_shard([pending.task])
            options: dict[str, Any] = {"headers": pending.headers, "encoded": pending.encoded, "shard": shard}
            pending.message = broker.result_message(pending.task, pending.result, signer=self._key, **options)

    def on_kept(self, pending: PendingResult) -> None:
        if pending.is_leased:  # the task must not be run again
            self._consumer.settle_many([([], [pending.tag])])
            pending.is_leased = False

    def send(self, results: deque[PendingResult]) -> None:
        handoff = self._handoff
        handed_off = (
            [] if handoff is None else [pending for pending in results if handoff.is_adopted(pending.execution)]
        )
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
        with self._announcing:
            pass
        try:
            leased = self._consumer.settle_many([self._settlement(pending) for pending in results])
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
            self._send_notices(self._consumer.by_shard(left))

    def send_chunks(self, chunks: Sequence[wire.RunChunks]) -> None:
        if self._handoff is not None and not (chunks := self._handoff.send_chunks(chunks)):
            return
        if self._consumer.message_count(WORKERS) > MAX_QUEUED_NOTICES:
            raise TooManyRequestsError("orchestrators do not keep up with notices of workers")
        shards = self._consumer.by_shard(chunks).items()
        self._send_notices({shard: [self._chunks_of(each)] for shard, each in shards})

    def _chunks_of(self, chunks: Sequence[wire.RunChunks]) -> wire.StreamChunks:
        rows = [(c.job_id, c.task_id, c.attempt, c.ticket, c.run, c.chunks) for c in chunks]
        return wire.StreamChunks(self._worker_id, rows)

    def _send_notices(self, notices: Mapping[str, Sequence[wire.Notice]]) -> None:
        """Send notices to the shard of their jobs."""
        self._consumer.settle_many(
            [
                ([broker.notice(each, self._key, shard=shard) for each in of_shard], ())
                for shard, of_shard in notices.items()
            ]
        )

    def abort(self) -> None:
        """Abort the handoff's request; requests to the broker have time-outs."""
        if self._handoff is not None:
            self._handoff.abort()

    def _send_one(self, pending: PendingResult) -> None:
        """Send one result. Raises NoRouteError if it cannot be routed and is still wanted."""
        try:
            [was_leased] = self._consumer.settle_many([self._settlement(pending)])
            self._on_settled(pending, was_leased)
        except UnavailableError:
            raise
        except Exception as error:
            if isinstance(error, NoRouteError) and self._is_wanted(pending):
                raise
            self._discard(pending, str(error))

    def _is_wanted(self, pending: PendingResult) -> bool:
        return not pending.is_leased or pending.tag not in self._consumer.cancelled

    def _discard(self, pending: PendingResult, error: str) -> None:
        logger.error("task %s: its result cannot be sent: %s", pending.task_id, error)
        if pending.execution is not None:
            self._consumer.dead_letter(pending.execution.origin, reason="no_answer", error=error)

    def _settlement(self, pending: PendingResult) -> tuple[list[Outgoing], list[str]]:
        """Return messages and tags to settle. A spooled result acknowledges nothing: its consumer has exited."""
        self.prepare(pending)
        return [pending.message] if pending.message else [], [pending.tag] if pending.is_leased else []

    def _on_settled(self, pending: PendingResult, was_leased: bool) -> None:
        if not was_leased:
            task_id, attempt = pending.task_id, pending.task.attempt
            logger.warning("task %s, attempt %d: already answered, or leased to another worker", task_id, attempt)
        if not pending.is_leased:  # the task must not be run again
            self._consumer.revoke([pending.tag])
