"""Message authentication: decode and authenticate incoming messages, dead-letter all others.

The group's own messages carry its signature. A result carries the ticket that came with its task. Where workers have
tokens, it also carries the signature of its worker, or of the web that authenticated the worker, and the task's type
must be among the skills that the worker is granted. Anything else changes no job.
"""

import logging
import reprlib
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar

from avtomatika.broker import Consumer, Delivery, Outgoing
from avtomatika.core.events import Result
from avtomatika.core.job import branch_of, job_of
from avtomatika.errors import UnauthorizedError
from avtomatika.log_limits import LogLimit
from avtomatika.schemas import wire
from avtomatika.schemas.worker_status import restricted_to, skill_names
from avtomatika.store import BranchQuery, Store

from .unit_of_work import REFUSED, ReceivedEvent
from .worker_control import notify_rejected

logger = logging.getLogger(__name__)
T = TypeVar("T")

#: (job id, task id)
TaskKey = tuple[str, str]

#: (worker id, text) -> the skills that the worker is granted, None for all. Where workers have tokens, raises
#: UnauthorizedError unless the worker may authenticate and has signed the text.
SkillsOfSigner = Callable[[str | None, bytes], Collection[str] | None]


class MessageAuthenticator:
    """Authenticates messages of *consumer*. Without *skills_of_signer*, workers on the broker need no token."""

    def __init__(self, consumer: Consumer, store: Store, skills_of_signer: SkillsOfSigner | None = None) -> None:
        self._consumer = consumer
        self._store = store
        self._skills_of_signer = skills_of_signer
        self._warnings = LogLimit()

    def events(self, deliveries: Sequence[Delivery]) -> list[tuple[Delivery, ReceivedEvent]]:
        # The granted skills of authors that are limited, by message body.
        skills_by_author: dict[bytes, Collection[str]] = {}
        check = partial(self._check, skills_by_author)
        found = self._read_all(deliveries, lambda delivery: ReceivedEvent.read(delivery, check))
        return self._drop_ungranted_results(found, skills_by_author) if skills_by_author else found

    def notices(self, deliveries: Sequence[Delivery]) -> list[tuple[Delivery, wire.Notice]]:
        """Decode notices. Drop and notify unauthorized workers, and drop reports about skills that a
        worker is not granted.

        Workers send notices every few seconds, so rejected ones are acknowledged and not dead-lettered.
        """
        accepted: list[tuple[Delivery, wire.Notice]] = []
        dropped: list[str] = []
        rejected: set[str] = set()
        skills_by_author: dict[str, Collection[str]] = {}
        for delivery, notice in self._read_all(deliveries, lambda delivery: wire.load_notice(delivery.body)):
            try:
                skills = self._skills_of(notice.worker_id, delivery.body)
            except UnauthorizedError:
                self._warn(f"worker {notice.worker_id!r} is unauthorized, or has no token: its notices are dropped")
                dropped.append(delivery.tag)
                rejected.add(notice.worker_id)
                continue
            if isinstance(notice, wire.StreamChunks):  # the tickets show which tasks the worker received
                accepted.append((delivery, notice.with_valid_tickets(self._store.keyring.secret)))
                continue
            accepted.append((delivery, notice))
            if skills is not None:
                skills_by_author[delivery.tag] = skills
        notify_rejected(self._consumer, rejected)
        self._store.registry.refuse(rejected)
        self._consumer.ack(dropped)
        return self._restrict_notices(accepted, skills_by_author) if skills_by_author else accepted

    def requests(self, deliveries: Sequence[Delivery]) -> list[tuple[Delivery, wire.TaskRequest]]:
        """Decode task requests that authorized workers forwarded, and dead-letter others."""
        return self._read_all(deliveries, self._request)

    def _request(self, delivery: Delivery) -> wire.TaskRequest:
        request = wire.load_task_request(delivery.body)
        with suppress(UnauthorizedError):
            skills = self._skills_of(request.worker_id, delivery.body)
            if skills is None or request.skill in skills:
                return request
        reason = f"worker {request.worker_id!r} is unauthorized, or not granted the skill {request.skill!r}"
        raise wire.MessageAuthenticationError("request", job_id=request.tag, reason=reason)

    def due(self, deliveries: Sequence[Delivery]) -> list[tuple[Delivery, Outgoing]]:
        """Decode the messages of due timers, which are authenticated when they reach their step queue."""
        home, found = self._consumer.shard_of(""), list[tuple[Delivery, Outgoing]]()
        for delivery, due in self._read_all(deliveries, lambda delivery: wire.load_due_timer(delivery.body)):
            shard = "" if due.exchange else home  # programs wait at home for replies
            outgoing = Outgoing(due.exchange, due.routing_key, due.body, properties=due.properties, shard=shard)
            found.append((delivery, outgoing))
        return found

    def _read_all(self, deliveries: Sequence[Delivery], read: Callable[[Delivery], T]) -> list[tuple[Delivery, T]]:
        found = []
        for delivery in deliveries:
            try:
                found.append((delivery, read(delivery)))
            except wire.MessageAuthenticationError as error:
                self._reject(delivery, error)
            except wire.InvalidMessageError as error:
                logger.error("queue %s: %s; dead-lettered", delivery.queue, error)
                self._consumer.dead_letter(delivery, reason=str(error))
        return found

    def _reject(self, delivery: Delivery, error: wire.MessageAuthenticationError) -> None:
        """Dead-letter a message. The job of a rejected result gets a note with the reason, and the task is dispatched
        again.

        Any other message may name any job, so it writes nothing to one.
        """
        logger.error("queue %s: %s; dead-lettered", delivery.queue, error)
        if error.closes_task:
            note = {"event_type": "task_result_ignored", "kind": error.kind, "reason": error.reason}
            self._store.note(error.job_id, note)
        reason = f"{REFUSED}{error.reason}" if error.closes_task else "forged"
        self._consumer.dead_letter(delivery, reason=reason, error=str(error), notify=error.closes_task)

    def _check(
        self, skills_by_author: dict[bytes, Collection[str]], kind: str, body: Mapping[str, Any], text: bytes
    ) -> None:
        """Raise MessageAuthenticationError, or record the author's skills if they are limited."""
        secret, job_id = self._store.keyring.secret, body["job_id"]
        if kind != "result":
            if not secret.is_signed(text):
                raise wire.MessageAuthenticationError(kind, job_id=job_id, reason=wire.UNSIGNED)
            return
        if not secret.is_ticket(body.get("ticket"), body["task_id"], body["attempt"]):
            raise wire.MessageAuthenticationError(kind, job_id=job_id, reason="it does not carry the task's ticket")
        if job_of(body["task_id"]) != job_id:
            raise wire.MessageAuthenticationError(kind, job_id=job_id, reason="its task belongs to another job")
        worker_id = body.get("worker_id")
        try:
            skills = self._skills_of(worker_id, text)
        except UnauthorizedError:
            reason = f"worker {worker_id!r} is unauthorized, or did not sign it with its token"
            raise wire.MessageAuthenticationError(kind, job_id=job_id, reason=reason, closes_task=True) from None
        if skills is not None:
            skills_by_author[text] = skills

    def _skills_of(self, worker_id: str | None, text: bytes) -> Collection[str] | None:
        """Return the skills that the author of *text* may report about, None for all.

        The author is a worker that signs for itself, or the web, which signs for workers over HTTP. Raises
        UnauthorizedError otherwise.
        """
        if self._skills_of_signer is None:
            return None
        try:
            return self._skills_of_signer(worker_id, text)
        except UnauthorizedError:
            if self._store.keyring.secret.is_signed(text):
                return None
            raise

    # ------------------------------------------------------------ workers that are granted some skills only

    def _drop_ungranted_results(
        self, found: Sequence[tuple[Delivery, ReceivedEvent]], skills_by_author: Mapping[bytes, Collection[str]]
    ) -> list[tuple[Delivery, ReceivedEvent]]:
        """Return *found* without results of workers that are not granted the task's skill."""
        bounded = [
            (delivery, received.event, skills_by_author[delivery.body])
            for delivery, received in found
            if delivery.body in skills_by_author and isinstance(received.event, Result)
        ]
        types = task_types([(event.job_id, event.task_id) for _, event, _ in bounded], store=self._store)
        rejected = set()
        for delivery, event, skills in bounded:
            task_type = types.get((event.job_id, event.task_id))
            if task_type is not None and task_type not in skills:
                reason = f"worker {event.worker_id!r} is not granted the skill {task_type!r} in workers.toml"
                self._reject(
                    delivery,
                    wire.MessageAuthenticationError("result", job_id=event.job_id, reason=reason, closes_task=True),
                )
                rejected.add(delivery.tag)
        return [(delivery, received) for delivery, received in found if delivery.tag not in rejected]

    def _restrict_notices(
        self, accepted: Sequence[tuple[Delivery, wire.Notice]], skills_by_author: Mapping[str, Collection[str]]
    ) -> list[tuple[Delivery, wire.Notice]]:
        """Return *accepted* without reports about skills outside *skills_by_author* (by delivery tag)."""
        tasks = [task for delivery, notice in accepted if delivery.tag in skills_by_author for task in tasks_of(notice)]
        types = task_types(tasks, store=self._store)
        kept: list[tuple[Delivery, wire.Notice]] = []
        dropped: list[str] = []
        for delivery, notice in accepted:
            skills = skills_by_author.get(delivery.tag)
            if skills is not None:
                self._warn_of_ungranted_skills(notice, skills)
            left = notice if skills is None else restricted(notice, skills, types)
            if left is None:
                dropped.append(delivery.tag)
            else:
                kept.append((delivery, left))
        self._consumer.ack(dropped)
        return kept

    def _warn_of_ungranted_skills(self, notice: wire.Notice, skills: Collection[str]) -> None:
        """Warn when a worker registers for skills it is not granted: it takes their tasks from the broker, but its
        results are rejected."""
        if isinstance(notice, wire.Registered) and (others := sorted({*skill_names(notice.record)} - {*skills})):
            named = reprlib.repr(others)
            self._warn(
                f"worker {notice.worker_id!r} registered for skills it is not granted: {named}; "
                f"their results are rejected"
            )

    def _warn(self, text: str) -> None:
        """Log a warning, the same text at most once a minute."""
        if self._warnings.allows(text):
            logger.warning("%s", text)


def task_types(tasks: Iterable[TaskKey], *, store: Store) -> dict[TaskKey, str]:
    """Return the task type of each of *tasks*, as their jobs record it. A task that its job does not wait for is left
    out: messages about it have no effect."""
    by_job: dict[str, set[str]] = {}
    for job_id, task_id in tasks:
        by_job.setdefault(job_id, set()).add(task_id)
    if not by_job:
        return {}
    jobs = [job for job in store.load_many(list(by_job)) if job is not None]
    fan_outs = []
    for job in jobs:
        if job.fan_out is not None:
            prefix = f"{job.id}.{job.fan_out.step}."
            numbers = {branch_of(task_id) for task_id in by_job[job.id] if task_id.startswith(prefix)}
            fan_outs.append(BranchQuery(job, sorted(numbers), answers=False))
    if fan_outs:
        jobs += [loaded.job for loaded in store.load_branches(fan_outs)]
    return {(job.id, task.id): task.task_type for job in jobs for task in job.tasks.values()}


def tasks_of(notice: wire.Notice) -> list[TaskKey]:
    """Return the tasks that *notice* is about."""
    match notice:
        case wire.TasksStarted():
            return [(taken.job_id, taken.task_id) for taken in notice.taken]
        case wire.TaskStarted() | wire.Progress():
            return [(notice.job_id, notice.task_id)]
        case _:
            return []


def restricted(notice: wire.Notice, skills: Collection[str], types: Mapping[TaskKey, str]) -> wire.Notice | None:
    """Return the part of *notice* about *skills*, or None if nothing is left.

    *types* is the result of :func:`task_types`.
    """
    match notice:
        case wire.Registered():
            return replace(notice, record=restricted_to(notice.record, skills))
        case wire.TasksStarted():
            return replace(notice, tasks=[row for row in notice.tasks if types.get((row[0], row[1])) in skills])
        case wire.TaskStarted() | wire.Progress():
            return notice if types.get((notice.job_id, notice.task_id)) in skills else None
        case _:
            return notice
