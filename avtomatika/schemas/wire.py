"""Messages on the wire: JSON texts to frozen values and back.

Checked by hand, for every task passes here several times. Whatever comes in, the only error that leaves a ``load_`` is
BadMessage; fields that we do not know are left alone, so that a newer sender may add some.
"""

from __future__ import annotations

import reprlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from time import time_ns
from typing import Any

import orjson

from avtomatika.core.events import DeadLetter, Enter, Event, Result, RetryHandler, RetryTask, Signal, Start, TaskTimeout
from avtomatika.core.job import Json
from avtomatika.core.jsonable import MAX_DEPTH
from avtomatika.errors import AvtomatikaError

from .fields import (
    Field,
    anything,
    attempt,
    count,
    identifier,
    identifiers,
    json_object,
    one_of,
    or_null,
    reply,
    seconds,
    text,
)

#: The version that every message carries.
VERSION = 1
#: Larger messages are refused unread: data of that size belongs into files.
MAX_BYTES = 8 * 1024 * 1024
#: A message may be this much deeper than the data in it.
_ENVELOPE_DEPTH = 4


class BadMessage(AvtomatikaError):
    """A message that cannot be read; *field* is what is wrong with it (``body``: all of it)."""

    code = "bad_message"

    def __init__(self, kind: str, *, field: str, value: object, expected: str) -> None:
        super().__init__(f"{kind} message: {field!r} is {reprlib.repr(value)}, but must be {expected}")
        self.kind = kind
        self.field = field
        self.value = value


@dataclass(frozen=True, slots=True)
class TaskMessage:
    """A task on its way to a worker, with the *outcomes* that it may answer and where the answer goes.

    A result is published to ``reply_exchange`` with the key ``<reply_prefix>.<outcome>``.
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

    @property
    def state(self) -> str:
        """The state that waits for the answer: the end of its prefix."""
        return self.reply_prefix.rpartition(".")[2]


@dataclass(frozen=True, slots=True)
class Taken:
    """A worker is about to begin with an attempt of a task, which *state* waits for."""

    job_id: str
    task_id: str
    attempt: int
    worker_id: str
    state: str


@dataclass(frozen=True, slots=True)
class Due:
    """A message whose time has come: *body* is to be published to *exchange* with *routing_key*."""

    exchange: str
    routing_key: str
    body: str


# ---------------------------------------------------------------- dump


def dump_event(event: Event) -> str:
    """The body of a step message. Raises TypeError where the event holds something that JSON cannot carry."""
    kind = _KINDS[type(event)]
    body: dict[str, Json] = {"v": VERSION, "kind": kind, "id": event.id}
    for name, _, _ in _EVENTS[kind][1]:
        body[name] = getattr(event, name)
    if kind == "result":
        body["ts"] = _now_ms()
    return orjson.dumps(body).decode()


def told_when_dead(exchange: str, prefix: str, dead: DeadLetter) -> dict[str, Json]:
    """Headers of a message whose job hears of it when it is given up: *dead* then goes to the state of *prefix*."""
    return {"x-on-dead": {"exchange": exchange, "key": f"{prefix}._unknown", "body": dump_event(dead)}}


def dump_task(task: TaskMessage) -> str:
    """The body of a task message."""
    body = {
        "v": VERSION,
        "kind": "task",
        "job_id": task.job_id,
        "task_id": task.task_id,
        "attempt": task.attempt,
        "task_type": task.task_type,
        "params": task.params,
        "outcomes": task.outcomes,
        "reply": {"exchange": task.reply_exchange, "prefix": task.reply_prefix},
        "result_timeout": task.result_timeout_seconds,
    }
    return orjson.dumps(body).decode()


def dump_taken(taken: Taken) -> str:
    """The body of a worker's word that it begins."""
    body = {
        "v": VERSION,
        "kind": "taken",
        "job_id": taken.job_id,
        "task_id": taken.task_id,
        "attempt": taken.attempt,
        "worker_id": taken.worker_id,
        "state": taken.state,
        "ts": _now_ms(),
    }
    return orjson.dumps(body).decode()


def dump_due(due: Due) -> str:
    """The body of a timer's message."""
    body = {"v": VERSION, "kind": "due", "exchange": due.exchange, "routing_key": due.routing_key, "body": due.body}
    return orjson.dumps(body).decode()


def _now_ms() -> int:
    return time_ns() // 1_000_000


# ---------------------------------------------------------------- load


def load_event(raw: str | bytes) -> Event:
    """The event that *raw* holds."""
    body = _load("step", raw)
    kind = body.get("kind")
    if not isinstance(kind, str) or kind not in _EVENTS:
        raise _bad("step", body, "kind", f"one of {', '.join(_EVENTS)}")
    make, fields = _EVENTS[kind]
    event = make(**_read(kind, body, fields))
    if body.get("id") != event.id:
        raise _bad(kind, body, "id", repr(event.id))
    return event


def load_task(raw: str | bytes) -> TaskMessage:
    """The task that *raw* holds."""
    body = _load_kind("task", raw)
    values = _read("task", body, _TASK)
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
    )


def load_taken(raw: str | bytes) -> Taken:
    """What a worker said that it begins with."""
    return Taken(**_read("taken", _load_kind("taken", raw), _TAKEN))


def load_due(raw: str | bytes) -> Due:
    """The message that a timer sends on."""
    return Due(**_read("due", _load_kind("due", raw), _DUE))


def _load_kind(kind: str, raw: str | bytes) -> dict[str, Any]:
    body = _load(kind, raw)
    if body.get("kind") != kind:
        raise _bad(kind, body, "kind", repr(kind))
    return body


def _load(kind: str, raw: str | bytes) -> dict[str, Any]:
    if len(raw) > MAX_BYTES:
        raise BadMessage(kind, field="body", value=raw[:100], expected=f"at most {MAX_BYTES} bytes, not {len(raw)}")
    try:
        encoded = raw.encode() if isinstance(raw, str) else raw
        body = orjson.loads(encoded)
    except ValueError as error:
        raise BadMessage(kind, field="body", value=raw[:100], expected=f"JSON ({error})") from None
    if not isinstance(body, dict):
        raise BadMessage(kind, field="body", value=body, expected="an object")
    if encoded.count(b"[") + encoded.count(b"{") > MAX_DEPTH and _is_too_deep(body):
        raise BadMessage(kind, field="body", value=body, expected=f"nested at most {MAX_DEPTH} levels deep")
    version = body.get("v")
    if type(version) is not int or version != VERSION:
        raise _bad(kind, body, "v", str(VERSION))
    return body


def _is_too_deep(body: object) -> bool:
    """What is read must fit into what is written later, and the encoder has a limit."""
    level: list[Any] = [body]
    for _ in range(MAX_DEPTH + _ENVELOPE_DEPTH):
        containers = (node.values() if isinstance(node, dict) else node for node in level)
        level = [child for nodes in containers for child in nodes if isinstance(child, dict | list)]
        if not level:
            return False
    return True


def _read(kind: str, body: Mapping[str, Any], fields: tuple[Field, ...]) -> dict[str, Any]:
    values = {}
    for name, is_right, expected in fields:
        value = body.get(name)
        if not is_right(value):
            raise _bad(kind, body, name, expected)
        values[name] = value
    return values


def _bad(kind: str, body: Mapping[str, Any], field: str, expected: str) -> BadMessage:
    if field not in body:
        expected += " (it is missing)"
    return BadMessage(kind, field=field, value=body.get(field), expected=expected)


# ---------------------------------------------------------------- what each message holds

_JOB_ID = identifier("job_id")
_TASK_ID = identifier("task_id")
_ATTEMPT = attempt("attempt")

#: Kind -> class and fields; fields are called the same on the wire and in the class.
_EVENTS: dict[str, tuple[Callable[..., Event], tuple[Field, ...]]] = {
    "start": (Start, (_JOB_ID,)),
    "enter": (Enter, (_JOB_ID, identifier("state"), count("transition"))),
    "result": (
        Result,
        (
            _JOB_ID,
            _TASK_ID,
            _ATTEMPT,
            identifier("status"),
            anything("data"),
            or_null(json_object("error")),
            or_null(identifier("worker_id")),
            or_null(count("duration_ms")),
        ),
    ),
    "retry_task": (RetryTask, (_JOB_ID, _TASK_ID, _ATTEMPT)),
    "task_timeout": (TaskTimeout, (_JOB_ID, _TASK_ID, _ATTEMPT, one_of("which", "dispatch", "result"))),
    "retry_handler": (RetryHandler, (_JOB_ID, identifier("state"), count("transition"), count("failures"))),
    "signal": (Signal, (_JOB_ID, one_of("wish", "cancel", "retry"), text("by"), identifier("token"))),
    "dead_letter": (
        DeadLetter,
        (
            _JOB_ID,
            text("reason"),
            identifier("state"),
            or_null(_TASK_ID),
            or_null(_ATTEMPT),
            json_object("details"),
        ),
    ),
}
_KINDS = {make: kind for kind, (make, _) in _EVENTS.items()}

_TASK = (
    _JOB_ID,
    _TASK_ID,
    _ATTEMPT,
    identifier("task_type"),
    json_object("params"),
    identifiers("outcomes"),
    reply("reply"),
    or_null(seconds("result_timeout")),
)
_TAKEN = (_JOB_ID, _TASK_ID, _ATTEMPT, identifier("worker_id"), identifier("state"))
_DUE = (identifier("exchange"), text("routing_key"), text("body"))
