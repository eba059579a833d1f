"""The live state of an open job, stored beside the job without a new version."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class TaskProgress:
    """The worker of an open task and its progress.

    *progress* is 0 to 1, None before the first report; *reported_ms* is the server time of the report.
    """

    worker_id: str | None = None
    progress: float | None = None
    message: str | None = None
    reported_ms: int = 0


@dataclass(frozen=True, slots=True)
class LiveState:
    """*in_flight* has the open tasks that a worker has started; of a fan-out, only the number *branches_left* is known.

    *decision* is the decision on the job's approval until the job continues.
    """

    in_flight: Mapping[str, TaskProgress] = field(default_factory=dict)
    branches_left: int | None = None
    decision: str | None = None
