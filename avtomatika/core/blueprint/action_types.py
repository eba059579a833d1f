"""What a handler may decide: frozen values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from avtomatika.core.job import Json
from avtomatika.core.placement.selection import Needs
from avtomatika.core.retry import RetryPolicy


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
    retry: RetryPolicy | None = None
    needs: Needs | None = None


@dataclass(frozen=True, slots=True)
class FanOut:
    """Have workers do several things at once; when all *branches* have ended, *aggregator* collects what came of them.

    Every branch leads ``success`` to the aggregator.
    """

    branches: tuple[DispatchTask, ...]
    aggregator: str


@dataclass(frozen=True, slots=True)
class Wait:
    """Go on in *then* after *seconds*, or at *until_ms* of the server's clock (milliseconds since the epoch)."""

    then: str
    seconds: float | None = None
    until_ms: int | None = None


@dataclass(frozen=True, slots=True)
class AwaitApproval:
    """Ask a person: the decision chooses the next state. *integration* is a word for whoever brings the question."""

    integration: str
    message: str
    transitions: Mapping[str, str]
    timeout_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class RunBlueprint:
    """Run a job of another blueprint; how it ends chooses the next state."""

    name: str
    initial_data: Mapping[str, Json] = field(default_factory=dict)
    transitions: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class End:
    """The job ends here; *result* is what the end handler returned."""

    result: Json = None


Action = GoTo | DispatchTask | FanOut | Wait | AwaitApproval | RunBlueprint | End
