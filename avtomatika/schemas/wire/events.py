"""Job events: the messages of step queues."""

from collections.abc import Callable, Mapping
from typing import Any

from orjson import Fragment

from avtomatika.core import events
from avtomatika.core.events import DeadLetter, Event, Result
from avtomatika.core.job import Json
from avtomatika.core.signing import GroupSecret, Signer
from avtomatika.schemas.fields import anything, attempt, count, identifier, json_object, one_of, or_null, text

from .body import MessageKinds, dump, invalid_field, load, now_ms

_JOB_ID = identifier("job_id")
_TASK_ID = identifier("task_id")
_ATTEMPT = attempt("attempt")

_EVENTS: MessageKinds[Event] = MessageKinds(
    "step",
    {
        "start": (events.Start, (_JOB_ID,)),
        "enter": (events.Enter, (_JOB_ID, identifier("state"), count("transition"))),
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
        "retry_task": (events.RetryTask, (_JOB_ID, _TASK_ID, _ATTEMPT)),
        "place_task": (events.PlaceTask, (_JOB_ID, _TASK_ID, _ATTEMPT, count("visit"), count("waited"))),
        "task_timeout": (events.TaskTimeout, (_JOB_ID, _TASK_ID, _ATTEMPT, one_of("which", "dispatch", "result"))),
        "retry_handler": (events.RetryHandler, (_JOB_ID, identifier("state"), count("transition"), count("failures"))),
        "joined": (events.Joined, (_JOB_ID, count("step"))),
        "next_branches": (events.NextBranches, (_JOB_ID, count("step"), count("sent"))),
        "cancel_children": (events.CancelChildren, (_JOB_ID, count("step"), count("first"), count("last"))),
        "time_reached": (events.TimeReached, (_JOB_ID, identifier("token"))),
        "decision": (
            events.Decision,
            (
                _JOB_ID,
                identifier("token"),
                identifier("decision"),
                text("by"),
                or_null(text("comment")),
                or_null(json_object("data")),
            ),
        ),
        "signal_received": (events.SignalReceived, (_JOB_ID, identifier("token"))),
        "child_ended": (
            events.ChildEnded,
            (
                _JOB_ID,
                identifier("child_id"),
                one_of("status", "finished", "failed", "cancelled", "error"),
                anything("result"),
                or_null(json_object("error")),
            ),
        ),
        "child_quarantined": (
            events.ChildQuarantined,
            (_JOB_ID, identifier("child_id"), count("number"), json_object("error")),
        ),
        "signal": (
            events.Signal,
            (_JOB_ID, one_of("wish", "cancel", "retry", "expire"), text("by"), identifier("token")),
        ),
        "deadline": (events.DeadlineExceeded, (_JOB_ID,)),
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
    },
)


#: (kind, fields, text): raises MessageAuthenticationError when the signature or ticket is not the author's.
Check = Callable[[str, Mapping[str, Any], bytes], None]


def dump_event(event: Event, secret: GroupSecret | None = None) -> str:
    """Encode a step message, signed by the group.

    Raises TypeError if the event contains something that JSON cannot represent.
    """
    kind, values = _values(event)
    return dump(kind, values, signer=secret)


def dump_result(result: Result, *, ticket: str, signer: Signer | None = None, encoded: bytes | None = None) -> str:
    """Encode a worker's result with the *ticket* of the task; *encoded* are its data as JSON, if the caller has
    them."""
    kind, values = _values(result)
    if encoded is not None:
        values["data"] = Fragment(encoded)
    return dump(kind, {**values, "ts": now_ms(), "ticket": ticket}, signer=signer)


def _values(event: Event) -> tuple[str, dict[str, Json]]:
    kind, values = _EVENTS.values(event)
    return kind, {"id": event.id, **values}


def load_event(raw: str | bytes, check: Check | None = None) -> Event:
    """Decode an event; *check* may reject it."""
    body = load("step", raw)
    event = _EVENTS.read(body)
    if body.get("id") != event.id:
        raise invalid_field(body["kind"], body, "id", repr(event.id))
    if check is not None:
        check(body["kind"], body, raw.encode() if isinstance(raw, str) else raw)
    return event


def dead_letter_event_headers(
    exchange: str, prefix: str, dead: DeadLetter, secret: GroupSecret | None
) -> dict[str, Json]:
    """Return headers that publish *dead* to the state of *prefix* if the message is dead-lettered."""
    return {"x-on-dead": {"exchange": exchange, "key": f"{prefix}._unknown", "body": dump_event(dead, secret)}}
