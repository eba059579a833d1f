"""Commits of decided work: many in one round trip, each on its own, retried where the server says so."""

import heapq
import logging
from collections.abc import Callable, Sequence
from itertools import count
from math import inf
from time import monotonic
from typing import Protocol

from avtomatika.broker import Consumer, Delivery
from avtomatika.broker.backoff import pause_seconds
from avtomatika.core.plan import TASKS
from avtomatika.errors import UnavailableError
from avtomatika.store import Cause, CommitReply, CommitStatus, Store

from .plan_takeover import PlanTakeover
from .step_counts import StepCounts
from .step_records import end_step
from .unit_of_work import Work
from .worker_control import notify_workers

logger = logging.getLogger(__name__)


class WrongTypeError(Exception):
    """A key of the job holds a value of another type, which a retry cannot change."""


class FinishWork(Protocol):
    """Remove a work from the ones in flight; *kept* are its deliveries that must be handled again."""

    def __call__(self, work: Work, kept: Sequence[Delivery] = ()) -> None: ...


class Committer:
    """Holds the work of one orchestrator from its last decision until it is written."""

    def __init__(
        self,
        *,
        consumer: Consumer,
        store: Store,
        plans: PlanTakeover,
        counts: StepCounts,
        finish_work: FinishWork,
        fail: Callable[[Work, Exception], None],
        store_values: Callable[[Work], None],
    ) -> None:
        """*store_values* stores the large values of a work, and adds it again."""
        self._consumer = consumer
        self._store = store
        self._plans = plans
        self._counts = counts
        self._finish_work = finish_work
        self._fail = fail
        self._store_values = store_values
        self._ready: list[Work] = []
        self._again: list[tuple[float, int, Work]] = []
        self._refused: list[tuple[Work, WrongTypeError]] = []
        self._undeclared: set[str] = set()
        self._order = count()

    @property
    def is_ready(self) -> bool:
        """True if work is ready to commit."""
        return bool(self._ready)

    @property
    def due(self) -> float:
        """When the next retry is due, by the monotonic clock."""
        return self._again[0][0] if self._again else inf

    def add(self, work: Work) -> None:
        """Queue *work* for the next commit."""
        self._ready.append(work)

    def commit(self) -> None:
        """Commit the ready work; it stays queued while the server is unavailable. Raises UnavailableError.

        If a batch fails for another reason, each work is committed on its own, and the one that fails is given to
        *fail*.
        """
        while self._again and self._again[0][0] <= monotonic():
            self._ready.append(heapq.heappop(self._again)[2])
        waiting, self._ready = self._ready, []
        together = len(waiting)
        written: list[Work] = []
        try:
            while waiting:
                works = waiting[:together]
                try:
                    replies = self._write(works)
                except UnavailableError:
                    raise
                except Exception as error:
                    if together == 1:
                        del waiting[:1]
                        self._fail(works[0], error)
                    together = 1
                    continue
                del waiting[:together]
                written += self._settle_all(works, replies)
        finally:
            self._ready += waiting
        notify_workers(self._consumer, written)
        if self._undeclared:
            self._consumer.declare_tasks(self._undeclared)
            self._undeclared.clear()
        while self._refused:
            self._fail(*self._refused.pop())

    def _write(self, works: Sequence[Work]) -> list[tuple[Work, CommitReply]]:
        self._ignore(works)
        commits = [(work, commit) for work in works if (commit := work.commit()) is not None]
        replies = self._store.commit([commit for _, commit in commits])
        return [(work, reply) for (work, _), reply in zip(commits, replies, strict=True)]

    def _settle_all(self, works: Sequence[Work], replies: Sequence[tuple[Work, CommitReply]]) -> list[Work]:
        """Return the works that are written."""
        for work, reply in replies:
            self._counts.reply(work, reply)
            self._settle(work, reply)
        for work in works:
            if not work.answered:
                self._finish_work(work)
        return [work for work, reply in replies if reply.is_written]

    def _ignore(self, works: Sequence[Work]) -> None:
        ignored = [(received, note) for work in works for received, note in work.ignored]
        if ignored:
            self._store.ignore([(received.delivery.tag, received.event.job_id, note) for received, note in ignored])
            self._consumer.release([received.delivery.tag for received, _ in ignored])
            for work in works:
                work.ignored.clear()

    def _settle(self, work: Work, reply: CommitReply) -> None:
        match reply.answer:
            case CommitStatus.REROUTE:
                self._consumer.channel.router.forget_routes()
                self._ready.append(work)
            case CommitStatus.WRONG_TYPE:
                self._refused.append((work, WrongTypeError(reply.reason)))
            case CommitStatus.NO_ROUTE if reply.unbound is not None and _is_task_type(*reply.unbound):
                # its type was computed, and no worker on the broker has the skill
                self._undeclared.add(reply.unbound[1])
                self._try_again(work)
            case CommitStatus.NO_ROUTE | CommitStatus.REFUSED:
                logger.error("job %s: %s; retrying", work.job_id, reply.reason)
                self._plans.due = 0.0  # queues or bindings may have been removed
                self._try_again(work)
            case CommitStatus.LARGE_VALUES if work.storage_error is not None:
                logger.error("job %s: its large values cannot be stored: %s; retrying", work.job_id, work.storage_error)
                work.storage_error = None
                self._try_again(work)
            case CommitStatus.LARGE_VALUES:
                self._store_values(work)
            case CommitStatus.TOO_LARGE:
                work.fail(reply.reason)
                self._ready.append(work)
            case CommitStatus.CONFLICT:
                self._decide_again(work, reply.live)
            case _:
                if reply.answer is not CommitStatus.OK:
                    logger.info("job %s: %s answered %s", work.job_id, work.answered[0].event.id, reply.answer)
                else:
                    end_step(work.before, work.step.job, work.answered[0].event, work.span)
                self._consumer.release([received.delivery.tag for received in work.answered])
                self._finish_work(work)

    def _try_again(self, work: Work) -> None:
        work.tries += 1
        heapq.heappush(self._again, (monotonic() + pause_seconds(work.tries), next(self._order), work))

    def _decide_again(self, work: Work, live: Sequence[Cause]) -> None:
        """Load the job again and decide with the causes that still count: the job changed, or a cause does not count
        any more."""
        tags = {cause.tag for cause in live}
        kept = [received.delivery for received in work.answered if received.delivery.tag in tags]
        self._consumer.release(
            [received.delivery.tag for received in work.answered if received.delivery.tag not in tags]
        )
        self._finish_work(work, kept)


def _is_task_type(exchange: str, routing_key: str) -> bool:
    """Return True for the route of a task that any worker may take."""
    return exchange == TASKS and not routing_key.startswith("@")
