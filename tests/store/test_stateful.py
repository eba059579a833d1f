"""Whatever order two orchestrators, workers, clocks and crashes take: no job is lost, and none moves twice."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from hashlib import sha1

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
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

from ..history_replay import replay
from .desks import KINDS, Desk, Hand, Room, step_queues

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
    """Every choice is an index into what there happens to be."""

    room: Room

    @initialize()
    def begin(self) -> None:
        self.room.clear()
        self.jobs: dict[str, Job] = {}
        self.hands: list[Hand] = []
        self.done: list[Hand] = []
        self.committed: Counter[str] = Counter()
        #: What there was after the last step: tasks that nobody has answered, timers, events on their way.
        self.tasks: list[tuple[str, TaskMessage]] = []
        self.timers: list[str] = []
        self.events: list[Delivery] = []

    # ------------------------------------------------------------ orchestrators

    @precondition(lambda self: len(self.jobs) < _MOST_JOBS)
    @rule(kind=st.sampled_from(KINDS))
    def create(self, kind: str) -> None:
        self._meet(self.room.create(kind))

    @precondition(lambda self: self.events)
    @rule(pick=_pick)
    def take(self, pick: int) -> None:
        self._take_everywhere(self.room.desks[pick % 2])

    @precondition(lambda self: self.events)
    @rule(pick=_pick)
    def take_and_carry_out(self, pick: int) -> None:
        """As it mostly goes."""
        desk = self.room.desks[pick % 2]
        self._take_everywhere(desk)
        for hand in [hand for hand in self.hands if hand.desk is desk]:
            self.carry_out(self.hands.index(hand))

    @precondition(lambda self: self.events)
    @rule(pick=_pick)
    def go_well_for_a_while(self, pick: int) -> None:
        """So that the ends of things are met as well as their beginnings."""
        desk = self.room.desks[pick % 2]
        for _ in range(4):
            self._take_everywhere(desk)
            while self.hands:
                self.carry_out(0)
            for entry, task in self.room.tasks():
                self.room.desks[0].answer(task, task.attempt, "success")
                self.room.client.xdel("avt:q:encode:0", entry)

    @precondition(lambda self: self.hands)
    @rule(pick=_pick)
    def carry_out(self, pick: int) -> None:
        hand = self.hands.pop(pick % len(self.hands))
        reply = hand.desk.carry_out(hand)
        self.done.append(hand)
        if reply is None:
            return
        assert reply.answer in set(CommitStatus) - {
            CommitStatus.REROUTE,
            CommitStatus.NO_ROUTE,
            CommitStatus.REFUSED,
            CommitStatus.GONE,
        }, reply
        if reply.answer is CommitStatus.OK:
            self.committed[hand.event.id] += 1
        elif reply.answer is CommitStatus.CONFLICT:
            self._take_up(hand.desk, hand.delivery)

    @precondition(lambda self: self.hands)
    @rule(pick=_pick, versions=st.integers(1, 3))
    def decide_on_an_old_version(self, pick: int, versions: int) -> None:
        hand = self.hands[pick % len(self.hands)]
        if hand.commit and hand.commit.before.version > versions:
            old = replace(hand.commit.before, version=hand.commit.before.version - versions)
            [reply] = hand.desk.store.commit([replace(hand.commit, before=old)])
            assert reply.answer is not CommitStatus.OK

    @precondition(lambda self: self.done)
    @rule(pick=_pick)
    def carry_out_again(self, pick: int) -> None:
        hand = self.done[-1 - pick % min(len(self.done), 5)]
        if not self._is_taken_up_again(hand):
            reply = hand.desk.carry_out(hand)
            assert reply is None or reply.answer is CommitStatus.LEASE_LOST

    @precondition(lambda self: self.hands)
    @rule(pick=_pick)
    def crash(self, pick: int) -> None:
        """The other desk takes over; the first does not know yet."""
        hand = self.hands[pick % len(self.hands)]
        other = next(desk for desk in self.room.desks if desk is not hand.desk)
        delivery = other.take_over(hand.delivery)
        if delivery:
            self._take_up(other, delivery)

    @precondition(lambda self: self.events)
    @rule(pick=_pick)
    def send_an_event_again(self, pick: int) -> None:
        self.room.copy(self.events[pick % len(self.events)])

    @precondition(lambda self: self.timers)
    @rule(pick=_pick)
    def let_time_pass(self, pick: int) -> None:
        self.room.let_time_pass(self.timers[pick % len(self.timers)])

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
        taken = self.room.client.hget(f"avt:job:{job.id}", "decided")
        try:
            self.room.desks[0].store.decide(job, decision, by="me")
        except ConflictError:
            assert taken is not None, "the first decision was refused"
        else:
            assert taken is None, "a second decision was taken"

    # ------------------------------------------------------------ workers

    @precondition(lambda self: self.tasks)
    @rule(pick=_pick, status=_status)
    def work(self, pick: int, status: tuple[str, str | None]) -> None:
        entry, task = self.tasks[pick % len(self.tasks)]
        self.room.desks[0].answer(task, task.attempt, *status)
        self.room.client.xdel("avt:q:encode:0", entry)

    @precondition(lambda self: self.tasks)
    @rule(pick=_pick, attempt=st.integers(1, 4), status=_status)
    def answer_without_end(self, pick: int, attempt: int, status: tuple[str, str | None]) -> None:
        """A worker that answers as it likes: another attempt, or the right one twice."""
        self.room.desks[1].answer(self.tasks[pick % len(self.tasks)][1], attempt, *status)

    @precondition(lambda self: self.tasks)
    @rule(pick=_pick)
    def begin_with_a_task(self, pick: int) -> None:
        self.room.begin_with(self.tasks[pick % len(self.tasks)][1])

    # ------------------------------------------------------------ what holds

    @invariant()
    def everything_holds(self) -> None:
        self.tasks, self.timers, self.events = self.room.tasks(), self.room.timers(), self.room.entries_of_events()
        self._jobs_only_go_forward()
        self._histories_have_no_gap_and_tell_the_job()
        self._no_event_is_committed_twice()
        self._every_job_that_is_under_way_will_hear_of_something()
        self._what_is_over_leaves_nothing_running()
        self._indexes_name_each_job_where_it_is()

    def _jobs_only_go_forward(self) -> None:
        for job_id, before in self.jobs.items():
            job = self.room.job(job_id)
            assert job
            assert job.version >= before.version
            assert not before.status.is_final or job == before
            self.jobs[job_id] = job
        for job in list(self.jobs.values()):
            for child_id in job.children:
                self._meet(child_id)

    def _histories_have_no_gap_and_tell_the_job(self) -> None:
        for job in self.jobs.values():
            history, rest = self.room.desks[0].store.history(job.id, limit=10_000)
            versions = [entry.version for entry in history]
            assert rest is None
            assert [entry.seq for entry in history] == list(range(1, len(history) + 1))
            assert versions == sorted(versions)
            assert set(versions) == set(range(1, job.version + 1))
            told = replay(job, [entry.entry for entry in history])
            assert (told.status, told.current_state) == (job.status, job.current_state)

    def _no_event_is_committed_twice(self) -> None:
        assert [event for event, count in self.committed.items() if count > 1] == []

    def _every_job_that_is_under_way_will_hear_of_something(self) -> None:
        for job in self.jobs.values():
            if not job.status.is_final and job.status is not JobStatus.QUARANTINED:
                assert any(self._ways_on(job)), f"nothing will ever happen to {job}"

    def _what_is_over_leaves_nothing_running(self) -> None:
        for job in self.jobs.values():
            if job.status.is_final:
                own = [f"avt:job:{job.id}:{what}" for what in ("tasks", "seen", "branches", "branches:answers")]
                assert not self.room.client.exists(*own)
                assert not [timer for timer in self.timers if timer.startswith(f"{job.id}/")]
        assert self.room.client.hlen("avt:timers:messages") == len(self.timers)

    def _indexes_name_each_job_where_it_is(self) -> None:
        for job in self.jobs.values():
            found = [
                status
                for status in JobStatus
                if self.room.client.zscore(f"avt:jobs:status:{status}", job.id) is not None
            ]
            assert found == [job.status]

    def teardown(self) -> None:
        """All faults stop: everything that is under way comes to its end, and then goes without a trace."""
        while self._go_on():
            pass
        for job in list(self.jobs.values()):
            now = self.room.job(job.id)
            assert now
            assert now.status.is_final or now.status is JobStatus.QUARANTINED or self._waits_for_a_resting_child(now)
            self.room.client.zadd("avt:retention", {job.id: 0}, xx=True)
            self.jobs[job.id] = now
        while self.room.desks[0].sweeper.expire_jobs().is_more:
            pass
        for job in self.jobs.values():
            if job.status.is_final:
                assert self.room.client.keys(f"avt:job:{job.id}") == self.room.client.keys(f"avt:job:{job.id}:*") == []
                assert self.room.client.zscore("avt:jobs", job.id) is None

    # ------------------------------------------------------------ parts

    def _meet(self, job_id: str) -> None:
        if job_id not in self.jobs:
            job = self.room.job(job_id)
            assert job
            self.jobs[job_id] = job

    def _wish(self, job_id: str, wish: Wish) -> None:
        with suppress(ConflictError):
            self.room.desks[0].store.signal(self.jobs[job_id], wish, by="me")

    def _jobs_that_are(self, status: str) -> list[str]:
        return [job.id for job in self.jobs.values() if job.status == status]

    def _is_under_way(self, job_id: str) -> bool:
        job = self.room.job(job_id)
        return job is not None and not job.status.is_final

    def _waits_for_a_resting_child(self, job: Job) -> bool:
        return job.status is JobStatus.WAITING_FOR_CHILD and self._is_under_way(job.children[-1])

    def _go_on(self) -> bool:
        """All that one desk can do, with a worker and a clock, once the other is dead; False when that is nothing."""
        desk = self.room.desks[0]
        self.hands.clear()
        for delivery in self.room.entries_of_events():
            if desk.take_over(delivery):
                self._take_up(desk, delivery)
        did = self._take_everywhere(desk) or bool(self.hands)
        while self.hands:
            self.carry_out(0)
        self.tasks = self.room.tasks()
        while self.tasks:
            self.work(0, ("success", None))
            self.tasks.pop(0)
            did = True
        for timer in [] if did else self.room.timers():
            self.room.let_time_pass(timer)
            did = True
        return did

    def _take_everywhere(self, desk: Desk) -> bool:
        """One message of each queue; answers whether there was any."""
        found = [delivery for queue in (*step_queues(), TIMERS, WORKERS) if (delivery := desk.take(queue))]
        for delivery in found:
            self._take_up(desk, delivery)
        return bool(found)

    def _take_up(self, desk: Desk, delivery: Delivery) -> None:
        if delivery.queue in (TIMERS, WORKERS):
            desk.pass_on(delivery)
            return
        hand = desk.decide(delivery)
        if hand:
            self.hands.append(hand)

    def _is_taken_up_again(self, hand: Hand) -> bool:
        return any((each.delivery.tag, each.desk) == (hand.delivery.tag, hand.desk) for each in self.hands)

    def _ways_on(self, job: Job) -> Iterator[bool]:
        """Of each thing that may lead *job* on, whether it is there."""
        yield any(timer.startswith(f"{job.id}/") for timer in self.timers)
        yield job.pause is not None and job.pause.kind == "child" and self._is_under_way(job.children[-1])
        events = list(self.room.messages_of(job.id))
        yield any(not isinstance(event, Result) for event in events)
        open_tasks = self.room.open_tasks(job.id)
        yield any((task.task_id, task.attempt) in open_tasks for _, task in self.tasks)
        yield any((event.task_id, event.attempt) in open_tasks for event in events if isinstance(event, Result))


@pytest.fixture
def room(redis_url: str) -> Iterator[Room]:
    with broker.connect(redis_url) as connection, connect(redis_url) as client:
        server = RedisClient.connect(redis_url)
        yield Room(connection, server, client)
        server.close()


@pytest.mark.timeout(120 * _SCALE)
def test_no_order_of_things_breaks_a_job(room: Room) -> None:
    run(room)


@pytest.mark.faults
def test_a_commit_that_does_not_look_at_the_version_is_caught(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("COMMIT", "COMMIT_MORE"):
        text = getattr(commit, name).text.replace("if job[1] ~= ARGV[2] then return answer('CONFLICT', states) end", "")
        assert text != getattr(commit, name).text
        monkeypatch.setattr(commit, name, Script(text, sha1(text.encode(), usedforsecurity=False).hexdigest()))

    with pytest.raises(AssertionError):
        run(room, examples=20 * _EXAMPLES)


@pytest.mark.faults
def test_a_branch_that_counts_twice_is_caught(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    text = branches.FINISH_BRANCH.text.replace("redis.call('HGET', KEYS[3], ARGV[5]) ~= ARGV[6]", "false")
    assert text != branches.FINISH_BRANCH.text
    monkeypatch.setattr(branches, "FINISH_BRANCH", Script(text, sha1(text.encode(), usedforsecurity=False).hexdigest()))

    with pytest.raises(AssertionError):
        run(room, examples=20 * _EXAMPLES)


def run(room: Room, *, examples: int = _EXAMPLES) -> None:
    machine = type("Machine", (Orchestration,), {"room": room})
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
