"""Results: convert return values and exceptions of skills. Every outcome becomes a result."""

import traceback
from enum import StrEnum
from typing import Any

import orjson

from avtomatika.core.events import Result
from avtomatika.core.job import Json
from avtomatika.core.jsonable import as_json
from avtomatika.errors import HandlerError, PermanentError, TaskError, TransientError, WorkerFaultError
from avtomatika.schemas.fields import MAX_ID_LENGTH
from avtomatika.schemas.wire import TaskMessage

from .task_stream import encodable

#: Maximum size of the error of a result, as JSON.
MAX_ERROR_BYTES = 64 * 1024
#: Error code of a result that is too large.
TOO_LARGE = "RESULT_TOO_LARGE"

_ENVELOPE_KEYS = frozenset({"status", "data", "error"})
#: Maximum length of an error message and of a traceback, in characters.
_MAX_MESSAGE = 4_000
#: Number of traceback lines in a result, counted from the end.
_TRACEBACK_LINES = 12


class StopReason(StrEnum):
    """Reason to stop a running task; the values appear in error messages."""

    CANCELLED = "the task was cancelled or is no longer needed"
    TIMED_OUT = "the time limit of the task was exceeded"


def result_of_value(value: Any, task: TaskMessage, *, worker_id: str, duration_ms: int) -> Result:
    """Return the result of a skill that returned *value*."""
    try:
        status, data, error = _read(value)
    except PermanentError as problem:
        status, data, error = "failure", None, _error(problem.code, str(problem))
    return Result(task.job_id, task.task_id, task.attempt, status, data, error, worker_id, duration_ms)


def result_of_error(problem: BaseException, task: TaskMessage, *, worker_id: str, duration_ms: int) -> Result:
    """Return the result of a skill that raised *problem*. Exceptions other than ours are transient errors."""
    if isinstance(problem, TaskError):
        error = _error(problem.code, _text(problem))
        if isinstance(problem, WorkerFaultError):
            error["worker_fault"] = {"probe": problem.probe}
    else:
        last_lines = "".join(traceback.format_exception(problem)).splitlines()[-_TRACEBACK_LINES:]
        error = _error(TransientError.code, f"{type(problem).__name__}: {_text(problem)}")
        error["traceback"] = encodable("\n".join(last_lines)[-_MAX_MESSAGE:])
    return Result(task.job_id, task.task_id, task.attempt, "failure", None, error, worker_id, duration_ms)


def result_of_stop(why: StopReason, message: str, task: TaskMessage, *, worker_id: str, duration_ms: int) -> Result:
    """Return the result of a stopped skill: cancelled, or a transient error after its time limit."""
    status, code = ("cancelled", "CANCELLED") if why is StopReason.CANCELLED else ("failure", TransientError.code)
    error = _error(code, message)
    return Result(task.job_id, task.task_id, task.attempt, status, None, error, worker_id, duration_ms)


def is_envelope(value: Any) -> bool:
    """Return whether *value* sets the status itself: a string ``status``, and no keys but ``data`` and ``error``.

    >>> is_envelope({"status": "success", "data": {}}), is_envelope({"status": "success", "size": 3})
    (True, False)
    """
    return isinstance(value, dict) and isinstance(value.get("status"), str) and value.keys() <= _ENVELOPE_KEYS


def _read(value: Any) -> tuple[str, Json, dict[str, Json] | None]:
    """Return status, data and error as JSON. Raises PermanentError if they have no JSON form."""
    try:
        plain = as_json(value, "result")
    except HandlerError as problem:
        raise PermanentError(str(problem)) from None
    if not is_envelope(value):
        status, data, error = "success", plain if isinstance(plain, dict) else {"result": plain}, None
    else:
        status, data, error = plain["status"], plain.get("data"), plain.get("error")
    if not 0 < len(status) <= MAX_ID_LENGTH:
        raise PermanentError(f"result.status has {len(status)} characters, but must have 1 to {MAX_ID_LENGTH}")
    if error is not None and (size := len(orjson.dumps(error))) > MAX_ERROR_BYTES:
        raise ResultTooLargeError(f"the error of the result has {size} bytes of JSON, but at most {MAX_ERROR_BYTES}")
    return status, data, error if error is None or isinstance(error, dict) else {"message": str(error)}


class ResultTooLargeError(PermanentError):
    code = TOO_LARGE


def _error(code: str, message: str) -> dict[str, Json]:
    return {"code": code, "message": message}


def _text(problem: BaseException) -> str:
    """Return the text of *problem*, even if its ``__str__`` raises."""
    try:
        text = str(problem)
    except Exception as error:
        text = f"(its text is not available: {type(error).__name__})"
    return encodable(text if len(text) <= _MAX_MESSAGE else f"{text[:_MAX_MESSAGE]}...")
