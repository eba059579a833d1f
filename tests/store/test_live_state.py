"""Reading the live state of a job costs the same for a fan-out of any size."""

from __future__ import annotations

from avtomatika.core.explain.facts import LiveState
from avtomatika.core.job import Branches, Job, JobStatus, Task, WaitRecord
from avtomatika.store import live_state as live_state
from avtomatika.store.keys import Keys

KEYS = Keys()


def test_a_fan_out_is_asked_for_one_number_however_large_it_is() -> None:
    job = Job(
        "g0-1", "any", "0a1b2c3d", JobStatus.WAITING_FOR_PARALLEL, fan_out=Branches(3, "all", "sum", 10_000, 2000)
    )

    assert live_state.commands(job, KEYS) == [("HGET", KEYS.branches("g0-1"), "left")]
    assert live_state.read(job, [b"9876"]) == LiveState(branches_left=9876)


def test_a_job_that_waits_for_nothing_is_not_asked_about() -> None:
    job = Job("g0-1", "any", "0a1b2c3d", JobStatus.FINISHED)

    assert live_state.commands(job, KEYS) == []
    assert live_state.read(job, []) == LiveState()


def test_only_what_is_kept_of_open_tasks_is_read() -> None:
    task = Task("g0-1.1.0", "encode", "start", {})
    job = Job("g0-1", "any", "0a1b2c3d", JobStatus.WAITING_FOR_WORKER, tasks={task.id: task})

    [command] = live_state.commands(job, KEYS)

    assert command == ("HMGET", KEYS.tasks("g0-1"), "g0-1.1.0", "g0-1.1.0/worker", "g0-1.1.0/progress")
    [hand] = live_state.read(job, [[b"2", b"w1", b"2 1700000000000 0.25 a quarter of it"]]).in_flight.values()
    assert (hand.worker_id, hand.progress, hand.message) == ("w1", 0.25, "a quarter of it")


def test_the_decision_of_an_earlier_approval_is_not_that_of_this_one() -> None:
    wait = WaitRecord("approval", "g0-1.7", "ask", {"approved": "done"}, {"integration": "mail", "message": "?"})
    job = Job("g0-1", "any", "0a1b2c3d", JobStatus.WAITING_FOR_HUMAN, wait=wait)

    assert live_state.read(job, [b"g0-1.5 approved by alice"]).decision is None
    assert live_state.read(job, [b"g0-1.7 approved by alice"]).decision == "approved by alice"
    assert live_state.read(job, [None]).decision is None
