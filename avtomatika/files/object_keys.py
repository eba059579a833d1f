"""Keys of objects in the bucket of results, and what they show: owner and producer of a file.

=============================================  ==========================================
``<job>/<task>/<attempt>-<run>/<name>``        uploads of a worker
``<job>/handlers/<version>-<run>/<name>``      files of a handler
``<job>/uploads/<run>/<name>``                 uploads of the client for an existing job
``<group>-uploads/<client>/<run>/<name>``      uploads of a client for later jobs
=============================================  ==========================================

Objects with other keys do not belong to this project and are never deleted.
"""

import re
from dataclasses import dataclass
from secrets import token_hex
from urllib.parse import quote, unquote

from avtomatika.core.job import Job
from avtomatika.core.texts import texts_in

from .location import Location
from .safe_names import safe_part

#: End of a job id: a ULID; for a child workflow also the number of the parent's step, once for each nesting depth.
_ULID = r"[0-9A-HJKMNP-TV-Z]{26}(?:-\d+)*"
_JOB = re.compile(rf"[A-Za-z0-9_-]{{1,64}}-{_ULID}")
_UPLOADS = "-uploads"
_RUN = "[0-9a-f]{8}"


@dataclass(frozen=True, slots=True)
class Owner:
    """The owner of an object: a job, or the client that uploaded it (None for the folder of all uploads)."""

    job_id: str | None = None
    client: str | None = None


def new_run() -> str:
    """Return a random part for keys, so that two runs never write the same key."""
    return token_hex(4)


def job_prefix(job_id: str) -> str:
    """Return the prefix of the keys of all files of a job."""
    return f"{safe_part(job_id)}/"


def task_prefix(job_id: str, task_id: str, run: str) -> str:
    """Return the prefix for uploads of one *run* of a task, ``<attempt>-<run>``."""
    return f"{job_prefix(job_id)}{safe_part(task_id)}/{run}/"


def handler_prefix(job_id: str, version: int) -> str:
    """Return a new prefix for files of a handler that runs on *version* of the job; it differs in each run."""
    return f"{job_prefix(job_id)}handlers/{version}-{new_run()}/"


def job_upload_prefix(job_id: str) -> str:
    """Return a new prefix for an upload of a client to a job."""
    return f"{job_prefix(job_id)}uploads/{new_run()}/"


def client_upload_prefix(group: str, client: str) -> str:
    """Return a new prefix for an upload of a client for later jobs."""
    return f"{group}{_UPLOADS}/{quote(client, safe='')}/{new_run()}/"


def owner_of(key: str) -> Owner | None:
    """Return the owner of the object or folder with *key*; None if the key has another form.

    >>> owner_of("g0-01JDZ7Q3T5V8K2M4N6P8R0S2T4/a.1.0/1-0a1b2c3d/film.mp4").job_id
    'g0-01JDZ7Q3T5V8K2M4N6P8R0S2T4'
    >>> owner_of("g0-01JDZ7Q3T5V8K2M4N6P8R0S2T4-3-1/").job_id
    'g0-01JDZ7Q3T5V8K2M4N6P8R0S2T4-3-1'
    >>> owner_of("g0-uploads/alice/0a1b2c3d/film.mp4").client
    'alice'
    >>> owner_of("raw/film.mp4") is None
    True
    """
    first, slash, rest = key.partition("/")
    if not slash:
        return None
    if _JOB.fullmatch(first):
        return Owner(job_id=first)
    if first.endswith(_UPLOADS):
        client, slash, _ = rest.partition("/")
        return Owner(client=client if slash else None)
    return None


def uploader(client: str) -> Owner:
    """Return the owner of uploads of *client*."""
    return Owner(client=quote(client, safe=""))


def is_job_file(key: str, job_id: str) -> bool:
    """Return whether *key* has the form of a file of *job_id* in all its parts."""
    job = re.escape(safe_part(job_id))
    return re.fullmatch(rf"{job}/({job}\.[0-9.]+/\d+-{_RUN}|handlers/\d+-{_RUN}|uploads/{_RUN})/.+", key) is not None


def job_of(key: str, group: str) -> str | None:
    """Return the job of *group* to which the file with *key* belongs; None for other keys."""
    job_id = key.partition("/")[0]
    is_one = re.fullmatch(rf"{re.escape(group)}-{_ULID}", job_id) is not None and is_job_file(key, job_id)
    return job_id if is_one else None


def is_upload(key: str, group: str) -> bool:
    """Return whether *key* has the form of an upload to *group* in all its parts."""
    return re.fullmatch(rf"{re.escape(group + _UPLOADS)}/[^/]+/{_RUN}/[^/]+", key) is not None


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
