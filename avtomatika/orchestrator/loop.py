"""The orchestrator: consume messages, load their jobs, run handlers, commit each job when it is ready.

One thread does all this; handlers run elsewhere (``runner``). A process works on a job at most once at a time; between
processes the version check of the commit decides.
"""

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from time import monotonic

from avtomatika.broker import Consumer, Delivery
from avtomatika.broker.backoff import Backoff
from avtomatika.core.blueprint.blueprint import Blueprint
from avtomatika.core.plan import REPLIES, REQUESTS, TIMERS, WORKERS
from avtomatika.core.rules import Rules
from avtomatika.errors import UnavailableError
from avtomatika.store import LoadedBranches, Store, Sweeper, UnreadableJob
from avtomatika.store.records import unreadable

from .authentication import MessageAuthenticator, SkillsOfSigner
from .branches import cancel_children, finish_branches, load_jobs
from .celery_tasks import CeleryTasks
from .committer import Committer
from .handler_runner import HandlerCall, HandlerRunner
from .inbox import Handle, Inbox, forward
from .notices import Notices
from .placement import Placement
from .plan_takeover import TAKE_OVER_SECONDS, PlanTakeover
from .schedules import ReadFile, ScheduleRunner
from .step_counts import StepCounts
from .sweeps import Sweeps
from .task_requests import TaskRequests
from .unit_of_work import HandlerServices, ReceivedEvent, Work
from .unreadable_jobs import defer_or_quarantine

logger = logging.getLogger(__name__)

#: Wait of an idle orchestrator for messages before it checks its timers.
_IDLE_SECONDS = 0.5
#: The same while handlers run, and its wait for them.
_BUSY_SECONDS = 0.005
#: Defaults: handlers see nothing but the job.
_RULES = Rules()
_SERVICES = HandlerServices()


class Orchestrator:
    """Advances the jobs of *blueprints* whose messages *consumer* delivers."""

    def __init__(
        self,
        *,
        blueprints: Sequence[Blueprint],
        consumer: Consumer,
        store: Store,
        sweeper: Sweeper,
        runner: HandlerRunner,
        rules: Rules = _RULES,
        services: HandlerServices = _SERVICES,
        skills_of_signer: SkillsOfSigner | None = None,
        take_over_seconds: float = TAKE_OVER_SECONDS,
        accept_kombu_tasks: bool = True,
        celery_tasks: Mapping[str, tuple[str, str]] | None = None,
        schedules_of_file: ReadFile = lambda: None,
    ) -> None:
        self._consumer, self._store = consumer, store
        self._authenticator = MessageAuthenticator(consumer, store, skills_of_signer)
        self._notices = Notices(consumer=consumer, store=store)
        self._placement = Placement(consumer=consumer, store=store)
        self._task_requests = TaskRequests(consumer=consumer, store=store, accepted=accept_kombu_tasks)
        self._celery_tasks = CeleryTasks(celery_tasks or {}, consumer=consumer, store=store)
        self._plans = PlanTakeover(
            blueprints=blueprints, consumer=consumer, store=store, take_over_seconds=take_over_seconds
        )
        self._forward = partial(forward, consumer, declare=self._plans.declare_missing)
        self._defer_or_quarantine = partial(defer_or_quarantine, consumer=consumer, store=store)
        self._handlers = self._handlers_of_queues(celery_tasks or ())
        self._runner = runner
        self._rules = replace(rules, plans={blueprint.name: blueprint.plan for blueprint in blueprints})
        self._services = services
        self._inbox = Inbox(consumer)
        self._in_flight: dict[str, Work] = {}
        self._counts = StepCounts(store)
        self._committer = Committer(
            consumer=consumer,
            store=store,
            plans=self._plans,
            counts=self._counts,
            finish_work=self._finish_work,
            fail=self._fail,
            store_values=self._store_values,
        )
        schedules = ScheduleRunner(
            blueprints=blueprints, store=store, sweeper=sweeper, declare=self._declare, read_file=schedules_of_file
        )
        self._sweeps = Sweeps.of(store, sweeper, placement=self._placement, plans=self._plans, schedules=schedules)
        self._stopping = False
        #: When the loop last ran, a monotonic time.
        self.alive_at = monotonic()
        #: True if it stopped because too many handlers hang: only a new process gets rid of them.
        self.needs_restart = False

    def _handlers_of_queues(self, celery_tasks: Iterable[str]) -> dict[str, Handle]:
        """Return what handles the messages of each queue that has no steps."""
        return {
            WORKERS: lambda found: self._notices.record(self._authenticator.notices(found)),
            TIMERS: lambda found: self._forward(self._authenticator.due(found)),
            REQUESTS: lambda found: self._task_requests.create(self._authenticator.requests(found)),
            REPLIES: lambda found: self._forward(self._celery_tasks.results(found)),
            **dict.fromkeys(celery_tasks, self._celery_tasks.dispatch),
        }

    def stop(self) -> None:
        """Consume nothing new, and return from :meth:`run` once work in flight is committed. For signal handlers."""
        self._stopping = True

    def run(self) -> None:
        """Work until :meth:`stop`; wait while the server is unavailable."""
        Backoff(logger, "jobs wait").run(self.run_once, until=self._must_stop, wait=self._consumer.wait)
        self._finish()

    def _declare(self, *skills: str) -> None:
        self._plans.declare_missing()
        self._consumer.declare_tasks(skills)

    def _must_stop(self) -> bool:
        self.alive_at = monotonic()
        if self._runner.needs_restart and not self.needs_restart:
            logger.error("restarting: %d handlers hang and cannot be ended", self._runner.abandoned)
            self.needs_restart = self._stopping = True
        return self._stopping

    def run_once(self) -> None:
        """Run due sweeps, consume what arrived, decide, commit."""
        self._sweeps.run_due()
        self._inbox.add(self._consumer.take(self._seconds_until_due()))
        self._receive()
        self._collect()
        self._committer.commit()

    # ------------------------------------------------------------ receive

    def _seconds_until_due(self) -> float:
        if self._committer.is_ready or self._inbox:
            return 0.0
        if self._runner.busy:
            return _BUSY_SECONDS
        soonest = min(self._sweeps.due, self._committer.due)
        return min(max(soonest - monotonic(), 0.0), _IDLE_SECONDS)

    def _receive(self) -> None:
        """Process the inbox; messages that an unavailable server interrupts stay in it."""
        for queue, handle in self._handlers.items():
            self._inbox.handle(handle, [delivery for delivery in self._inbox.deliveries if delivery.queue == queue])
        self._inbox.handle(self._start, self._inbox.deliveries)

    def _start(self, deliveries: Sequence[Delivery]) -> None:
        """Group events by job, and start work on every job that is not in flight."""
        events: dict[str, list[ReceivedEvent]] = {}
        found = self._moved([received for _, received in self._authenticator.events(deliveries)])
        placed_events = self._placement.choose_workers(found)
        undecided = cancel_children(
            finish_branches(placed_events, store=self._store, consumer=self._consumer, counts=self._counts),
            store=self._store,
            consumer=self._consumer,
            forward=self._forward,
        )
        for received in undecided:
            job_id = received.event.job_id
            if job_id in self._in_flight:
                self._in_flight[job_id].later.append(received.delivery)
            else:
                events.setdefault(job_id, []).append(received)
        waiting = {received.delivery.tag for job_events in events.values() for received in job_events}
        self._inbox.remove([delivery for delivery in deliveries if delivery.tag not in waiting])
        local, forwarded, unroutable, unreadable_jobs = [], [], [], []
        for job_events, loaded in zip(events.values(), load_jobs(events, store=self._store), strict=True):
            if loaded is not None and isinstance(loaded.job, UnreadableJob):
                unreadable_jobs.append((loaded.job, job_events))
                continue
            routed = self._plans.route(None if loaded is None else loaded.job, job_events)
            forwarded += routed.elsewhere
            unroutable += routed.unroutable
            if loaded is not None and routed.local:
                local.append((loaded, routed.local))
        works = [self._work(loaded, local_events) for loaded, local_events in local]
        self._inbox.remove([received.delivery for _, local_events in local for received in local_events])
        self._advance(works)
        self._ignore(unroutable)
        for job, job_events in unreadable_jobs:
            self._defer_or_quarantine(job, job_events)
        if forwarded:
            self._forward([(received.delivery, received.under(key)) for received, key in forwarded])

    def _moved(self, events: list[ReceivedEvent]) -> list[ReceivedEvent]:
        """Move events that are not in the shard of their job there; return the others."""
        shards = [self._consumer.shard_of(received.event.job_id) for received in events]
        strays = [pair for pair in zip(events, shards, strict=True) if not pair[0].delivery.tag.startswith(pair[1])]
        if not strays:
            return events
        self._forward(
            [(each.delivery, replace(each.under(each.delivery.routing_key), shard=to)) for each, to in strays]
        )
        return [each for each, to in zip(events, shards, strict=True) if each.delivery.tag.startswith(to)]

    def _work(self, loaded: LoadedBranches, events: list[ReceivedEvent]) -> Work:
        job, rules, services = loaded.job, self._rules, self._services
        work = Work(job, self._plans.blueprint(job), events, rules=rules, services=services, answers=loaded.answers)
        self._in_flight[job.id] = work
        return work

    def _ignore(self, events: Sequence[ReceivedEvent]) -> None:
        """Acknowledge events of jobs that do not exist, or do not belong to the queue they came by."""
        for received in events:
            logger.warning(
                "job %s does not exist or is not served here: ignoring %s", received.event.job_id, received.event.id
            )
        self._store.ignore([(received.delivery.tag, received.event.job_id, None) for received in events])
        self._consumer.release([received.delivery.tag for received in events])

    # ------------------------------------------------------------ decide

    def _advance(self, works: Sequence[Work], broken: Sequence[tuple[Work, Exception]] = ()) -> None:
        """Continue *works*. If one raises, or is *broken*, fail it after all others have started."""
        calls, broken = [], list(broken)
        for work in works:
            try:
                function = work.advance()
            except Exception as error:  # an event or a record that this version cannot process
                broken.append((work, error))
                continue
            if function is None:
                self._committer.add(work)
            else:
                calls.append(HandlerCall(work, function, is_async=work.is_async, group=work.blueprint.name))
        if calls:
            self._runner.submit(calls)
        for work, problem in broken:
            self._fail(work, problem)

    def _collect(self) -> None:
        """Apply the handlers' decisions; a chain of states within one queue continues at once."""
        while results := self._runner.collect(_BUSY_SECONDS):
            decided, broken = [], []
            for result in results:
                try:
                    result.owner.decided(result.returned, result.raised)
                    decided.append(result.owner)
                except Exception as error:
                    broken.append((result.owner, error))
            self._advance(decided, broken)

    def _store_values(self, work: Work) -> None:
        self._runner.submit([HandlerCall(work, work.store_values(), is_async=False, group=work.blueprint.name)])

    def _fail(self, work: Work, error: Exception) -> None:
        """Release *work*, which failed here: an orchestrator of another version may be able to process it."""
        logger.error("cannot advance job %s", work.job_id, exc_info=error)
        deliveries = [received.delivery for received in work.events]
        self._finish_work(work, deliveries)
        self._defer_or_quarantine(unreadable(work.before, error), work.events)
        self._inbox.remove(deliveries)

    def _finish_work(self, work: Work, kept: Sequence[Delivery] = ()) -> None:
        self._in_flight.pop(work.job_id, None)
        self._inbox.add([*kept, *work.later])

    # ------------------------------------------------------------ shutdown

    def _finish(self) -> None:
        """Commit decisions that arrive within a moment; requeue all other messages."""
        try:
            self._collect()
            self._committer.commit()
            for work in list(self._in_flight.values()):
                self._finish_work(work, [received.delivery for received in work.answered])
            self._consumer.return_unstarted(self._inbox.deliveries)
        except UnavailableError as error:
            logger.warning("%s; messages in flight are delivered again later", error)
        finally:
            self._runner.close()
