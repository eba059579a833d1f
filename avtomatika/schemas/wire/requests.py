"""Task requests: tasks that kombu and Celery programs publish to the queue of a skill.

A worker that receives one forwards it to the orchestrators, which create a job for it.
"""

from collections.abc import Mapping
from datetime import UTC, datetime

import orjson

from avtomatika.core.frozen import dataclass
from avtomatika.core.job import Json
from avtomatika.core.signing import Signer
from avtomatika.schemas.fields import anything, identifier, json_object, text

from .body import InvalidMessageError, dump, load_kind, read

#: Queues whose names start so are ours: a reply must not reach them.
_OWN_QUEUES = ("avt.", "steps.", "control.", "@")
_OPTIONS = (json_object("headers"), json_object("properties"), anything("content"))
_FIELDS = (text("worker_id"), identifier("skill"), identifier("tag"), *_OPTIONS)
#: Celery's states; any other status is its FAILURE.
_STATES = {"finished": "SUCCESS", "cancelled": "REVOKED"}


@dataclass(frozen=True, slots=True)
class TaskRequest:
    """The message *tag* in the queue of *skill*, forwarded by *worker_id* ("" for a web process).

    *content* is its body: the params, or that of Celery's protocol 2 if it has the header ``task``.
    """

    worker_id: str
    skill: str
    tag: str
    headers: Mapping[str, Json]
    properties: Mapping[str, Json]
    content: Json

    def arguments(self) -> tuple[list[Json], dict[str, Json]]:
        """Return the arguments by position and by name. Raises InvalidMessageError."""
        if "task" not in self.headers:
            if not isinstance(self.content, dict):
                raise _invalid("body", self.content, "a JSON object with the params of the skill")
            return [], self.content
        match self.content:
            case [list() as args, dict() as kwargs, dict() | None as embed]:
                if canvas := sorted(word for word, value in (embed or {}).items() if value):
                    raise _invalid("body", canvas, "a task without callbacks, chains and chords")
            case _:
                raise _invalid("body", self.content, "[args, kwargs, embed] (Celery's protocol 2)")
        name, skill = self.headers["task"], self.skill
        if str(name).rpartition(".")[2] != skill:
            raise _invalid("task", name, f"{skill!r}, the skill of the queue, or a name that ends with '.{skill}'")
        return args, kwargs

    def time(self, name: str) -> int | None:
        """Return the time in a header in ms since the epoch; without a zone it is UTC. Raises InvalidMessageError."""
        if not (value := self.headers.get(name)):
            return None
        try:
            time = datetime.fromisoformat(value)
        except (TypeError, ValueError):
            raise _invalid(name, value, "a time in ISO 8601") from None
        return max(round((time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp() * 1000), 0)

    def reply(self) -> Mapping[str, Json] | None:
        """Return :func:`reply_to`, None if no result is wanted. Raises InvalidMessageError for a queue of ours."""
        reply = reply_to(self.headers, self.properties)
        if reply is None and (queue := self.properties.get("reply_to")):
            raise _invalid("reply_to", queue, "the name of a queue of your own")
        return None if self.headers.get("ignore_result") else reply


def reply_to(headers: Mapping[str, Json], properties: Mapping[str, Json]) -> dict[str, Json] | None:
    """Return where the result of a message goes: queue, correlation id, and the id that Celery gave the task."""
    queue = properties.get("reply_to")
    if not isinstance(queue, str) or not queue or queue.startswith(_OWN_QUEUES):
        return None
    return {"queue": queue, "correlation_id": properties.get("correlation_id"), "celery_id": headers.get("id")}


def dump_task_request(request: TaskRequest, signer: Signer | None) -> str:
    """Encode a task request. Raises TypeError if it is nested too deeply."""
    return dump("request", {name: getattr(request, name) for name, _, _ in _FIELDS}, signer=signer)


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


def _invalid(field: str, value: Json, expected: str) -> InvalidMessageError:
    return InvalidMessageError("task request", field=field, value=value, expected=expected)
