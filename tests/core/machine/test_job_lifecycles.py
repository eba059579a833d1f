"""Whole lives of jobs: random blueprints, and whatever a queue, a worker or a clock may do to a job of them.

Messages come late, twice and in any order; workers answer with attempts that are over and with words that nobody knows.
What must hold all the same are the invariants of the protocol.
"""

from __future__ import annotations

import linecache
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from avtomatika import Blueprint
from avtomatika.core.blueprint.handler import choose
from avtomatika.core.blueprint.job_context import JobContext
from avtomatika.core.events import DeadLetter, Event, Result, TaskTimeout
from avtomatika.core.job import HistoryEntry, Job, JobStatus, Task
from avtomatika.core.job_request import JobRequest
from avtomatika.core.machine import decisions, machine
from avtomatika.core.machine.creation import new_job
from avtomatika.core.rules import Rules
from avtomatika.core.step import SendEvent, SetTimer, Step

from ...support.history_replay import replay

MAX_TRANSITIONS = 12
OUTCOMES = ("success", "bent", "failure", "timeout", "cancelled")


@st.composite
def sources(draw: st.DrawFn) -> str:
    """Source of a blueprint ``bp`` in which every state is reachable and leads to an end."""
    states = [f"s{number}" for number in range(draw(st.integers(1, 5)))]
    lines = ["bp = Blueprint('story')"]
    for state, following in pairwise([*states, "end"]):
        queue = draw(st.sampled_from(["", ", queue='heavy'", ", queue='light'"]))
        lines.append(f"@bp.handler('{state}'{queue})")
        lines.append("def decide(actions, state_history):")
        lines.append("    state_history['decisions'] = state_history.get('decisions', 0) + 1")
        targets = st.sampled_from([*states, "end", "failed"])
        if draw(st.integers(0, 3)) == 0:
            lines.append(f"    actions.go_to({following!r} if pick() else {draw(targets)!r})")
        else:
            chosen = draw(st.dictionaries(st.sampled_from(OUTCOMES[1:]), targets))
            limits = draw(st.sampled_from(["", ", dispatch_timeout=9", ", result_timeout=9, max_retries=1"]))
            transitions = ", ".join(f"{outcome!r}: {target!r}" for outcome, target in chosen.items())
            success = f"'success': {following!r} if pick() else {draw(targets)!r}"
            lines.append(f"    actions.dispatch_task('work', {{}}, {{{success}, {transitions}}}{limits})")
    queue = draw(st.sampled_from(["", ", queue='heavy'"]))
    lines += [f"@bp.handler('end', is_end=True{queue})", "def end(): return pick()"]
    lines += ["@bp.handler('failed', is_end=True)", "def failed(): pass"]
    lines += ["@bp.handler('door', is_start=True)", "def door(actions): actions.go_to('s0' if pick() else 'failed')"]
    return "\n".join(lines) + "\n"


def made(source: str, pick: Callable[[], bool]) -> Blueprint:
    """The blueprint of *source*, whose handlers choose by *pick*."""
    linecache.cache["<story>"] = (len(source), None, source.splitlines(keepends=True), "<story>")
    scope: dict[str, Any] = {"Blueprint": Blueprint, "pick": pick}
    exec(compile(source, "<story>", "exec"), scope)  # noqa: S102 - written by the strategy above
    bp = scope["bp"]
    assert isinstance(bp, Blueprint)
    return bp


@dataclass(frozen=True)
class Move:
    """Something that happens; *number* chooses among the things that it can happen to."""

    kind: str
    number: int
    status: str
    code: str | None
    picks: tuple[bool, ...]
    raises: bool


MOVES = st.builds(
    Move,
    kind=st.sampled_from(
        ["deliver"] * 8
        + ["answer"] * 6
        + ["fire"] * 5
        + ["again"] * 4
        + ["late", "timeout", "stranger", "die", "refused"]
    ),
    number=st.integers(0, 99),
    status=st.sampled_from(["success"] * 3 + ["failure"] * 3 + ["bent", "cancelled", "nobody_knows"]),
    code=st.sampled_from([None, "TRANSIENT_ERROR", None, "PERMANENT_ERROR", "INVALID_INPUT_ERROR", "GPU_LOST"]),
    picks=st.lists(st.sampled_from([True, True, False]), max_size=2).map(tuple),
    raises=st.sampled_from([False] * 5 + [True]),
)


class World:
    """One job with a store, a broker and workers around it, all of them in memory and none of them kind."""

    def __init__(self, source: str) -> None:
        self.picks: list[bool] = []
        self.raises = False
        self.bp = made(source, self.pick)
        self.plan = self.bp.plan
        self.queues = {str(binding.key): binding.queue for binding in self.plan.bindings}
        self.history: list[HistoryEntry] = []
        self.messages: list[tuple[str, Event]] = []
        self.delivered: list[tuple[str, Event]] = []
        self.timers: dict[str, SetTimer] = {}
        self.tasks: list[Task] = []
        self.open: set[tuple[str, int]] = set()
        born = new_job(self.plan, JobRequest(), job_id="g0-1", client="acme")
        self.born = self.job = born.job
        self.write(born, version=0)

    # ------------------------------------------------------------ what may happen

    def happen(self, move: Move) -> None:
        self.picks, self.raises = list(move.picks), move.raises
        match move.kind:
            case "deliver" if self.messages:
                self.deliver(self.messages.pop(move.number % len(self.messages)))
            case "again" if self.delivered:
                self.deliver(self.delivered[move.number % len(self.delivered)])
            case "fire" if self.timers:
                self.fire(sorted(self.timers)[move.number % len(self.timers)])
            case "answer" if self.tasks:
                self.answer(self.tasks[-1], move.status, move.code)
            case "late" if self.tasks:
                task = self.tasks[move.number % len(self.tasks)]
                self.answer(replace(task, attempt=task.attempt - move.number % 2), move.status, move.code)
            case "timeout" if self.tasks:
                task = self.tasks[move.number % len(self.tasks)]
                event = TaskTimeout(self.job.id, task.id, task.attempt, "result")
                self.publish(self.plan.key(task.state, "_timeout"), event)
            case "refused" if self.tasks:
                task = self.tasks[-1]
                event = DeadLetter("g0-1", "forged", task.state, task.id, task.attempt, is_refused=True)
                self.publish(self.plan.key(task.state, "_unknown"), event)
            case "stranger":
                result = Result("g0-1", "g0-1.9.0", 1, "success", data={"evil": True})
                self.publish(self.plan.key("door", "_unknown"), result)
            case "die" if move.number < 10:
                state = sorted(self.plan.states)[move.number % len(self.plan.states)]
                self.publish(self.plan.key(state, "_unknown"), DeadLetter("g0-1", "dead_letter", state))

    def come_to_an_end(self) -> None:
        """No more faults: every message is delivered, every timer fires, every worker succeeds."""
        self.picks, self.raises = [], False
        for _ in range(40 * MAX_TRANSITIONS):
            for timer_id in [timer_id for timer_id in self.timers if timer_id.endswith((":retry", ":handler"))]:
                self.fire(timer_id)
            for task in self.job.tasks.values():
                if task.is_open:
                    self.answer(task, "success", None)
            if not self.messages:
                return
            self.deliver(self.messages.pop(0))

    # ------------------------------------------------------------ what must hold

    @property
    def is_at_rest(self) -> bool:
        return self.job.status.is_final or self.job.status is JobStatus.QUARANTINED

    def check(self) -> None:
        self.the_history_tells_it_all()
        self.every_transition_is_one_of_the_plan_and_happened_once()
        self.each_attempt_ends_at_most_once_and_each_task_succeeds_at_most_once()
        self.the_job_waits_for_exactly_what_is_open()
        self.nothing_of_a_job_at_rest_is_left()

    def the_history_tells_it_all(self) -> None:
        told = replay(self.born, self.history)

        assert told.status == self.job.status
        assert told.current_state == self.job.current_state
        assert told.state_history == self.job.state_history

    def every_transition_is_one_of_the_plan_and_happened_once(self) -> None:
        entered = [entry for entry in self.history if entry.event_type == "state_entered"]
        moves = [entry for entry in self.history if "go_to" in (entry.data or {})]
        edges = {(source, transition.target) for source, transition in self.plan.edges()}

        assert len(entered) == self.job.transitions
        assert {(entry.state, (entry.data or {})["go_to"]) for entry in moves} <= edges
        decisions = self.job.state_history.get("decisions", 0)
        assert decisions == sum("state_history" in (entry.data or {}) for entry in entered)

    def each_attempt_ends_at_most_once_and_each_task_succeeds_at_most_once(self) -> None:
        ends = ("task_succeeded", "task_failed", "task_timed_out")
        attempts = Counter((entry.task_id, entry.attempt) for entry in self.history if entry.event_type in ends)
        begun = {(entry.task_id, entry.attempt) for entry in self.history if entry.event_type == "task_dispatched"}
        successes = Counter(entry.task_id for entry in self.history if entry.event_type == "task_succeeded")

        assert attempts.keys() <= begun
        assert all(count == 1 for count in attempts.values())
        assert all(count == 1 for count in successes.values())
        assert "evil" not in self.job.state_history

    def the_job_waits_for_exactly_what_is_open(self) -> None:
        assert self.open == {(task.id, task.attempt) for task in self.job.tasks.values() if task.is_open}

    def nothing_of_a_job_at_rest_is_left(self) -> None:
        if self.is_at_rest:
            assert not self.job.tasks
            assert not self.timers

    # ------------------------------------------------------------ the world around

    def pick(self) -> bool:
        if self.raises:
            self.raises = False
            raise ValueError("a handler of a user")
        return self.picks.pop() if self.picks else True

    def answer(self, task: Task, status: str, code: str | None) -> None:
        """By the key that a worker uses: that of the outcome if the task has it, else ``_unknown_outcome``."""
        known = {"success", "failure", "cancelled", *task.transitions}
        error = None if code is None else {"code": code, "message": "it says so"}
        result = Result("g0-1", task.id, task.attempt, status, data={"from": task.id}, error=error)
        self.publish(self.plan.key(task.state, status if status in known else "_unknown"), result)

    def fire(self, timer_id: str) -> None:
        timer = self.timers.pop(timer_id)
        self.publish(timer.routing_key, timer.event)

    def publish(self, routing_key: str, event: Event) -> None:
        self.messages.append((self.queues[routing_key], event))

    def deliver(self, message: tuple[str, Event]) -> None:
        self.delivered.append(message)
        queue, event = message
        before = self.job
        step = machine.advance(self.plan, before, event, queue=queue)
        if step.note is not None:
            assert step == Step(before, note=step.note)
            return
        assert not before.status.is_final
        while step.enter is not None:
            assert step.enter == step.job.current_state
            assert self.plan.queue_of(step.enter) == queue
            step = step._replace(enter=None).then(self.decided(step.job, step.enter, queue))
        self.write(step, version=before.version + 1)

    def decided(self, job: Job, state: str, queue: str) -> Step:
        context = JobContext(job)
        handler = choose(self.bp.handlers[state], context)
        try:
            returned = handler.function(**handler.bind(context))
        except ValueError as error:
            return decisions.handler_raised(self.plan, job, error=str(error))
        action = context.actions.decision(returned, self.plan.states[state])
        patch = context.patch()
        return decisions.decide(
            self.plan, job, action, queue=queue, patch=patch, rules=Rules(max_transitions=MAX_TRANSITIONS)
        )

    def write(self, step: Step, *, version: int) -> None:
        """The operations of the store, in its order."""
        assert step.job.version in (version - 1, 0)
        assert step.history
        self.job = replace(step.job, version=version)
        self.history += step.history
        for timer_id in step.cancelled_timers:
            self.timers.pop(timer_id, None)
        self.timers |= {timer.id: timer for timer in step.timers}
        self.open -= set(step.closed)
        self.open |= set(step.opened)
        for sent in step.outgoing:
            if isinstance(sent, SendEvent):
                self.publish(sent.routing_key, sent.event)
            else:
                self.tasks.append(sent.task)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(sources(), st.lists(MOVES, min_size=5, max_size=50))
def test_whatever_happens_the_invariants_hold_and_the_job_comes_to_its_end(source: str, moves: list[Move]) -> None:
    world = World(source)

    for move in moves:
        world.happen(move)
        world.check()
    world.come_to_an_end()

    world.check()
    assert world.is_at_rest


@pytest.fixture(autouse=True)
def no_story_stays_in_the_cache_of_lines() -> Iterator[None]:
    yield
    linecache.cache.pop("<story>", None)
