"""The doorkeeper: lets in what can be read and is by whom it should be; the rest goes to the dead letters.

What the group says of itself carries its signature. An answer carries the ticket that came with its task; and where
workers have tokens, the signature of its worker, or of the web that let the worker in; and it is of a skill that this
worker may do. All else moves no job.
"""

from __future__ import annotations

import logging
import reprlib
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar

from avtomatika.broker import Consumer, Delivery
from avtomatika.core.events import Result
from avtomatika.core.job import job_of
from avtomatika.errors import UnauthorizedError
from avtomatika.log_limits import LogLimit
from avtomatika.schemas import wire
from avtomatika.schemas.worker_status import skill_names
from avtomatika.store import Store

from .bounds import narrowed, task_types, tasks_of
from .unit_of_work import REFUSED, ReceivedEvent
from .worker_control import tell_barred

logger = logging.getLogger(__name__)
T = TypeVar("T")

#: The skills that a worker, by its id, may do, None for all; raises UnauthorizedError unless it may authenticate and
#: has signed a text, where workers have tokens.
SkillsOfSigner = Callable[[str | None, bytes], Collection[str] | None]


class MessageAuthenticator:
    """Stands between *intake* and who acts. Without *skills_of_signer* workers on the broker need no token."""

    def __init__(self, intake: Consumer, store: Store, skills_of_signer: SkillsOfSigner | None = None) -> None:
        self._intake = intake
        self._store = store
        self._skills_of_signer = skills_of_signer
        self._warnings = LogLimit()

    def events(self, deliveries: Sequence[Delivery]) -> list[tuple[Delivery, ReceivedEvent]]:
        # The skills of those who may not do all, by what they have signed.
        bounds: dict[bytes, Collection[str]] = {}
        check = partial(self._check, bounds)
        found = self._readable(deliveries, lambda delivery: ReceivedEvent.read(delivery, check))
        return self._within(found, bounds) if bounds else found

    def notices(self, deliveries: Sequence[Delivery]) -> list[tuple[Delivery, wire.Notice]]:
        """Nothing is heard of workers that may not come in, which are told so, nor of skills that one may not do. They
        say something every few seconds, so it makes no dead letters."""
        heard: list[tuple[Delivery, wire.Notice]] = []
        unheard: list[str] = []
        barred: set[str] = set()
        bounds: dict[str, Collection[str]] = {}
        for delivery, notice in self._readable(deliveries, lambda delivery: wire.load_notice(delivery.body)):
            try:
                skills = self._skills_of(notice.worker_id, delivery.body)
            except UnauthorizedError:
                self._warn(f"worker {notice.worker_id!r} may not come in, or has no token: nothing is heard of it")
                unheard.append(delivery.tag)
                barred.add(notice.worker_id)
                continue
            heard.append((delivery, notice))
            if skills is not None:
                bounds[delivery.tag] = skills
        tell_barred(self._intake, barred)
        self._intake.ack(unheard)
        return self._narrowed(heard, bounds) if bounds else heard

    def due(self, deliveries: Sequence[Delivery]) -> list[tuple[Delivery, wire.Due]]:
        """What is in them is looked at when it comes to its state."""
        return self._readable(deliveries, lambda delivery: wire.load_due(delivery.body))

    def _readable(self, deliveries: Sequence[Delivery], read: Callable[[Delivery], T]) -> list[tuple[Delivery, T]]:
        found = []
        for delivery in deliveries:
            try:
                found.append((delivery, read(delivery)))
            except wire.Forged as error:
                self._refuse(delivery, error)
            except wire.InvalidMessageError as error:
                logger.error("queue %s: %s; to the dead letters", delivery.queue, error)
                self._intake.dead_letter(delivery, reason=str(error))
        return found

    def _refuse(self, delivery: Delivery, error: wire.Forged) -> None:
        """Its job hears of an answer to a task that was really given: a note says why it is refused, and the task is
        given out again. Any other message names jobs as it likes, so nothing is written to them."""
        logger.error("queue %s: %s; to the dead letters", delivery.queue, error)
        if error.is_answer:
            note = {"event_type": "task_result_ignored", "kind": error.kind, "reason": error.reason}
            self._store.note(error.job_id, note)
        reason = f"{REFUSED}{error.reason}" if error.is_answer else "forged"
        self._intake.dead_letter(delivery, reason=reason, error=str(error), notify=error.is_answer)

    def _check(self, bounds: dict[bytes, Collection[str]], kind: str, body: Mapping[str, Any], text: bytes) -> None:
        """Raises Forged; notes in *bounds* what the skills of the author are, where it may not do all."""
        secret, job_id = self._store.keyring.secret, body["job_id"]
        if kind != "result":
            if not secret.is_signed(text):
                raise wire.Forged(kind, job_id=job_id, reason=wire.UNSIGNED)
            return
        if not secret.is_ticket(body.get("ticket"), body["task_id"], body["attempt"]):
            raise wire.Forged(kind, job_id=job_id, reason="it does not carry the ticket that came with the task")
        if job_of(body["task_id"]) != job_id:
            raise wire.Forged(kind, job_id=job_id, reason="its task is of another job")
        worker_id = body.get("worker_id")
        try:
            skills = self._skills_of(worker_id, text)
        except UnauthorizedError:
            reason = f"worker {worker_id!r} may not come in, or has not signed it with its token"
            raise wire.Forged(kind, job_id=job_id, reason=reason, is_answer=True) from None
        if skills is not None:
            bounds[text] = skills

    def _skills_of(self, worker_id: str | None, text: bytes) -> Collection[str] | None:
        """What skills the author of *text* may speak of, None for all: a worker that says so itself, or the web, which
        vouches for those who came by it. Raises UnauthorizedError where it is neither."""
        if self._skills_of_signer is None:
            return None
        try:
            return self._skills_of_signer(worker_id, text)
        except UnauthorizedError:
            if self._store.keyring.secret.is_signed(text):
                return None
            raise

    # ------------------------------------------------------------ of workers that may do some skills alone

    def _within(
        self, found: Sequence[tuple[Delivery, ReceivedEvent]], bounds: Mapping[bytes, Collection[str]]
    ) -> list[tuple[Delivery, ReceivedEvent]]:
        """*found* without answers by those who may not do the skill of the task."""
        bounded = [
            (delivery, arrival.event, bounds[delivery.body])
            for delivery, arrival in found
            if delivery.body in bounds and isinstance(arrival.event, Result)
        ]
        types = task_types([(event.job_id, event.task_id) for _, event, _ in bounded], store=self._store)
        refused = set()
        for delivery, event, skills in bounded:
            task_type = types.get((event.job_id, event.task_id))
            if task_type is not None and task_type not in skills:
                reason = f"worker {event.worker_id!r} may not do {task_type!r}: its skills in workers.toml are others"
                self._refuse(delivery, wire.Forged("result", job_id=event.job_id, reason=reason, is_answer=True))
                refused.add(delivery.tag)
        return [(delivery, arrival) for delivery, arrival in found if delivery.tag not in refused]

    def _narrowed(
        self, heard: Sequence[tuple[Delivery, wire.Notice]], bounds: Mapping[str, Collection[str]]
    ) -> list[tuple[Delivery, wire.Notice]]:
        """*heard*, of those in *bounds* (by tag) no more than they may say."""
        tasks = [task for delivery, notice in heard if delivery.tag in bounds for task in tasks_of(notice)]
        types = task_types(tasks, store=self._store)
        kept: list[tuple[Delivery, wire.Notice]] = []
        unheard: list[str] = []
        for delivery, notice in heard:
            skills = bounds.get(delivery.tag)
            if skills is not None:
                self._warn_of_others(notice, skills)
            left = notice if skills is None else narrowed(notice, skills, types)
            if left is None:
                unheard.append(delivery.tag)
            else:
                kept.append((delivery, left))
        self._intake.ack(unheard)
        return kept

    def _warn_of_others(self, notice: wire.Notice, skills: Collection[str]) -> None:
        """Whoever registers for skills that it may not do takes their tasks from the broker, and answers in vain."""
        if isinstance(notice, wire.Registered) and (others := sorted({*skill_names(notice.record)} - {*skills})):
            named = reprlib.repr(others)
            self._warn(f"worker {notice.worker_id!r} is there for {named}, which it may not do: no answer counts")

    def _warn(self, text: str) -> None:
        """Log a warning: the same one once a minute."""
        if self._warnings.allows(text):
            logger.warning("%s", text)
