"""What a handler may decide: frozen values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from .job import Json


@dataclass(frozen=True, slots=True)
class GoTo:
    """Go on in another state."""

    state: str


@dataclass(frozen=True, slots=True)
class DispatchTask:
    """Have a worker do something; its outcome chooses the next state."""

    task_type: str
    params: Mapping[str, Json] = field(default_factory=dict)
    transitions: Mapping[str, str] = field(default_factory=dict)
    priority: int | None = None
    max_retries: int | None = None
    dispatch_timeout_seconds: float | None = None
    result_timeout_seconds: float | None = None
    output_schema: Mapping[str, Json] | None = None


@dataclass(frozen=True, slots=True)
class End:
    """The job ends here; *result* is what the end handler returned."""

    result: Json = None


Action = GoTo | DispatchTask | End
