"""Lineage of files: which job produced a file, by its key, and which jobs use it, by the URIs in their data."""

import re
from dataclasses import dataclass
from urllib.parse import unquote

from avtomatika.core.job import Job
from avtomatika.core.texts import texts_in

from .location import Location
from .object_keys import Owner, is_job_file, owner_of


@dataclass(frozen=True, slots=True)
class Producer:
    """The producer of a file: a task (with its attempt), a handler, or a client that uploaded it."""

    kind: str
    job_id: str | None = None
    task_id: str | None = None
    attempt: int | None = None
    client: str | None = None


def producer_of(location: Location) -> Producer | None:
    """Return the producer of the object at *location* in the bucket of results; None if its key has another form.

    >>> job = "g0-01JDZ7Q3T5V8K2M4N6P8R0S2T4"
    >>> producer_of(Location("results", f"{job}/{job}.2.0/1-0a1b2c3d/film.mp4")).task_id.removeprefix(job)
    '.2.0'
    """
    owner = owner_of(location.key) or Owner()
    if owner.client is not None:
        return Producer("client", client=unquote(owner.client))
    if owner.job_id is None or not is_job_file(location.key, owner.job_id):
        return None
    _, producer, run, _ = location.key.split("/", 3)
    if producer == "handlers":
        return Producer("handler", owner.job_id)
    if producer == "uploads":
        return Producer("client", owner.job_id)
    attempt = re.match(r"\d+", run)
    return Producer("task", owner.job_id, producer, int(attempt[0]) if attempt else None)


def uses_of(job: Job, uri: str) -> list[str]:
    """Return where *job* names the file or one of its folders: ``initial_data``, ``state_history``, ``tasks``."""
    places = {
        "initial_data": dict(job.initial_data),
        "state_history": dict(job.state_history),
        "tasks": [dict(task.params) for task in job.tasks.values()],
    }
    return [place for place, data in places.items() if any(_names(text, uri) for text in texts_in(data))]


def _names(text: str, uri: str) -> bool:
    return text == uri or (text.endswith("/") and text.startswith("s3://") and uri.startswith(text))
