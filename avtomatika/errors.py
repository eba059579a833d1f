"""The one error tree. Messages name the thing and its value; the rim (HTTP, CLI) translates classes, never texts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from difflib import get_close_matches


class AvtomatikaError(Exception):
    """Whatever this library raises on purpose."""

    #: Stable word for programs; part of the HTTP problem body.
    code = "error"


# ---------------------------------------------------------------- what a user wrote


class BlueprintError(AvtomatikaError):
    """A blueprint that cannot run; found before it does."""

    code = "blueprint_error"

    def __init__(self, message: str, *, blueprint: str, state: str | None = None, line: int | None = None) -> None:
        where = f"blueprint {blueprint!r}"
        if state is not None:
            where += f", state {state!r}"
        if line is not None:
            where += f", line {line}"
        super().__init__(f"{where}: {message}")
        self.blueprint = blueprint
        self.state = state
        self.line = line


class HandlerError(AvtomatikaError):
    """A handler broke its contract (no action, two of them, undeclared target ...): trying again cannot help."""

    code = "handler_error"


class SkillError(AvtomatikaError):
    """A skill that cannot be called as it is written; found when it is registered."""

    code = "skill_error"


class SettingsError(AvtomatikaError):
    """A setting that is missing or does not parse."""

    code = "settings_error"


# ---------------------------------------------------------------- what a client asked for


class InvalidRequestError(AvtomatikaError):
    """A request whose fields do not fit; *fields* maps dotted field names to messages."""

    code = "invalid_request"

    def __init__(self, message: str, *, fields: Mapping[str, object] | None = None) -> None:
        super().__init__(message)
        self.fields = dict(fields or {})


class UnauthorizedError(AvtomatikaError):
    """No token, or one that nobody has."""

    code = "unauthorized"


class TooManyAttemptsError(AvtomatikaError):
    """Too many invalid tokens came from one address."""

    code = "too_many_attempts"

    def __init__(self, message: str | None = None, *, retry_after_seconds: int) -> None:
        super().__init__(message or f"too many invalid tokens from this address: wait {retry_after_seconds} seconds")
        self.retry_after_seconds = retry_after_seconds


class ForbiddenError(AvtomatikaError):
    """The token is known, but does not go so far."""

    code = "forbidden"


class ExpiredError(AvtomatikaError):
    """It was good once, and its time is over."""

    code = "expired"


class NotFoundError(AvtomatikaError):
    """There is no such thing, or it is not the caller's."""

    code = "not_found"

    def __init__(self, kind: str, name: str, *, known: Iterable[str] = ()) -> None:
        message = f"no {kind} {name!r}"
        near = get_close_matches(name, list(known), n=3)
        if near:
            message += f"; did you mean {', '.join(repr(word) for word in near)}?"
        super().__init__(message)
        self.kind = kind
        self.name = name
        self.near = near


class ConflictError(AvtomatikaError):
    """What was asked for does not fit the present state of the thing."""

    code = "conflict"


class QuotaExceededError(AvtomatikaError):
    """The client has created as many jobs as it may in a month; *renews* is when the next one begins."""

    code = "quota_exceeded"

    def __init__(self, *, limit: int, created: int, asked: int, renews: datetime) -> None:
        asked_for = "" if asked == 1 else f", and {asked} more were asked for"
        super().__init__(
            f"{created} of {limit} jobs a month have been created{asked_for}; it renews at {renews:%Y-%m-%d %H:%M} UTC"
        )
        self.limit = limit
        self.created = created
        self.renews = renews


class UnreadableRecordError(AvtomatikaError):
    """A stored job that this version cannot read; other jobs are not affected."""

    code = "unreadable_record"

    def __init__(self, job_id: str, reason: str) -> None:
        super().__init__(f"job {job_id!r} cannot be read by this version: {reason}")
        self.job_id = job_id


# ---------------------------------------------------------------- what is away or full


class TooManyRequestsError(AvtomatikaError):
    """The client uses all of its share; asking again later may work."""

    code = "too_many_requests"

    def __init__(self, message: str, *, retry_after_seconds: int = 2) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


class UnavailableError(AvtomatikaError):
    """Something we stand on does not answer; asking again later may work."""

    code = "unavailable"

    def __init__(self, message: str, *, retry_after_seconds: int = 2) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


class NoRouteError(AvtomatikaError):
    """A message whose routing key leads nowhere; it was not sent."""

    code = "no_route"

    def __init__(self, exchange: str, routing_key: str, message: str | None = None) -> None:
        super().__init__(message or f"no queue is bound to exchange {exchange!r} with routing key {routing_key!r}")
        self.exchange = exchange
        self.routing_key = routing_key


# ---------------------------------------------------------------- what a skill may raise


class TaskError(AvtomatikaError):
    """A task that ended badly; the class says whether another try can help."""

    code = "PERMANENT_ERROR"


class TransientError(TaskError):
    """Another try may succeed: retried with back-off."""

    code = "TRANSIENT_ERROR"


class WorkerFaultError(TransientError):
    """This worker cannot do the task, and another one may: the task goes on to one that has not refused it.

    *probe* tells how to see that the worker is fit again: until then it takes no tasks of the skill. None if only this
    task is refused; then the fault is the task's if every worker refuses it.
    """

    def __init__(self, message: str, *, probe: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.probe = probe


class WorkerSettingsError(WorkerFaultError):
    """A worker lacks a setting that the task needs. If all workers lack it, the job is quarantined."""

    code = "WORKER_SETTINGS_ERROR"


class PermanentError(TaskError):
    """Another try cannot succeed: the ``failure`` transition, else quarantine."""

    code = "PERMANENT_ERROR"


class InvalidInputError(TaskError):
    """The parameters are wrong: the ``failure`` transition, else the job fails at once."""

    code = "INVALID_INPUT_ERROR"
