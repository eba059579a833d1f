"""From what a skill returned or raised to the result that is sent. Whatever a skill does, there is a result."""

from __future__ import annotations

import os
import traceback
from collections.abc import Mapping
from typing import Any

import orjson

from avtomatika.core.events import Result
from avtomatika.core.job import Json
from avtomatika.core.jsonable import as_json
from avtomatika.errors import HandlerError, PermanentError, TaskError, TransientError, WorkerFaultError
from avtomatika.schemas.fields import MAX_ID_LENGTH
from avtomatika.schemas.wire import TaskMessage

from .stop import StopReason

#: Largest result, as JSON; larger data belongs into files.
MAX_RESULT_BYTES = 1024 * 1024
#: Code of the failure that a larger one becomes.
TOO_LARGE = "RESULT_TOO_LARGE"

_ENVELOPE_KEYS = frozenset({"status", "data", "error"})
#: Longest message and traceback of an exception, in characters.
_MAX_MESSAGE = 4_000
#: How many lines of a traceback a result carries: the last, where it happened.
_TRACEBACK_LINES = 12


def returned(value: Any, task: TaskMessage, *, worker_id: str, duration_ms: int) -> Result:
    """The result of a skill that returned *value*."""
    envelope = value if is_envelope(value) else {"status": "success", "data": _as_data(value)}
    try:
        status, data, error = _read(envelope)
    except PermanentError as problem:
        status, data, error = "failure", None, _error(problem.code, str(problem))
    return Result(task.job_id, task.task_id, task.attempt, status, data, error, worker_id, duration_ms)


def raised(problem: BaseException, task: TaskMessage, *, worker_id: str, duration_ms: int) -> Result:
    """The result of a skill that raised *problem*: what is not one of our own errors may succeed the next time."""
    if isinstance(problem, TaskError):
        error = _error(problem.code, _text(problem))
        if isinstance(problem, WorkerFaultError):
            error["worker_fault"] = {"probe": problem.probe}
    else:
        last_lines = "".join(traceback.format_exception(problem)).splitlines()[-_TRACEBACK_LINES:]
        error = _error(TransientError.code, f"{type(problem).__name__}: {_text(problem)}")
        error["traceback"] = _carried("\n".join(last_lines)[-_MAX_MESSAGE:])
    return Result(task.job_id, task.task_id, task.attempt, "failure", None, error, worker_id, duration_ms)


def stopped(why: StopReason, message: str, task: TaskMessage, *, worker_id: str, duration_ms: int) -> Result:
    """The result of a skill that ended because it was told to: cancelled, or late, which another try may mend."""
    status, code = ("cancelled", "CANCELLED") if why is StopReason.UNWANTED else ("failure", TransientError.code)
    error = _error(code, message)
    return Result(task.job_id, task.task_id, task.attempt, status, None, error, worker_id, duration_ms)


def is_envelope(value: Any) -> bool:
    """Whether a skill said itself what its status is: a text ``status``, and nothing beside ``data`` and ``error``.

    >>> is_envelope({"status": "success", "data": {}}), is_envelope({"status": "success", "size": 3})
    (True, False)
    """
    return isinstance(value, dict) and isinstance(value.get("status"), str) and value.keys() <= _ENVELOPE_KEYS


def _as_data(value: Any) -> Json:
    if isinstance(value, dict):
        return value
    return {"result": os.fspath(value) if isinstance(value, os.PathLike) else value}


def _read(envelope: Mapping[str, Any]) -> tuple[str, Json, dict[str, Json] | None]:
    """Status, data and error as JSON; raises PermanentError where they cannot be sent."""
    try:
        status = as_json(envelope["status"], "the result's status")
        data = as_json(envelope.get("data"), "the result's data")
        error = as_json(envelope.get("error"), "the result's error")
    except HandlerError as problem:
        raise PermanentError(str(problem)) from None
    if not 0 < len(status) <= MAX_ID_LENGTH:
        raise PermanentError(f"the result's status has {len(status)} characters, but must have 1 to {MAX_ID_LENGTH}")
    size = len(orjson.dumps((data, error)))
    if size > MAX_RESULT_BYTES:
        raise _ResultTooLargeError(
            f"the result has {size} bytes of JSON; at most {MAX_RESULT_BYTES} can be sent, so put it into a file"
        )
    return status, data, error if error is None or isinstance(error, dict) else {"message": str(error)}


class _ResultTooLargeError(PermanentError):
    code = TOO_LARGE


def _error(code: str, message: str) -> dict[str, Json]:
    return {"code": code, "message": message}


def _text(problem: BaseException) -> str:
    """What *problem* says, even where its own ``__str__`` is broken."""
    try:
        text = str(problem)
    except Exception as error:
        text = f"(its text cannot be had: {type(error).__name__})"
    return _carried(text if len(text) <= _MAX_MESSAGE else f"{text[:_MAX_MESSAGE]}...")


def _carried(text: str) -> str:
    """*text* without what UTF-8 cannot carry: halves of characters."""
    return text.encode(errors="replace").decode()
