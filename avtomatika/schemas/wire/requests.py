"""Task requests: tasks that kombu and Celery programs publish to the queue of a skill.

A worker that receives one forwards it to the orchestrators, which create a job for it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime

import orjson

from avtomatika.core.job import Json
from avtomatika.core.signing import Signer
from avtomatika.schemas.fields import count, identifier, json_object, or_null, seconds, text

from .body import InvalidMessageError, dump, load_kind, read

#: Queues whose names start so are ours: a reply must not reach them.
_OWN_QUEUES = ("avt.", "steps.", "control.", "@")
_FIELDS = (
    text("worker_id"),
    identifier("skill"),
    identifier("id"),
    ("args", lambda value: isinstance(value, list), "a list"),
    json_object("params"),
    or_null(json_object("reply")),
    or_null(count("priority")),
    or_null(count("at_ms")),
    or_null(count("expires_ms")),
    or_null(seconds("time_limit")),
)
#: Celery's states; any other status is its FAILURE.
_STATES = {"finished": "SUCCESS", "cancelled": "REVOKED"}


@dataclass(frozen=True, slots=True)
class TaskRequest:
    """A task of *skill*, forwarded by *worker_id* ("" for a web process).

    A repeated *id* is the same task. *args* are arguments by position, *params* by name. It starts at *at_ms* and is
    not started after *expires_ms* (milliseconds since the epoch). *reply* is where its result goes: :func:`reply_to`.
    """

    worker_id: str
    skill: str
    id: str
    args: Sequence[Json]
    params: Mapping[str, Json]
    reply: Mapping[str, Json] | None = None
    priority: int | None = None
    at_ms: int | None = None
    expires_ms: int | None = None
    time_limit: float | None = None


def read_request(
    body: bytes, headers: Mapping[str, Json], properties: Mapping[str, Json], *, skill: str, tag: str, worker_id: str
) -> TaskRequest:
    """Read the message of another program: Celery's (protocol 2), or a JSON object with the params.

    *tag* identifies a message without an id. Raises InvalidMessageError.
    """
    try:
        content = orjson.loads(body)
    except ValueError as error:
        raise _invalid("body", body[:100], f"JSON ({error})") from None
    reply = reply_to(headers, properties)
    if properties.get("reply_to") and reply is None:
        raise _invalid("reply_to", properties["reply_to"], "the name of a queue of your own")
    priority = properties.get("priority")
    priority = min(priority, 9) if isinstance(priority, int) and priority >= 0 else None
    request_id = str(headers.get("id") or properties.get("message_id") or tag)
    if "task" not in headers:
        if not isinstance(content, dict):
            raise _invalid("body", content, "a JSON object with the params of the skill")
        return TaskRequest(worker_id, skill, request_id, [], content, reply, priority)
    args, params = _celery_arguments(content, headers["task"], skill)
    reply = None if headers.get("ignore_result") else reply
    at_ms, expires_ms = (_milliseconds(headers, name) for name in ("eta", "expires"))
    time_limit = (headers.get("timelimit") or [None])[0]
    return TaskRequest(worker_id, skill, request_id, args, params, reply, priority, at_ms, expires_ms, time_limit)


def reply_to(headers: Mapping[str, Json], properties: Mapping[str, Json]) -> dict[str, Json] | None:
    """Return where the result of a message goes: queue, correlation id, and the id that Celery gave the task."""
    queue = properties.get("reply_to")
    if not isinstance(queue, str) or not queue or queue.startswith(_OWN_QUEUES):
        return None
    return {"queue": queue, "correlation_id": properties.get("correlation_id"), "celery_id": headers.get("id")}


def dump_task_request(request: TaskRequest, signer: Signer | None) -> str:
    """Encode a task request."""
    return dump("request", asdict(request), signer=signer)


def load_task_request(raw: str | bytes) -> TaskRequest:
    """Decode a task request."""
    return TaskRequest(**read("request", load_kind("request", raw), _FIELDS))


def dump_reply(
    reply: Mapping[str, Json],
    *,
    status: str,
    result: Json = None,
    error: Mapping[str, Json] | None = None,
    job_id: str | None = None,
) -> str:
    """Encode the reply that tells how a job ended (*status*), as the program that sent the task expects it."""
    if isinstance(result, Mapping) and result.keys() == {"result"}:
        result = result["result"]  # a worker's form of a value that is not an object
    if reply["celery_id"] is None:
        return orjson.dumps({"job_id": job_id, "status": status, "result": result, "error": error}).decode()
    error, state = error or {}, _STATES.get(status, "FAILURE")
    if state != "SUCCESS":
        kind, module = error.get("code", "ERROR"), None
        if state == "REVOKED":
            kind, module = "TaskRevokedError", "celery.exceptions"
        result = {"exc_type": kind, "exc_module": module, "exc_message": [error.get("message", f"job {job_id}")]}
    values = {"status": state, "result": result, "traceback": error.get("traceback"), "children": []}
    return orjson.dumps({"task_id": reply["celery_id"], **values}).decode()


def _celery_arguments(content: Json, name: Json, skill: str) -> tuple[list[Json], dict[str, Json]]:
    match content:
        case [list() as args, dict() as kwargs, dict() | None as embed]:
            if canvas := sorted(word for word, value in (embed or {}).items() if value):
                raise _invalid("body", canvas, "a task without callbacks, chains and chords")
        case _:
            raise _invalid("body", content, "[args, kwargs, embed] (Celery's protocol 2)")
    if str(name).rpartition(".")[2] != skill:
        raise _invalid("task", name, f"{skill!r}, the skill of the queue, or a name that ends with '.{skill}'")
    return args, kwargs


def _milliseconds(headers: Mapping[str, Json], name: str) -> int | None:
    """Return a time in milliseconds since the epoch; one without a time zone is UTC."""
    if not (value := headers.get(name)):
        return None
    try:
        time = datetime.fromisoformat(value)
    except (TypeError, ValueError):
        raise _invalid(name, value, "a time in ISO 8601") from None
    return round((time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp() * 1000)


def _invalid(field: str, value: Json, expected: str) -> InvalidMessageError:
    return InvalidMessageError("task request", field=field, value=value, expected=expected)
