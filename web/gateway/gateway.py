"""The gateway: what workers over HTTP may do, in our words. Its routes only read and write JSON."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import partial
from hashlib import sha256
from typing import Any

import orjson

from avtomatika import broker
from avtomatika.core.events import Result
from avtomatika.core.job import Json, job_of
from avtomatika.core.names import is_user_name
from avtomatika.errors import NotFoundError, UnauthorizedError
from avtomatika.log_limits import LogLimit
from avtomatika.schemas import wire
from avtomatika.schemas.worker_status import heartbeat_status, registration_record, restricted_to
from avtomatika.store import Keyring, Pair, Refreshed, Session, Sessions, Settled, TaskLease, TaskLeases, WorkerRegistry
from avtomatika.store.sessions import ACCESS_SECONDS
from avtomatika.tokens import WorkerAccess, Workers, hash_token, new_token

from .task_polls import Poll, Polls
from .worker_queues import WorkerQueues

logger = logging.getLogger(__name__)

#: A router on the way may cut off what is held for 30 s.
LONGEST_HOLD_SECONDS = 25.0
#: A heartbeat so long after the hand-over knows of the task, if the worker does.
_ARRIVED_MS = 3_000
#: Characters of a worker id, which anybody may send, that are logged.
_LONGEST_ID = 128
#: So much of a message is kept.
_MAX_MESSAGE = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Gateway:
    workers: Workers
    registry: WorkerRegistry
    held: TaskLeases
    polls: Polls
    sessions: Sessions
    keyring: Keyring
    own_queues: WorkerQueues
    lease_seconds: float
    group: str = "g0"
    refusals: LogLimit = field(default_factory=LogLimit)

    def register(self, access: WorkerAccess, registration: dict[str, Any]) -> dict[str, Json]:
        """Make a worker known, with the skills that it may do. What it does not know of goes back: an earlier run of it
        never got that."""
        worker_id, record = access.worker_id, registration_record(registration)
        self.own_queues.keep(worker_id, is_new=True)
        self.registry.register(worker_id, record if access.skills is None else restricted_to(record, access.skills))
        self._take_back(worker_id, named=registration["current_tasks"], stamped_ms=None)
        logger.info("worker %s has registered", worker_id)
        return {
            "status": "registered",
            "group": self.group,
            "broker": self.held.broker_id(),
            "lease_seconds": self.lease_seconds,
        }

    def heartbeat(self, worker_id: str, heartbeat: dict[str, Any]) -> dict[str, Json]:
        """Renew what the worker names, and tell it what of that it has no more, or nobody waits for any more. Raises
        NotFoundError for a stranger.

        What it does not name goes back where it never knew of it, or says that it hands the rest back. A good-bye alone
        does not say so: results may still be on the way.
        """
        if not self.registry.beat(worker_id, heartbeat_status(heartbeat)):
            raise NotFoundError("worker", worker_id)
        self.own_queues.keep(worker_id)
        named = heartbeat.get("current_tasks")
        if named is None:
            return {"status": "ok"}
        found = dict(zip(named, self.held.find(named), strict=True))
        own = [held for held in found.values() if held is not None and held.worker_id == worker_id]
        renewed = {held.task.task_id for held, is_done in zip(own, self.held.renew(own), strict=True) if is_done}
        if heartbeat["hands_back"]:
            self.held.give_back([held for held in self.held.of(worker_id) if held.task.task_id not in named])
        else:
            stamp = heartbeat.get("timestamp")
            self._take_back(worker_id, named=named, stamped_ms=None if stamp is None else stamp * 1000)
        unwanted = {held.task.task_id for held, is_so in zip(own, self.held.unwanted(own), strict=True) if is_so}
        idle: list[Json] = [name for name in found if name not in renewed or name in unwanted]
        return {"status": "ok", "cancel_task_ids": idle} if idle else {"status": "ok"}

    def _take_back(self, worker_id: str, *, named: Collection[str], stamped_ms: int | None) -> None:
        """Put back what the worker cannot know of: it was handed over a while ago, and never named since."""
        held = [each for each in self.held.of(worker_id) if not each.is_named and each.task.task_id not in named]
        if not held:
            return
        now_ms = self.held.now_ms()
        latest_ms = min(now_ms, now_ms if stamped_ms is None else stamped_ms) - _ARRIVED_MS
        unknown = [each for each in held if each.handed_ms <= latest_ms]
        for each in unknown:
            logger.warning("task %s: worker %s never got it; it goes back", each.task.task_id, worker_id)
        self.held.give_back(unknown)

    def poll(
        self,
        access: WorkerAccess,
        *,
        skills: Collection[str] | None,
        timeout_seconds: float,
        is_welcome: Callable[[], bool],
        hold: Callable[[Callable[[], object]], AbstractContextManager[object]],
    ) -> Poll:
        """A poll that is over: with the task that it got, if it got one. Without *skills*: those that it registered.

        It waits inside ``hold(end)``, where *end* ends it.
        """
        asked = self.registry.skills(access.worker_id) or () if skills is None else skills
        wanted = frozenset(skill for skill in asked if is_user_name(skill) and access.may_run(skill))
        poll = Poll(access.worker_id, wanted, is_welcome=is_welcome)
        if wanted:
            with hold(partial(self.polls.end, poll)):
                self.polls.wait(poll, min(timeout_seconds, LONGEST_HOLD_SECONDS))
        return poll

    def settle(self, worker_id: str, answer: dict[str, Any], *, raw: bytes) -> dict[str, Json]:
        """Take the result of a task that the worker holds; any other changes nothing and is noted."""
        digest = sha256(raw).hexdigest()
        task_id = answer["task_id"]
        if self.held.was_answered(task_id, digest):
            return {"status": "accepted"}
        [held] = self.held.find([task_id])
        reason = _reason_against(held, worker_id, answer)
        if held is not None and reason is None:
            secret = self.keyring.secret
            outgoing = broker.result_message(
                held.task,
                _result(held.task, worker_id, answer),
                headers=broker.dead_letter_headers(held.task, secret),
                signer=secret,
            )
            if self.held.settle(held, outgoing, digest=digest) is not Settled.LOST:
                return {"status": "accepted"}
            reason = "the task is somebody else's now, or was answered"
        self._note(answer["job_id"], task_id, worker_id, reason=str(reason))
        return {"status": "ignored", "reason": "not_held", "message": str(reason)}

    def hear(self, worker_id: str, task_id: str, told: dict[str, Any]) -> dict[str, Json]:
        """Take word of how far a task is, from the worker that holds it."""
        [held] = self.held.find([task_id])
        if held is None or held.worker_id != worker_id:
            return {"status": "error", "message": "the worker does not hold the task"}
        task = held.task
        self.held.tell(
            wire.Progress(
                task.job_id, task_id, task.attempt, worker_id, told["progress"], told["message"][:_MAX_MESSAGE]
            )
        )
        return {"status": "event_accepted"}

    def log_refused(self, worker_id: str, reason: str) -> None:
        """Log that a worker was refused: of each worker once a minute."""
        shown = repr(worker_id[:_LONGEST_ID])
        if self.refusals.allows(shown):
            logger.warning("worker %s is refused: %s", shown, reason)

    def note_refused(self, worker_id: str, answer: dict[str, Any], *, reason: str) -> None:
        """Note a result with a wrong signature, if the worker, whose token is right, holds the task that it names."""
        [held] = self.held.find([str(answer.get("task_id"))])
        if held is not None and held.worker_id == worker_id:
            self._note(held.task.job_id, held.task.task_id, worker_id, reason=reason)

    def _note(self, job_id: str, task_id: str, worker_id: str, *, reason: str) -> None:
        logger.warning("task %s: the result of worker %s is refused: %s", task_id, worker_id, reason)
        if job_of(task_id) == job_id:
            note = {"event_type": "task_result_ignored", "task_id": task_id, "worker_id": worker_id, "reason": reason}
            self.held.note(job_id, note)

    def admit(self, worker_id: str, token: str) -> WorkerAccess:
        """Raises UnauthorizedError unless *token* is the worker's."""
        if not worker_id or not token:
            raise UnauthorizedError(
                "a worker needs its id and its token, in the headers X-Worker-ID and X-Worker-Token"
            )
        try:
            return self.workers.identify(worker_id, token)
        except UnauthorizedError:
            session = self.sessions.of_access(hash_token(token))
            if session is None or session.worker_id != worker_id:
                raise
            return self._continued(session)

    def give_tokens(self, access: WorkerAccess) -> dict[str, Json]:
        """Tokens for a while, for a worker that came with its own."""
        fresh = _Tokens.new()
        self.sessions.begin(Session(access.worker_id, access.basis), fresh.pair)
        return fresh.answer(access.worker_id)

    def refresh_tokens(self, worker_id: str, refresh_token: str) -> dict[str, Json]:
        """The next ones. Raises UnauthorizedError where the worker has none that can be renewed, or may not come in
        now."""
        digest, fresh = hash_token(refresh_token), _Tokens.new()
        session = self.sessions.of_refresh(digest)
        if session is None:
            raise UnauthorizedError("Unauthorized: Invalid refresh token (not found)")
        if session.worker_id != worker_id:
            raise UnauthorizedError("Unauthorized: Invalid refresh token (owner mismatch)")
        self._continued(session)
        answer = self.sessions.refresh(digest, fresh.pair)
        if answer is not Refreshed.OK:
            logger.warning("worker %s: its refresh token is %s", worker_id, answer.lower())
            raise UnauthorizedError("Unauthorized: Invalid refresh token (not found)")
        return fresh.answer(worker_id)

    def _continued(self, session: Session) -> WorkerAccess:
        """What *session* still stands for: it ends with the token that it began by."""
        return self.workers.identify_session(session.worker_id, session.basis)


@dataclass(frozen=True, slots=True)
class _Tokens:
    access: str = field(repr=False)
    refresh: str = field(repr=False)

    @classmethod
    def new(cls) -> _Tokens:
        return cls(new_token(), new_token())

    @property
    def pair(self) -> Pair:
        return Pair(hash_token(self.access), hash_token(self.refresh))

    def answer(self, worker_id: str) -> dict[str, Json]:
        return {
            "access_token": self.access,
            "refresh_token": self.refresh,
            "expires_in": ACCESS_SECONDS,
            "worker_id": worker_id,
        }


def task_body(poll: Poll, *, now_seconds: float) -> dict[str, Any]:
    """A task as workers read it: whole numbers and objects exactly where they expect them."""
    task = poll.task
    if task is None:
        raise ValueError("this poll got no task")
    return {
        "job_id": task.job_id,
        "task_id": task.task_id,
        "type": task.task_type,
        "params": dict(task.params),
        "priority": poll.priority,
        "timestamp": int(now_seconds),
        "tracing_context": {},
        "attempt": task.attempt,
        "outcomes": list(task.outcomes),
        "client": task.client,
        "deliveries": poll.deliveries,
    }


def _reason_against(held: TaskLease | None, worker_id: str, answer: dict[str, Any]) -> str | None:
    if held is None or held.worker_id != worker_id:
        return "the worker does not hold the task"
    if answer["job_id"] != held.task.job_id:
        return "the task is of another job"
    if answer.get("attempt", held.task.attempt) != held.task.attempt:
        return "the task is at another attempt"
    return None


def _result(task: wire.TaskMessage, worker_id: str, answer: dict[str, Any]) -> Result:
    seconds = answer["costs"].get("execution_time_seconds")
    is_known = isinstance(seconds, int | float) and not isinstance(seconds, bool) and 0 <= seconds < 1e9
    return Result(
        task.job_id,
        task.task_id,
        task.attempt,
        answer["status"],
        answer["data"],
        answer["error"],
        worker_id,
        round(seconds * 1000) if is_known else None,
    )


def parsed_skills(text: str | None) -> list[str] | None:
    """``a,b`` as a list; None where the query says nothing of skills."""
    return None if text is None else [name for name in text.split(",") if name]


def unread_answer(raw: bytes) -> dict[str, Any]:
    """What little is needed of a result that is refused unread: its task, if it names one."""
    try:
        body = orjson.loads(raw)
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}
