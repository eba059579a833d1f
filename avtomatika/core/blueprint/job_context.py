"""What a handler can see of its job: the things that are injected by name and that ``F`` looks at."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypedDict

from avtomatika.core.job import Job, Json
from avtomatika.core.jsonable import as_json
from avtomatika.errors import HandlerError

from .actions import Actions

#: Injected before any key of the job's data.
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
    """Who created the job; *params* are the further keys of its section in clients.toml."""

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


class JobContext:
    """One job as one handler sees it.

    Handlers may change ``state_history`` freely, here or by an injected key: it is a copy, and :meth:`patch` tells what
    became of it. ``initial_data`` is a copy too, and changes of it are lost.
    """

    def __init__(
        self,
        job: Job,
        *,
        actions: Actions | None = None,
        client: ClientInfo | None = None,
        tracing_context: Mapping[str, str] | None = None,
        data_stores: Mapping[str, object] | None = None,
        task_files: object = None,
    ) -> None:
        self._job = job
        self._copies: dict[str, dict[str, Json]] = {}
        self.actions = actions or Actions()
        self.client = client or ClientInfo(job.client)
        self.tracing_context = dict(tracing_context or {})
        self.data_stores = data_stores or {}
        self.aggregation_results = AggregationResults()
        self.task_files = task_files

    @property
    def context(self) -> JobContext:
        return self

    @property
    def job_id(self) -> str:
        return self._job.id

    @property
    def current_state(self) -> str | None:
        return self._job.current_state

    @property
    def error(self) -> Mapping[str, Json] | None:
        """What went wrong with the task that led here, ``{"code", "message"}``, or None."""
        return self._job.error

    @property
    def initial_data(self) -> dict[str, Json]:
        return self._copy("initial_data", self._job.initial_data)

    @property
    def job_data(self) -> dict[str, Json]:
        """Results of tasks and whatever handlers stored, merged. Changes are saved with the job."""
        return self._copy("state_history", self._job.state_history)

    @property
    def state_history(self) -> dict[str, Json]:
        """The earlier name of :attr:`job_data`."""
        return self.job_data

    @property
    def names(self) -> tuple[str, ...]:
        """Everything that a parameter may be called, for messages."""
        return tuple(dict.fromkeys((*INJECTED, *self._job.state_history, *self._job.initial_data)))

    def injected(self, name: str) -> object:
        """What a parameter called *name* gets. Raises KeyError where there is nothing of that name."""
        if name in INJECTED:
            return getattr(self, name)
        if name in self._job.state_history:
            return self.job_data[name]
        return self.initial_data[name]

    def data(self) -> dict[str, Json]:
        """What ``**kwargs`` gets before named parameters are taken out: all keys of the job's data."""
        data = {**self.initial_data, **self.job_data}
        return {name: value for name, value in data.items() if name not in INJECTED}

    def patch(self) -> dict[str, Json]:
        """The top-level keys of ``state_history`` that the handler changed, with their new values.

        A patch only ever sets keys: one that the handler removed is there as None. Raises HandlerError for a value that
        is not JSON.
        """
        before, after = self._job.state_history, self._copies.get("state_history")
        if after is None:
            return {}
        changed: dict[str, Json] = {key: None for key in before if key not in after and before[key] is not None}
        changed |= {key: value for key, value in after.items() if key not in before or before[key] != value}
        if not changed:
            return {}
        try:
            return dict(as_json(changed, "state_history"))
        except HandlerError as error:
            raise HandlerError(f"state {self.current_state!r}: {error}") from None

    def _copy(self, name: str, original: Mapping[str, Json]) -> dict[str, Json]:
        """Made at the first look: most handlers never ask for it."""
        if name not in self._copies:
            self._copies[name] = {key: _copied(value) for key, value in original.items()}
        return self._copies[name]


def _copied(value: Json) -> Json:
    if isinstance(value, dict):
        return {key: _copied(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_copied(item) for item in value]
    return value
