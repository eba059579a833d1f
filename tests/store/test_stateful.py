"""In any order of events of two orchestrators, workers, clocks and crashes, no job is lost or makes a step twice."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from hashlib import sha1

import pytest
from hypothesis import HealthCheck, Phase, settings, strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from avtomatika import broker
from avtomatika.broker import Delivery
from avtomatika.core.events import Result
from avtomatika.core.job import Job, JobStatus
from avtomatika.core.plan import TIMERS, WORKERS
from avtomatika.errors import ConflictError
from avtomatika.schemas.wire import TaskMessage
from avtomatika.store import CommitStatus, branches, commit
from avtomatika.store.signals import Wish
from avtomatika.transport import RedisClient, connect
from avtomatika.transport.scripts import Script

from ..support.history_replay import replay
from .simulated_orchestrators import KINDS, Cluster, PendingDecision, SimulatedOrchestrator, step_queues

_SCALE = int(os.environ.get("FAULTS_SCALE", "1"))
_EXAMPLES, _STEPS = 15 * _SCALE, 50
_MOST_JOBS = 3
_pick = st.integers(0, 10_000)
_status = st.sampled_from(
    [
        ("success", None),
        ("success", None),
        ("failure", None),
        ("failure", "TRANSIENT_ERROR"),
        ("failure", "TRANSIENT_ERROR"),
    ]
)


class Orchestration(RuleBasedStateMachine):
    """Every choice is an index into the messages, timers or tasks that exist at that moment."""

    cluster: Cluster

    @initialize()
    def begin(self) -> None:
        self.cluster.clear()
        self.jobs: dict[str, Job] = {}
        self.pending: list[PendingDecision] = []
        self.done: list[PendingDecision] = []
        self.committed: Counter[str] = Counter()
        #: State after the last step: unanswered tasks, timers, and published events.
        self.tasks: list[tuple[str, TaskMessage]] = []
        self.timers: list[str] = []
        self.events: list[Delivery] = []

    # ------------------------------------------------------------ orchestrators

    @precondition(lambda self: len(self.jobs) < _MOST_JOBS)
    @rule(kind=st.sampled_from(KINDS))
    def create(self, kind: str) -> None:
        self._meet(self.cluster.create(kind))

    @precondition(lambda self: self.events)
    @rule(pick=_pick)
    def take(self, pick: int) -> None:
        self._take_everywhere(self.cluster.orchestrators[pick % 2])

    @precondition(lambda self: self.events)
    @rule(pick=_pick)
    def take_and_carry_out(self, pick: int) -> None:
        """The usual course."""
        orchestrator = self.cluster.orchestrators[pick % 2]
        self._take_everywhere(orchestrator)
        for pending in [pending for pending in self.pending if pending.orchestrator is orchestrator]:
            self.carry_out(self.pending.index(pending))

    @precondition(lambda self: self.events)
    @rule(pick=_pick)
    def run_successfully_for_a_while(self, pick: int) -> None:
        """So that the ends of things are met as well as their beginnings."""
        orchestrator = self.cluster.orchestrators[pick % 2]
        for _ in range(4):
            self._take_everywhere(orchestrator)
            while self.pending:
                self.carry_out(0)
            for entry, task in self.cluster.tasks():
                self.cluster.orchestrators[0].answer(task, task.attempt, "success")
                self.cluster.client.xdel("{avt.g0}:q:encode:0", entry)

    @precondition(lambda self: self.pending)
    @rule(pick=_pick)
    def carry_out(self, pick: int) -> None:
        pending = self.pending.pop(pick % len(self.pending))
        reply = pending.orchestrator.carry_out(pending)
        self.done.append(pending)
        if reply is None:
            return
        assert reply.answer in set(CommitStatus) - {
            CommitStatus.REROUTE,
            CommitStatus.NO_ROUTE,
            CommitStatus.REFUSED,
            CommitStatus.GONE,
        }, reply
        if reply.answer is CommitStatus.OK:
            self.committed[pending.event.id] += 1
        elif reply.answer is CommitStatus.CONFLICT:
            self._decide(pending.orchestrator, pending.delivery)

    @precondition(lambda self: self.pending)
    @rule(pick=_pick, versions=st.integers(1, 3))
    def decide_on_an_old_version(self, pick: int, versions: int) -> None:
        pending = self.pending[pick % len(self.pending)]
        if pending.commit and pending.commit.before.version > versions:
            old = replace(pending.commit.before, version=pending.commit.before.version - versions)
            [reply] = pending.orchestrator.store.commit([replace(pending.commit, before=old)])
            assert reply.answer is not CommitStatus.OK

    @precondition(lambda self: self.done)
    @rule(pick=_pick)
    def carry_out_again(self, pick: int) -> None:
        pending = self.done[-1 - pick % min(len(self.done), 5)]
        if not self._is_taken_over(pending):
            reply = pending.orchestrator.carry_out(pending)
            assert reply is None or reply.answer is CommitStatus.LEASE_LOST

    @precondition(lambda self: self.pending)
    @rule(pick=_pick)
    def crash(self, pick: int) -> None:
        """The other orchestrator takes over; the first does not know yet."""
        pending = self.pending[pick % len(self.pending)]
        other = next(
            orchestrator for orchestrator in self.cluster.orchestrators if orchestrator is not pending.orchestrator
        )
        delivery = other.take_over(pending.delivery)
        if delivery:
            self._decide(other, delivery)

    @precondition(lambda self: self.events)
    @rule(pick=_pick)
    def send_an_event_again(self, pick: int) -> None:
        self.cluster.copy(self.events[pick % len(self.events)])

    @precondition(lambda self: self.timers)
    @rule(pick=_pick)
    def expire_timer(self, pick: int) -> None:
        self.cluster.expire_timer(self.timers[pick % len(self.timers)])

    # ------------------------------------------------------------ people

    @precondition(lambda self: self.jobs)
    @rule(pick=_pick, mercy=st.integers(0, 9))
    def cancel(self, pick: int, mercy: int) -> None:
        if not mercy:  # seldom: a job that is cancelled is not much of a test any more
            self._wish(list(self.jobs)[pick % len(self.jobs)], "cancel")

    @precondition(lambda self: self._jobs_that_are("quarantined"))
    @rule(pick=_pick)
    def retry(self, pick: int) -> None:
        quarantined = self._jobs_that_are("quarantined")
        self._wish(quarantined[pick % len(quarantined)], "retry")

    @precondition(lambda self: self._jobs_that_are("waiting_for_human"))
    @rule(pick=_pick, decision=st.sampled_from(["approved", "rejected"]))
    def decide(self, pick: int, decision: str) -> None:
        asking = self._jobs_that_are("waiting_for_human")
        job = self.jobs[asking[pick % len(asking)]]
        taken = self.cluster.client.hget(f"{{avt.g0}}:job:{job.id}", "decided")
        try:
            self.cluster.orchestrators[0].store.decide(job, decision, by="me")
        except ConflictError:
            assert taken is not None, "the first decision was refused"
        else:
            assert taken is None, "a second decision was taken"

    # ------------------------------------------------------------ workers

    @precondition(lambda self: self.tasks)
    @rule(pick=_pick, status=_status)
    def work(self, pick: int, status: tuple[str, str | None]) -> None:
        entry, task = self.tasks[pick % len(self.tasks)]
        self.cluster.orchestrators[0].answer(task, task.attempt, *status)
        self.cluster.client.xdel("{avt.g0}:q:encode:0", entry)

    @precondition(lambda self: self.tasks)
    @rule(pick=_pick, attempt=st.integers(1, 4), status=_status)
    def answer_without_end(self, pick: int, attempt: int, status: tuple[str, str | None]) -> None:
        """A worker that answers as it likes: another attempt, or the right one twice."""
        self.cluster.orchestrators[1].answer(self.tasks[pick % len(self.tasks)][1], attempt, *status)

    @precondition(lambda self: self.tasks)
    @rule(pick=_pick)
    def start_a_task(self, pick: int) -> None:
        self.cluster.start_task(self.tasks[pick % len(self.tasks)][1])

    # ------------------------------------------------------------ what holds

    @invariant()
    def everything_holds(self) -> None:
        self.tasks, self.timers, self.events = (
            self.cluster.tasks(),
            self.cluster.timers(),
            self.cluster.entries_of_events(),
        )
        self._jobs_only_go_forward()
        self._histories_are_complete_and_match_the_job()
        self._no_event_is_committed_twice()
        self._every_unfinished_job_has_something_that_advances_it()
        self._finished_jobs_leave_nothing_running()
        self._indexes_match_each_job()

    def _jobs_only_go_forward(self) -> None:
        for job_id, before in self.jobs.items():
            job = self.cluster.job(job_id)
            assert job
            assert job.version >= before.version
            assert not before.status.is_final or job == before
            self.jobs[job_id] = job
        for job in list(self.jobs.values()):
            for child_id in job.children:
                self._meet(child_id)

    def _histories_are_complete_and_match_the_job(self) -> None:
        for job in self.jobs.values():
            history, rest = self.cluster.orchestrators[0].store.history(job.id, limit=10_000)
            versions = [entry.version for entry in history]
            assert rest is None
            assert [entry.seq for entry in history] == list(range(1, len(history) + 1))
            assert versions == sorted(versions)
            assert set(versions) == set(range(1, job.version + 1))
            told = replay(job, [entry.entry for entry in history])
            assert (told.status, told.current_state) == (job.status, job.current_state)

    def _no_event_is_committed_twice(self) -> None:
        assert [event for event, count in self.committed.items() if count > 1] == []

    def _every_unfinished_job_has_something_that_advances_it(self) -> None:
        for job in self.jobs.values():
            if not job.status.is_final and job.status is not JobStatus.QUARANTINED:
                assert any(self._advancing(job)), f"nothing will ever happen to {job}"

    def _finished_jobs_leave_nothing_running(self) -> None:
        for job in self.jobs.values():
            if job.status.is_final:
                own = [f"{{avt.g0}}:job:{job.id}:{what}" for what in ("tasks", "seen", "branches", "branches:answers")]
                assert not self.cluster.client.exists(*own)
                assert not [timer for timer in self.timers if timer.startswith(f"{job.id}/")]
        assert self.cluster.client.hlen("{avt.g0}:timers:messages") == len(self.timers)

    def _indexes_match_each_job(self) -> None:
        for job in self.jobs.values():
            found = [
                status
                for status in JobStatus
                if self.cluster.client.zscore(f"{{avt.g0}}:jobs:status:{status}", job.id) is not None
            ]
            assert found == [job.status]

    def teardown(self) -> None:
        """All faults stop: everything that is under way comes to its end, and then goes without a trace."""
        while self._go_on():
            pass
        for job in list(self.jobs.values()):
            now = self.cluster.job(job.id)
            assert now
            assert (
                now.status.is_final or now.status is JobStatus.QUARANTINED or self._waits_for_a_quarantined_child(now)
            )
            self.cluster.client.zadd("{avt.g0}:retention", {job.id: 0}, xx=True)
            self.jobs[job.id] = now
        while self.cluster.orchestrators[0].sweeper.expire_jobs().is_more:
            pass
        for job in self.jobs.values():
            if job.status.is_final:
                assert (
                    self.cluster.client.keys(f"{{avt.g0}}:job:{job.id}")
                    == self.cluster.client.keys(f"{{avt.g0}}:job:{job.id}:*")
                    == []
                )
                assert self.cluster.client.zscore("{avt.g0}:jobs", job.id) is None

    # ------------------------------------------------------------ parts

    def _meet(self, job_id: str) -> None:
        if job_id not in self.jobs:
            job = self.cluster.job(job_id)
            assert job
            self.jobs[job_id] = job

    def _wish(self, job_id: str, wish: Wish) -> None:
        with suppress(ConflictError):
            self.cluster.orchestrators[0].store.signal(self.jobs[job_id], wish, by="me")

    def _jobs_that_are(self, status: str) -> list[str]:
        return [job.id for job in self.jobs.values() if job.status == status]

    def _is_under_way(self, job_id: str) -> bool:
        job = self.cluster.job(job_id)
        return job is not None and not job.status.is_final

    def _waits_for_a_quarantined_child(self, job: Job) -> bool:
        return job.status is JobStatus.WAITING_FOR_CHILD and self._is_under_way(job.children[-1])

    def _go_on(self) -> bool:
        """Do all that one orchestrator can do with a worker and a clock when the other is dead; False if nothing."""
        orchestrator = self.cluster.orchestrators[0]
        self.pending.clear()
        for delivery in self.cluster.entries_of_events():
            if orchestrator.take_over(delivery):
                self._decide(orchestrator, delivery)
        did = self._take_everywhere(orchestrator) or bool(self.pending)
        while self.pending:
            self.carry_out(0)
        self.tasks = self.cluster.tasks()
        while self.tasks:
            self.work(0, ("success", None))
            self.tasks.pop(0)
            did = True
        for timer in [] if did else self.cluster.timers():
            self.cluster.expire_timer(timer)
            did = True
        return did

    def _take_everywhere(self, orchestrator: SimulatedOrchestrator) -> bool:
        """One message of each queue; answers whether there was any."""
        found = [delivery for queue in (*step_queues(), TIMERS, WORKERS) if (delivery := orchestrator.take(queue))]
        for delivery in found:
            self._decide(orchestrator, delivery)
        return bool(found)

    def _decide(self, orchestrator: SimulatedOrchestrator, delivery: Delivery) -> None:
        if delivery.queue in (TIMERS, WORKERS):
            orchestrator.forward(delivery)
            return
        pending = orchestrator.decide(delivery)
        if pending:
            self.pending.append(pending)

    def _is_taken_over(self, pending: PendingDecision) -> bool:
        return any(
            (each.delivery.tag, each.orchestrator) == (pending.delivery.tag, pending.orchestrator)
            for each in self.pending
        )

    def _advancing(self, job: Job) -> Iterator[bool]:
        """Yield, for each thing that can advance *job*, True if it exists."""
        yield any(timer.startswith(f"{job.id}/") for timer in self.timers)
        yield job.wait is not None and job.wait.kind == "child" and self._is_under_way(job.children[-1])
        events = list(self.cluster.messages_of(job.id))
        yield any(not isinstance(event, Result) for event in events)
        open_tasks = self.cluster.open_tasks(job.id)
        yield any((task.task_id, task.attempt) in open_tasks for _, task in self.tasks)
        yield any((event.task_id, event.attempt) in open_tasks for event in events if isinstance(event, Result))


@pytest.fixture
def cluster(redis_url: str) -> Iterator[Cluster]:
    with broker.connect(redis_url) as connection, connect(redis_url) as client:
        server = RedisClient.connect(redis_url)
        yield Cluster(connection, server, client)
        server.close()


@pytest.mark.timeout(120 * _SCALE)
def test_no_order_of_events_breaks_a_job(cluster: Cluster) -> None:
    run(cluster)


@pytest.mark.soak
@pytest.mark.timeout(600 * _SCALE)
def test_a_commit_that_does_not_look_at_the_version_is_caught(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("COMMIT", "COMMIT_MORE"):
        text = getattr(commit, name).text.replace("if job[1] ~= ARGV[2] then return answer('CONFLICT', states) end", "")
        assert text != getattr(commit, name).text
        monkeypatch.setattr(commit, name, Script(text, sha1(text.encode(), usedforsecurity=False).hexdigest()))

    with pytest.raises(AssertionError):
        run(cluster, examples=20 * _EXAMPLES)


@pytest.mark.soak
@pytest.mark.timeout(600 * _SCALE)
def test_a_branch_that_counts_twice_is_caught(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    text = branches.FINISH_BRANCH.text.replace("redis.call('HGET', KEYS[3], ARGV[5]) ~= ARGV[6]", "false")
    assert text != branches.FINISH_BRANCH.text
    monkeypatch.setattr(branches, "FINISH_BRANCH", Script(text, sha1(text.encode(), usedforsecurity=False).hexdigest()))

    with pytest.raises(AssertionError):
        run(cluster, examples=20 * _EXAMPLES)


def run(cluster: Cluster, *, examples: int = _EXAMPLES) -> None:
    machine = type("Machine", (Orchestration,), {"cluster": cluster})
    run_state_machine_as_test(  # type: ignore[no-untyped-call]
        machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=_STEPS,
            deadline=None,
            phases=[Phase.generate],
            derandomize=not os.environ.get("FAULTS_SCALE"),
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
