"""All errors of the library in one tree. Messages name the thing and its value; HTTP and CLI translate classes, never
messages.
"""

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from difflib import get_close_matches


class AvtomatikaError(Exception):
    """The base class of all errors that this library raises."""

    #: Stable identifier for programs; part of the HTTP problem body.
    code = "error"


# ---------------------------------------------------------------- users' code and settings


class BlueprintError(AvtomatikaError):
    """A blueprint that cannot run, found before it does."""

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
    """A handler broke its contract, such as no action or two; retries cannot help."""

    code = "handler_error"


class SkillError(AvtomatikaError):
    """A skill that cannot be called as written, found at its registration."""

    code = "skill_error"


class SettingsError(AvtomatikaError):
    """A setting that is missing or invalid."""

    code = "settings_error"


# ---------------------------------------------------------------- requests


class InvalidRequestError(AvtomatikaError):
    """A request with invalid fields; *fields* maps dotted field names to messages."""

    code = "invalid_request"

    def __init__(self, message: str, *, fields: Mapping[str, object] | None = None) -> None:
        super().__init__(message)
        self.fields = dict(fields or {})
        for field, reason in self.reasons():
            if reason not in message:
                self.add_note(f"{field}: {reason}")  # part of a traceback

    def reasons(self) -> Iterator[tuple[str, str]]:
        """Yield the path of each invalid field, with dots, and what is wrong with it."""
        return _reasons(self.fields, "")


def _reasons(fields: object, path: str) -> Iterator[tuple[str, str]]:
    if isinstance(fields, Mapping):
        for name, inner in fields.items():
            yield from _reasons(inner, f"{path}.{name}" if path else str(name))
    else:
        yield path, "; ".join(map(str, fields)) if isinstance(fields, list) else str(fields)


class UnauthorizedError(AvtomatikaError):
    """The token is missing or unknown."""

    code = "unauthorized"


class TooManyAttemptsError(AvtomatikaError):
    """One address sent too many invalid tokens."""

    code = "too_many_attempts"

    def __init__(self, message: str | None = None, *, retry_after_seconds: int) -> None:
        super().__init__(message or f"too many invalid tokens from this address: wait {retry_after_seconds} seconds")
        self.retry_after_seconds = retry_after_seconds


class ForbiddenError(AvtomatikaError):
    """The token is valid but does not permit this."""

    code = "forbidden"


class ExpiredError(AvtomatikaError):
    """A token or link that has expired."""

    code = "expired"


class NotFoundError(AvtomatikaError):
    """The thing does not exist, or does not belong to the caller."""

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
    """The request conflicts with the current state of the thing."""

    code = "conflict"


class QuotaExceededError(AvtomatikaError):
    """The client has created its maximum number of jobs in a month; *renews* is the start of the next one."""

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


# ---------------------------------------------------------------- unavailable or full


class TooManyRequestsError(AvtomatikaError):
    """The client uses its whole share; a later retry may succeed."""

    code = "too_many_requests"

    def __init__(self, message: str, *, retry_after_seconds: int = 2) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


class RateLimitError(TooManyRequestsError):
    """The client has sent its maximum number of requests in a window of time."""

    code = "rate_limit_exceeded"


class UnavailableError(AvtomatikaError):
    """A service that this one depends on does not respond; a later retry may succeed."""

    code = "unavailable"

    def __init__(self, message: str, *, retry_after_seconds: int = 2) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


class HistoryUnavailableError(UnavailableError):
    """The history database cannot be used."""

    code = "history_unavailable"


class NoRouteError(AvtomatikaError):
    """A message whose routing key matches no binding; it was not sent."""

    code = "no_route"

    def __init__(self, exchange: str, routing_key: str, message: str | None = None) -> None:
        super().__init__(message or f"no queue is bound to exchange {exchange!r} with routing key {routing_key!r}")
        self.exchange = exchange
        self.routing_key = routing_key


# ---------------------------------------------------------------- raised by skills


class TaskFailedError(AvtomatikaError):
    """A single task that failed or was cancelled: *error_code* and *reason* are the error of its job."""

    code = "task_failed"

    def __init__(self, job_id: str, *, status: str, error_code: str, reason: str) -> None:
        super().__init__(f"task {job_id} is {status}: {error_code}: {reason}")
        self.job_id = job_id
        self.status = status
        self.error_code = error_code
        self.reason = reason


class TaskError(AvtomatikaError):
    """A failed task; the class says whether a retry can help."""

    code = "PERMANENT_ERROR"


class TransientError(TaskError):
    """A retry may succeed: retried with back-off."""

    code = "TRANSIENT_ERROR"


class WorkerFaultError(TransientError):
    """This worker cannot run the task, but another may: it is sent to one that has not refused it.

    *probe* says how to check that the worker has recovered; until then it takes no tasks of the skill. None if only
    this task is refused; if every worker refuses it, the task itself is at fault.
    """

    def __init__(self, message: str, *, probe: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.probe = probe


class WorkerSettingsError(WorkerFaultError):
    """A worker lacks a setting that the task needs. If all workers lack it, the job is quarantined."""

    code = "WORKER_SETTINGS_ERROR"


class PermanentError(TaskError):
    """A retry cannot succeed: the ``failure`` transition, else quarantine."""

    code = "PERMANENT_ERROR"


class InvalidInputError(TaskError):
    """The parameters are invalid: the ``failure`` transition, else the job fails."""

    code = "INVALID_INPUT_ERROR"


class InvalidValueError(InvalidInputError):
    """Values that do not fit their types; *problems* are pairs of a path, such as ``params.width``, and a message."""

    def __init__(self, *problems: tuple[str, str]) -> None:
        super().__init__("; ".join(f"{path}: {message}" for path, message in problems))
        self.problems = problems
