"""The view of a job that a handler has: the values that are injected by name and that ``F`` evaluates."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypedDict

from avtomatika.core.file_reference import FileReference, reference_of, references_in, with_values
from avtomatika.core.job import Job, Json
from avtomatika.core.jsonable import as_json
from avtomatika.core.times import utc
from avtomatika.errors import HandlerError

from .actions import Actions

#: Names that are injected; they take precedence over keys of the job's data.
INJECTED = (
    "job_id",
    "current_state",
    "initial_data",
    "job_data",
    "state_history",
    "actions",
    "context",
    "client",
    "error",
    "tracing_context",
    "data_stores",
    "aggregation_results",
    "task_files",
)


@dataclass(frozen=True, slots=True)
class ClientInfo:
    """The client that created the job; *params* are the other keys of its section in clients.toml."""

    name: str
    plan: str | None = None
    params: Mapping[str, Json] = field(default_factory=dict)


class BranchResult(TypedDict):
    """The result of one branch: ``status`` is its outcome, ``error`` is ``{"code", "message"}`` or None."""

    status: str
    data: Json
    error: Mapping[str, Json] | None


class AggregationResults(dict[str, BranchResult]):
    """Results of the branches of a fan-out by task id, in the order of dispatch."""


class ValuesNotLoadedError(Exception):
    """A handler needs values in S3 that are not loaded: *references*."""

    def __init__(self, references: Sequence[FileReference]) -> None:
        super().__init__(f"{len(references)} values are not loaded")
        self.references = references


class JobContext:
    """A job as one handler sees it.

    Large values in S3 are given by URI in *values*; None without S3, where references stay as they are.

    Changes of ``job_data``, here or through an injected value, are saved with the job: it is a copy, and :meth:`patch`
    returns the difference. ``initial_data`` is a copy too; changes of it are lost.
    """

    def __init__(
        self,
        job: Job,
        *,
        actions: Actions | None = None,
        client: ClientInfo | None = None,
        data_stores: Mapping[str, object] | None = None,
        task_files: object = None,
        values: Mapping[str, Json] | None = None,
    ) -> None:
        self._job = job
        self.job_id = job.id
        self.current_state = job.current_state
        #: The last error, ``{"code", "message"}``, or None. The next success clears it.
        self.error = job.error
        #: The tick of the schedule that created the job, RFC 3339 in UTC; None for other jobs.
        self.scheduled_at = None if job.scheduled_ms is None else f"{utc(job.scheduled_ms):%Y-%m-%dT%H:%M:%SZ}"
        self._values = values
        self._copies: dict[str, dict[str, Json]] = {}
        self._not_loaded: dict[str, dict[str, list[FileReference]]] = {}
        self.actions = actions or Actions()
        self.client = client or ClientInfo(job.client)
        self.tracing_context = {} if job.traceparent is None else {"traceparent": job.traceparent}
        self.data_stores = data_stores or {}
        self.aggregation_results = AggregationResults()
        self.task_files = task_files

    @property
    def context(self) -> "JobContext":
        return self

    @property
    def initial_data(self) -> dict[str, Json]:
        return self._copy("initial_data", self._job.initial_data)

    @property
    def job_data(self) -> dict[str, Json]:
        """Results of tasks and values stored by handlers, merged. Changes are saved with the job."""
        return self._copy("state_history", self._job.state_history)

    @property
    def state_history(self) -> dict[str, Json]:
        """The earlier name of :attr:`job_data`."""
        return self.job_data

    @property
    def names(self) -> tuple[str, ...]:
        """All names that can be injected, for error messages."""
        return tuple(dict.fromkeys((*INJECTED, "scheduled_at", *self._job.state_history, *self._job.initial_data)))

    def injected(self, name: str) -> object:
        """Return the value for a parameter called *name*. Raise KeyError if there is none."""
        if name in INJECTED:
            if name == "context" and self._values is not None:  # its values must be loaded before the handler runs
                self.data()
            return getattr(self, name)
        if name in self._job.state_history:
            return self._copy("state_history", self._job.state_history, name)[name]
        if name not in self._job.initial_data:
            if name == "scheduled_at":
                return self.scheduled_at
            raise KeyError(name)
        return self._copy("initial_data", self._job.initial_data, name)[name]

    def data(self) -> dict[str, Json]:
        """Return all keys of the job's data, for ``**kwargs``."""
        data = {**self.initial_data, **self.job_data}
        return {name: value for name, value in data.items() if name not in INJECTED}

    def patch(self) -> dict[str, Json]:
        """Return the top-level keys of ``job_data`` that the handler changed, with their new values.

        A removed key is set to None. Raise HandlerError for a value that is not JSON.
        """
        before, after = self._job.state_history, self._copies.get("state_history")
        if after is None:
            return {}
        changed: dict[str, Json] = {key: None for key in before if key not in after and before[key] is not None}
        changed |= {
            key: value
            for key, value in after.items()
            if key not in before or (before[key] != value and with_values(before[key], self._values or {}) != value)
        }
        if not changed:
            return {}
        try:
            return dict(as_json(changed, "state_history"))
        except HandlerError as error:
            raise HandlerError(f"state {self.current_state!r}: {error}") from None

    def with_loaded(self, value: Json) -> Json:
        """Return *value* with all values instead of references. Raise ValuesNotLoadedError."""
        references = [] if self._values is None else list(references_in(value))
        self._require(references)
        return with_values(value, self._values or {}) if references else value

    def _copy(self, name: str, original: Mapping[str, Json], key: str | None = None) -> dict[str, Json]:
        """Copy at first use: most handlers use neither. Of values in S3 only that of *key* is needed, if given."""
        if name not in self._copies:
            copies, self._not_loaded[name] = self._copies.setdefault(name, {}), {}
            for each, value in original.items():
                found: list[FileReference] = []
                copies[each] = _copied(value, found)
                if found and self._values is not None:
                    self._not_loaded[name][each] = found
        copies, waiting = self._copies[name], self._not_loaded[name]
        if wanted := [each for each in waiting if key in (None, each)]:
            self._require([reference for each in wanted for reference in waiting[each]])
            for each in wanted:
                copies[each] = _copied(with_values(original[each], self._values or {}), [])
                del waiting[each]
        return copies

    def _require(self, references: Sequence[FileReference]) -> None:
        missing = [reference for reference in references if reference.uri not in (self._values or {})]
        if missing:
            raise ValuesNotLoadedError(missing)


def _copied(value: Json, references: list[FileReference]) -> Json:
    """Return a deep copy of *value*; add the references in it to *references*."""
    if isinstance(value, dict):
        if (reference := reference_of(value)) is not None:
            references.append(reference)
        return {key: _copied(item, references) for key, item in value.items()}
    if isinstance(value, list):
        return [_copied(item, references) for item in value]
    return value
