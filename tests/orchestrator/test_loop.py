"""Whole jobs through real queues; the test runs the orchestrators and acts as the worker."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from avtomatika import Blueprint
from avtomatika.core.events import Result
from avtomatika.core.job import JobStatus
from avtomatika.core.retry import RetryPolicy
from avtomatika.core.rules import Rules
from avtomatika.schemas import wire

from ..support.orchestrators import Stage


def film(**options: Any) -> Blueprint:
    """start (main queue) -> encode -> publish (queue heavy) | failed."""
    bp = Blueprint(name="film", api_endpoint="jobs/film")

    @bp.handler(is_start=True)
    async def start(initial_data: dict[str, Any], actions: Any) -> None:
        actions.dispatch_task(
            "encode", {"path": initial_data["path"]}, {"success": "publish", "failure": "failed"}, **options
        )

    @bp.handler(is_end=True, queue="heavy")
    def publish(output: str) -> dict[str, str]:
        return {"url": output}

    @bp.handler(is_end="failed")
    def failed(error: dict[str, Any]) -> dict[str, Any]:
        return {"because": error["message"]}

    return bp


def test_a_job_runs_from_its_start_through_a_task_to_its_result(stage: Callable[..., Stage]) -> None:
    bp = film()
    house = stage(bp)
    house.orchestrator()
    job_id = house.create(bp, path="/a.mp4")

    house.turn_until_status(job_id, "waiting_for_worker")
    taken = house.take_task("encode")
    house.answer(taken, data={"output": "/out"})
    job = house.turn_until_status(job_id, "finished")

    assert taken[1].params == {"path": "/a.mp4"}
    assert job.result == {"url": "/out"}
    assert house.history(job_id) == [
        "job_created start",
        "state_entered start",
        "task_dispatched start",
        "task_succeeded start",
        "state_entered publish",
        "job_finished publish",
    ]
    assert job.version == 3


def test_two_orchestrators_on_disjoint_queues_share_one_job(stage: Callable[..., Stage]) -> None:
    bp = film()
    house = stage(bp)
    main, heavy = bp.plan.queues
    first, second = house.orchestrator([main]), house.orchestrator([heavy])
    job_id = house.create(bp, path="/a.mp4")

    house.orchestrators = [first]
    house.turn_until_status(job_id, "waiting_for_worker")
    house.answer(house.take_task("encode"), data={"output": "/out"})
    for _ in range(3):
        first.run_once()
    assert house.job(job_id).status is JobStatus.WAITING_FOR_WORKER, "the main queue's orchestrator must not get it"

    house.orchestrators = [second]
    assert house.turn_until_status(job_id, "finished").result == {"url": "/out"}


def test_a_result_published_by_a_bare_kombu_producer_moves_the_job_on(stage: Callable[..., Stage]) -> None:
    bp = film()
    house = stage(bp)
    house.orchestrator()
    job_id = house.create(bp, path="/a.mp4")
    [task] = house.turn_until_status(job_id, "waiting_for_worker").tasks.values()
    result = Result(job_id, task.id, 1, "success", {"output": "/by-kombu"})

    with house.connection.Producer(serializer="json") as producer:
        producer.publish(
            {
                "v": 1,
                "kind": "result",
                "id": result.id,
                "job_id": job_id,
                "task_id": task.id,
                "attempt": 1,
                "status": "success",
                "data": {"output": "/by-kombu"},
                "ticket": house.take_task("encode")[1].ticket,
            },
            exchange="avt.steps",
            routing_key=f"film@{bp.plan.plan_hash}.start.success",
        )

    assert house.turn_until_status(job_id, "finished").result == {"url": "/by-kombu"}


def test_a_removed_binding_of_a_task_queue_is_declared_again(stage: Callable[..., Stage]) -> None:
    bp = film()
    house = stage(bp)
    house.orchestrator()
    house.connection.default_channel.queue_unbind("encode", exchange="avt.tasks", routing_key="encode")

    house.turn_until_status(house.create(bp, path="/a.mp4"), "waiting_for_worker")

    assert house.take_task("encode")[1].task_type == "encode"


def test_a_chain_of_states_in_one_queue_is_one_commit_and_into_another_queue_a_message(
    stage: Callable[..., Stage],
) -> None:
    bp = Blueprint(name="chain")

    @bp.handler(is_start=True)
    def a(actions: Any) -> None:
        actions.go_to("b")

    @bp.handler
    async def b(state_history: dict[str, Any], actions: Any) -> None:
        state_history["seen"] = "b"
        actions.go_to("c")

    @bp.handler(queue="far")
    def c(seen: str, actions: Any) -> None:
        assert seen == "b"
        actions.go_to("d")

    @bp.handler(is_end=True)
    def d() -> str:
        return "there"

    house = stage(bp)
    house.orchestrator()
    job_id = house.create(bp)
    job = house.turn_until_status(job_id, "finished")

    entries, _ = house.store.history(job_id)
    entered = [(e.entry.state, e.version) for e in entries if e.entry.event_type == "state_entered"]
    assert entered == [("a", 2), ("b", 2), ("c", 3), ("d", 4)]
    assert job.result == "there"


def test_a_job_that_goes_round_in_circles_ends_as_error(stage: Callable[..., Stage]) -> None:
    bp = Blueprint(name="circle")

    @bp.handler(is_start=True)
    def ping(initial_data: dict[str, Any], actions: Any) -> None:
        actions.go_to("pong" if initial_data.get("on", True) else "out")

    @bp.handler
    def pong(actions: Any) -> None:
        actions.go_to("ping")

    @bp.handler(is_end=True)
    def out() -> None: ...

    house = stage(bp)
    house.orchestrator(rules=Rules(max_transitions=10))
    job = house.turn_until_status(house.create(bp), "error", "finished")

    assert job.status is JobStatus.ERROR
    assert job.error is not None
    assert "MAX_TRANSITIONS_PER_JOB=10" in job.error["message"]


def test_a_raising_handler_is_retried_and_its_job_ends_as_error_with_the_traceback(
    stage: Callable[..., Stage],
) -> None:
    bp = Blueprint(name="raises")
    calls: list[str] = []

    @bp.handler(is_start=True, may_go_to=["end"])
    def start(job_id: str, actions: Any) -> None:
        calls.append(job_id)
        raise KeyError("missing piece")

    @bp.handler(is_end=True)
    def end() -> None: ...

    house = stage(bp)
    house.orchestrator()
    job = house.turn_until_status(house.create(bp), "error")

    assert len(calls) == 4
    assert job.error is not None
    assert "KeyError: 'missing piece'" in job.error["traceback"]
    assert house.history(job.id).count("handler_failed start") == 3


def test_a_handler_that_raises_once_is_retried(stage: Callable[..., Stage]) -> None:
    bp = Blueprint(name="flaky")
    calls: list[int] = []

    @bp.handler(is_start=True)
    async def start(actions: Any) -> None:
        calls.append(1)
        if len(calls) == 1:
            raise OSError(5, "not now")
        actions.go_to("end")

    @bp.handler(is_end=True)
    def end() -> str:
        return "done"

    house = stage(bp)
    house.orchestrator()

    assert house.turn_until_status(house.create(bp), "finished", "error").result == "done"


def test_a_slow_handler_delays_only_its_own_job(stage: Callable[..., Stage]) -> None:
    release = threading.Event()
    bp = Blueprint(name="slow")

    @bp.handler(is_start=True)
    def start(initial_data: dict[str, Any], actions: Any) -> None:
        if initial_data.get("wait"):
            release.wait(10)
        actions.go_to("end")

    @bp.handler(is_end=True)
    def end() -> None: ...

    house = stage(bp)
    house.orchestrator()
    slow = house.create(bp, wait=True)
    quick = [house.create(bp) for _ in range(20)]

    house.turn_until(lambda: all(house.job(job_id).status is JobStatus.FINISHED for job_id in quick))
    assert house.job(slow).status is JobStatus.PENDING
    release.set()
    house.turn_until_status(slow, "finished")


@pytest.mark.parametrize("is_async", [True, pytest.param(False, marks=pytest.mark.faults)])
def test_a_handler_that_never_returns_is_abandoned(stage: Callable[..., Stage], is_async: bool) -> None:
    release = threading.Event()
    bp = Blueprint(name="endless")
    if is_async:

        @bp.handler("start", is_start=True, may_go_to=["end"])
        async def start_async(actions: Any) -> None:
            await asyncio.sleep(3600)
    else:

        @bp.handler("start", is_start=True, may_go_to=["end"])
        def start_sync(actions: Any) -> None:
            release.wait(30)

    @bp.handler(is_end=True)
    def end() -> None: ...

    house = stage(bp)
    house.orchestrator(handler_timeout_seconds=0.1)
    job = house.turn_until_status(house.create(bp), "error")
    release.set()

    assert job.error is not None
    assert "HANDLER_TIMEOUT=0.1" in job.error["message"]


def test_a_transient_failure_is_retried_after_its_back_off_and_a_late_result_of_the_first_attempt_is_noted(
    stage: Callable[..., Stage],
) -> None:
    bp = film()
    house = stage(bp)
    house.orchestrator()
    job_id = house.create(bp, path="/a")
    house.turn_until_status(job_id, "waiting_for_worker")

    first = house.take_task("encode")
    house.answer(first, status="failure", error={"code": "TRANSIENT_ERROR", "message": "disk busy"})
    house.turn_until(lambda: "task_dispatched start" in house.history(job_id)[3:])
    second = house.take_task("encode")
    late = Result(job_id, first[1].task_id, 1, "success", {"output": "late"})
    with house.connection.Producer() as producer:
        producer.publish(
            wire.dump_result(late, ticket=first[1].ticket),
            exchange="avt.steps",
            routing_key=f"{first[1].reply_prefix}.success",
            content_type="application/json",
            content_encoding="utf-8",
        )
    house.turn_until(lambda: bool(house.store.notes(job_id)))
    house.answer(second, data={"output": "in time"})
    job = house.turn_until_status(job_id, "finished")

    assert second[1].attempt == 2
    assert job.result == {"url": "in time"}
    [note] = house.store.notes(job_id)
    assert (note["event_type"], note["attempt"]) == ("task_result_ignored", 1)


def test_a_result_for_an_unknown_task_is_noted_and_changes_nothing(stage: Callable[..., Stage]) -> None:
    bp = film()
    house = stage(bp)
    house.orchestrator()
    job_id = house.create(bp, path="/a")
    before = house.turn_until_status(job_id, "waiting_for_worker")
    foreign = Result(job_id, f"{job_id}.77.0", 1, "success", {"output": "foreign"})

    with house.connection.Producer() as producer:
        producer.publish(
            wire.dump_result(foreign, ticket=house.store.keyring.secret.ticket(foreign.task_id, 1)),
            exchange="avt.steps",
            routing_key=bp.plan.key("start", "success"),
            content_type="application/json",
            content_encoding="utf-8",
        )
    house.turn_until(lambda: bool(house.store.notes(job_id)))

    assert house.job(job_id) == before


def test_an_unknown_outcome_quarantines_the_job_and_names_the_known_ones(
    stage: Callable[..., Stage],
) -> None:
    bp = film()
    house = stage(bp)
    house.orchestrator()
    job_id = house.create(bp, path="/a")
    house.turn_until_status(job_id, "waiting_for_worker")

    house.answer(house.take_task("encode"), status="splendid")
    job = house.turn_until_status(job_id, "quarantined")

    assert job.error is not None
    assert "'splendid'" in job.error["message"]
    assert "success" in job.error["message"]


def test_a_task_not_taken_in_time_follows_the_failure_transition(stage: Callable[..., Stage]) -> None:
    bp = film(dispatch_timeout=0.2)
    house = stage(bp)
    house.orchestrator()
    job = house.turn_until_status(house.create(bp, path="/a"), "failed")

    assert job.result == {"because": "no worker took 'encode' within 0.2 s"}


def test_a_taken_task_has_its_result_timeout_from_then_on(stage: Callable[..., Stage]) -> None:
    bp = film(dispatch_timeout=60, result_timeout=0.3)
    house = stage(bp)
    house.orchestrator()
    job_id = house.create(bp, path="/a")
    house.turn_until_status(job_id, "waiting_for_worker")
    _, task = house.take_task("encode")

    house.tell(wire.TaskStarted(job_id, task.task_id, 1, "w", "start"), "taken")
    job = house.turn_until_status(job_id, "failed")

    assert job.result == {"because": "'encode' had no result within 0.3 s"}
    assert house.store._server.execute(("ZCARD", "{avt.g0}:timers")) == 0


def test_a_task_whose_time_is_over_is_not_delivered_again(stage: Callable[..., Stage]) -> None:
    bp = film(dispatch_timeout=60, result_timeout=0.3)
    house = stage(bp)
    house.orchestrator()
    late = house.create(bp, path="/a")
    house.turn_until_status(late, "waiting_for_worker")
    delivery, task = house.take_task("encode")
    house.tell(wire.TaskStarted(late, task.task_id, 1, "w", "start"), "taken")
    house.turn_until_status(late, "failed")
    follower = house.create(bp, path="/b")
    house.turn_until_status(follower, "waiting_for_worker")

    house.return_unstarted(delivery)

    assert house.take_task("encode")[1].job_id == follower


def test_a_retry_of_a_task_whose_time_is_over_is_delivered(stage: Callable[..., Stage]) -> None:
    again = RetryPolicy(max_retries=1, delay=0.1)
    bp = film(result_timeout=0.3, retry=RetryPolicy(by_code={"RESULT_TIMEOUT": again}))
    house = stage(bp)
    house.orchestrator()
    late = house.create(bp, path="/a")
    house.turn_until_status(late, "waiting_for_worker")
    delivery, task = house.take_task("encode")
    house.tell(wire.TaskStarted(late, task.task_id, 1, "w", "start"), "taken")
    house.turn_until(lambda: "task_retried start" in house.history(late))

    house.return_unstarted(delivery)
    house.turn_until(lambda: house.history(late).count("task_dispatched start") == 2)

    assert house.take_task("encode")[1].attempt == 2


def test_a_job_shows_progress_and_the_next_attempt_resets_it(stage: Callable[..., Stage]) -> None:
    bp = film()
    house = stage(bp)
    house.orchestrator()
    job_id = house.create(bp, path="/a")
    house.turn_until_status(job_id, "waiting_for_worker")
    taken = house.take_task("encode")

    house.tell(wire.Progress(job_id, taken[1].task_id, 1, "w", 0.4, "two of five"), "progress")
    house.turn_until(lambda: house.store.live_state(house.job(job_id)).in_flight)
    [hand] = house.store.live_state(house.job(job_id)).in_flight.values()
    house.answer(taken, status="failure", error={"code": "TRANSIENT_ERROR", "message": "busy"})
    house.turn_until(lambda: "task_retried start" in house.history(job_id))

    assert (hand.progress, hand.message) == (0.4, "two of five")
    assert house.store.live_state(house.job(job_id)).in_flight == {}
    house.turn_until(lambda: house.notices() == 0)


def test_workers_hear_of_a_cancelled_job_and_of_a_task_whose_time_is_over(stage: Callable[..., Stage]) -> None:
    bp = film(dispatch_timeout=60, result_timeout=0.3)
    house = stage(bp)
    house.orchestrator()
    done = house.create(bp, path="/a")
    house.turn_until_status(done, "waiting_for_worker")
    house.answer(house.take_task("encode"), data={"output": "/out"})
    house.turn_until_status(done, "finished")
    cancelled, late = jobs = [house.create(bp, path="/a") for _ in range(2)]
    house.turn_until(lambda: all(house.job(job_id).tasks for job_id in jobs))

    house.store.signal(house.job(cancelled), "cancel", by="me")
    house.turn_until_status(cancelled, "cancelled")
    house.tell(wire.TaskStarted(late, f"{late}.1.0", 1, "w", "start"), "taken")
    house.turn_until_status(late, "failed")

    assert house.controls() == [wire.Cancel(f"{cancelled}.1"), wire.Cancel(f"{late}.1", f"{late}.1.0", 1)]


def test_what_cannot_be_read_goes_to_the_dead_letters_and_the_others_go_on(stage: Callable[..., Stage]) -> None:
    bp = film()
    house = stage(bp)
    house.orchestrator()
    with house.connection.Producer() as producer:
        for body in ("[]", '{"v":1,"kind":"start"}', '{"v":9}', "null"):
            producer.publish(
                body,
                exchange="avt.steps",
                routing_key=bp.plan.key("start", "success"),
                content_type="application/json",
                content_encoding="utf-8",
            )
    job_id = house.create(bp, path="/a")

    house.turn_until_status(job_id, "waiting_for_worker")

    assert house.store._server.execute(("XLEN", f"{{avt.g0}}:q:{bp.plan.queue_of('publish')}:dead")) == 4


def test_a_stopped_orchestrator_requeues_undecided_messages(stage: Callable[..., Stage]) -> None:
    release = threading.Event()
    bp = Blueprint(name="stops")

    @bp.handler(is_start=True)
    def start(actions: Any) -> None:
        if not release.is_set():
            release.wait(10)
        actions.go_to("end")

    @bp.handler(is_end=True)
    def end() -> None: ...

    house = stage(bp)
    first = house.orchestrator()
    job_id = house.create(bp)
    for _ in range(5):
        first.run_once()
    first.stop()
    first.run()
    release.set()
    house.orchestrators = []
    house.orchestrator()

    house.turn_until_status(job_id, "finished", "error")
    assert house.job(job_id).status is JobStatus.FINISHED
    assert replace(house.job(job_id), result=None).version == 2


def test_the_queue_of_a_computed_task_type_is_declared_when_a_task_needs_it(stage: Callable[..., Stage]) -> None:
    bp = Blueprint(name="computed")

    @bp.handler(is_start=True)
    def start(initial_data: dict[str, Any], actions: Any) -> None:
        actions.dispatch_task(initial_data["type"], {}, transitions={"success": "end"})

    @bp.handler(is_end=True)
    def end() -> None: ...

    house = stage(bp)
    house.orchestrator()
    job_id = house.create(bp, type="sharpen")
    house.turn_until_status(job_id, "waiting_for_worker")
    house.answer(house.take_task("sharpen"))
    house.turn_until_status(job_id, "finished")
