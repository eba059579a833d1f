"""Commits works that are decided: many in one round trip, each by itself, again where it has to wait."""

from __future__ import annotations

import heapq
import logging
from collections.abc import Callable, Sequence
from itertools import count
from math import inf
from time import monotonic
from typing import Protocol

from avtomatika.broker import Consumer, Delivery
from avtomatika.broker.backoff import pause_seconds
from avtomatika.errors import UnavailableError
from avtomatika.store import Answer, Cause, CommitReply, Store

from .plan_takeover import PlanTakeover
from .unit_of_work import Work
from .worker_control import tell_workers

logger = logging.getLogger(__name__)


class LetGo(Protocol):
    """A work is over; *kept* are deliveries of it that must be handled again."""

    def __call__(self, work: Work, kept: Sequence[Delivery] = ()) -> None: ...


class Committer:
    """Works of one orchestrator, from their last decision until they are written."""

    def __init__(
        self,
        *,
        intake: Consumer,
        store: Store,
        plans: PlanTakeover,
        let_go: LetGo,
        give_up: Callable[[Work, Exception], None],
    ) -> None:
        self._intake = intake
        self._store = store
        self._plans = plans
        self._let_go = let_go
        self._give_up = give_up
        self._ready: list[Work] = []
        self._again: list[tuple[float, int, Work]] = []
        self._order = count()

    @property
    def is_ready(self) -> bool:
        """Whether there is something to commit at once."""
        return bool(self._ready)

    @property
    def due(self) -> float:
        """When a work is to be tried again, by the monotonic clock."""
        return self._again[0][0] if self._again else inf

    def add(self, work: Work) -> None:
        """*work* is decided: commit it the next time."""
        self._ready.append(work)

    def commit(self) -> None:
        """Commit what is ready; what the server's absence interrupts stays. Raises UnavailableError.

        A work that cannot be written, whatever the server says, is given up alone.
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
                        self._give_up(works[0], error)
                    together = 1
                    continue
                del waiting[:together]
                written += self._settle_all(works, replies)
        finally:
            self._ready += waiting
        tell_workers(self._intake, written)

    def _write(self, works: Sequence[Work]) -> list[tuple[Work, CommitReply]]:
        self._ignore(works)
        commits = [(work, commit) for work in works if (commit := work.commit()) is not None]
        replies = self._store.commit([commit for _, commit in commits])
        return [(work, reply) for (work, _), reply in zip(commits, replies, strict=True)]

    def _settle_all(self, works: Sequence[Work], replies: Sequence[tuple[Work, CommitReply]]) -> list[Work]:
        """Those of *works* that are written."""
        for work, reply in replies:
            self._settle(work, reply)
        for work in works:
            if not work.answered:
                self._let_go(work)
        return [work for work, reply in replies if reply.is_written]

    def _ignore(self, works: Sequence[Work]) -> None:
        ignored = [(arrival, note) for work in works for arrival, note in work.ignored]
        if ignored:
            self._store.ignore([(arrival.delivery.tag, arrival.event.job_id, note) for arrival, note in ignored])
            self._intake.release([arrival.delivery.tag for arrival, _ in ignored])
            for work in works:
                work.ignored.clear()

    def _settle(self, work: Work, reply: CommitReply) -> None:
        match reply.answer:
            case Answer.REROUTE:
                self._intake.channel.forget_routes()
                self._ready.append(work)
            case Answer.NO_ROUTE | Answer.REFUSED:
                logger.error("job %s: %s; it waits", work.job_id, reply.reason)
                self._plans.due = 0.0  # what was declared may be gone
                self._try_again(work)
            case Answer.TOO_LARGE:
                work.give_up(reply.reason)
                self._ready.append(work)
            case Answer.CONFLICT:
                self._decide_again(work, reply.live)
            case _:
                if reply.answer is not Answer.OK:
                    logger.info("job %s: %s answered %s", work.job_id, work.answered[0].event.id, reply.answer)
                self._intake.release([arrival.delivery.tag for arrival in work.answered])
                self._let_go(work)

    def _try_again(self, work: Work) -> None:
        work.tries += 1
        heapq.heappush(self._again, (monotonic() + pause_seconds(work.tries), next(self._order), work))

    def _decide_again(self, work: Work, live: Sequence[Cause]) -> None:
        """The job had moved on, or a cause does not count any more: load it anew, and decide with what is left."""
        tags = {cause.tag for cause in live}
        kept = [arrival.delivery for arrival in work.answered if arrival.delivery.tag in tags]
        self._intake.release([arrival.delivery.tag for arrival in work.answered if arrival.delivery.tag not in tags])
        self._let_go(work, kept)
