"""The store: creates, reads and commits jobs. It knows keys and scripts and makes no decisions."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import chain, islice
from typing import Any, Self

from redis.exceptions import RedisError

from avtomatika.core.events import Event
from avtomatika.core.job import HistoryEntry, Job, JobStatus, Json
from avtomatika.core.machine.moves import end
from avtomatika.core.machine.plan_migration import plan_name
from avtomatika.core.signing import GroupSecret
from avtomatika.core.step import SendEvent
from avtomatika.errors import ConflictError, NoRouteError, NotFoundError, QuotaExceededError, UnreadableRecordError
from avtomatika.schemas.wire import Progress, TaskStarted
from avtomatika.transport import Outgoing, RedisClient, Router
from avtomatika.transport.scripts import Call

from .branches import BranchQuery, BranchStatus, FinishedBranch, LoadedBranches, branch_call
from .cleanups import NO_CLEANUPS, CleanupTimes
from .commit import Commit
from .creation import CreatedJob, NewJob, Quota, create_call, first_steps
from .entries import dump_entry
from .job_facts import JobFactsReader
from .job_revisions import JobRevisions
from .job_streams import MAX_STREAM_BYTES, JobStreams
from .job_writer import JobWriter
from .keyring import Keyring
from .large_values import MAX_JOB_BYTES
from .live_state import progress_call, taken_call
from .logins import Logins
from .messages import step_message
from .plans import Plans
from .queues import Queues
from .records import UnreadableJob
from .scripts import QUARANTINE_JOB, ignore_call, note_call, server_errors
from .server_info import ServerInfo, ServerInfoReader
from .signals import REFUSALS, SENT, Wish, check_decided, decide_call, new_decision, new_signal, signal_call
from .traffic import TrafficRecords
from .worker_registry import IsAuthorized, WorkerRegistry, everybody


class Store(JobWriter):
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
    ) -> None:
        """Without a *keyring* the group's secret is the one that the server stores. *is_authorized* returns False for
        the ids of revoked workers. The data of a job is at most *max_job_bytes* of JSON; large values are cached up to
        *cache_bytes*. A step with a value above *max_inline_bytes* is refused. *max_retries* is the default of single
        tasks."""
        super().__init__(
            server,
            router,
            keyring=keyring or Keyring(server),
            job_ttl_seconds=job_ttl_seconds,
            cleanups=cleanups,
            max_job_bytes=max_job_bytes,
            max_inline_bytes=max_inline_bytes,
            cache_bytes=cache_bytes,
        )
        self._group = group
        self._max_retries = max_retries
        self._server_info = ServerInfoReader(server)
        # Parts for the workers, queues, plans and statistics of these jobs:
        self.registry = WorkerRegistry(server, is_authorized)
        self.queues = Queues(server, router)
        self.logins = Logins(server)
        self.job_facts = JobFactsReader(server, router, registry=self.registry)
        self.plans = Plans(server)
        self.job_revisions = JobRevisions(server)
        self.traffic = TrafficRecords(server, router)
        self.streams = JobStreams(server, max_bytes=max_stream_bytes)

    @classmethod
    def connect(cls, url: str, **options: Any) -> Self:
        """Return :meth:`using` with separate connections; nothing is sent yet."""
        return cls.using(RedisClient.connect(url), **options)

    @classmethod
    def using(cls, server: RedisClient, *, secret: GroupSecret | None = None, **options: Any) -> Self:
        """Return a store on shared connections that creates and reads jobs; *options* are the constructor's."""
        return cls(server, Router(server), keyring=Keyring(server, secret), **options)

    # ------------------------------------------------------------ write

    def create(self, new: NewJob, *, monthly: int | None = None) -> CreatedJob:
        """Write a job with its first history entry and its first message, atomically.

        *monthly* limits the jobs that its client may create in a calendar month (UTC). Raises ConflictError if the
        idempotency key was used with another body, QuotaExceededError, NoRouteError if the plan was never declared, and
        UnavailableError if the server is unreachable or out of memory for new jobs.
        """
        return self.create_many([new], monthly=monthly)[0]

    def create_many(
        self, news: Sequence[NewJob], *, monthly: int | None = None, declare: Callable[..., object] | None = None
    ) -> list[CreatedJob]:
        """As :meth:`create`, all jobs or none. They have the same client, plan and idempotency key.

        *declare* declares the plan, and the queues of the skills that it is given, if the broker does not know them.
        """
        news = [
            replace(new, max_retries=self._max_retries) if new.skill and new.max_retries is None else new
            for new in news
        ]
        self._server_info.refuse_when_full()
        steps = first_steps(news, self._group)
        quota = None if monthly is None else Quota.of(monthly, now=self.clock.now())

        def call() -> Call:
            return create_call(
                news,
                steps,
                quota=quota,
                max_job_bytes=self._max_job_bytes,
                keys=self._keys,
                router=self._router,
                secret=self.keyring.secret,
                clock=self.clock,
            )

        try:
            status, detail = self._routed(call)
        except NoRouteError:  # no orchestrator has declared the blueprint yet, or the server has lost its data
            if declare is None:
                raise
            declare(*({new.skill for new in news} - {None}))
            status, detail = self._routed(call)
        ids = detail.decode().split() or [step.job.id for step in steps]
        if status == b"OTHER_BODY":
            raise ConflictError(
                f"the idempotency key {news[0].idempotency_key!r} was used with another body, for job {ids[0]}"
            )
        if status == b"QUOTA" and quota is not None:
            raise QuotaExceededError(limit=quota.limit, created=int(detail), asked=len(news), renews=quota.renews)
        return [CreatedJob(job_id, existing=status == b"EXISTS") for job_id in ids]

    def signal(self, job: Job, wish: Wish, *, by: str) -> None:
        """Cancel *job*, or retry or expire it from quarantine, with its next commit. *by* is the user.

        A job whose plan no orchestrator serves is cancelled at once: no process would read the message. Raises
        ConflictError if its status does not allow that or the same request was sent before, NotFoundError if it does
        not exist any more.
        """
        if (
            wish == "cancel"
            and not isinstance(job, UnreadableJob)
            and not self.plans.is_served(plan_name(job.blueprint, job.plan_hash))
        ):
            step = end(job, JobStatus.CANCELLED, {"by": by})
            if self.commit([Commit(job, step, ())])[0].is_written:
                return
        signal = new_signal(job, wish, by)
        status, detail = self._routed(
            lambda: signal_call(job, signal, keys=self._keys, router=self._router, secret=self.keyring.secret)
        )
        if status == b"GONE":
            raise NotFoundError("job", job.id)
        if status == b"REFUSED":
            raise ConflictError(REFUSALS[wish].format(detail.decode()))
        if status == b"SENT":
            raise ConflictError(SENT[wish])

    def decide(self, job: Job, decision: str, *, by: str, comment: str | None = None, token: str | None = None) -> None:
        """Decide the approval that *job* waits for; it continues with its next commit. *by* is the user.

        With a *token*, decide only the approval with that token, not a later one. Raises ConflictError if the job does
        not wait for it or it is already decided, InvalidRequestError if *decision* is not offered, NotFoundError if the
        job does not exist any more.
        """
        self.approval(job, token)
        made = new_decision(job, decision, by=by, comment=comment)
        status, detail = self._routed(
            lambda: decide_call(job, made, keys=self._keys, router=self._router, secret=self.keyring.secret)
        )
        check_decided(job, status, detail.decode())

    def finish_branches(self, finished: Sequence[FinishedBranch]) -> list[BranchStatus]:
        """Store the answers of branches that succeeded, in one round trip, each atomically and without its job.

        Raises UnavailableError if the server is unreachable: any of them may have been written, and all can be sent
        again.
        """
        replies = [BranchStatus.ORDINARY] * len(finished)
        calls: dict[int, Call] = {}
        for index, each in enumerate(finished):
            with suppress(NoRouteError), server_errors():
                calls[index] = branch_call(
                    each,
                    keys=self._keys,
                    router=self._router,
                    secret=self.keyring.secret,
                    max_bytes=self._max_job_bytes,
                )
        for index, answer in zip(calls, self._run_all(list(calls.values())), strict=True):
            if not isinstance(answer, RedisError):  # if the server rejects one, the machine handles it
                replies[index] = BranchStatus(answer.decode())
        return replies

    def load_branches(self, wanted: Sequence[BranchQuery]) -> list[LoadedBranches]:
        """Read branches of several jobs in one round trip. A returned job may be an :class:`UnreadableJob`."""
        commands = [each.commands(self._keys) for each in wanted]
        rows = iter(self._read(list(chain(*commands))))
        return [each.load(list(islice(rows, len(asked)))) for each, asked in zip(wanted, commands, strict=True)]

    def quarantine(self, job: UnreadableJob) -> None:
        """Quarantine a job without changing its unreadable record. Does nothing if its key contains no job."""
        error = {"code": UnreadableRecordError.code.upper(), "message": job.reason}
        entry = HistoryEntry("job_quarantined", state=job.current_state, data={"reason": job.reason, "error": error})
        keys = [
            self._keys.job(job.id),
            self._keys.history(job.id),
            self._keys.by_status(job.status),
            self._keys.by_status(JobStatus.QUARANTINED),
        ]
        self._run_all([Call(QUARANTINE_JOB, keys, [job.id, job.status, dump_entry(entry)])])

    def record_taken(self, notices: Sequence[tuple[str | None, TaskStarted]]) -> None:
        """Record which workers have started which tasks; *notices* are (delivery tag, message), acknowledged here.

        The tag is None for a message that others share: its consumer acknowledges it.
        """
        self._run_all([taken_call(tag, taken, keys=self._keys, router=self._router) for tag, taken in notices])

    def record_progress(self, progress: Sequence[Progress]) -> None:
        """Record the progress of tasks; reports on closed tasks or attempts are dropped."""
        self._run_all([progress_call(each, keys=self._keys) for each in progress])

    def ignore(self, events: Sequence[tuple[str, str, Json]]) -> None:
        """Acknowledge events that change nothing: (delivery tag, job id, note or None)."""
        self._run_all([ignore_call(self._keys, self._router, tag, job_id, note) for tag, job_id, note in events])

    def note(self, job_id: str, note: Json) -> None:
        """Add *note* to the notes of a job, if the job exists."""
        self._run(note_call(self._keys, job_id, note))

    def step_message(self, routing_key: str, event: Event) -> Outgoing:
        """Return *event* as the message that a commit sends to *routing_key*."""
        return step_message(SendEvent(routing_key, event), self.keyring.secret)

    def _routed(self, make: Callable[[], Call]) -> Any:
        """Run the script that *make* routes; if the bindings have changed since, route it again.

        Raises NoRouteError if no queue is bound.
        """
        with server_errors():
            for _ in self._router.attempts():
                answer = self._server.run(make())
                if answer[0] != b"REROUTE":
                    break
        return answer

    def ping(self) -> ServerInfo:
        """Read the server's INFO. Raises UnavailableError if the server is unreachable."""
        return self._server_info.info()
