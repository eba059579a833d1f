"""Announcements of plans: which plans orchestrators serve, which are abandoned, and which ones jobs need.

The name of a plan is ``<blueprint>@<plan_hash>``. Every orchestrator announces its plans every few seconds. If a plan
has not been announced for long enough, an orchestrator declares it abandoned; the next announcement ends that.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from avtomatika import __version__
from avtomatika.core.job import Job, JobStatus
from avtomatika.core.machine.plan_migration import plan_name
from avtomatika.transport import Reading, none_refused
from avtomatika.transport.scripts import Call

from .records import load_job
from .scripts import ANNOUNCE_PLANS, UNFINISHED_JOBS, server_errors
from .server_part import ServerPart

#: Time after which an unannounced plan without queues is forgotten. Until then, jobs that a web process with this plan
#: creates are recognized as unserved.
_FORGOTTEN_AFTER_SECONDS = 30 * 24 * 3600
SERVED_WITHIN_MS = 30_000
#: Jobs read in one round trip.
_PAGE = 1000


@dataclass(frozen=True, slots=True)
class PlanAnnouncements:
    """*silent_ms*: plan -> ms since its last announcement; plans that were never announced are missing."""

    silent_ms: Mapping[str, int]
    abandoned: frozenset[str]


class Plans(ServerPart):
    """The plans of one server. Thread-safe; every method raises UnavailableError if the server is unreachable."""

    def announce(self, plans: Sequence[str] = ()) -> PlanAnnouncements:
        """Announce that this process serves *plans*, and return the announcements of all plans."""
        return self.read_together(self.read_announcements(plans))[0]

    def read_announcements(self, plans: Sequence[str] = ()) -> Reading[PlanAnnouncements]:
        """The reading of :meth:`announce`, in one round trip."""
        keys = [self._keys.plans(), self._keys.abandoned_plans(), self._keys.versions()]
        call = Call(ANNOUNCE_PLANS, keys, [_FORGOTTEN_AFTER_SECONDS * 1000, __version__, *plans])
        [[now, announced, abandoned]] = none_refused((yield [call]))
        last = zip(announced[::2], announced[1::2], strict=True)
        return PlanAnnouncements(
            {name.decode(): int(now) - int(at) for name, at in last}, frozenset(name.decode() for name in abandoned)
        )

    def served(self) -> frozenset[str]:
        """Return the plans that an orchestrator has announced within the last 30 seconds."""
        return frozenset(plan for plan, silent_ms in self.announce().silent_ms.items() if silent_ms < SERVED_WITHIN_MS)

    def abandon(self, plan: str) -> None:
        """Declare *plan* abandoned, so that other plans may adopt its jobs."""
        self._read([("ZADD", self._keys.abandoned_plans(), self._now_ms(), plan)])

    def keep_abandoned(self, plans: Sequence[str]) -> None:
        """Keep the abandoned ones of *plans*, which still have queues, from being forgotten."""
        now = self._now_ms() if plans else 0
        self._read([("ZADD", self._keys.abandoned_plans(), "XX", now, plan) for plan in plans])

    def unfinished_jobs(self) -> Iterator[list[Job]]:
        """Yield all unfinished jobs, as of the call or later, in pages of one round trip each."""
        statuses = [status for status in JobStatus if not status.is_final]
        calls = [Call(UNFINISHED_JOBS, list(map(keys.by_status, statuses)), []) for keys in self._keys.shards]
        with server_errors():
            job_ids = [job_id.decode() for found in self._server.run_each(calls) for job_id in found]
        for first in range(0, len(job_ids), _PAGE):
            page = job_ids[first : first + _PAGE]
            [rows] = self.read_together(self._read_rows(page))
            jobs = (load_job(job_id, row) for job_id, row in zip(page, rows, strict=True))
            yield [job for job in jobs if job is not None and not job.status.is_final]


def needed_by(job: Job) -> frozenset[str]:
    """Return the plans whose routing keys messages to or from *job* may still use: its current and earlier plans, its
    parent's plan, and the plan of the child that it waits for."""
    found = {plan_name(job.blueprint, plan_hash) for plan_hash in (job.plan_hash, *job.earlier_plans)}
    if job.parent is not None:
        found.add(job.parent.routing_key.partition(".")[0])
    if job.wait is not None and job.wait.kind == "child":
        found.add(str(job.wait.details["signal_key"]).partition(".")[0])
    return frozenset(found)
