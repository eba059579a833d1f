"""The operations of the HTTP API; both clients have each as a method."""

from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from time import monotonic
from typing import Any
from urllib.parse import quote

import httpx

from avtomatika.core.job import JobStatus
from avtomatika.core.jsonable import JsonObject, as_json
from avtomatika.errors import UnavailableError

from . import answers, transfers
from .http import seconds
from .large_values import loaded, with_result
from .recording import Recording
from .steps import Blocking, Pages, Request, Sleep, Steps, content, json_answer, json_items, json_object

#: The longest time that the server holds a request until a job changes.
LONGEST_WAIT_SECONDS = 25.0

# ---------------------------------------------------------------- jobs


def job(job_id: str, *, fields: Sequence[str] = (), wait: float | timedelta = 0) -> Steps[answers.Job]:
    """Return a job, with *fields* only these fields of it; with *wait* (at most 25 s) once it changes.

    A large value in the result is downloaded from S3; other fields have references to it.
    """
    held = seconds(wait)
    params = {"fields": ",".join(fields) or None, "wait": held or None}
    found = yield from json_answer(answers.Job, Request("GET", job_path(job_id), params, held_seconds=held))
    return (yield from with_result(found))


def history(job_id: str, *, after: int = 0) -> Steps[answers.History]:
    """Return all ``events`` with ``seq > after``, and ``notes`` about ignored messages."""
    path = f"{job_path(job_id)}/history"
    found = yield from json_answer(answers.History, Request("GET", path, {"after": after}))
    while found["next"] is not None:
        page = yield from json_answer(answers.History, Request("GET", path, {"after": found["next"]}))
        found["events"] += page["events"]
        found["next"] = page["next"]
    return found


def export(job_id: str, *, with_children: bool = True) -> Steps[Recording]:
    """Return a job with its history and its child jobs: enough to replay it in memory.

    Values that were deleted from S3 remain references.
    """
    exported = yield from json_answer(answers.Job, Request("GET", job_path(job_id)))
    recorded = yield from history(job_id)
    children: list[Recording] = []
    for event in recorded["events"] if with_children else ():
        if event["event_type"] == "child_started":
            children.append((yield from export(event["data"]["child_id"])))
    exported, events = yield from loaded([exported, recorded["events"]], job_id=job_id, skips_missing=True)
    return Recording(exported, events, tuple(children))


def why(job_id: str) -> Steps[answers.Why]:
    """Explain why a job does not proceed."""
    return json_answer(answers.Why, Request("GET", f"{job_path(job_id)}/why"))


def cancel(job_id: str) -> Steps[answers.Job]:
    """Cancel a job and return it. Raises ConflictError if it has ended."""
    return json_answer(answers.Job, Request("POST", f"{job_path(job_id)}/cancel"))


def retry(job_id: str, *, start: str | None = None) -> Steps[answers.Job | answers.SubmittedJob]:
    """Resume a quarantined job and return it, or continue an ended one and return the ``job_id`` of the new job.

    The new job starts in the state in which the old one failed, with the data it had there, or at *start*: a state, or
    ``start`` for the beginning. Raises ConflictError if the job is running or finished, or was never in that state.
    """
    return json_object(Request("POST", f"{job_path(job_id)}/retry", {"from": start}))


def fork(job_id: str, at: str | int, *, set: JsonObject | None = None) -> Steps[answers.SubmittedJob]:
    """Create a job that starts where another one was *at* a state or a history entry (its ``seq``), with its data there
    changed by *set*. Raises ConflictError if the job was never there."""
    body = {"at": at, "set": {} if set is None else as_json(set, "set")}
    return json_answer(answers.SubmittedJob, Request("POST", f"{job_path(job_id)}/fork", json=body))


def tries(job_id: str) -> Steps[list[answers.JobSummary]]:
    """List the tries and forks of a job that the server has, oldest first, with that job."""
    return json_items(answers.JobSummary, "jobs", Request("GET", f"{job_path(job_id)}/tries"))


def approve(
    job_id: str, decision: str, *, comment: str | None = None, data: JsonObject | None = None
) -> Steps[answers.Job]:
    """Decide the approval that a job waits for (``waiting_for`` has the question, the decisions and the ``form`` of its
    *data*); return the job.

    Raises ConflictError if it was decided already or the job waits for no approval, InvalidRequestError for an
    unknown decision, and by field for data that does not fit the form.
    """
    body = {"decision": decision, "comment": comment, "data": None if data is None else as_json(data, "data")}
    return json_answer(answers.Job, Request("POST", f"{job_path(job_id)}/approve", json=body))


def signal(
    job_id: str, name: str, data: JsonObject | None = None, *, idempotency_key: str | None = None
) -> Steps[answers.SentSignal]:
    """Send the signal *name* to a job, which takes it when it waits for it (``actions.wait_for``), now or later.

    With an *idempotency_key* the signal is sent once, however often the call is repeated. Raises ConflictError if the
    job has ended, InvalidRequestError by field for data that does not fit the schema, NotFoundError for a signal that
    the job never waits for.
    """
    body = {"data": None if data is None else as_json(data, "data"), "idempotency_key": idempotency_key}
    path = f"{job_path(job_id)}/signals/{quote(name, safe='')}"
    return json_answer(answers.SentSignal, Request("POST", path, json=body))


def approval_link(
    job_id: str, *, expires_in: float | timedelta | None = None, recipient: str | None = None
) -> Steps[answers.ApprovalLink]:
    """Create a link to a page on which its holder can decide the approval without a token.

    It expires in *expires_in* seconds, by default in a week, and never later than the approval. *recipient* is whom it
    is for: a client that may decide, if the approval names some. Raises ConflictError if the job waits for no approval.
    """
    body: dict[str, Any] = {"recipient": recipient}
    body |= {} if expires_in is None else {"expires_in": seconds(expires_in)}
    return json_answer(answers.ApprovalLink, Request("POST", f"{job_path(job_id)}/approval-link", json=body))


def login_link(page: str | None = None) -> Steps[answers.LoginLink]:
    """Create a link with which a browser logs in to the pages as this client, once, within five minutes. *page* is the
    path of the page that it opens, such as ``/jobs/<id>``."""
    return json_answer(answers.LoginLink, Request("POST", "/api/v1/login-links", json={"page": page}))


def wait(job_id: str, *, timeout: float | timedelta | None = None) -> Steps[answers.Job]:
    """Wait until a job has ended, by default without a limit, and return it; after *timeout* seconds return it as it
    is.

    While the server is unavailable the request is repeated.
    """
    deadline = None if timeout is None else monotonic() + seconds(timeout)
    while True:
        left = LONGEST_WAIT_SECONDS if deadline is None else max(0.0, deadline - monotonic())
        held = min(left, LONGEST_WAIT_SECONDS)
        request = Request("GET", job_path(job_id), {"wait": held or None}, held_seconds=held)
        try:
            found = yield from json_answer(answers.Job, request)
        except UnavailableError as error:
            if left <= error.retry_after_seconds:
                raise
            yield Sleep(error.retry_after_seconds)
            continue
        if JobStatus(found["status"]).is_final or left == 0:
            return (yield from with_result(found))


# ---------------------------------------------------------------- files


def files(job_id: str) -> Pages[answers.JobFile]:
    """Iterate over the files of a job by name, and request the pages as needed."""
    return Pages(f"{job_path(job_id)}/files", "files", "after")


def upload(
    path: str | Path, *, job_id: str | None = None, on_progress: transfers.OnProgress = transfers.ignore
) -> Steps[str]:
    """Upload a file of at most 5 GiB and return its URI, for the data of jobs or as a file of *job_id*.

    *on_progress* is called with the bytes sent and their total, in another thread in an AsyncClient.
    """
    file = Path(path)
    size, sha256 = yield Blocking(lambda: transfers.digest_of(file))
    url = "/api/v1/files/upload-url" if job_id is None else f"{job_path(job_id)}/files/upload-url"
    body = {"name": file.name, "size": size, "sha256": sha256}
    target = yield from json_object(Request("POST", url, json=body))
    yield Blocking(lambda: transfers.upload(file, target["url"], target["headers"], on_progress))
    return str(target["uri"])


def download(
    job_id: str, name: str, path: str | Path, *, on_progress: transfers.OnProgress = transfers.ignore
) -> Steps[Path]:
    """Download a file of a job to *path*, or into it if it is a folder; return the path of the file.

    *name* is the name that :func:`files` lists, or the end of one; raises ConflictError if several names end so.
    *on_progress* is called as by :func:`upload`.
    """
    request = Request("GET", f"{job_path(job_id)}/files/{quote(name)}", is_redirected=True)
    response: httpx.Response = yield request
    target = Path(path)
    if target.is_dir():
        target = target / name.rpartition("/")[2]
    yield Blocking(lambda: transfers.download(response.headers["Location"], target, on_progress))
    return target


def lineage(uri: str) -> Steps[answers.Lineage]:
    """Return the origin of a file, if it is known, and the jobs that use it."""
    return json_answer(answers.Lineage, Request("GET", "/api/v1/files/lineage", {"uri": uri}))


# ---------------------------------------------------------------- blueprints


def blueprints() -> Steps[list[answers.BlueprintSummary]]:
    """List the blueprints of the server."""
    return json_items(answers.BlueprintSummary, "blueprints", Request("GET", "/api/v1/blueprints"))


def blueprint(name: str) -> Steps[answers.BlueprintPlan]:
    """Return a compiled blueprint with its routing rules."""
    return json_answer(answers.BlueprintPlan, Request("GET", _blueprint_path(name)))


def blueprint_graph(name: str, *, format: str = "dot", live: bool = False) -> Steps[bytes]:
    """Draw the graph as ``dot``, ``svg``, ``png`` or ``json``; *live* adds the state of its jobs (operators only)."""
    params = {"format": format, "live": "1" if live else None}
    return content(Request("GET", f"{_blueprint_path(name)}/graph", params))


def job_graph(job_id: str, *, format: str = "dot") -> Steps[bytes]:
    """Draw the graph of the job's blueprint with the path of the job."""
    return content(Request("GET", f"{job_path(job_id)}/graph", {"format": format}))


def job_path(job_id: str) -> str:
    """Return the path of a job in the API."""
    return f"/api/v1/jobs/{quote(job_id, safe='')}"


def _blueprint_path(name: str) -> str:
    return f"/api/v1/blueprints/{quote(name, safe='')}"
