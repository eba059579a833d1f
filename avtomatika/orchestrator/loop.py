"""The orchestrator: take messages, load their jobs, let handlers decide, commit each job when its own is ready.

One thread does all this; handlers run elsewhere (``runner``). A job is in one hand at a time within the process;
between processes the commit's version check decides.
"""

from __future__ import annotations

import heapq
import logging
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from itertools import count
from time import monotonic

from avtomatika.broker import Delivery, Intake, Outgoing
from avtomatika.broker.backoff import pause_seconds
from avtomatika.core.blueprint import Blueprint
from avtomatika.core.plan import TIMERS, WORKERS
from avtomatika.core.rules import Rules
from avtomatika.errors import Unavailable
from avtomatika.store import Answer, Cause, CommitReply, LoadedBranches, Store, UnreadableJob, Upkeep
from avtomatika.store.records import UNREADABLE, unreadable

from .branches import finish_branches, load_jobs
from .control import tell_workers
from .doorkeeper import Doorkeeper, SkillsOfSigner
from .forwarding import forward
from .notices import Notices
from .placing import PlacingDesk
from .plans import TAKE_OVER_SECONDS, ServedPlans
from .quarantine import look_after_quarantine
from .runner import Call, Runner
from .unreadable import set_aside
from .work import Arrival, Surroundings, Work

logger = logging.getLogger(__name__)

#: How long an idle orchestrator waits for messages before it looks at its timers.
_IDLE_SECONDS = 0.5
#: The same while handlers run, and how long it waits for them.
_BUSY_SECONDS = 0.005
_TIMERS_EVERY_SECONDS = 0.5
_EXPIRY_EVERY_SECONDS = 1.0
_QUARANTINE_EVERY_SECONDS = 60.0
#: Where nothing else was agreed; handlers see nothing but the job.
_RULES = Rules()
_SURROUNDINGS = Surroundings()


class Orchestrator:
    """Advances the jobs of *blueprints* whose messages come by *intake*."""

    def __init__(
        self,
        *,
        blueprints: Sequence[Blueprint],
        intake: Intake,
        store: Store,
        upkeep: Upkeep,
        runner: Runner,
        rules: Rules = _RULES,
        surroundings: Surroundings = _SURROUNDINGS,
        skills_of_signer: SkillsOfSigner | None = None,
        take_over_seconds: float = TAKE_OVER_SECONDS,
    ) -> None:
        self._intake = intake
        self._store = store
        self._door = Doorkeeper(intake, store, skills_of_signer)
        self._notices = Notices(intake=intake, store=store)
        self._placing = PlacingDesk(intake=intake, store=store)
        self._plans = ServedPlans(
            blueprints=blueprints, intake=intake, store=store, take_over_seconds=take_over_seconds
        )
        self._forward = partial(forward, intake, declare=self._plans.declare_missing)
        self._set_aside = partial(set_aside, intake=intake, store=store)
        self._upkeep = upkeep
        self._runner = runner
        self._rules = replace(rules, plans={blueprint.name: blueprint.plan for blueprint in blueprints})
        self._surroundings = surroundings
        self._inbox: list[Delivery] = []
        self._in_hand: dict[str, Work] = {}
        self._ready: list[Work] = []
        self._again: list[tuple[float, int, Work]] = []
        self._order = count()
        self._timers_due = self._expiry_due = self._quarantine_due = 0.0
        self._quarantine = look_after_quarantine(store, upkeep)
        self._stopping = False

    def stop(self) -> None:
        """Take nothing new and return from :meth:`run` when what is in hand is committed. For signal handlers."""
        self._stopping = True

    def run(self) -> None:
        """Work until :meth:`stop`; while the server is away, wait for it."""
        failures = 0
        while not self._stopping:
            try:
                self.turn()
                failures = 0
            except Unavailable as error:
                failures += 1
                pause = pause_seconds(failures)
                logger.warning("%s; trying again in %.1f s", error, pause)
                self._intake.wait(pause)
        self._finish()

    def turn(self) -> None:
        """One round: sweep what is due, take what came, decide, commit."""
        self._sweep()
        self._inbox += self._intake.take(self._patience())
        self._receive()
        self._collect()
        self._commit()

    # ------------------------------------------------------------ in

    def _patience(self) -> float:
        if self._ready or self._inbox:
            return 0.0
        if self._runner.busy:
            return _BUSY_SECONDS
        now = monotonic()
        soonest = min(
            self._timers_due,
            self._expiry_due,
            self._quarantine_due,
            self._plans.due,
            self._again[0][0] if self._again else now + _IDLE_SECONDS,
        )
        return min(max(soonest - now, 0.0), _IDLE_SECONDS)

    def _receive(self) -> None:
        """Work off the inbox; what the server's absence interrupts stays in it."""
        told = [delivery for delivery in self._inbox if delivery.queue == WORKERS]
        due = [delivery for delivery in self._inbox if delivery.queue == TIMERS]
        steps = [delivery for delivery in self._inbox if delivery.queue not in (WORKERS, TIMERS)]
        if told:
            self._notices.note(self._door.notices(told))
            self._inbox = due + steps
        if due:
            self._send_due(due)
            self._inbox = steps
        if steps:
            self._begin(steps)

    def _send_due(self, deliveries: Sequence[Delivery]) -> None:
        found = self._door.due(deliveries)
        self._forward([(delivery, Outgoing(due.exchange, due.routing_key, due.body)) for delivery, due in found])

    def _begin(self, deliveries: Sequence[Delivery]) -> None:
        """Sort events by job, and start on every job that is not in hand already."""
        arrivals: dict[str, list[Arrival]] = {}
        read = self._placing.look([arrival for _, arrival in self._door.events(deliveries)])
        for arrival in finish_branches(read, store=self._store, intake=self._intake):
            job_id = arrival.event.job_id
            if job_id in self._in_hand:
                self._in_hand[job_id].later.append(arrival.delivery)
            else:
                arrivals.setdefault(job_id, []).append(arrival)
        self._inbox = [arrival.delivery for of_job in arrivals.values() for arrival in of_job]
        works, passing, strangers, unreadable_jobs = [], [], [], []
        for of_job, loaded in zip(arrivals.values(), load_jobs(arrivals, store=self._store), strict=True):
            if loaded is not None and isinstance(loaded.job, UnreadableJob):
                unreadable_jobs.append((loaded.job, of_job))
                continue
            placed = self._plans.place(None if loaded is None else loaded.job, of_job)
            passing += placed.elsewhere
            strangers += placed.nowhere
            if loaded is not None and placed.here:
                works.append(self._work(loaded, placed.here))
        aside = [arrival for _, of_job in unreadable_jobs for arrival in of_job]
        self._inbox = [arrival.delivery for arrival in (*strangers, *aside, *(arrival for arrival, _ in passing))]
        self._advance(works)
        self._turn_away(strangers)
        for job, of_job in unreadable_jobs:
            self._set_aside(job, of_job)
        if passing:
            self._forward([(arrival.delivery, arrival.under(key)) for arrival, key in passing])
        self._inbox = []

    def _work(self, loaded: LoadedBranches, arrivals: list[Arrival]) -> Work:
        job = loaded.job
        work = self._in_hand[job.id] = Work(
            job,
            self._plans.blueprint(job),
            arrivals,
            rules=self._rules,
            surroundings=self._surroundings,
            answers=loaded.answers,
        )
        return work

    def _turn_away(self, arrivals: Sequence[Arrival]) -> None:
        """Events of jobs that are gone, or that are none of ours by the queue they came by."""
        for arrival in arrivals:
            logger.warning("job %s is gone or not ours: %s ignored", arrival.event.job_id, arrival.event.id)
        self._store.ignore([(arrival.delivery.tag, arrival.event.job_id, None) for arrival in arrivals])
        self._intake.release([arrival.delivery.tag for arrival in arrivals])

    # ------------------------------------------------------------ decide

    def _advance(self, works: Sequence[Work]) -> None:
        calls, broken = [], []
        for work in works:
            try:
                function = work.advance()
            except UNREADABLE as error:
                logger.exception("job %s cannot be advanced", work.job_id)
                broken.append((work, unreadable(work.before, error)))
                continue
            if function is None:
                self._ready.append(work)
            else:
                calls.append(Call(work, function, is_async=work.is_async, group=work.blueprint.name))
        if calls:
            self._runner.submit(calls)
        for work, job in broken:
            deliveries = [arrival.delivery for arrival in work.arrivals]
            self._let_go(work, deliveries)
            self._set_aside(job, work.arrivals)
            self._inbox = [delivery for delivery in self._inbox if delivery not in deliveries]

    def _collect(self) -> None:
        """Take up what handlers decided; a chain of states within one queue goes on at once."""
        while outcomes := self._runner.collect(_BUSY_SECONDS):
            for outcome in outcomes:
                outcome.owner.decided(outcome.returned, outcome.raised)
            self._advance([outcome.owner for outcome in outcomes])

    # ------------------------------------------------------------ out

    def _commit(self) -> None:
        now = monotonic()
        while self._again and self._again[0][0] <= now:
            self._ready.append(heapq.heappop(self._again)[2])
        works, self._ready = self._ready, []
        try:
            self._ignore(works)
            commits = [(work, commit) for work in works if (commit := work.commit()) is not None]
            replies = self._store.commit([commit for _, commit in commits])
        except Unavailable:
            for work in works:  # perhaps written, perhaps not: the second time tells
                self._try_again(work)
            raise
        for (work, _), reply in zip(commits, replies, strict=True):
            self._settle(work, reply)
        tell_workers(
            self._intake, [work for (work, _), reply in zip(commits, replies, strict=True) if reply.is_written]
        )
        for work in works:
            if not work.answered:
                self._let_go(work)

    def _ignore(self, works: Sequence[Work]) -> None:
        ignored = [(arrival, note) for work in works for arrival, note in work.ignored]
        if ignored:
            self._store.ignore([(arrival.delivery.tag, arrival.event.job_id, note) for arrival, note in ignored])
            self._intake.release([arrival.delivery.tag for arrival, _ in ignored])
            for work in works:
                work.ignored.clear()

    def _settle(self, work: Work, reply: CommitReply) -> None:
        match reply.answer:
            case Answer.REROUTE:
                self._intake.channel.forget_routes()
                self._ready.append(work)
            case Answer.NO_ROUTE | Answer.REFUSED:
                logger.error("job %s: %s; it waits", work.job_id, reply.reason)
                self._plans.due = 0.0  # what was declared may be gone
                self._try_again(work)
            case Answer.CONFLICT:
                self._decide_again(work, reply.live)
            case _:
                if reply.answer is not Answer.OK:
                    logger.info("job %s: %s answered %s", work.job_id, work.answered[0].event.id, reply.answer)
                self._intake.release([arrival.delivery.tag for arrival in work.answered])
                self._let_go(work)

    def _try_again(self, work: Work) -> None:
        work.tries += 1
        heapq.heappush(self._again, (monotonic() + pause_seconds(work.tries), next(self._order), work))

    def _decide_again(self, work: Work, live: Sequence[Cause]) -> None:
        """The job had moved on, or a cause does not count any more: load it anew, and decide with what is left."""
        tags = {cause.tag for cause in live}
        kept = [arrival.delivery for arrival in work.answered if arrival.delivery.tag in tags]
        self._intake.release([arrival.delivery.tag for arrival in work.answered if arrival.delivery.tag not in tags])
        self._let_go(work, kept)

    def _let_go(self, work: Work, kept: Sequence[Delivery] = ()) -> None:
        del self._in_hand[work.job_id]
        self._inbox += [*kept, *work.later]

    # ------------------------------------------------------------ by the clock

    def _sweep(self) -> None:
        now = monotonic()
        if now >= self._timers_due:
            is_more = self._upkeep.send_due_timers().is_more
            self._placing.write_outcomes()
            self._timers_due = now if is_more else now + _TIMERS_EVERY_SECONDS
        self._plans.keep_when_due()
        if now >= self._expiry_due:
            is_more = self._upkeep.expire_jobs().is_more
            self._expiry_due = now if is_more else now + _EXPIRY_EVERY_SECONDS
        if now >= self._quarantine_due:
            is_more = next(self._quarantine, None) is not None
            if not is_more:
                self._quarantine = look_after_quarantine(self._store, self._upkeep)
            self._quarantine_due = now if is_more else now + _QUARANTINE_EVERY_SECONDS

    def _finish(self) -> None:
        """Commit what handlers decide within a moment; the rest goes back, and somebody else decides it anew."""
        try:
            self._collect()
            self._commit()
        except Unavailable as error:
            logger.warning("%s; what is in hand is delivered again later", error)
        for work in list(self._in_hand.values()):
            self._let_go(work, [arrival.delivery for arrival in work.answered])
        self._intake.hand_back(self._inbox)
        self._runner.close()
