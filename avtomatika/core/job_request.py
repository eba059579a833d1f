"""The request for a job: one frozen value that travels whole from the HTTP API to the job's record.

``Job`` and ``store.NewJob`` extend it, and code between them copies it by :meth:`JobRequest.request_fields`. A new
field is declared here and in ``schemas.api_requests``, which validates requests.
"""

from collections.abc import Mapping, Sequence
from dataclasses import field, fields
from typing import Any

from .frozen import dataclass

#: What happens to a job whose unique key an unfinished job has: the request gets that job (the default) or an error, or
#: the new job starts when all earlier ones have ended, which ``replace`` cancels.
ON_CONFLICT = ("return_existing", "reject", "replace", "queue")
#: Those with which a job waits for earlier ones.
WAITING = ("replace", "queue")
#: Any value that JSON can represent.
Json = Any


@dataclass(frozen=True, kw_only=True)
class JobRequest:
    """The part of a job that its client chooses.

    A single task runs *skill*, with ``initial_data`` as its parameters and up to *max_retries* retries (default 3);
    other jobs have neither. The job starts after ``delay_seconds``, or at ``at_ms`` (milliseconds since the epoch).
    ``retry_of`` is the id of the ended job that this one reruns, as the next of ``tries`` (None: the first);
    ``fork_of`` is the job whose data it starts with; ``origins`` are that job and those that it came from, oldest
    first. ``scheduled_ms`` is the tick of the schedule that created it.
    ``execution_timeout_seconds`` limits the time from the job's creation to its end. *reply* is where a
    program that sent the task through the broker waits for its result (``schemas.wire.reply_to``). *traceparent* is the
    trace context of the job (W3C), and not part of a request's body. The tasks of jobs with different *fairness_key*,
    by default the client, take turns. Of the jobs of a client and a blueprint (or skill) with the same *unique_key* one
    runs at a time; *on_conflict* says what happens to another one, see :data:`ON_CONFLICT`.
    """

    initial_data: Mapping[str, Json] = field(default_factory=dict)
    skill: str | None = None
    max_retries: int | None = None
    delay_seconds: float | None = None
    at_ms: int | None = None
    priority: int = 0
    fairness_key: str | None = None
    unique_key: str | None = None
    on_conflict: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    webhook_url: str | None = None
    retry_of: str | None = None
    tries: int | None = None
    fork_of: str | None = None
    origins: Sequence[str] | None = None
    scheduled_ms: int | None = None
    dispatch_timeout_seconds: float | None = None
    result_timeout_seconds: float | None = None
    execution_timeout_seconds: float | None = None
    reply: Mapping[str, Json] | None = None
    traceparent: str | None = None

    def request_fields(self) -> dict[str, Json]:
        """Return the fields of the request, as arguments for another value that extends it."""
        values = self.__dict__  # quicker than getattr()
        return {name: values[name] for name in _NAMES}


_NAMES = tuple(each.name for each in fields(JobRequest))
#: A field's name in HTTP bodies and in records has no unit.
_WIRE_NAMES = {name: name.removesuffix("_seconds") for name in _NAMES}


def dump_request(request: JobRequest) -> dict[str, Json]:
    """Return the fields of *request* that are not None, under their names in HTTP bodies and in records."""
    names, values = _WIRE_NAMES.items(), request.__dict__
    return {wire_name: value for name, wire_name in names if (value := values[name]) is not None}


def load_request(body: Mapping[str, Json]) -> dict[str, Json]:
    """Return the fields that *body* has, as arguments for a :class:`JobRequest`."""
    return {name: body[wire_name] for name, wire_name in _WIRE_NAMES.items() if wire_name in body}
