"""Plans, as the orchestrators of all hosts know them: who serves which, which nobody serves, and which jobs still need
one.

A plan is called ``<blueprint>@<plan_hash>`` here. Every orchestrator announces its own every few seconds; one that
nobody
announces any more is declared abandoned by whoever has watched it for long enough, and is so until somebody announces
it again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from avtomatika.core.job import Job, JobStatus
from avtomatika.core.machine.plan_migration import plan_name
from avtomatika.transport import RedisClient
from avtomatika.transport.scripts import Call

from .keys import Keys
from .records import JOB_FIELDS, load_job
from .scripts import ANNOUNCE_PLANS, UNFINISHED_JOBS, read_all, read_hashes, run

#: A plan that nobody announces, and of which nothing is left, is remembered so long: a web process that still has it
#: may create jobs, and these must be known to be nobody's.
_FORGOTTEN_AFTER_SECONDS = 30 * 24 * 3600
_SERVED_WITHIN_MS = 30_000
#: Jobs that are looked at in one round trip.
_PAGE = 1000


@dataclass(frozen=True, slots=True)
class PlanAnnouncements:
    """*silent_ms*: plan -> for how long nobody has announced it, without those that nobody ever did."""

    silent_ms: Mapping[str, int]
    abandoned: frozenset[str]


class Plans:
    """What one server knows of plans."""

    def __init__(self, server: RedisClient, keys: Keys) -> None:
        self._server = server
        self._keys = keys

    def announce(self, plans: Sequence[str] = ()) -> PlanAnnouncements:
        """Say that *plans* are served here; answers what is known of all. Raises UnavailableError."""
        keys = [self._keys.plans(), self._keys.abandoned_plans()]
        call = Call(ANNOUNCE_PLANS, keys, [_FORGOTTEN_AFTER_SECONDS * 1000, *plans])
        now, announced, abandoned = run(self._server, call)
        last = zip(announced[::2], announced[1::2], strict=True)
        return PlanAnnouncements(
            {name.decode(): int(now) - int(at) for name, at in last},
            frozenset(name.decode() for name in abandoned),
        )

    def is_served(self, plan: str) -> bool:
        """Whether an orchestrator has announced *plan* within half a minute; each does so every few seconds."""
        return self.announce().silent_ms.get(plan, _SERVED_WITHIN_MS) < _SERVED_WITHIN_MS

    def abandon(self, plan: str) -> None:
        """Declare that nobody serves *plan*: others may go on with its jobs."""
        read_all(self._server, [("ZADD", self._keys.abandoned_plans(), self._now_ms(), plan)])

    def keep_abandoned(self, plans: Sequence[str]) -> None:
        """Those of *plans* that are abandoned have queues still: they are not forgotten."""
        now = self._now_ms() if plans else 0
        read_all(self._server, [("ZADD", self._keys.abandoned_plans(), "XX", now, plan) for plan in plans])

    def _now_ms(self) -> int:
        [clock] = read_all(self._server, [("TIME",)])
        return int(clock[0]) * 1000

    def unfinished_jobs(self) -> Iterator[list[Job]]:
        """All jobs that are not over, as they stood when this began or later; a round trip a page."""
        statuses = [self._keys.by_status(status) for status in JobStatus if not status.is_final]
        job_ids = [job_id.decode() for job_id in run(self._server, Call(UNFINISHED_JOBS, statuses, []))]
        for first in range(0, len(job_ids), _PAGE):
            page = job_ids[first : first + _PAGE]
            rows = read_hashes(self._server, [self._keys.job(job_id) for job_id in page], JOB_FIELDS)
            jobs = (load_job(job_id, row) for job_id, row in zip(page, rows, strict=True))
            yield [job for job in jobs if job is not None and not job.status.is_final]


def needed_by(job: Job) -> frozenset[str]:
    """The plans whose routing keys may still come to, or from, *job*: its own, those it had, that of who waits for it,
    and that of whom it waits for."""
    found = {plan_name(job.blueprint, plan_hash) for plan_hash in (job.plan_hash, *job.earlier_plans)}
    if job.parent is not None:
        found.add(job.parent.routing_key.partition(".")[0])
    if job.pause is not None and job.pause.kind == "child":
        found.add(str(job.pause.details["signal_key"]).partition(".")[0])
    return frozenset(found)
