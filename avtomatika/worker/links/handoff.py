"""Handoff: what a broker link has in hand goes over to web addresses of the same group while the broker is away.

They keep it from then on, as what came by them: their heartbeats name it, and its results go there.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from avtomatika.broker import Consumer
from avtomatika.errors import AvtomatikaError
from avtomatika.schemas.wire import Progress
from avtomatika.worker.execution import TaskExecution

from .http_results import HttpResultSender
from .identity import Identity
from .outbox import PendingResult, send_each
from .peers import Peers
from .scheduler import LinkSlot

logger = logging.getLogger(__name__)

#: So much is offered at a time.
_MOST_TASKS = 1_000


class Handoff:
    """Of what *in_hand* tells, which came by *intake*. One thread offers, another one brings."""

    def __init__(
        self, intake: Consumer, identity: Identity, seat: LinkSlot, in_hand: Callable[[], Iterable[TaskExecution]]
    ) -> None:
        self._intake = intake
        self._identity = identity
        self._seat = seat
        self._in_hand = in_hand
        self._fellows = Peers(identity, seat)
        self._deliveries = HttpResultSender(identity, seat)

    def offer(self) -> None:
        """Have a web address of the same group keep what we hold, if one is well. For when the broker is away."""
        if not self._seat.fellows():
            return
        offered = [each for each in self._in_hand() if not self.has(each)][:_MOST_TASKS]
        if not offered:
            return
        body = {
            "worker_id": self._identity.worker_id,
            "consumer": self._intake.channel.consumer_name,
            "tasks": [_claim(each) for each in offered],
        }
        try:
            answer = self._fellows.ask(f"/_worker/workers/{self._identity.worker_id}/tasks/adopt", body) or {}
        except AvtomatikaError as error:
            logger.warning("%s; what came by the broker waits for it", error)
            return
        adopted: Any = answer.get("adopted")
        taken = [each for each in offered if each.task.task_id in adopted] if isinstance(adopted, list) else []
        self._deliveries.in_hand.update((each.task.task_id, each) for each in taken)
        self._intake.release(each.origin.tag for each in taken)
        logger.warning("%d of %d tasks that came by the broker are kept over HTTP now", len(taken), len(offered))

    def has(self, assignment: object) -> bool:
        """Whether it went over to a web address, and was not answered there yet."""
        return isinstance(assignment, TaskExecution) and (
            self._deliveries.in_hand.get(assignment.task.task_id) is assignment
        )

    def tell(self, progress: Sequence[Progress]) -> list[Progress]:
        """Send word of progress of what went over; answers what is not ours."""
        in_hand = self._deliveries.in_hand
        self._deliveries.tell([each for each in progress if each.task_id in in_hand])
        return [each for each in progress if each.task_id not in in_hand]

    def bring(self, letters: deque[PendingResult]) -> None:
        """Bring results of what went over, and take them out of *letters*; raises what says that they are to wait."""
        given_up = send_each(letters, lambda letter: self._deliveries.bring(self._deliveries.write(letter.content)))
        self.let_go(letter.content for letter in given_up)

    def let_go(self, assignments: Iterable[TaskExecution]) -> None:
        """Name these no more: the heartbeat that hands back gives them to others."""
        for assignment in assignments:
            if self.has(assignment):
                del self._deliveries.in_hand[assignment.task.task_id]

    def abort(self) -> None:
        """Have what is under way fail at once. Any thread."""
        self._deliveries.abort()

    def close(self) -> None:
        self._fellows.close()
        self._deliveries.close()


def _claim(assignment: TaskExecution) -> dict[str, Any]:
    task = assignment.task
    return {
        "task_id": task.task_id,
        "attempt": task.attempt,
        "ticket": task.ticket,
        "tag": assignment.origin.tag,
    }
