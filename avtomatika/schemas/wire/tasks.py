"""Task messages: from an orchestrator to a worker with the skill."""

from collections.abc import Mapping
from dataclasses import field

from avtomatika.core.frozen import dataclass
from avtomatika.core.job import Json
from avtomatika.schemas.fields import attempt, identifier, identifiers, json_object, or_null, reply, seconds, text

from .body import dump, load_kind, read

_SAME = (
    identifier("job_id"),
    identifier("task_id"),
    attempt("attempt"),
    identifier("task_type"),
    json_object("params"),
    identifiers("outcomes"),
    or_null(identifier("client")),
    or_null(text("ticket")),
)
_FIELDS = (*_SAME, reply("reply"), or_null(seconds("result_timeout")), or_null(json_object("tracing_context")))


@dataclass(frozen=True, slots=True)
class TaskMessage:
    """A task for a worker, with the *outcomes* that it may return and the address for its result.

    A result is published to ``reply_exchange`` with the key ``<reply_prefix>.<outcome>`` and carries the *ticket*.
    *client* owns the job. *tracing_context* has ``traceparent`` and ``sent_ms`` (``tracing.task_context``).
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
    tracing_context: Mapping[str, Json] | None = None

    @property
    def state(self) -> str:
        """The state that waits for the result: the last part of its prefix."""
        return self.reply_prefix.rpartition(".")[2]


def dump_task(task: TaskMessage) -> str:
    """Encode a task."""
    reply = {"exchange": task.reply_exchange, "prefix": task.reply_prefix}
    same = {name: getattr(task, name) for name, _, _ in _SAME}
    tracing = {} if task.tracing_context is None else {"tracing_context": task.tracing_context}
    return dump("task", {**same, "reply": reply, "result_timeout": task.result_timeout_seconds, **tracing})


def load_task(raw: str | bytes) -> TaskMessage:
    """Decode a task."""
    values = read("task", load_kind("task", raw), _FIELDS)
    reply, timeout_seconds = values.pop("reply"), values.pop("result_timeout")
    values |= {"outcomes": tuple(values["outcomes"]), "ticket": values["ticket"] or ""}
    return TaskMessage(
        **values,
        reply_exchange=reply["exchange"],
        reply_prefix=reply["prefix"],
        result_timeout_seconds=timeout_seconds,
    )
