"""A job as the HTTP API shows it."""

from dataclasses import dataclass, field

from avtomatika.core.explain.facts import LiveState, TaskProgress
from avtomatika.core.explain.waiting import WaitView, waiting_for
from avtomatika.core.job import Job, Json

_NOBODY = TaskProgress()


@dataclass(frozen=True, slots=True)
class JobView:
    """A job and its live state."""

    job: Job
    live_state: LiveState = field(default_factory=LiveState)

    @property
    def worker_id(self) -> str | None:
        """The worker of the first open task."""
        return next((hand.worker_id for hand in self.live_state.in_flight.values()), None)

    @property
    def parent_id(self) -> str | None:
        return None if self.job.parent is None else self.job.parent.job_id

    @property
    def tries(self) -> int:
        """The number of this try, from 1."""
        return self.job.tries or 1

    @property
    def waiting_for(self) -> WaitView | None:
        return waiting_for(self.job)

    @property
    def branches(self) -> dict[str, Json] | None:
        """The progress of a fan-out."""
        of, left = self.job.fan_out, self.live_state.branches_left
        return None if of is None else {"total": of.size, "sent": of.sent, "left": left, "failed": of.failed or 0}

    @property
    def latest(self) -> TaskProgress:
        """The open task that reported progress last."""
        return max(self.live_state.in_flight.values(), key=lambda hand: hand.reported_ms, default=_NOBODY)

    @property
    def tasks(self) -> list[dict[str, Json]]:
        return [
            {
                "id": task.id,
                "task_type": task.task_type,
                "state": task.state,
                "attempt": task.attempt,
                "worker_id": hand.worker_id,
                "routed_to": task.worker_id,
                "waits_for": task.missing,
                "progress": hand.progress,
                "progress_message": hand.message,
            }
            for task in self.job.tasks.values()
            for hand in [self.live_state.in_flight.get(task.id, _NOBODY)]
        ]
