"""What a job that pauses waits for, as people are told of it: a time, a person, a job of another blueprint."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from avtomatika.core.job import Job
from avtomatika.core.machine.waits import decisions


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitView:
    """``until_ms`` is None where it may take for ever; both times are the server's clock, milliseconds since the epoch.

    An approval has a *message*, the *integration* that its handler named, and the *decisions* that may be taken; a
    child has its *child_id*.
    """

    kind: Literal["timer", "approval", "child"]
    since_ms: int
    until_ms: int | None = None
    integration: str | None = None
    message: str | None = None
    decisions: Sequence[str] | None = None
    child_id: str | None = None


def waiting_for(job: Job) -> WaitView | None:
    """What *job* waits for, where that is no task. (No commit comes while a job pauses: it began with the last.)"""
    pause = job.pause
    if pause is None or job.status.is_final:
        return None
    details, since_ms = pause.details, job.updated_ms
    match pause.kind:
        case "timer":
            until_ms = details.get("until_ms")
            if until_ms is None:
                until_ms = since_ms + round(details["seconds"] * 1000)
            return WaitView(kind="timer", since_ms=since_ms, until_ms=until_ms)
        case "approval":
            limit = details.get("timeout_seconds")
            return WaitView(
                kind="approval",
                since_ms=since_ms,
                until_ms=None if limit is None else since_ms + round(limit * 1000),
                integration=details["integration"],
                message=details["message"],
                decisions=decisions(pause),
            )
        case "child":
            return WaitView(kind="child", since_ms=since_ms, child_id=details["child_id"])
