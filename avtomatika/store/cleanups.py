"""Timers for the clean-up of files, set by the commit that ends a job, so that a crash cannot lose them."""

from collections.abc import Iterator
from dataclasses import dataclass

from avtomatika.core.job import Job, JobStatus
from avtomatika.core.plan import FILES, TIMERS
from avtomatika.core.signing import GroupSecret
from avtomatika.schemas import wire
from avtomatika.transport import Outgoing, Router

from .messages import timer_name


@dataclass(frozen=True, slots=True)
class CleanupTimes:
    """Seconds from the end of a job until its intermediate files, and all its files, are deleted; None: never.

    A job that did not finish may be continued: all its files are deleted after *unfinished_seconds*.
    """

    intermediate_seconds: float | None = None
    everything_seconds: float | None = None
    unfinished_seconds: float | None = None


NO_CLEANUPS = CleanupTimes()


def cleanup_message(cleanup: wire.Cleanup, secret: GroupSecret, *, delay_seconds: float = 0) -> Outgoing:
    """Return *cleanup* as a message for the queue of clean-ups."""
    return Outgoing(FILES, FILES, wire.dump_cleanup(cleanup, secret), delay_seconds=delay_seconds)


def cleanup_timers(
    job: Job, times: CleanupTimes, router: Router, secret: GroupSecret
) -> Iterator[tuple[str, int, str | bytes]]:
    """Yield name, milliseconds and message of each timer for *job*, if it has ended."""
    if not job.status.is_final:
        return
    parent_id = None if job.parent is None else job.parent.job_id
    all_times = [(wire.UNFINISHED, times.unfinished_seconds)]
    if job.status is JobStatus.FINISHED:
        all_times = [(wire.INTERMEDIATE, times.intermediate_seconds), (wire.EVERYTHING, times.everything_seconds)]
    for what, seconds in all_times:
        if seconds is not None:
            origin = job.origins[0] if job.origins else None
            body = wire.dump_cleanup(wire.Cleanup(job.id, what, parent_id, origin), secret)
            due = Outgoing(TIMERS, TIMERS, wire.dump_due_timer(wire.DueTimer(FILES, FILES, body)))
            yield timer_name(job.id, f"_{what}"), round(seconds * 1000), router.encode(due)
