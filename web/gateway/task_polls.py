"""Polls: one thread of the process consumes tasks for all workers that poll.

It never takes more tasks than there are polls with the skill, and a task is leased to the worker before its poll is
answered.
"""

import logging
from collections.abc import Callable, Sequence
from threading import Condition, Event, Thread
from time import monotonic, sleep
from typing import Any

from avtomatika import broker
from avtomatika.broker import Consumer, Delivery
from avtomatika.broker.backoff import Backoff
from avtomatika.errors import UnavailableError
from avtomatika.schemas import wire
from avtomatika.store import Keyring, NewLease, TaskLeases

logger = logging.getLogger(__name__)

#: Timeout of a take, after which the thread considers new polls and their skills.
_TAKE_SECONDS = 0.1
#: Longest pause while the broker is unavailable.
_MAX_BACKOFF_SECONDS = 0.5
#: A poll with no timeout is held for this time, in which the thread looks for tasks once.
SHORTEST_HOLD_SECONDS = 0.3
#: Its own queue is consumed this long after the last poll of a worker.
_POLLS_AGAIN_SECONDS = 30.0
#: Interval at which the authorization of waiting polls is checked.
_AUTHORIZATION_CHECK_SECONDS = 1.0
#: Time that a poll waits after its timeout for a task that is being leased to it.
_ASSIGNMENT_SECONDS = 5.0


class Poll:
    """A worker that polls for a task of one of *skills*; *is_authorized* is checked again before it gets one."""

    def __init__(self, worker_id: str, skills: frozenset[str], *, is_authorized: Callable[[], bool]) -> None:
        self.worker_id = worker_id
        self.skills = skills
        self.own_queue = broker.worker_queue(worker_id)
        self.is_authorized = is_authorized
        self.task: wire.TaskMessage | None = None
        self.priority = 0
        self.deliveries = 1
        self.answered = Event()
        self.has_ended = False

    def answer(self, task: wire.TaskMessage | None, priority: int = 0, deliveries: int = 1) -> None:
        self.task, self.priority, self.deliveries = task, priority, deliveries
        self.answered.set()


class Polls:
    """The polls of a process; *connect* opens the connection to the broker. The thread starts with the first poll."""

    def __init__(self, *, connect: Callable[[], Any], leases: TaskLeases, keyring: Keyring) -> None:
        self._connect = connect
        self._leases = leases
        self._keyring = keyring
        self._waiting: list[Poll] = []
        self._changed = Condition()
        self._thread: Thread | None = None
        self._stopping = False
        self._checked_at = 0.0
        #: Own queues of workers that poll repeatedly, with the time of the last poll. They are consumed between polls:
        #: subscribing and unsubscribing costs more than taking from an empty queue.
        self._worker_queues: dict[str, float] = {}

    def wait(self, poll: Poll, timeout_seconds: float) -> None:
        """Hold *poll* until it is answered or the timeout is over."""
        with self._changed:
            if poll.has_ended:
                return
            self._waiting.append(poll)
            if self._thread is None:
                self._thread = Thread(target=self._run, name="polls", daemon=True)
                self._thread.start()
            self._changed.notify()
        if poll.answered.wait(max(timeout_seconds, SHORTEST_HOLD_SECONDS)):
            return
        with self._changed:
            if poll in self._waiting:
                self._waiting.remove(poll)
                return
        poll.answered.wait(_ASSIGNMENT_SECONDS)

    def end(self, poll: Poll) -> None:
        """Answer *poll* without a task, unless a task is on its way to it."""
        with self._changed:
            poll.has_ended = True
            is_waiting = poll in self._waiting
            if is_waiting:
                self._waiting.remove(poll)
        if is_waiting:
            poll.answer(None)

    @property
    def waiting(self) -> int:
        """The number of waiting polls."""
        return len(self._waiting)

    def close(self) -> None:
        """Stop consuming."""
        with self._changed:
            self._stopping = True
            self._changed.notify()
        if self._thread is not None:
            self._thread.join()

    # ------------------------------------------------------------ the thread

    def _run(self) -> None:
        backoff = Backoff(logger, "workers over HTTP get no tasks")

        def connect() -> None:
            with self._connect() as connection:
                self._take_tasks(Consumer(connection, [], prefetch=1), backoff)

        def wait(seconds: float) -> None:
            sleep(min(seconds, _MAX_BACKOFF_SECONDS))

        backoff.run(connect, until=lambda: self._stopping, wait=wait)

    def _take_tasks(self, consumer: Consumer, backoff: Backoff) -> None:
        try:
            while not self._stopping:
                with self._changed:
                    self._changed.wait_for(lambda: self._waiting or self._stopping)
                    waiting = list(self._waiting)
                if waiting:
                    self._run_once(consumer, waiting)
                    backoff.succeeded()
                    self._end_unauthorized(waiting)
        finally:
            consumer.close()

    def _end_unauthorized(self, waiting: Sequence[Poll]) -> None:
        """End the polls of revoked workers; checked once a second."""
        if monotonic() - self._checked_at < _AUTHORIZATION_CHECK_SECONDS:
            return
        self._checked_at = monotonic()
        for poll in waiting:
            if not _is_authorized(poll, if_unknown=True):
                self.end(poll)

    def _run_once(self, consumer: Consumer, waiting: Sequence[Poll]) -> None:
        """Take tasks for the waiting polls: up to one for each if all have the same skills, else one."""
        wanted = {poll.skills for poll in waiting}
        consumer.consume_from(frozenset().union(*wanted, self._polled_queues(waiting)))
        consumer.set_prefetch(len(waiting) if len(wanted) == 1 else 1)
        tasks, others = broker.read_tasks(consumer, consumer.take(_TAKE_SECONDS), signer=self._keyring.secret)
        for handle in others:
            handle()
        matched: list[tuple[Delivery, wire.TaskMessage, Poll]] = []
        for delivery, task in tasks:
            poll = self._pick(task.task_type, delivery.queue)
            if poll is None:  # its worker is not polling now
                self._worker_queues.pop(delivery.queue, None)
                consumer.return_unstarted([delivery])
            else:
                matched.append((delivery, task, poll))
        if matched:
            self._lease(consumer, matched)

    def _polled_queues(self, waiting: Sequence[Poll]) -> frozenset[str]:
        now = monotonic()
        self._worker_queues |= {poll.own_queue: now for poll in waiting}
        for queue in [
            queue for queue, asked_at in self._worker_queues.items() if now - asked_at > _POLLS_AGAIN_SECONDS
        ]:
            del self._worker_queues[queue]
        return frozenset(self._worker_queues)

    def _pick(self, skill: str, queue: str) -> Poll | None:
        """Remove and return the poll that has waited longest for *skill*; end polls of unauthorized workers. Tasks in a
        worker's own queue are for that worker only."""
        with self._changed:
            for poll in [poll for poll in self._waiting if skill in poll.skills and queue in (skill, poll.own_queue)]:
                self._waiting.remove(poll)
                if _is_authorized(poll):
                    return poll
                poll.answer(None)
        return None

    def _lease(self, consumer: Consumer, matched: Sequence[tuple[Delivery, wire.TaskMessage, Poll]]) -> None:
        """Lease the tasks to their workers. If the broker connection fails the outcome is unknown, and the tasks are
        redelivered when their leases expire."""
        secret = self._keyring.secret
        new_leases = [
            NewLease(delivery.tag, task, poll.worker_id, broker.task_started(task, poll.worker_id, signer=secret))
            for delivery, task, poll in matched
        ]
        done = [False] * len(new_leases)
        try:
            done = self._leases.lease(new_leases, holder=consumer.channel.router.consumer_name)
        finally:
            consumer.release(delivery.tag for delivery, _, _ in matched)
            for (delivery, task, poll), is_done in zip(matched, done, strict=True):
                poll.answer(task if is_done else None, _priority(delivery), delivery.deliveries)


def _is_authorized(poll: Poll, *, if_unknown: bool = False) -> bool:
    """Return whether the worker may have a task; *if_unknown* while the server is unavailable."""
    try:
        return poll.is_authorized()
    except UnavailableError:
        return if_unknown


def _priority(delivery: Delivery) -> int:
    """Return the priority of the stream that delivered the message."""
    stream, _, _ = delivery.tag.rpartition("/")
    return int(stream.rpartition(":")[2])
