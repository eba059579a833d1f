"""Keys of objects in the bucket of results, and whose they are by their keys alone.

=============================================  ==========================================
``<job>/<task>/<attempt>-<run>/<name>``        what a worker sent
``<job>/handlers/<version>-<run>/<name>``      what a handler wrote
``<job>/uploads/<run>/<name>``                 what the client sent for a job that there is
``<group>-uploads/<client>/<run>/<name>``      what a client sent before there was a job
=============================================  ==========================================

Whatever has another key is not ours: it is never removed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from secrets import token_hex
from urllib.parse import quote

from .safe_names import safe_part

#: The end of a job's id: a ULID; and for a sub-blueprint's job its number among its parent's steps, at each depth.
_ULID = r"[0-9A-HJKMNP-TV-Z]{26}(?:-\d+)*"
_JOB = re.compile(rf"[A-Za-z0-9_-]{{1,64}}-{_ULID}")
_UPLOADS = "-uploads"
_RUN = "[0-9a-f]{8}"


@dataclass(frozen=True, slots=True)
class Owner:
    """Whose an object is: a job's, or a client's who has uploaded it (None: of clients in general)."""

    job_id: str | None = None
    client: str | None = None


def new_run() -> str:
    """What tells apart two objects that would have the same key."""
    return token_hex(4)


def job_prefix(job_id: str) -> str:
    """What the keys of all files of a job begin with."""
    return f"{safe_part(job_id)}/"


def task_prefix(job_id: str, task_id: str, run: str) -> str:
    """For what one *run* of a task sends: ``<attempt>-<run>``."""
    return f"{job_prefix(job_id)}{safe_part(task_id)}/{run}/"


def handler_prefix(job_id: str, version: int) -> str:
    """For what a handler writes that sees *version* of the job; another one each time, for it may run again."""
    return f"{job_prefix(job_id)}handlers/{version}-{new_run()}/"


def job_upload_prefix(job_id: str) -> str:
    """For a file that a client sends for a job."""
    return f"{job_prefix(job_id)}uploads/{new_run()}/"


def client_upload_prefix(group: str, client: str) -> str:
    """For a file that a client sends before there is a job."""
    return f"{group}{_UPLOADS}/{quote(client, safe='')}/{new_run()}/"


def owner_of(key: str) -> Owner | None:
    """Whose the object with *key*, or the folder, is; None where it is none of ours.

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
    """The owner of what *client* uploads."""
    return Owner(client=quote(client, safe=""))


def is_job_file(key: str, job_id: str) -> bool:
    """Whether *key* is one that we made for *job_id*, by all of its parts."""
    job = re.escape(safe_part(job_id))
    return re.fullmatch(rf"{job}/({job}\.[0-9.]+/\d+-{_RUN}|handlers/\d+-{_RUN}|uploads/{_RUN})/.+", key) is not None


def job_of(key: str, group: str) -> str | None:
    """The job of *group* that *key* is a file of; None for whatever else there is."""
    job_id = key.partition("/")[0]
    is_one = re.fullmatch(rf"{re.escape(group)}-{_ULID}", job_id) is not None and is_job_file(key, job_id)
    return job_id if is_one else None


def is_upload(key: str, group: str) -> bool:
    """Whether *key* is one that we made for an upload to *group*."""
    return re.fullmatch(rf"{re.escape(group + _UPLOADS)}/[^/]+/{_RUN}/[^/]+", key) is not None
