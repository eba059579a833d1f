"""The wait of a job, for display: a time, a person, a signal, a child job."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from avtomatika.core.job import Job, Json
from avtomatika.core.machine.waits import decisions


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitView:
    """A wait from *since_ms* to *until_ms* (None without a limit), in milliseconds since the epoch of the server.

    An approval has a *message*, the *integration* of its handler, the possible *decisions*, the JSON Schema of the data
    that it asks for, its *form*, and those who may decide, *assignees* and clients with *role*. A *signal* has its name
    and form, a child has its *child_id*.
    """

    kind: Literal["timer", "approval", "signal", "child"]
    since_ms: int
    until_ms: int | None = None
    integration: str | None = None
    message: str | None = None
    decisions: Sequence[str] | None = None
    form: Mapping[str, Json] | None = None
    assignees: Sequence[str] = ()
    role: str | None = None
    signal: str | None = None
    child_id: str | None = None


def waiting_for(job: Job) -> WaitView | None:
    """Return what *job* waits for other than tasks. (The wait started with the last commit: none happens while a job
    waits.)"""
    wait = job.wait
    if wait is None or job.status.is_final:
        return None
    details, since_ms = wait.details, job.updated_ms
    match wait.kind:
        case "timer":
            until_ms = details.get("until_ms")
            if until_ms is None:
                until_ms = since_ms + round(details["seconds"] * 1000)
            return WaitView(kind="timer", since_ms=since_ms, until_ms=until_ms)
        case "approval" | "signal":
            limit = details.get("timeout_seconds")
            return WaitView(
                kind=wait.kind,
                since_ms=since_ms,
                until_ms=None if limit is None else since_ms + round(limit * 1000),
                integration=details.get("integration"),
                message=details.get("message"),
                decisions=decisions(wait) if wait.kind == "approval" else None,
                form=details.get("form"),
                assignees=details.get("assignees", ()),
                role=details.get("role"),
                signal=details.get("signal"),
            )
        case "child":
            return WaitView(kind="child", since_ms=since_ms, child_id=details["child_id"])
