"""Print the history of a job: followed live, as lines or as a table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from avtomatika.client import Client
from avtomatika.client.answers import HistoryEntry
from avtomatika.core.job import JobStatus

from .output import print_table

#: Longest wait of one request for a change of the job.
_WAIT_SECONDS = 1.0
_COLUMNS = ("seq", "time", "event", "state", "attempt", "worker", "ms", "data")


def events_until_the_end(api: Client, job_id: str) -> Iterator[HistoryEntry]:
    """Yield new history entries until the job ends or is quarantined."""
    seen = 0
    while True:
        job = api.job(job_id, wait=_WAIT_SECONDS if seen else 0)
        for event in api.history(job_id, after=seen)["events"]:
            seen = event["seq"]
            yield event
        status = JobStatus(job["status"])
        if status.is_final or status is JobStatus.QUARANTINED:
            return


def print_history(events: Sequence[HistoryEntry]) -> None:
    """Print a table of the plain values; ``--json`` prints everything."""
    print_table([_row(event) for event in events], _COLUMNS)


def describe(event: HistoryEntry) -> str:
    """Return a history entry as one line."""
    time = _time(event)
    details = [str(event[name]) for name in ("state", "worker_id") if event.get(name)]
    if (event["attempt"] or 0) > 1:
        details.append(f"attempt {event['attempt']}")
    if event["duration_ms"] is not None:
        details.append(f"{event['duration_ms']} ms")
    return f"{time}  {event['event_type']:20} {'  '.join(details)}".rstrip()


def _row(event: HistoryEntry) -> dict[str, object]:
    return {
        "seq": event["seq"],
        "time": _time(event),
        "event": event["event_type"],
        "state": event["state"],
        "attempt": event["attempt"],
        "worker": event["worker_id"],
        "ms": event["duration_ms"],
        "data": _summary(event["data"] or {}),
    }


def _summary(data: dict[str, Any]) -> str:
    """Return the plain values and the message of an error."""
    plain = {name: value for name, value in data.items() if isinstance(value, str | int | float)}
    if isinstance(data.get("error"), dict):
        plain["error"] = data["error"].get("message")
    return ", ".join(f"{name} {value}" for name, value in plain.items())


def _time(event: HistoryEntry) -> str:
    """Return the time of day (UTC) of an RFC 3339 timestamp."""
    return str(event["timestamp"])[11:23]
