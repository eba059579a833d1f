"""Lists of jobs, newest first: walk the smallest index that fits, and look at each job for the rest."""

from __future__ import annotations

from avtomatika.core.job import Job
from avtomatika.errors import InvalidRequest
from avtomatika.transport import Server

from .keys import Keys
from .records import JOB_FIELDS, JobFilter, load_job
from .scripts import read_all

#: Jobs looked at in one round trip.
_PAGE = 200


def list_jobs(server: Server, keys: Keys, wanted: JobFilter) -> tuple[list[Job], str | None]:
    """Up to ``wanted.limit`` jobs and the cursor of the next page (None at the end).

    Raises InvalidRequest for a cursor that no list gave, Unavailable when the server is away.
    """
    index = _smallest_index(server, keys, wanted)
    found: list[Job] = []
    after = None if wanted.cursor is None else _read_cursor(wanted.cursor)
    while True:
        page = _page(server, index, after)
        for job in _load(server, keys, page):
            if len(found) == wanted.limit:
                return found, _cursor(found[-1])
            if job is not None and wanted.matches(job):
                found.append(job)
        if len(page) < _PAGE:
            return found, None
        [created] = read_all(server, [("ZSCORE", index, page[-1])])
        after = (int(created or 0), page[-1])


def _smallest_index(server: Server, keys: Keys, wanted: JobFilter) -> str:
    candidates = [keys.by_all()]
    if wanted.client is not None:
        candidates.append(keys.by_client(wanted.client))
    if wanted.status is not None:
        candidates.append(keys.by_status(wanted.status))
    if wanted.blueprint is not None:
        candidates.append(keys.by_blueprint(wanted.blueprint))
    if wanted.label is not None:
        candidates.append(keys.by_label(*wanted.label))
    sizes = read_all(server, [("ZCARD", candidate) for candidate in candidates])
    return min(zip(sizes, candidates, strict=True))[1]


def _page(server: Server, index: str, after: tuple[int, str] | None) -> list[str]:
    """Ids that come after *after*. Jobs of one millisecond are ordered by id, as the server orders equal scores."""
    rank: int | None = -1
    if after is not None:
        [rank] = read_all(server, [("ZREVRANK", index, after[1])])
    if rank is not None:
        [rows] = read_all(server, [("ZRANGE", index, rank + 1, rank + _PAGE, "REV")])
    else:  # it has gone, or left this index, meanwhile: go by its time
        older = f"({after[0] if after else 0}"
        [rows] = read_all(server, [("ZRANGE", index, older, "-inf", "BYSCORE", "REV", "LIMIT", 0, _PAGE)])
    return [row.decode() for row in rows]


def _load(server: Server, keys: Keys, job_ids: list[str]) -> list[Job | None]:
    rows = read_all(server, [("HMGET", keys.job(job_id), *JOB_FIELDS) for job_id in job_ids])
    return [load_job(job_id, row) for job_id, row in zip(job_ids, rows, strict=True)]


def _cursor(job: Job) -> str:
    return f"{job.created_ms}.{job.id}"


def _read_cursor(cursor: str) -> tuple[int, str]:
    created, dot, job_id = cursor.partition(".")
    if not dot or not created.isdecimal():
        raise InvalidRequest(f"cursor {cursor!r} is none that a list gave", fields={"cursor": ["not a cursor of ours"]})
    return int(created), job_id
