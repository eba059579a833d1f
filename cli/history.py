"""``avtomatika history``, and the history of a job: followed live with its stream, as lines, or as a table."""

import json
from collections.abc import Iterator, Sequence
from contextlib import suppress
from heapq import merge
from math import inf
from time import monotonic
from typing import Any

import click

from avtomatika.client import Client
from avtomatika.client.answers import HistoryEntry, StreamEntry
from avtomatika.core.job import JobStatus
from avtomatika.errors import NotFoundError

from .api import api_options, pass_api
from .many_jobs import filter_options
from .output import print_table
from .streams import described

#: Longest wait of one request for a change of the job.
_WAIT_SECONDS = 1.0
_COLUMNS = ("seq", "time", "event", "state", "attempt", "worker", "ms", "data")


@click.group("history")
@api_options
def command() -> None:
    """Export ended jobs."""


@command.command()
@filter_options
@click.option("--output", type=click.File("w", lazy=True), default="-", help="Write to this file.")
@pass_api
def export(api: Client, /, output: Any, **wanted: Any) -> None:
    """Export jobs of server and archive, oldest first; without --status those that have ended.

    Each is a line of JSON with the job, its data and its history, as `avtomatika jobs export` writes it.

    \b
        avtomatika history export --since 2026-01-01T00:00:00Z --output jobs.jsonl
    """
    wanted["status"] = wanted["status"] or [status for status in JobStatus if status.is_final]
    for found in api.jobs(**wanted, oldest_first=True, archived=True, page_size=200):
        with suppress(NotFoundError):  # deleted a moment ago
            exported = api.export(found["id"], with_children=False)
            click.echo(json.dumps(exported.as_json(), ensure_ascii=False), file=output)


def events_until_the_end(
    api: Client, job_id: str, *, timeout: float | None = None
) -> Iterator[HistoryEntry | StreamEntry]:
    """Yield new history entries and what the skills write, by time, until the job ends or is quarantined, or for
    *timeout* seconds."""
    seen, streamed, deadline = 0, 0, monotonic() + (inf if timeout is None else timeout)
    while not seen or monotonic() < deadline:
        page = api.stream_page(job_id, after=streamed, wait=_WAIT_SECONDS if seen else 0)
        status = api.job(job_id, fields=("status",))["status"]
        events = api.history(job_id, after=seen)["events"]
        written: Iterator[HistoryEntry | StreamEntry] = (each for each in page["entries"] if each["kind"] != "end")
        yield from merge(events, written, key=_timestamp)
        if page["has_ended"] or (status == JobStatus.QUARANTINED and not page["entries"]):
            return
        seen, streamed = events[-1]["seq"] if events else seen, page["next"]


def print_history(events: Sequence[HistoryEntry]) -> None:
    """Print a table of the plain values; ``--json`` prints everything."""
    print_table([_row(event) for event in events], _COLUMNS)


def describe(event: HistoryEntry | StreamEntry) -> str:
    """Return a history entry as one line, an entry of the stream as one or more."""
    time = _timestamp(event)[11:]
    if "kind" in event:
        return f"{time:13}  {described(event, width=20)}"
    details = [str(event[name]) for name in ("state", "worker_id") if event.get(name)]
    if (event["attempt"] or 0) > 1:
        details.append(f"attempt {event['attempt']}")
    if event["duration_ms"] is not None:
        details.append(f"{event['duration_ms']} ms")
    return f"{time}  {event['event_type']:20} {'  '.join(details)}".rstrip()


def _row(event: HistoryEntry) -> dict[str, object]:
    return {
        "seq": event["seq"],
        "time": _timestamp(event)[11:],
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


def _timestamp(event: HistoryEntry | StreamEntry) -> str:
    """Return the RFC 3339 timestamp; from column 11, it is the time of day with its zone."""
    return (event["at"] or "") if "kind" in event else event["timestamp"]
