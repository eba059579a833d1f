"""The plans that an orchestrator serves: its own, and earlier ones of its blueprints that nobody serves any more.

It announces its own every few seconds. A plan that was announced once, and then was not while this orchestrator watched
for long enough, is abandoned, and so is, after a longer time, one that was never announced (a deploy that was taken
back): whoever has the blueprint takes the messages of its step queues, and the jobs go on under the plan that there is.
When no message and no job needs it any more, its queues are removed.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from time import monotonic

from avtomatika.broker import Consumer, StepQueue
from avtomatika.core.blueprint.blueprint import Blueprint
from avtomatika.core.job import Job
from avtomatika.core.machine.plan_migration import plan_name
from avtomatika.store import Announced, Store, needed_by

from .unit_of_work import ReceivedEvent

logger = logging.getLogger(__name__)

#: How long nobody may announce a plan before others take it over.
TAKE_OVER_SECONDS = 60.0
#: A plan that was never announced is taken over after so many times as long: its orchestrators may start late.
_NEVER_SERVED = 3
_ANNOUNCE_EVERY_SECONDS = 10.0
#: Pages of jobs that are looked at in one round: they hold up the jobs in hand.
_PAGES = 3
#: A turn that takes no longer is no pause.
_PAUSE_SECONDS = 2.0
#: So often at least within the time that makes a plan abandoned.
_ANNOUNCEMENTS = 6


@dataclass(slots=True)
class Placed:
    """Events of one job by where they go on: *here*, by the routing key of another queue, or nowhere."""

    here: list[ReceivedEvent] = field(default_factory=list)
    elsewhere: list[tuple[ReceivedEvent, str]] = field(default_factory=list)
    nowhere: list[ReceivedEvent] = field(default_factory=list)


class PlanTakeover:
    """What an orchestrator of *blueprints*, whose queues *intake* takes from, serves beside them."""

    def __init__(
        self,
        *,
        blueprints: Sequence[Blueprint],
        intake: Consumer,
        store: Store,
        take_over_seconds: float = TAKE_OVER_SECONDS,
    ) -> None:
        self._blueprints = {blueprint.name: blueprint for blueprint in blueprints}
        self._intake = intake
        self._plans = store.plans
        self._live = intake.step_queues
        self._take_over_seconds = take_over_seconds
        self._every_seconds = min(_ANNOUNCE_EVERY_SECONDS, take_over_seconds / _ANNOUNCEMENTS)
        self._base = tuple(intake.queues)
        self._own = frozenset(self._base)
        self._queue_of = {
            str(binding.key): binding.queue for blueprint in blueprints for binding in blueprint.plan.bindings
        }
        self._served = {
            blueprint.name: blueprint.plan
            for blueprint in blueprints
            if not self._own.isdisjoint(blueprint.plan.queues)
        }
        self._names = sorted(plan_name(name, plan.plan8) for name, plan in self._served.items())
        self._watch = SilenceDetector(take_over_seconds, pause_seconds=3 * self._every_seconds + _PAUSE_SECONDS)
        self._told: dict[str, str] = {}
        self._cleaning: _Cleaning | None = None
        self.due = 0.0

    # ------------------------------------------------------------ whose is a job

    def blueprint(self, job: Job) -> Blueprint:
        """The blueprint whose handlers decide about *job*."""
        return self._blueprints[job.blueprint]

    def place(self, job: Job | None, arrivals: Sequence[ReceivedEvent]) -> Placed:
        """Where the events of *job* (None: it is gone) that came here go on."""
        blueprint = None if job is None else self._blueprints.get(job.blueprint)
        if job is None or blueprint is None:
            return Placed(nowhere=list(arrivals))
        plan8 = blueprint.plan.plan8
        if job.plan8 == plan8 and all(arrival.delivery.queue in self._own for arrival in arrivals):
            return Placed(here=list(arrivals))
        if job.plan8 != plan8 and plan_name(job.blueprint, job.plan8) not in self._plans.announce().abandoned:
            return self._place_by_plan(job, arrivals)
        return self._place_by_key(job.blueprint, plan8, arrivals)

    def _place_by_plan(self, job: Job, arrivals: Sequence[ReceivedEvent]) -> Placed:
        """To those who serve the plan of *job*."""
        self.due = 0.0  # what is known here is old
        found = Placed()
        for arrival in arrivals:
            key = _under(arrival.delivery.routing_key, job.blueprint, job.plan8)
            if key is None:
                found.nowhere.append(arrival)
            else:
                found.elsewhere.append((arrival, key))
        return found

    def _place_by_key(self, blueprint: str, plan8: str, arrivals: Sequence[ReceivedEvent]) -> Placed:
        """To the queue that their key would lead to under our plan."""
        found = Placed()
        for arrival in arrivals:
            key = _under(arrival.delivery.routing_key, blueprint, plan8)
            queue = None if key is None else self._queue_of.get(key)
            if key is None or queue is None:  # a state or an outcome that there is not: the job itself knows what then
                found.here.append(arrival)
            elif queue in self._own:
                found.here.append(replace(arrival, here=queue))
            else:
                found.elsewhere.append((arrival, key))
        return found

    # ------------------------------------------------------------ by the clock

    def keep(self) -> None:
        """Announce what is ours, take over what nobody serves, remove what nobody needs. Raises UnavailableError."""
        self.due = monotonic() + self._every_seconds
        known = self._plans.announce(self._names)
        self.declare_missing()
        queues = [queue for queue in self._live.all() if queue.blueprint in self._served]
        others = {queue.plan for queue in queues}.difference(self._names)
        for plan in self._watch.abandoned(others, known):
            self._plans.abandon(plan)
            known = replace(known, abandoned=known.abandoned | {plan})
        inherited = [queue for queue in queues if queue.plan in known.abandoned.intersection(others)]
        self._plans.keep_abandoned(sorted({queue.plan for queue in inherited}))
        self._tell(others, known)
        gone = self._clean(inherited)
        taken = [queue.name for queue in inherited if queue.name not in gone and self._is_for_us(queue)]
        self._intake.consume_from([*self._base, *taken])
        if gone:
            self._remove(gone)

    def declare_missing(self) -> None:
        """Somebody may have taken our plan for abandoned, and removed what had been declared for us."""
        if not self._queue_of.items() <= set(self._live.bindings()):
            logger.warning("routing rules were removed: they are declared again")
            self._intake.declare(blueprint.plan for blueprint in self._blueprints.values())

    def _is_for_us(self, queue: StepQueue) -> bool:
        """Whether the queue that stands where *queue* stood in our plan is among our own."""
        plan = self._served[queue.blueprint]
        same = plan.main_queue if queue.short is None else f"{plan.main_queue}.{queue.short}"
        return (same if same in plan.queues else plan.main_queue) in self._own

    def _tell(self, others: set[str], known: Announced) -> None:
        """One line a plan, when it is first seen and whenever something has changed."""
        now = dict.fromkeys(self._names, "served here")
        for plan in others:
            if plan in known.abandoned:
                now[plan] = "taken over: nobody serves it"
            elif plan in known.silent_ms:
                now[plan] = f"left to those who serve it, and taken over {self._take_over_seconds:g} s after the last"
            else:
                seconds = _NEVER_SERVED * self._take_over_seconds
                now[plan] = f"not served yet; taken over unless an orchestrator serves it within {seconds:g} s"
        for plan, what in now.items():
            if self._told.get(plan) != what:
                logger.info("plan %s: %s", plan, what)
        self._told = now

    # ------------------------------------------------------------ what is left of old plans

    def _clean(self, inherited: Sequence[StepQueue]) -> list[str]:
        """Names of those queues that nothing needs any more; it takes several rounds to know that."""
        sizes = self._live.messages(queue.name for queue in inherited)
        empty = {queue.plan for queue in inherited}.difference(queue.plan for queue in inherited if sizes[queue.name])
        if not empty:
            self._cleaning = None
            return []
        if self._cleaning is None or self._cleaning.plans != empty:
            self._cleaning = _Cleaning(empty, self._plans.unfinished())
        if not self._cleaning.is_done():
            return []
        unneeded, self._cleaning = self._cleaning.unneeded, None
        return [queue.name for queue in inherited if queue.plan in unneeded]

    def _remove(self, names: Sequence[str]) -> None:
        """Unless somebody has announced their plan meanwhile, or a message has come."""
        abandoned = self._plans.announce().abandoned
        queues = [queue for name in names if (queue := StepQueue.read(name)) is not None and queue.plan in abandoned]
        for queue in queues:
            if self._live.remove(queue.name):
                logger.info("queue %s: removed, nothing of its plan is left", queue.name)
        gone = {queue.plan for queue in queues}.difference(queue.plan for queue in self._live.all())
        self._live.unbind(pair for pair in self._live.bindings() if pair[0].partition(".")[0] in gone)


class SilenceDetector:
    """Watches for how long plans have been silent.

    Only what it saw itself counts: after a pause of its own, or of the server, all others had none to announce at
    either.
    """

    def __init__(self, seconds: float, *, pause_seconds: float, clock: Callable[[], float] = monotonic) -> None:
        self._seconds = seconds
        self._pause_seconds = pause_seconds
        self._clock = clock
        self._since = self._looked = clock()
        #: Plans that were never announced, and when they were first seen.
        self._unserved: dict[str, float] = {}

    def abandoned(self, plans: set[str], known: Announced) -> list[str]:
        """Those of *plans* that nobody has announced while we watched."""
        now = self._clock()
        if now - self._looked > self._pause_seconds:
            self._since = now
            self._unserved.clear()
        self._looked = now
        unserved = plans.difference(known.abandoned, known.silent_ms)
        self._unserved = {plan: self._unserved.get(plan, now) for plan in unserved}
        if now - self._since < self._seconds:
            return []
        silent = {plan for plan in plans if known.silent_ms.get(plan, 0) >= self._seconds * 1000}
        silent |= {plan for plan, seen in self._unserved.items() if now - seen >= _NEVER_SERVED * self._seconds}
        return sorted(silent.difference(known.abandoned))


class _Cleaning:
    """Looks for jobs that need one of *plans*, some pages at a time."""

    def __init__(self, plans: set[str], pages: Iterator[list[Job]]) -> None:
        self.plans = plans
        self.unneeded = set(plans)
        self._pages = pages

    def is_done(self) -> bool:
        """Look at some more pages; whether all was seen, or nothing is left to look for."""
        for _ in range(_PAGES):
            page = next(self._pages, None)
            for job in page or ():
                self.unneeded -= needed_by(job)
            if page is None or not self.unneeded:
                return True
        return False


def _under(routing_key: str, blueprint: str, plan8: str) -> str | None:
    """*routing_key* as it is called under another plan of its blueprint; None where it is that of another one."""
    plan, dot, rest = routing_key.partition(".")
    return f"{plan_name(blueprint, plan8)}.{rest}" if dot and plan.startswith(f"{blueprint}@") else None
