"""The decisions that a handler can take, as frozen values."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from avtomatika.core.job import Json
from avtomatika.core.placement.selection import Needs
from avtomatika.core.retry import RetryPolicy


@dataclass(frozen=True, slots=True)
class GoTo:
    """Continue in another state."""

    state: str


@dataclass(frozen=True, slots=True)
class DispatchTask:
    """Have a worker run a task; its outcome chooses the next state."""

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
class RunBlueprint:
    """Run a child job of another blueprint; its outcome chooses the next state."""

    name: str
    initial_data: Mapping[str, Json] = field(default_factory=dict)
    transitions: Mapping[str, str] = field(default_factory=dict)
    priority: int | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    time_limit_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class FanOut:
    """Run several tasks and child jobs in parallel; the state *aggregator* joins their results.

    Every branch maps ``success`` to the aggregator. More than *max_failures* failures fail the job: at once, or, if it
    *finishes_all*, when all branches have ended. The *first_success* may cancel the others. At most *max_concurrency*
    of its tasks run at a time.
    """

    branches: tuple[DispatchTask | RunBlueprint, ...]
    aggregator: str
    max_concurrency: int | None = None
    finishes_all: bool = False
    max_failures: int = 0
    first_success: bool = False


@dataclass(frozen=True, slots=True)
class Wait:
    """Continue in the state *then* after *seconds*, or at *until_ms* (milliseconds since the epoch, server time)."""

    then: str
    seconds: float | None = None
    until_ms: int | None = None


@dataclass(frozen=True, slots=True)
class AwaitApproval:
    """Ask a person; the decision chooses the next state. *integration* names the channel for asking, and is only stored
    and shown. *form* is the JSON Schema of the data that the person gives. Only *assignees*, which are clients, and
    clients with *role* may decide, if there are any."""

    integration: str
    message: str
    transitions: Mapping[str, str]
    timeout_seconds: float | None = None
    form: Mapping[str, Json] | None = None
    assignees: tuple[str, ...] = ()
    role: str | None = None


@dataclass(frozen=True, slots=True)
class WaitFor:
    """Wait for a signal; ``received`` or ``timeout`` chooses the next state. *form* is the JSON Schema of its data."""

    signal: str
    transitions: Mapping[str, str]
    timeout_seconds: float | None = None
    form: Mapping[str, Json] | None = None


@dataclass(frozen=True, slots=True)
class End:
    """End the job; *result* is the return value of the end handler."""

    result: Json = None


Action = GoTo | DispatchTask | FanOut | Wait | WaitFor | AwaitApproval | RunBlueprint | End
