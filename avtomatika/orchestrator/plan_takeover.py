"""The plans that an orchestrator serves: its own, and abandoned ones of its blueprints.

It announces its own plans every few seconds. A plan is abandoned if it was announced once, and then was not while this
orchestrator watched for the takeover time. A plan that was never announced (a deploy that was rolled back) is abandoned
after a longer time. Orchestrators of its blueprint then consume its step queues, and its jobs migrate to the current
plan. Its queues are removed when no message and no job needs them.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from time import monotonic

from avtomatika import metrics
from avtomatika.broker import Consumer, StepQueue
from avtomatika.core.blueprint.blueprint import Blueprint
from avtomatika.core.job import Job
from avtomatika.core.machine.plan_migration import plan_name
from avtomatika.store import PlanAnnouncements, Store, needed_by

from .unit_of_work import ReceivedEvent

logger = logging.getLogger(__name__)

#: A plan that has not been announced for this long is taken over.
TAKE_OVER_SECONDS = 60.0
#: Factor for a plan that was never announced: its orchestrators may start late.
_UNSERVED_FACTOR = 3
_ANNOUNCE_EVERY_SECONDS = 10.0
#: Pages of jobs scanned in one round: they delay the jobs in flight.
_PAGES_PER_ROUND = 3
#: A longer round counts as a pause.
_PAUSE_SECONDS = 2.0
#: Announcements within the takeover time.
_ANNOUNCEMENTS = 6


@dataclass(slots=True)
class RoutedEvents:
    """Events of one job by destination: *local*, with the routing key of another queue, or unroutable."""

    local: list[ReceivedEvent] = field(default_factory=list)
    elsewhere: list[tuple[ReceivedEvent, str]] = field(default_factory=list)
    unroutable: list[ReceivedEvent] = field(default_factory=list)


class PlanTakeover:
    """Announces the plans of *blueprints* and takes over abandoned ones; *consumer* consumes their queues."""

    def __init__(
        self,
        *,
        blueprints: Sequence[Blueprint],
        consumer: Consumer,
        store: Store,
        take_over_seconds: float = TAKE_OVER_SECONDS,
    ) -> None:
        self._blueprints = {blueprint.name: blueprint for blueprint in blueprints}
        self._consumer = consumer
        self._plans = store.plans
        self._live = consumer.step_queues
        self._take_over_seconds = take_over_seconds
        self._every_seconds = min(_ANNOUNCE_EVERY_SECONDS, take_over_seconds / _ANNOUNCEMENTS)
        self._base = tuple(consumer.queues)
        self._own = frozenset(self._base)
        self._queue_of = {
            str(binding.key): binding.queue for blueprint in blueprints for binding in blueprint.plan.bindings
        }
        self._served = {
            blueprint.name: blueprint.plan
            for blueprint in blueprints
            if not self._own.isdisjoint(blueprint.plan.queues)
        }
        self._names = sorted(plan_name(name, plan.plan_hash) for name, plan in self._served.items())
        self._silence = SilenceDetector(take_over_seconds, pause_seconds=3 * self._every_seconds + _PAUSE_SECONDS)
        self._logged: dict[str, str] = {}
        self._scan: _UnusedPlanScan | None = None
        self.due = 0.0

    # ------------------------------------------------------------ routing

    def blueprint(self, job: Job) -> Blueprint:
        """Return the blueprint whose handlers decide about *job*."""
        return self._blueprints[job.blueprint]

    def route(self, job: Job | None, events: Sequence[ReceivedEvent]) -> RoutedEvents:
        """Route the *events* of *job* (None if it does not exist)."""
        blueprint = None if job is None else self._blueprints.get(job.blueprint)
        if job is None or blueprint is None:
            return RoutedEvents(unroutable=list(events))
        plan_hash = blueprint.plan.plan_hash
        if job.plan_hash == plan_hash and all(received.delivery.queue in self._own for received in events):
            return RoutedEvents(local=list(events))
        if (
            job.plan_hash != plan_hash
            and plan_name(job.blueprint, job.plan_hash) not in self._plans.announce().abandoned
        ):
            return self._route_by_plan(job, events)
        return self._route_by_key(job.blueprint, plan_hash, events)

    def _route_by_plan(self, job: Job, events: Sequence[ReceivedEvent]) -> RoutedEvents:
        """Route to the orchestrators of the job's plan."""
        self.due = 0.0  # the known plans may be outdated
        found = RoutedEvents()
        for received in events:
            key = _rekeyed(received.delivery.routing_key, job.blueprint, job.plan_hash)
            if key is None:
                found.unroutable.append(received)
            else:
                found.elsewhere.append((received, key))
        return found

    def _route_by_key(self, blueprint: str, plan_hash: str, events: Sequence[ReceivedEvent]) -> RoutedEvents:
        """Route to the queue of the same key under this orchestrator's plan."""
        found = RoutedEvents()
        for received in events:
            key = _rekeyed(received.delivery.routing_key, blueprint, plan_hash)
            queue = None if key is None else self._queue_of.get(key)
            if key is None or queue is None:  # an unknown state or outcome: the machine handles it
                found.local.append(received)
            elif queue in self._own:
                found.local.append(replace(received, queue=queue))
            else:
                found.elsewhere.append((received, key))
        return found

    # ------------------------------------------------------------ maintenance

    def run_once(self) -> None:
        """Announce own plans, take over abandoned ones, remove unused queues. Raises UnavailableError."""
        self.due = monotonic() + self._every_seconds
        announced = self._plans.announce(self._names)
        self.declare_missing()
        queues = [queue for queue in self._live.all() if queue.blueprint in self._served]
        others = {queue.plan for queue in queues}.difference(self._names)
        for plan in self._silence.abandoned(others, announced):
            self._plans.abandon(plan)
            metrics.TAKEOVERS.inc()
            announced = replace(announced, abandoned=announced.abandoned | {plan})
        inherited = [queue for queue in queues if queue.plan in announced.abandoned.intersection(others)]
        self._plans.keep_abandoned(sorted({queue.plan for queue in inherited}))
        self._log_changes(others, announced)
        gone = self._unused_queues(inherited)
        taken = [queue.name for queue in inherited if queue.name not in gone and self._is_for_us(queue)]
        self._consumer.consume_from([*self._base, *taken])
        if gone:
            self._remove(gone)

    def declare_missing(self) -> None:
        """Declare removed bindings again: another orchestrator may have taken this plan for abandoned."""
        if not self._queue_of.items() <= set(self._live.bindings()):
            logger.warning("bindings were removed: declaring them again")
            self._consumer.declare(blueprint.plan for blueprint in self._blueprints.values())

    def _is_for_us(self, queue: StepQueue) -> bool:
        """Return True if the queue that corresponds to *queue* in the current plan is consumed here."""
        plan = self._served[queue.blueprint]
        same = plan.main_queue if queue.short is None else f"{plan.main_queue}.{queue.short}"
        return (same if same in plan.queues else plan.main_queue) in self._own

    def _log_changes(self, others: set[str], announced: PlanAnnouncements) -> None:
        """Log each plan when it is first seen and when its state changes."""
        now = dict.fromkeys(self._names, "served here")
        for plan in others:
            if plan in announced.abandoned:
                now[plan] = "taken over: no orchestrator serves it"
            elif plan in announced.silent_ms:
                now[plan] = (
                    f"served by other orchestrators; taken over {self._take_over_seconds:g} s after the last stops"
                )
            else:
                seconds = _UNSERVED_FACTOR * self._take_over_seconds
                now[plan] = f"not served yet; taken over unless an orchestrator serves it within {seconds:g} s"
        for plan, what in now.items():
            if self._logged.get(plan) != what:
                logger.info("plan %s: %s", plan, what)
        self._logged = now

    # ------------------------------------------------------------ removal of old plans

    def _unused_queues(self, inherited: Sequence[StepQueue]) -> list[str]:
        """Return the names of inherited queues that nothing needs; finding them takes several rounds."""
        sizes = self._live.messages(queue.name for queue in inherited)
        empty = {queue.plan for queue in inherited}.difference(queue.plan for queue in inherited if sizes[queue.name])
        if not empty:
            self._scan = None
            return []
        if self._scan is None or self._scan.plans != empty:
            self._scan = _UnusedPlanScan(empty, self._plans.unfinished_jobs())
        if not self._scan.is_done():
            return []
        unneeded, self._scan = self._scan.unneeded, None
        return [queue.name for queue in inherited if queue.plan in unneeded]

    def _remove(self, names: Sequence[str]) -> None:
        """Remove queues, unless their plan was announced or a message arrived in between."""
        abandoned = self._plans.announce().abandoned
        queues = [queue for name in names if (queue := StepQueue.read(name)) is not None and queue.plan in abandoned]
        for queue in queues:
            if self._live.remove(queue.name):
                logger.info("queue %s: removed, its plan is unused", queue.name)
        gone = {queue.plan for queue in queues}.difference(queue.plan for queue in self._live.all())
        self._live.unbind(pair for pair in self._live.bindings() if pair[0].partition(".")[0] in gone)


class SilenceDetector:
    """Measures for how long plans have not been announced.

    Only time that it observed counts: after a pause of this process or of the server, no orchestrator could announce
    anything either.
    """

    def __init__(self, seconds: float, *, pause_seconds: float, clock: Callable[[], float] = monotonic) -> None:
        self._seconds = seconds
        self._pause_seconds = pause_seconds
        self._clock = clock
        self._since = self._checked_at = clock()
        #: Plans that were never announced, and when they were first seen.
        self._unserved: dict[str, float] = {}

    def abandoned(self, plans: set[str], announced: PlanAnnouncements) -> list[str]:
        """Return the *plans* that were not announced within the takeover time."""
        now = self._clock()
        if now - self._checked_at > self._pause_seconds:
            self._since = now
            self._unserved.clear()
        self._checked_at = now
        unserved = plans.difference(announced.abandoned, announced.silent_ms)
        self._unserved = {plan: self._unserved.get(plan, now) for plan in unserved}
        if now - self._since < self._seconds:
            return []
        silent = {plan for plan in plans if announced.silent_ms.get(plan, 0) >= self._seconds * 1000}
        silent |= {plan for plan, seen in self._unserved.items() if now - seen >= _UNSERVED_FACTOR * self._seconds}
        return sorted(silent.difference(announced.abandoned))


class _UnusedPlanScan:
    """Scans for jobs that need one of *plans*, a few pages at a time."""

    def __init__(self, plans: set[str], pages: Iterator[list[Job]]) -> None:
        self.plans = plans
        self.unneeded = set(plans)
        self._pages = pages

    def is_done(self) -> bool:
        """Scan some pages; return whether the scan is complete or all plans are needed."""
        for _ in range(_PAGES_PER_ROUND):
            page = next(self._pages, None)
            for job in page or ():
                self.unneeded -= needed_by(job)
            if page is None or not self.unneeded:
                return True
        return False


def _rekeyed(routing_key: str, blueprint: str, plan_hash: str) -> str | None:
    """Return *routing_key* under another plan of *blueprint*, or None if it belongs to another blueprint."""
    plan, dot, rest = routing_key.partition(".")
    return f"{plan_name(blueprint, plan_hash)}.{rest}" if dot and plan.startswith(f"{blueprint}@") else None
