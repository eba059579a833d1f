"""Python client of the HTTP API.

Answers are the JSON of the API as dicts; errors are those of :mod:`avtomatika.errors`. The token is sent, never shown.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from time import monotonic, sleep
from typing import Any
from urllib.parse import quote

from avtomatika.core.job import JobStatus
from avtomatika.errors import UnavailableError

from . import transfers
from .caller import Caller
from .recording import Recording

#: How long the server may hold a request that waits for a job to change.
LONGEST_WAIT_SECONDS = 25.0


class Client(Caller):
    """One server, asked with one token. Use it as a context manager, or close it."""

    # ------------------------------------------------------------ jobs

    def submit(
        self,
        endpoint: str,
        initial_data: Mapping[str, Any] | None = None,
        *,
        idempotency_key: str | None = None,
        **options: Any,
    ) -> str:
        """Create a job and answer its id.

        *endpoint* is what follows ``/api/v1/jobs/``, or a whole path (the ``url`` of a blueprint). *options* are the
        other fields of the body: ``priority``, ``labels``, ``webhook_url``, ``dispatch_timeout``, ``result_timeout``,
        ``execution_timeout``. With an *idempotency_key* it is safe to ask again after UnavailableError.
        """
        path = endpoint if endpoint.startswith("/") else f"/api/v1/jobs/{endpoint}"
        headers = {} if idempotency_key is None else {"Idempotency-Key": idempotency_key}
        body = {"initial_data": dict(initial_data or {}), **options}
        answer = self._json("POST", path, json=body, headers=headers)
        return str(answer["job_id"])

    def submit_many(
        self, endpoint: str, jobs: Sequence[Mapping[str, Any]], *, idempotency_key: str | None = None
    ) -> list[str]:
        """Create up to 1,000 jobs, all or none, and answer their ids; each of *jobs* is the body of one."""
        path = endpoint if endpoint.startswith("/") else f"/api/v1/jobs/{endpoint}"
        headers = {} if idempotency_key is None else {"Idempotency-Key": idempotency_key}
        answer = self._json("POST", f"{path}/batch", json={"jobs": [dict(job) for job in jobs]}, headers=headers)
        return [str(job_id) for job_id in answer["job_ids"]]

    def job(self, job_id: str, *, fields: Sequence[str] = (), wait_seconds: float = 0) -> dict[str, Any]:
        """The job as it stands; with *wait_seconds* (up to 25) as it stands after its next change, if one comes."""
        params: dict[str, Any] = {}
        if fields:
            params["fields"] = ",".join(fields)
        if wait_seconds:
            params["wait"] = wait_seconds
        return self._json("GET", _job_path(job_id), params=params, held_seconds=wait_seconds)

    def jobs(
        self,
        *,
        status: str | None = None,
        blueprint: str | None = None,
        label: str | Sequence[str] | None = None,
        page_size: int = 50,
    ) -> Iterator[dict[str, Any]]:
        """Jobs, newest first, fetched page by page as they are asked for.

        *label* is ``name=value``; of several, jobs must have all.
        """
        wanted = {"status": status, "blueprint": blueprint, "label": label, "limit": page_size}
        cursor: str | None = None
        while True:
            page = self._json("GET", "/api/v1/jobs", params={**wanted, "cursor": cursor})
            yield from page["jobs"]
            cursor = page["next"]
            if cursor is None:
                return

    def history(self, job_id: str, *, after: int = 0) -> dict[str, Any]:
        """``events`` with ``seq > after`` up to the last one, and ``notes`` (what was ignored)."""
        path = f"{_job_path(job_id)}/history"
        history = self._json("GET", path, params={"after": after})
        page = history
        while page["next"] is not None:
            page = self._json("GET", path, params={"after": page["next"]})
            history["events"] += page["events"]
        history["next"] = None
        return history

    def export(self, job_id: str) -> Recording:
        """The job with its whole history, and the jobs that it started: enough to run it again in memory."""
        job = self.job(job_id)
        children = tuple(self.export(child) for child in job["children"])
        return Recording(job, self.history(job_id)["events"], children)

    def why(self, job_id: str) -> dict[str, Any]:
        """Why the job does not move: ``reasons``, each with ``code``, ``text`` and ``facts``."""
        return self._json("GET", f"{_job_path(job_id)}/why")

    def cancel(self, job_id: str) -> dict[str, Any]:
        """Cancel a job; answers it as it then is. Raises ConflictError where it is over."""
        return self._json("POST", f"{_job_path(job_id)}/cancel")

    def retry(self, job_id: str) -> dict[str, Any]:
        """Have a quarantined job go on, and answer it; of an ended one answers ``{"job_id"}`` of a new job.

        Raises ConflictError where there is nothing to try again.
        """
        return self._json("POST", f"{_job_path(job_id)}/retry")

    def approve(self, job_id: str, decision: str, *, comment: str | None = None) -> dict[str, Any]:
        """Decide what a job asks (its ``waiting_for`` has the question and the decisions); answers it as it then is.

        Raises ConflictError where somebody else has decided, or it asks nothing; InvalidRequestError for a word that
        it does not know.
        """
        body = {"decision": decision, "comment": comment}
        return self._json("POST", f"{_job_path(job_id)}/approve", json=body)

    def approval_link(self, job_id: str, *, expires_in_seconds: float | None = None) -> dict[str, Any]:
        """A link to a page where whoever has it can decide what the job asks: ``url`` and ``expires_at``.

        It is good for a week where nothing else is said, and never longer than the approval. Raises ConflictError
        where the job asks nothing.
        """
        body = {} if expires_in_seconds is None else {"expires_in": expires_in_seconds}
        return self._json("POST", f"{_job_path(job_id)}/approval-link", json=body)

    def wait(self, job_id: str, *, timeout_seconds: float | None = None) -> dict[str, Any]:
        """The job once it is over, or as it stands when the time is up; without a timeout it waits for ever.

        A server that is away meanwhile is asked again until the time is up.
        """
        deadline = None if timeout_seconds is None else monotonic() + timeout_seconds
        while True:
            left = LONGEST_WAIT_SECONDS if deadline is None else max(0.0, deadline - monotonic())
            try:
                job = self.job(job_id, wait_seconds=min(left, LONGEST_WAIT_SECONDS))
            except UnavailableError as error:
                if left <= error.retry_after_seconds:
                    raise
                sleep(error.retry_after_seconds)
                continue
            if JobStatus(job["status"]).is_final or left == 0:
                return job

    # ------------------------------------------------------------ files

    def files(self, job_id: str) -> Iterator[dict[str, Any]]:
        """Files of a job by name: ``name, uri, size, modified_at``; fetched page by page as they are asked for."""
        after: str | None = ""
        while after is not None:
            page = self._json("GET", f"{_job_path(job_id)}/files", params={"after": after})
            yield from page["files"]
            after = page["next"]

    def upload(self, path: str | Path, *, job_id: str | None = None) -> str:
        """Send a file, at most 5 GiB, and answer its URI, for the initial data of jobs or as a file of *job_id*."""
        file = Path(path)
        size, sha256 = transfers.digest_of(file)
        url = "/api/v1/files/upload-url" if job_id is None else f"{_job_path(job_id)}/files/upload-url"
        place = self._json("POST", url, json={"name": file.name, "size": size, "sha256": sha256})
        transfers.send(file, place["url"], place["headers"])
        return str(place["uri"])

    def download(self, job_id: str, name: str, path: str | Path) -> Path:
        """Fetch a file of a job to *path*, or into it where that is a folder; answers where it is.

        *name* is what :meth:`files` says, or the end of it; ConflictError where several end so.
        """
        response = self._ask("GET", f"{_job_path(job_id)}/files/{quote(name)}", is_redirected=True)
        target = Path(path)
        if target.is_dir():
            target = target / name.rpartition("/")[2]
        transfers.fetch(response.headers["Location"], target)
        return target

    def lineage(self, uri: str) -> dict[str, Any]:
        """Who ``made_by`` a file, as far as that is known, and the jobs it is ``used_by``."""
        return self._json("GET", "/api/v1/files/lineage", params={"uri": uri})

    # ------------------------------------------------------------ blueprints

    def blueprints(self) -> list[dict[str, Any]]:
        """What may be created here: ``name``, ``url`` to post jobs to, and more."""
        blueprints: list[dict[str, Any]] = self._json("GET", "/api/v1/blueprints")["blueprints"]
        return blueprints

    def blueprint(self, name: str) -> dict[str, Any]:
        """The plan of a blueprint with its routing rules."""
        return self._json("GET", _blueprint_path(name))

    def blueprint_graph(self, name: str, *, format: str = "dot", live: bool = False) -> bytes:
        """The graph as ``dot``, ``svg``, ``png`` or ``json``; *live* with what its jobs do now, for operators."""
        return self._bytes(f"{_blueprint_path(name)}/graph" + ("?live=1" if live else ""), format)

    def job_graph(self, job_id: str, *, format: str = "dot") -> bytes:
        """The graph of the job's blueprint with the path that the job took."""
        return self._bytes(f"{_job_path(job_id)}/graph", format)

    # ------------------------------------------------------------ workers

    def workers(self) -> list[dict[str, Any]]:
        """The workers that were heard of lately. For operators; ForbiddenError for everybody else."""
        workers: list[dict[str, Any]] = self._json("GET", "/api/v1/workers")["workers"]
        return workers

    # ------------------------------------------------------------ queues, for operators

    def queues(self) -> list[dict[str, Any]]:
        """The queues with their figures, by name."""
        queues: list[dict[str, Any]] = self._json("GET", "/api/v1/queues")["queues"]
        return queues

    def messages(self, queue: str, *, limit: int = 20) -> list[dict[str, Any]]:
        """The messages that wait in a queue, the next one first; they stay there."""
        found: list[dict[str, Any]] = self._json("GET", _messages_path(queue), params={"limit": limit})["messages"]
        return found

    def purge(self, queue: str) -> int:
        """Remove the messages that wait in a queue, for good, and return how many. Their jobs are not notified."""
        return int(self._json("DELETE", _messages_path(queue))["removed"])

    def dead_letters(self, *, queue: str | None = None, limit: int = 50) -> list[dict[str, Any]]:
        """Messages that were given up, the newest first."""
        answer = self._json("GET", "/api/v1/dead-letters", params={"queue": queue, "limit": limit})
        letters: list[dict[str, Any]] = answer["dead_letters"]
        return letters

    def dead_letter(self, letter_id: str) -> dict[str, Any]:
        """One of them, with its body."""
        return self._json("GET", _letter_path(letter_id))

    def requeue_dead_letter(self, letter_id: str) -> dict[str, Any]:
        """Put one back into its queue, as if it had never been delivered; answers it."""
        return self._json("POST", f"{_letter_path(letter_id)}/requeue")

    def drop_dead_letter(self, letter_id: str) -> None:
        """Forget one."""
        self._ask("DELETE", _letter_path(letter_id))

    # ------------------------------------------------------------ the installation, for operators

    def doctor(self) -> list[dict[str, Any]]:
        """What the web has found of server, secrets and tokens: ``subject``, ``state`` and ``finding`` of each."""
        findings: list[dict[str, Any]] = self._json("GET", "/api/v1/doctor")["findings"]
        return findings


def _job_path(job_id: str) -> str:
    return f"/api/v1/jobs/{quote(job_id, safe='')}"


def _blueprint_path(name: str) -> str:
    return f"/api/v1/blueprints/{quote(name, safe='')}"


def _messages_path(queue: str) -> str:
    return f"/api/v1/queues/{quote(queue, safe='')}/messages"


def _letter_path(letter_id: str) -> str:
    return f"/api/v1/dead-letters/{quote(letter_id, safe='')}"
