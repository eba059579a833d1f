"""Jobs and history entries as they are stored: JSON in hash fields and list items.

What never changes (``init``) is written once; what changes (``doc``) is written whole at each commit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from avtomatika.core.fleet import Needs
from avtomatika.core.job import Branches, HistoryEntry, Job, JobStatus, Parent, Pause, RecordedEntry, Task
from avtomatika.core.retry import RetryPolicy

#: Fields of a job hash in the order that :func:`load_job` takes them.
JOB_FIELDS = ("v", "status", "doc", "init", "created", "updated")


@dataclass(frozen=True, slots=True)
class JobFilter:
    """Which jobs to list, newest first; None means any. A job must have all of *labels*, which are (name, value)."""

    client: str | None = None
    status: str | None = None
    blueprint: str | None = None
    labels: tuple[tuple[str, str], ...] = ()
    limit: int = 50
    cursor: str | None = None

    def matches(self, job: Job) -> bool:
        return (
            (self.client is None or job.client == self.client)
            and (self.status is None or job.status == self.status)
            and (self.blueprint is None or job.blueprint == self.blueprint)
            and all(job.labels.get(name) == value for name, value in self.labels)
        )


def dump_init(job: Job) -> bytes:
    """What a job is born with."""
    return orjson.dumps(
        {
            "blueprint": job.blueprint,
            "client": job.client,
            "initial_data": job.initial_data,
            "priority": job.priority,
            "labels": job.labels,
            "webhook_url": job.webhook_url,
            "retry_of": job.retry_of,
            "dispatch_timeout": job.dispatch_timeout_seconds,
            "result_timeout": job.result_timeout_seconds,
            "parent": None if job.parent is None else as_dict(job.parent),
            "execution_timeout": job.execution_timeout_seconds,
        }
    )


def dump_doc(job: Job) -> bytes:
    """What a commit may change."""
    doc: dict[str, Any] = {
        "plan8": job.plan8,
        "state": job.current_state,
        "state_history": job.state_history,
        "steps": job.steps,
        "transitions": job.transitions,
    }
    if job.result is not None:
        doc["result"] = job.result
    if job.error is not None:
        doc["error"] = job.error
    if job.rush:
        doc["rush"] = job.rush
    if job.handler_failures:
        doc["handler_failures"] = job.handler_failures
    if job.webhooks:
        doc["webhooks"] = job.webhooks
    if job.fan_out is not None:
        doc["fan_out"] = as_dict(job.fan_out)
    elif job.tasks:
        doc["tasks"] = [as_dict(task) for task in job.tasks.values()]
    if job.pause is not None:
        doc["pause"] = as_dict(job.pause)
    if job.children:
        doc["children"] = job.children
    if job.earlier_plans:
        doc["earlier_plans"] = job.earlier_plans
    return orjson.dumps(doc)


def load_job(job_id: str, fields: Sequence[bytes | None]) -> Job | None:
    """The job whose hash holds *fields* (as :data:`JOB_FIELDS`), or None where there is none."""
    version, status, raw_doc, raw_init, created, updated = fields
    if version is None or status is None or raw_doc is None or raw_init is None:
        return None
    doc = orjson.loads(raw_doc)
    init = orjson.loads(raw_init)
    return Job(
        id=job_id,
        blueprint=init["blueprint"],
        plan8=doc["plan8"],
        status=JobStatus(status.decode()),
        current_state=doc["state"],
        version=int(version),
        client=init["client"],
        initial_data=init["initial_data"],
        state_history=doc["state_history"],
        result=doc.get("result"),
        error=doc.get("error"),
        tasks={task["id"]: load_task(task) for task in doc.get("tasks", ())},
        fan_out=Branches(**doc["fan_out"]) if "fan_out" in doc else None,
        pause=Pause(**doc["pause"]) if "pause" in doc else None,
        children=tuple(doc.get("children", ())),
        earlier_plans=tuple(doc.get("earlier_plans", ())),
        steps=doc["steps"],
        transitions=doc["transitions"],
        rush=doc.get("rush", 0),
        handler_failures=doc.get("handler_failures", 0),
        webhooks=doc.get("webhooks", 0),
        priority=init["priority"],
        labels=init["labels"],
        webhook_url=init["webhook_url"],
        retry_of=init["retry_of"],
        parent=Parent(**init["parent"]) if init.get("parent") else None,
        dispatch_timeout_seconds=init["dispatch_timeout"],
        result_timeout_seconds=init["result_timeout"],
        execution_timeout_seconds=init.get("execution_timeout"),
        created_ms=int(created or 0),
        updated_ms=int(updated or 0),
    )


def load_indexed(status: bytes | None, init: bytes | None) -> tuple[str, str | None, str | None, Mapping[str, str]]:
    """Status, client, blueprint and labels of a job, as far as they can be read: what cannot be read can be removed."""
    try:
        born = orjson.loads(init or b"{}")
        labels = {str(name): str(value) for name, value in born.get("labels", {}).items()}
        return (status or b"").decode(), born.get("client"), born.get("blueprint"), labels
    except (ValueError, AttributeError):
        return (status or b"").decode(errors="replace"), None, None, {}


def load_task(fields: Mapping[str, Any]) -> Task:
    """The task that *fields* were dumped of."""
    retry, needs = fields.get("retry"), fields.get("needs")
    if retry is None and needs is None:
        return Task(**fields)
    inner = {
        "retry": None if retry is None else RetryPolicy.of(retry),
        "needs": None if needs is None else Needs(**needs),
    }
    return Task(**{**fields, **inner})


def dump_entry(entry: HistoryEntry) -> bytes:
    """A history entry without what the script adds (version, time) and what its place tells (seq)."""
    fields: dict[str, Any] = {"event_type": entry.event_type}
    for name in _OPTIONAL_ENTRY_FIELDS:
        value = getattr(entry, name)
        if value is not None:
            fields[name] = value
    return orjson.dumps(fields)


def load_entry(seq: int, stored: bytes) -> RecordedEntry:
    """The entry at place *seq* (from 1) of a history list."""
    version, timestamp_ms, text = stored.split(b" ", 2)
    return RecordedEntry(
        seq=seq, version=int(version), timestamp_ms=int(timestamp_ms), entry=HistoryEntry(**orjson.loads(text))
    )


def load_note(stored: bytes) -> dict[str, Any]:
    """A note with its time under ``timestamp_ms``."""
    timestamp_ms, text = stored.split(b" ", 1)
    note: dict[str, Any] = orjson.loads(text)
    return {"timestamp_ms": int(timestamp_ms), **note}


_OPTIONAL_ENTRY_FIELDS = ("state", "task_id", "attempt", "worker_id", "duration_ms", "data")


def as_dict(value: Task | Branches | Pause | Parent) -> Mapping[str, Any]:
    """The fields of a frozen value by name."""
    return {name: getattr(value, name) for name in value.__dataclass_fields__}
