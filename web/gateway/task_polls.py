"""Polls: one thread of this process waits for tasks in the name of all workers that ask for some.

It never takes more than there are polls that have the skill; what it takes is the worker's before the poll is answered.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from threading import Condition, Event, Thread
from time import monotonic, sleep
from typing import Any

from avtomatika import broker
from avtomatika.broker import Consumer, Delivery
from avtomatika.broker.backoff import Backoff
from avtomatika.errors import UnavailableError
from avtomatika.schemas import wire
from avtomatika.store import HandOver, Keyring, TaskLeases

logger = logging.getLogger(__name__)

#: How long the thread waits for tasks before it looks whether other skills are asked for.
_LOOK_SECONDS = 0.1
#: Longest pause while the broker is away.
_AWAY_SECONDS = 0.5
#: A poll that asks with no waiting is held so long: the thread has looked for it by then.
SHORTEST_HOLD_SECONDS = 0.3
#: A worker that has not asked for so long will not at once ask again.
_ASKS_AGAIN_SECONDS = 30.0
#: How often those who wait are looked at: whether they may still come in.
_WELCOME_SECONDS = 1.0
#: How long a poll whose time is up waits for a task that is on its way to it.
_ARRIVAL_SECONDS = 5.0


class Poll:
    """A worker that waits for a task of one of *skills*; *is_welcome* is asked once more before it gets one."""

    def __init__(self, worker_id: str, skills: frozenset[str], *, is_welcome: Callable[[], bool]) -> None:
        self.worker_id = worker_id
        self.skills = skills
        self.own_queue = broker.worker_queue(worker_id)
        self.is_welcome = is_welcome
        self.task: wire.TaskMessage | None = None
        self.priority = 0
        self.deliveries = 1
        self.answered = Event()
        self.has_ended = False

    def answer(self, task: wire.TaskMessage | None, priority: int = 0, deliveries: int = 1) -> None:
        self.task, self.priority, self.deliveries = task, priority, deliveries
        self.answered.set()


class Polls:
    """*connect* makes the connection that tasks are taken by; its thread begins with the first poll."""

    def __init__(self, *, connect: Callable[[], Any], held: TaskLeases, keyring: Keyring) -> None:
        self._connect = connect
        self._held = held
        self._keyring = keyring
        self._waiting: list[Poll] = []
        self._changed = Condition()
        self._thread: Thread | None = None
        self._stopping = False
        self._looked_at = 0.0
        #: Own queues of workers that ask again and again, with when they asked last: they are watched in between, for
        #: it takes longer to begin and end with that than to look into an empty queue.
        self._own: dict[str, float] = {}

    def wait(self, poll: Poll, timeout_seconds: float) -> None:
        """Hold *poll* until it is answered, or its time is up."""
        with self._changed:
            if poll.has_ended:
                return
            self._waiting.append(poll)
            if self._thread is None:
                self._thread = Thread(target=self._serve, name="polls", daemon=True)
                self._thread.start()
            self._changed.notify()
        if poll.answered.wait(max(timeout_seconds, SHORTEST_HOLD_SECONDS)):
            return
        with self._changed:
            if poll in self._waiting:
                self._waiting.remove(poll)
                return
        poll.answered.wait(_ARRIVAL_SECONDS)

    def end(self, poll: Poll) -> None:
        """Answer *poll* without a task, unless it is being answered."""
        with self._changed:
            poll.has_ended = True
            is_waiting = poll in self._waiting
            if is_waiting:
                self._waiting.remove(poll)
        if is_waiting:
            poll.answer(None)

    @property
    def waiting(self) -> int:
        """How many polls wait."""
        return len(self._waiting)

    def close(self) -> None:
        """Take nothing more."""
        with self._changed:
            self._stopping = True
            self._changed.notify()
        if self._thread is not None:
            self._thread.join()

    # ------------------------------------------------------------ in the thread

    def _serve(self) -> None:
        backoff = Backoff(logger, "workers over HTTP wait for tasks")
        while not self._stopping:
            try:
                with self._connect() as connection:
                    self._take_tasks(Consumer(connection, [], prefetch=1), backoff)
            except Exception as error:  # whatever it is: nobody else takes tasks for them
                sleep(min(backoff.failed(error), _AWAY_SECONDS))

    def _take_tasks(self, intake: Consumer, backoff: Backoff) -> None:
        try:
            while not self._stopping:
                with self._changed:
                    self._changed.wait_for(lambda: self._waiting or self._stopping)
                    waiting = list(self._waiting)
                if waiting:
                    self._turn(intake, waiting)
                    backoff.succeeded()
                    self._end_unwelcome(waiting)
        finally:
            intake.close()

    def _end_unwelcome(self, waiting: Sequence[Poll]) -> None:
        """End the polls of workers that are not authorized any more; checked once a second."""
        if monotonic() - self._looked_at < _WELCOME_SECONDS:
            return
        self._looked_at = monotonic()
        for poll in waiting:
            if not _is_welcome(poll, unless_known=True):
                self.end(poll)

    def _turn(self, intake: Consumer, waiting: Sequence[Poll]) -> None:
        """Take for the polls that wait: as many as they are where all want the same, else one."""
        wanted = {poll.skills for poll in waiting}
        intake.consume_from(frozenset().union(*wanted, self._own_queues(waiting)))
        intake.set_prefetch(len(waiting) if len(wanted) == 1 else 1)
        deliveries = intake.take(_LOOK_SECONDS)
        matched: list[tuple[Delivery, wire.TaskMessage, Poll]] = []
        for delivery, task in _readable(intake, deliveries):
            poll = self._pick(task.task_type, delivery.queue)
            if poll is None:  # its worker is not asking now
                self._own.pop(delivery.queue, None)
                intake.return_unstarted([delivery])
            else:
                matched.append((delivery, task, poll))
        if matched:
            self._hand_over(intake, matched)

    def _own_queues(self, waiting: Sequence[Poll]) -> frozenset[str]:
        now = monotonic()
        self._own |= {poll.own_queue: now for poll in waiting}
        for queue in [queue for queue, asked_at in self._own.items() if now - asked_at > _ASKS_AGAIN_SECONDS]:
            del self._own[queue]
        return frozenset(self._own)

    def _pick(self, skill: str, queue: str) -> Poll | None:
        """The poll that has waited longest for *skill*, taken out of those that wait; unwelcome ones end on the way.
        What lies in a worker's own queue is for that worker alone."""
        with self._changed:
            for poll in [poll for poll in self._waiting if skill in poll.skills and queue in (skill, poll.own_queue)]:
                self._waiting.remove(poll)
                if _is_welcome(poll):
                    return poll
                poll.answer(None)
        return None

    def _hand_over(self, intake: Consumer, matched: Sequence[tuple[Delivery, wire.TaskMessage, Poll]]) -> None:
        """Where the broker goes away meanwhile nobody knows who has the tasks: they come again after their leases."""
        secret = self._keyring.secret
        given = [
            HandOver(delivery.tag, task, poll.worker_id, broker.task_started(task, poll.worker_id, signer=secret))
            for delivery, task, poll in matched
        ]
        done = [False] * len(given)
        try:
            done = self._held.hand_over(given, holder=intake.channel.consumer_name)
        finally:
            intake.release(delivery.tag for delivery, _, _ in matched)
            for (delivery, task, poll), is_done in zip(matched, done, strict=True):
                poll.answer(task if is_done else None, _priority(delivery), delivery.deliveries)


def _readable(intake: Consumer, deliveries: Iterable[Delivery]) -> Iterable[tuple[Delivery, wire.TaskMessage]]:
    for delivery in deliveries:
        try:
            yield delivery, wire.load_task(delivery.body)
        except wire.InvalidMessageError as error:
            logger.error("queue %s: %s; to the dead letters", delivery.queue, error)
            intake.dead_letter(delivery, reason="malformed", error=str(error))


def _is_welcome(poll: Poll, *, unless_known: bool = False) -> bool:
    """*unless_known* is the answer while nobody can tell."""
    try:
        return poll.is_welcome()
    except UnavailableError:
        return unless_known


def _priority(delivery: Delivery) -> int:
    """The level of the stream that *delivery* came by."""
    stream, _, _ = delivery.tag.rpartition("/")
    return int(stream.rpartition(":")[2])
