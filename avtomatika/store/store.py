"""The store: creates, reads and commits jobs. It knows keys and scripts and makes no decisions."""

from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from itertools import chain, islice
from typing import Any, Self

from redis.exceptions import RedisError

from avtomatika.core.events import Event
from avtomatika.core.explain.facts import Facts
from avtomatika.core.job import Job, JobStatus, Json, RecordedEntry
from avtomatika.core.machine.moves import end
from avtomatika.core.machine.plan_migration import plan_name
from avtomatika.core.signing import GroupSecret
from avtomatika.core.step import SendEvent
from avtomatika.errors import AvtomatikaError, NoRouteError
from avtomatika.schemas.wire import Progress, TaskStarted
from avtomatika.transport import Outgoing, Reading, RedisClient, Router, together
from avtomatika.transport.keys import PREFIX
from avtomatika.transport.scripts import Call

from .archive import Archive
from .branches import BranchQuery, BranchStatus, FinishedBranch, LoadedBranches, branch_call
from .cleanups import NO_CLEANUPS, CleanupTimes
from .client_limits import ClientLimits
from .commit import Commit
from .job_creator import JobCreator
from .job_facts import JobFactsReader
from .job_revisions import JobRevisions
from .job_signals import JobSignals
from .job_streams import MAX_STREAM_BYTES, JobStreams
from .keyring import Keyring
from .large_values import MAX_JOB_BYTES
from .limits import Limits
from .live_state import progress_call, taken_call
from .logins import Logins
from .messages import step_message
from .overview import OverviewReader
from .placement import Placement
from .plans import Plans
from .queues import Queues
from .records import UnreadableJob
from .schedules import Schedules
from .scripts import server_errors
from .server_info import ServerInfo, ServerInfoReader
from .server_part import checked
from .signals import Wish, decide_call, decision_error, new_decision, new_signal, signal_call, signal_error
from .task_times import TaskTimes
from .traffic import TrafficRecords
from .worker_registry import IsAuthorized, WorkerRegistry, everybody


class Store(JobCreator):
    """Jobs of one orchestrator group on one server. Thread-safe."""

    def __init__(
        self,
        server: RedisClient,
        router: Router,
        *,
        keyring: Keyring | None = None,
        group: str = "g0",
        job_ttl_seconds: int = 604_800,
        cleanups: CleanupTimes = NO_CLEANUPS,
        is_authorized: IsAuthorized = everybody,
        max_job_bytes: int = MAX_JOB_BYTES,
        max_inline_bytes: int | None = None,
        cache_bytes: int = 0,
        max_stream_bytes: int = MAX_STREAM_BYTES,
        max_retries: int = 3,
        archive: Archive | None = None,
        notifies: bool = False,
    ) -> None:
        """Without a *keyring* the group's secret is the one that the server stores. *is_authorized* returns False for
        the ids of revoked workers. The data of a job is at most *max_job_bytes* of JSON; large values are cached up to
        *cache_bytes*. A step with a value above *max_inline_bytes* is refused. *max_retries* is the default of single
        tasks. Jobs that the server no longer has are read from *archive*. With *notifies*, operators are
        notified of jobs that wait for a person or are quarantined."""
        keyring = keyring or Keyring(server)
        limits = {"max_bytes": max_job_bytes, "cache_bytes": cache_bytes, "max_inline_bytes": max_inline_bytes}
        options: dict[str, Any] = {
            "job_ttl_ms": 1000 * job_ttl_seconds,
            "cleanups": cleanups,
            "notifies": notifies,
            **limits,
        }
        super().__init__(server, router, keyring=keyring, **options)
        self.archive = archive
        self._group = group
        self._max_retries = max_retries
        self._server_info = ServerInfoReader(server)
        self.placement = Placement(server, self.clock)
        # Parts for the workers, queues, plans and statistics of these jobs:
        self.limits = Limits(server, router)
        self.registry = WorkerRegistry(server, is_authorized)
        self.queues = Queues(server, router)
        self.logins = Logins(server)
        self.client_limits = ClientLimits(server)
        self.job_facts = JobFactsReader(server, router, registry=self.registry)
        self.plans = Plans(server)
        self.overview = OverviewReader(server, router, registry=self.registry)
        self.job_revisions = JobRevisions(server)
        self.traffic = TrafficRecords(server, router)
        self.task_times = TaskTimes(server)
        self.schedules = Schedules(server)
        self.signals = JobSignals(server, router, keyring=keyring)
        self.streams = JobStreams(server, max_bytes=max_stream_bytes)

    @classmethod
    def connect(cls, url: str, *, prefixes: Sequence[str] = (PREFIX,), **options: Any) -> Self:
        """Return :meth:`using` with separate connections; nothing is sent yet."""
        return cls.using(RedisClient.connect(url, prefixes=prefixes), **options)

    @classmethod
    def using(cls, server: RedisClient, *, secret: GroupSecret | None = None, **options: Any) -> Self:
        """Return a store on shared connections that creates and reads jobs; *options* are the constructor's."""
        return cls(server, Router(server), keyring=Keyring(server, secret), **options)

    def read_explained(
        self, job_id: str, *, entries: int
    ) -> Reading[tuple[Job, Sequence[RecordedEntry], Facts] | None]:
        """Read a job, the first *entries* of its history, and the facts about it: two round trips for most jobs. Raises
        UnreadableRecordError."""
        history = self.read_history(job_id, limit=entries)
        readings: Sequence[Reading[Any]] = (self.read_job(job_id), history, self.job_facts.read_group(job_id))
        job, (recorded, _), group = yield from together(*readings)
        return None if job is None else (job, recorded, (yield from self.job_facts.read_facts(job, group)))

    # ------------------------------------------------------------ write

    def signal(self, job: Job, wish: Wish, *, by: str) -> None:
        """Cancel *job*, or retry or expire it from quarantine, with its next commit. *by* is the user.

        A job whose plan no orchestrator serves is cancelled at once: no process would read the message. Raises
        ConflictError if its status does not allow that or the same request was sent before, NotFoundError if it does
        not exist any more.
        """
        checked(self.signal_each([job], wish, by=by))

    def signal_each(self, jobs: Sequence[Job], wish: Wish, *, by: str) -> list[AvtomatikaError | None]:
        """As :meth:`signal` for each of *jobs*, in a few round trips; return its error in its place."""
        done = self._cancel_unserved(jobs, by=by) if wish == "cancel" else frozenset()
        rest = [job for job in jobs if job.id not in done]

        def send(job: Job) -> Call:
            return signal_call(job, new_signal(job, wish, by), **self._routing)

        replies = self._run_routed(self._router, rest, send, partial(signal_error, wish))
        errors = dict(zip((job.id for job in rest), replies, strict=True))
        return [errors.get(job.id) for job in jobs]

    def decide(
        self,
        job: Job,
        decision: str,
        *,
        by: str,
        comment: str | None = None,
        data: Json = None,
        token: str | None = None,
    ) -> None:
        """Decide the approval that *job* waits for; it continues with its next commit. *by* is the user, *data* what
        the form of the approval asks for.

        With a *token*, decide only the approval with that token, not a later one. Raises ConflictError if the job does
        not wait for it or it is already decided, InvalidRequestError if *decision* is not offered or *data* does not
        fit the form, NotFoundError if the job does not exist any more.
        """
        self.approval(job, token)
        checked(self.decide_each([job], decision, by=by, comment=comment, data=data))

    def decide_each(
        self, jobs: Sequence[Job], decision: str, *, by: str, comment: str | None = None, data: Json = None
    ) -> list[AvtomatikaError | None]:
        """As :meth:`decide` for each of *jobs*, in one round trip; return its error in its place."""

        def send(job: Job) -> Call:
            return decide_call(job, new_decision(job, decision, by=by, comment=comment, data=data), **self._routing)

        return self._run_routed(self._router, jobs, send, decision_error)

    def _cancel_unserved(self, jobs: Sequence[Job], *, by: str) -> frozenset[str]:
        """Cancel the jobs whose plans no orchestrator serves; return their ids."""
        served = self.plans.served()
        waiting = [
            Commit(job, end(job, JobStatus.CANCELLED, {"by": by}), ())
            for job in jobs
            if not isinstance(job, UnreadableJob) and plan_name(job.blueprint, job.plan_hash) not in served
        ]
        replies = self.commit(waiting)
        return frozenset(each.before.id for each, reply in zip(waiting, replies, strict=True) if reply.is_written)

    def finish_branches(self, finished: Sequence[FinishedBranch]) -> list[tuple[BranchStatus, str]]:
        """Store the answers of branches that succeeded, in one round trip, each atomically and without its job.
        Also returns the skill of each that was stored.

        Raises UnavailableError if the server is unreachable: any of them may have been written, and all can be sent
        again.
        """
        replies = [(BranchStatus.ORDINARY, "")] * len(finished)
        calls: dict[int, Call] = {}
        for index, each in enumerate(finished):
            with suppress(NoRouteError), server_errors():
                calls[index] = branch_call(each, max_bytes=self._max_job_bytes, **self._routing)
        for index, answer in zip(calls, self._run_all(list(calls.values())), strict=True):
            if not isinstance(answer, RedisError):  # if the server rejects one, the machine handles it
                status, _, skill = answer.decode().partition(" ")
                replies[index] = BranchStatus(status), skill
        return replies

    def load_branches(self, wanted: Sequence[BranchQuery]) -> list[LoadedBranches]:
        """Read branches of several jobs in one round trip. A returned job may be an :class:`UnreadableJob`."""
        commands = [each.commands(self._keys) for each in wanted]
        rows = iter(self._read(list(chain(*commands))))
        return [each.load(list(islice(rows, len(asked)))) for each, asked in zip(wanted, commands, strict=True)]

    def record_taken(self, notices: Sequence[tuple[str | None, TaskStarted]]) -> None:
        """Record which workers have started which tasks; *notices* are (delivery tag, message), acknowledged here.

        The tag is None for a message that others share: its consumer acknowledges it.
        """
        self._run_all([taken_call(tag, taken, keys=self._keys, router=self._router) for tag, taken in notices])

    def record_progress(self, progress: Sequence[Progress]) -> None:
        """Record the progress of tasks; reports on closed tasks or attempts are dropped."""
        self._run_all([progress_call(each, keys=self._keys) for each in progress])

    def step_message(self, routing_key: str, event: Event) -> Outgoing:
        """Return *event* as the message that a commit sends to *routing_key*."""
        return step_message(SendEvent(routing_key, event), self.keyring.secret)

    def ping(self) -> list[ServerInfo]:
        """Read the INFO of the server, or of each node of a cluster. Raises UnavailableError if one is unreachable."""
        return self._server_info.infos()
