"""The orchestrator: take messages, load their jobs, let handlers decide, commit each job when its own is ready.

One thread does all this; handlers run elsewhere (``runner``). A job is in one hand at a time within the process;
between processes the commit's version check decides.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from time import monotonic

from avtomatika.broker import Consumer, Delivery, Outgoing
from avtomatika.broker.backoff import Failures
from avtomatika.core.blueprint.blueprint import Blueprint
from avtomatika.core.plan import TIMERS, WORKERS
from avtomatika.core.rules import Rules
from avtomatika.errors import UnavailableError
from avtomatika.store import LoadedBranches, Store, Sweeper, UnreadableJob
from avtomatika.store.records import unreadable

from .authentication import MessageAuthenticator, SkillsOfSigner
from .branches import finish_branches, load_jobs
from .committer import Committer
from .forwarding import forward
from .handler_runner import HandlerCall, HandlerRunner
from .inbox import Inbox
from .notices import Notices
from .placement import Placement
from .plan_takeover import TAKE_OVER_SECONDS, PlanTakeover
from .sweeps import Sweeps
from .unit_of_work import HandlerServices, ReceivedEvent, Work
from .unreadable_jobs import set_aside

logger = logging.getLogger(__name__)

#: How long an idle orchestrator waits for messages before it looks at its timers.
_IDLE_SECONDS = 0.5
#: The same while handlers run, and how long it waits for them.
_BUSY_SECONDS = 0.005
#: Where nothing else was agreed; handlers see nothing but the job.
_RULES = Rules()
_SURROUNDINGS = HandlerServices()


class Orchestrator:
    """Advances the jobs of *blueprints* whose messages come by *intake*."""

    def __init__(
        self,
        *,
        blueprints: Sequence[Blueprint],
        intake: Consumer,
        store: Store,
        upkeep: Sweeper,
        runner: HandlerRunner,
        rules: Rules = _RULES,
        surroundings: HandlerServices = _SURROUNDINGS,
        skills_of_signer: SkillsOfSigner | None = None,
        take_over_seconds: float = TAKE_OVER_SECONDS,
    ) -> None:
        self._intake = intake
        self._store = store
        self._door = MessageAuthenticator(intake, store, skills_of_signer)
        self._notices = Notices(intake=intake, store=store)
        self._placing = Placement(intake=intake, store=store)
        self._plans = PlanTakeover(
            blueprints=blueprints, intake=intake, store=store, take_over_seconds=take_over_seconds
        )
        self._forward = partial(forward, intake, declare=self._plans.declare_missing)
        self._set_aside = partial(set_aside, intake=intake, store=store)
        self._runner = runner
        self._rules = replace(rules, plans={blueprint.name: blueprint.plan for blueprint in blueprints})
        self._surroundings = surroundings
        self._inbox = Inbox(intake)
        self._in_hand: dict[str, Work] = {}
        self._committer = Committer(
            intake=intake, store=store, plans=self._plans, let_go=self._let_go, give_up=self._give_up
        )
        self._sweeps = Sweeps.of(store, upkeep, placing=self._placing, plans=self._plans)
        self._stopping = False
        #: Whether it has stopped because too many handlers hang: only a new process gets rid of them.
        self.is_worn_out = False

    def stop(self) -> None:
        """Take nothing new and return from :meth:`run` when what is in hand is committed. For signal handlers."""
        self._stopping = True

    def run(self) -> None:
        """Work until :meth:`stop`; while the server is away, wait for it."""
        failures = Failures(logger, "jobs wait")
        while not self._stopping:
            try:
                self.turn()
                failures.over()
            except Exception as error:  # whatever it is: nobody else advances these jobs
                self._intake.wait(failures.met(error))
            if self._runner.is_worn_out:
                logger.error("%d handlers hang and cannot be ended: restarting", self._runner.abandoned)
                self.is_worn_out = self._stopping = True
        self._finish()

    def turn(self) -> None:
        """One round: sweep what is due, take what came, decide, commit."""
        self._sweeps.run_due()
        self._inbox.add(self._intake.take(self._patience()))
        self._receive()
        self._collect()
        self._committer.commit()

    # ------------------------------------------------------------ in

    def _patience(self) -> float:
        if self._committer.is_ready or self._inbox:
            return 0.0
        if self._runner.busy:
            return _BUSY_SECONDS
        soonest = min(self._sweeps.due, self._committer.due)
        return min(max(soonest - monotonic(), 0.0), _IDLE_SECONDS)

    def _receive(self) -> None:
        """Work off the inbox; what the server's absence interrupts stays in it."""
        for queue, handle in ((WORKERS, self._note), (TIMERS, self._send_due)):
            self._inbox.handle(handle, [delivery for delivery in self._inbox.deliveries if delivery.queue == queue])
        self._inbox.handle(self._begin, self._inbox.deliveries)  # the rest are steps

    def _note(self, deliveries: Sequence[Delivery]) -> None:
        self._notices.note(self._door.notices(deliveries))

    def _send_due(self, deliveries: Sequence[Delivery]) -> None:
        found = self._door.due(deliveries)
        self._forward([(delivery, Outgoing(due.exchange, due.routing_key, due.body)) for delivery, due in found])

    def _begin(self, deliveries: Sequence[Delivery]) -> None:
        """Sort events by job, and start on every job that is not in hand already."""
        arrivals: dict[str, list[ReceivedEvent]] = {}
        read = self._placing.look([arrival for _, arrival in self._door.events(deliveries)])
        for arrival in finish_branches(read, store=self._store, intake=self._intake):
            job_id = arrival.event.job_id
            if job_id in self._in_hand:
                self._in_hand[job_id].later.append(arrival.delivery)
            else:
                arrivals.setdefault(job_id, []).append(arrival)
        waiting = {arrival.delivery.tag for of_job in arrivals.values() for arrival in of_job}
        self._inbox.done([delivery for delivery in deliveries if delivery.tag not in waiting])
        ours, passing, strangers, unreadable_jobs = [], [], [], []
        for of_job, loaded in zip(arrivals.values(), load_jobs(arrivals, store=self._store), strict=True):
            if loaded is not None and isinstance(loaded.job, UnreadableJob):
                unreadable_jobs.append((loaded.job, of_job))
                continue
            placed = self._plans.place(None if loaded is None else loaded.job, of_job)
            passing += placed.elsewhere
            strangers += placed.nowhere
            if loaded is not None and placed.here:
                ours.append((loaded, placed.here))
        works = [self._work(loaded, here) for loaded, here in ours]
        self._inbox.done([arrival.delivery for _, here in ours for arrival in here])
        self._advance(works)
        self._turn_away(strangers)
        for job, of_job in unreadable_jobs:
            self._set_aside(job, of_job)
        if passing:
            self._forward([(arrival.delivery, arrival.under(key)) for arrival, key in passing])

    def _work(self, loaded: LoadedBranches, arrivals: list[ReceivedEvent]) -> Work:
        job, rules, surroundings = loaded.job, self._rules, self._surroundings
        work = Work(
            job, self._plans.blueprint(job), arrivals, rules=rules, surroundings=surroundings, answers=loaded.answers
        )
        self._in_hand[job.id] = work
        return work

    def _turn_away(self, arrivals: Sequence[ReceivedEvent]) -> None:
        """Events of jobs that are gone, or that are none of ours by the queue they came by."""
        for arrival in arrivals:
            logger.warning("job %s is gone or not ours: %s ignored", arrival.event.job_id, arrival.event.id)
        self._store.ignore([(arrival.delivery.tag, arrival.event.job_id, None) for arrival in arrivals])
        self._intake.release([arrival.delivery.tag for arrival in arrivals])

    # ------------------------------------------------------------ decide

    def _advance(self, works: Sequence[Work], broken: Sequence[tuple[Work, Exception]] = ()) -> None:
        """Go on with *works*; those that cannot, and *broken* ones, are given up once all others are on their way."""
        calls, broken = [], list(broken)
        for work in works:
            try:
                function = work.advance()
            except Exception as error:  # an event or a record that this version cannot work with
                broken.append((work, error))
                continue
            if function is None:
                self._committer.add(work)
            else:
                calls.append(HandlerCall(work, function, is_async=work.is_async, group=work.blueprint.name))
        if calls:
            self._runner.submit(calls)
        for work, problem in broken:
            self._give_up(work, problem)

    def _collect(self) -> None:
        """Take up what handlers decided; a chain of states within one queue goes on at once."""
        while outcomes := self._runner.collect(_BUSY_SECONDS):
            decided, broken = [], []
            for outcome in outcomes:
                try:
                    outcome.owner.decided(outcome.returned, outcome.raised)
                    decided.append(outcome.owner)
                except Exception as error:
                    broken.append((outcome.owner, error))
            self._advance(decided, broken)

    def _give_up(self, work: Work, error: Exception) -> None:
        """Nothing comes of *work* here: perhaps in an orchestrator of another version."""
        logger.error("job %s cannot be advanced", work.job_id, exc_info=error)
        deliveries = [arrival.delivery for arrival in work.arrivals]
        self._let_go(work, deliveries)
        self._set_aside(unreadable(work.before, error), work.arrivals)
        self._inbox.done(deliveries)

    def _let_go(self, work: Work, kept: Sequence[Delivery] = ()) -> None:
        self._in_hand.pop(work.job_id, None)
        self._inbox.add([*kept, *work.later])

    # ------------------------------------------------------------ end

    def _finish(self) -> None:
        """Commit what handlers decide within a moment; the rest goes back, and somebody else decides it anew."""
        try:
            self._collect()
            self._committer.commit()
            for work in list(self._in_hand.values()):
                self._let_go(work, [arrival.delivery for arrival in work.answered])
            self._intake.return_unstarted(self._inbox.deliveries)
        except UnavailableError as error:
            logger.warning("%s; what is in hand is delivered again later", error)
        finally:
            self._runner.close()
