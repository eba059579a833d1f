"""Operations on many jobs: lists, counts and actions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal, TypedDict, Unpack

from . import answers
from .http import seconds
from .steps import Pages, Request, Steps, json_answer

Action = Literal["cancel", "retry", "approve", "reject"]


class JobFilter(TypedDict, total=False):
    """Filters for jobs; a job must match all of them, one of several statuses, and every label (``name=value``).

    Times of creation are RFC 3339, a datetime with a time zone, or an age: a timedelta or text such as ``1d``. *text*
    is a part of the code or message of the error, or of the question. *client* is for operators. *mine* are jobs whose
    approval names this client or one of its roles.
    """

    status: str | Sequence[str] | None
    blueprint: str | None
    state: str | None
    skill: str | None
    client: str | None
    label: str | Sequence[str] | None
    created_after: str | datetime | timedelta | None
    created_before: str | datetime | timedelta | None
    text: str | None
    mine: bool


def jobs(
    *, page_size: int = 50, oldest_first: bool = False, archived: bool = False, **wanted: Unpack[JobFilter]
) -> Pages[answers.JobSummary]:
    """Iterate over the jobs that match, newest first or *oldest_first*, and request the pages as needed.

    With *archived* also those that the server has deleted after their end, if it archives jobs.
    """
    order = {name: "true" for name, value in (("oldest_first", oldest_first), ("archived", archived)) if value}
    return Pages("/api/v1/jobs", "jobs", "cursor", {**_plain(wanted), **order, "limit": page_size})


def count_jobs(**wanted: Unpack[JobFilter]) -> Steps[answers.JobCounts]:
    """Count the jobs that match, by status."""
    return json_answer(answers.JobCounts, Request("GET", "/api/v1/jobs/counts", _plain(wanted)))


@dataclass(frozen=True, slots=True)
class Parts:
    """The responses to the requests of :func:`act_on_jobs`, each with ``next`` as the cursor of the next one."""

    body: Mapping[str, Any]

    def page(self, cursor: str | None) -> Steps[tuple[list[answers.ActionResult], str | None]]:
        body = {**self.body, "cursor": cursor}
        result = yield from json_answer(answers.ActionResult, Request("POST", "/api/v1/jobs/actions", json=body))
        return [result], result["next"]


def act_on_jobs(
    action: Action,
    *,
    filter: JobFilter | None = None,
    ids: Sequence[str] | None = None,
    dry_run: bool = False,
    comment: str | None = None,
    start: str | None = None,
) -> Parts:
    """Act on all jobs that match *filter*, or on up to 500 by *ids*, and iterate over the results of the parts.

    With *dry_run* count the jobs that the action applies to, and change nothing. *comment* is that of the decisions,
    *start* that of ``retry``.
    """
    wanted = None if filter is None else _plain(filter)
    body = {"action": action, "filter": wanted, "ids": ids, "dry_run": dry_run, "comment": comment}
    return Parts(body if start is None else {**body, "from": start})


def _plain(wanted: JobFilter) -> dict[str, Any]:
    """Return the parameters of the API."""
    return {name: _value(name, value) for name, value in wanted.items() if value}


def _value(name: str, value: object) -> object:
    match value:
        case str():
            return [value] if name == "label" else value
        case datetime():
            return value.isoformat()
        case timedelta():
            return f"{round(seconds(value))}s"
        case [*several]:
            return several if name == "label" else ",".join(map(str, several))
    return value
