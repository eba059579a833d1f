"""Task messages: from an orchestrator to a worker with the skill."""

from collections.abc import Mapping
from dataclasses import field

from avtomatika.core.frozen import dataclass
from avtomatika.core.job import Json
from avtomatika.schemas.fields import attempt, identifier, identifiers, json_object, or_null, reply, seconds, text

from .body import dump, load_kind, read

_FIELDS = (
    identifier("job_id"),
    identifier("task_id"),
    attempt("attempt"),
    identifier("task_type"),
    json_object("params"),
    identifiers("outcomes"),
    reply("reply"),
    or_null(seconds("result_timeout")),
    or_null(identifier("client")),
    or_null(text("ticket")),
)


@dataclass(frozen=True, slots=True)
class TaskMessage:
    """A task for a worker, with the *outcomes* that it may return and the address for its result.

    A result is published to ``reply_exchange`` with the key ``<reply_prefix>.<outcome>`` and carries the *ticket*.
    *client* owns the job.
    """

    job_id: str
    task_id: str
    attempt: int
    task_type: str
    params: Mapping[str, Json]
    outcomes: tuple[str, ...]
    reply_exchange: str
    reply_prefix: str
    result_timeout_seconds: float | None = None
    client: str | None = None
    ticket: str = field(default="", repr=False)

    @property
    def state(self) -> str:
        """The state that waits for the result: the last part of its prefix."""
        return self.reply_prefix.rpartition(".")[2]


def dump_task(task: TaskMessage) -> str:
    """Encode a task."""
    values = {
        "job_id": task.job_id,
        "task_id": task.task_id,
        "attempt": task.attempt,
        "task_type": task.task_type,
        "params": task.params,
        "outcomes": task.outcomes,
        "reply": {"exchange": task.reply_exchange, "prefix": task.reply_prefix},
        "result_timeout": task.result_timeout_seconds,
        "client": task.client,
        "ticket": task.ticket,
    }
    return dump("task", values)


def load_task(raw: str | bytes) -> TaskMessage:
    """Decode a task."""
    body = load_kind("task", raw)
    values = read("task", body, _FIELDS)
    answer = values["reply"]
    return TaskMessage(
        values["job_id"],
        values["task_id"],
        values["attempt"],
        values["task_type"],
        values["params"],
        tuple(values["outcomes"]),
        answer["exchange"],
        answer["prefix"],
        values["result_timeout"],
        values["client"],
        values["ticket"] or "",
    )
