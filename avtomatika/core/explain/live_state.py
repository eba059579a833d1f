"""What is told of an open job while it stands: kept beside the job, whose version stays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class TaskProgress:
    """Who has an open task in hand, and how far it is.

    *progress* is from 0 to 1, and None until the worker tells; ``reported_ms`` is when it did, by the server's clock.
    """

    worker_id: str | None = None
    progress: float | None = None
    message: str | None = None
    reported_ms: int = 0


@dataclass(frozen=True, slots=True)
class LiveState:
    """*in_flight* has the open tasks that somebody has begun with; of a fan-out only *branches_left* is known.

    *decision* is what somebody decided of the approval that the job waits for, until it goes on.
    """

    in_flight: Mapping[str, TaskProgress] = field(default_factory=dict)
    branches_left: int | None = None
    decision: str | None = None
