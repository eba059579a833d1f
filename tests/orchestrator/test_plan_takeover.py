"""A blueprint changes while its jobs run: they continue under the new plan once no orchestrator serves the old one."""

from __future__ import annotations

import logging
from collections.abc import Callable
from time import monotonic
from typing import Any

import pytest

from avtomatika import Blueprint, F, broker
from avtomatika.core.plan import TIMERS
from avtomatika.errors import ConflictError
from avtomatika.orchestrator import Orchestrator
from avtomatika.orchestrator.plan_takeover import SilenceDetector
from avtomatika.schemas import wire
from avtomatika.store import PlanAnnouncements
from avtomatika.transport import Outgoing

from ..support.orchestrators import Stage

#: Time without announcements after which a plan is taken over.
SECONDS = 0.3


def task() -> Blueprint:
    bp = Blueprint("film")

    @bp.handler(is_start=True)
    def start(actions: Any) -> None:
        actions.dispatch_task("encode", transitions={"success": "publish", "failure": "failed"})

    @bp.handler(queue="heavy")
    def publish(actions: Any) -> None:
        actions.go_to("done")

    @bp.handler(is_end=True)
    def done() -> None: ...

    @bp.handler(is_end="failed")
    def failed() -> None: ...

    return bp


def album() -> Blueprint:
    bp = Blueprint("album")

    @bp.handler(is_start=True)
    def start(actions: Any) -> None:
        actions.dispatch_parallel([{"type": "resize", "params": {"n": n}} for n in range(3)], aggregate_into="collect")

    @bp.aggregator(is_end=True)
    def collect(aggregation_results: dict[str, Any]) -> Any:
        return [each["data"] for each in aggregation_results.values()]

    return bp


def nap() -> Blueprint:
    bp = Blueprint("nap")

    @bp.handler(is_start=True)
    def start(actions: Any) -> None:
        actions.wait(1.2, then="awake")

    @bp.handler(is_end=True)
    def awake() -> None: ...

    return bp


def letter() -> Blueprint:
    bp = Blueprint("letter")

    @bp.handler(is_start=True)
    def start(actions: Any) -> None:
        actions.await_human_approval("mail", "Send it?", transitions={"approved": "sent", "rejected": "kept"})

    @bp.handler(is_end=True)
    def sent() -> None: ...

    @bp.handler(is_end="failed")
    def kept() -> None: ...

    return bp


def family() -> Blueprint:
    bp = Blueprint("family")

    @bp.handler(is_start=True)
    def start(actions: Any) -> None:
        actions.run_blueprint("film", {}, transitions={"success": "proud", "failure": "sad"})

    @bp.handler(is_end=True)
    def proud() -> None: ...

    @bp.handler(is_end="failed")
    def sad() -> None: ...

    return bp


def changed(bp: Blueprint) -> Blueprint:
    """Return a new version of *bp* with another transition of its start state."""

    @bp.handler("start", F.initial_data["extra"] == True)  # noqa: E712 - a condition
    def away(actions: Any) -> None:
        actions.go_to("extra")

    @bp.handler(is_end=True)
    def extra() -> None: ...

    return bp


def replaced() -> Blueprint:
    """Return a new version of ``film`` with another state in place of ``start``, and without ``publish``."""
    bp = Blueprint("film")

    @bp.handler(is_start=True)
    def begin(actions: Any) -> None:
        actions.dispatch_task("encode", transitions={"success": "done"})

    @bp.handler(is_end=True)
    def done() -> None: ...

    return bp


def orchestrator(house: Stage, *blueprints: Blueprint, queues: list[str] | None = None) -> Orchestrator:
    return house.orchestrator(queues, blueprints=blueprints, take_over_seconds=SECONDS)


def deploy(house: Stage, *blueprints: Blueprint) -> None:
    """End all orchestrators and start one with *blueprints*."""
    for each in list(house.orchestrators):
        house.end(each)
    orchestrator(house, *blueprints)


def turn_for(house: Stage, seconds: float) -> None:
    until = monotonic() + seconds
    house.turn_until(lambda: monotonic() > until)


def is_removed(house: Stage, bp: Blueprint) -> bool:
    """Return True if the server holds nothing of the plan of *bp*."""
    with house.connection.channel() as channel:
        bound = [binding for binding in channel.topology.all_bindings() if bp.plan.plan_hash in binding[2]]
        queues = [name for name in channel.topology.queues() if bp.plan.plan_hash in name]
    return not bound and not queues


def is_bound(house: Stage, bp: Blueprint) -> bool:
    """Return True if all routing keys of *bp* lead to their queues."""
    with house.connection.channel() as channel:
        bound = {(binding[2], binding[0]) for binding in channel.topology.all_bindings()}
    return bound.issuperset((str(binding.key), binding.queue) for binding in bp.plan.bindings)


def change_of(house: Stage, job_id: str) -> dict[str, Any]:
    """Return the plan change in the history of a job."""
    entries, _ = house.store.history(job_id)
    [told] = [each.entry.data for each in entries if each.entry.event_type == "plan_changed"]
    return dict(told or {})


def test_old_and_new_orchestrators_serve_each_their_own(stage: Callable[..., Stage]) -> None:
    old, new = task(), changed(task())
    house = stage(old)
    orchestrator(house, old)
    orchestrator(house, new)
    jobs = [house.create(old), house.create(new)]
    for job_id in jobs:
        house.turn_until_status(job_id, "waiting_for_worker")

    turn_for(house, 2 * SECONDS)
    for _ in jobs:
        house.answer(house.take_task("encode"))
    ended = [house.turn_until_status(job_id, "finished") for job_id in jobs]

    assert [job.plan_hash for job in ended] == [old.plan.plan_hash, new.plan.plan_hash]
    assert not any("plan_changed" in line for job_id in jobs for line in house.history(job_id))


def test_a_result_comes_by_its_old_key_and_the_job_goes_on_under_the_new_plan(stage: Callable[..., Stage]) -> None:
    old, new = task(), changed(task())
    house = stage(old)
    orchestrator(house, old)
    job_id = house.create(old)
    house.turn_until_status(job_id, "waiting_for_worker")

    deploy(house, new)
    house.answer(house.take_task("encode"))
    job = house.turn_until_status(job_id, "finished")

    assert change_of(house, job_id) == {"old_plan": old.plan.plan_hash, "new_plan": new.plan.plan_hash}
    assert (job.plan_hash, job.earlier_plans) == (new.plan.plan_hash, (old.plan.plan_hash,))
    assert house.history(job_id)[3:] == [
        "plan_changed start",
        "task_succeeded start",
        "state_entered publish",
        "state_entered done",
        "job_finished done",
    ]
    house.turn_until(lambda: is_removed(house, old))


def test_a_retry_after_the_change_goes_by_the_new_keys(stage: Callable[..., Stage]) -> None:
    old, new = task(), changed(task())
    house = stage(old)
    orchestrator(house, old)
    job_id = house.create(old)
    house.turn_until_status(job_id, "waiting_for_worker")

    deploy(house, new)
    house.answer(house.take_task("encode"), status="failure", error={"code": "TRANSIENT_ERROR", "message": "busy"})
    house.turn_until(lambda: house.history(job_id).count("task_dispatched start") == 2)
    again = house.take_task("encode")
    house.answer(again)
    house.turn_until_status(job_id, "finished")

    assert again[1].reply_prefix == f"film@{new.plan.plan_hash}.start"


def test_a_job_that_has_not_started_starts_in_the_new_plan(stage: Callable[..., Stage]) -> None:
    old, new = task(), replaced()
    house = stage(old)
    house.end(orchestrator(house, old))
    house.store.plans.announce([f"film@{old.plan.plan_hash}"])
    job_id = house.create(old)

    deploy(house, new)
    job = house.turn_until_status(job_id, "waiting_for_worker")

    assert (job.current_state, job.plan_hash) == ("begin", new.plan.plan_hash)


def test_branches_end_under_one_plan_and_are_collected_under_the_next(stage: Callable[..., Stage]) -> None:
    old, new = album(), changed(album())
    house = stage(old)
    orchestrator(house, old)
    job_id = house.create(old)
    house.turn_until_status(job_id, "waiting_for_parallel")
    taken = [house.take_task("resize") for _ in range(3)]
    house.answer(taken[0], data=0)
    house.turn_until(lambda: "branch_finished start" in house.history(job_id))

    deploy(house, new)
    house.answer(taken[1], status="failure", error={"code": "TRANSIENT_ERROR", "message": "busy"})
    house.answer(taken[2], data=2)
    house.turn_until(lambda: house.history(job_id).count("task_dispatched start") == 4)
    house.answer(house.take_task("resize"), data=1)
    job = house.turn_until_status(job_id, "finished")

    assert job.result == [0, 1, 2]
    assert change_of(house, job_id)["new_plan"] == new.plan.plan_hash
    house.turn_until(lambda: is_removed(house, old))


def test_a_timer_rings_after_the_change(stage: Callable[..., Stage]) -> None:
    old, new = nap(), changed(nap())
    house = stage(old)
    orchestrator(house, old)
    job_id = house.create(old)
    house.turn_until_status(job_id, "waiting_for_timer")

    deploy(house, new)
    turn_for(house, 2 * SECONDS)
    assert not is_removed(house, old), "the timer will come by the old key"
    job = house.turn_until_status(job_id, "finished")

    assert (job.current_state, job.plan_hash) == ("awake", new.plan.plan_hash)
    house.turn_until(lambda: is_removed(house, old))


def test_a_person_decides_after_the_change(stage: Callable[..., Stage]) -> None:
    old, new = letter(), changed(letter())
    house = stage(old)
    orchestrator(house, old)
    job_id = house.create(old)
    house.turn_until_status(job_id, "waiting_for_human")

    deploy(house, new)
    house.store.decide(house.job(job_id), "approved", by="me")
    job = house.turn_until_status(job_id, "finished")

    assert (job.current_state, job.plan_hash) == ("sent", new.plan.plan_hash)


def test_a_decision_is_kept_when_the_new_code_lacks_the_state_that_it_leads_to(stage: Callable[..., Stage]) -> None:
    old, new = letter(), Blueprint("letter")

    @new.handler(is_start=True)
    def write(actions: Any) -> None:
        actions.await_human_approval("mail", "send it?", transitions={"approved": "dispatched"})

    @new.handler(is_end=True)
    def dispatched() -> None: ...

    house = stage(old)
    orchestrator(house, old)
    job_id = house.create(old)
    house.turn_until_status(job_id, "waiting_for_human")

    deploy(house, new)
    house.store.decide(house.job(job_id), "approved", by="Ada", comment="at last")
    house.turn_until_status(job_id, "quarantined")

    entries, _ = house.store.history(job_id)
    [made] = [each.entry for each in entries if each.entry.event_type == "decision_made"]
    assert made.data == {"decision": "approved", "by": "Ada", "comment": "at last"}


def test_parents_and_children_find_each_other_after_the_change(stage: Callable[..., Stage]) -> None:
    old, new = (family(), task()), (changed(family()), changed(task()))
    house = stage(*old)
    orchestrator(house, *old)
    job_id = house.create(old[0])
    [child_id] = house.turn_until_status(job_id, "waiting_for_child").children
    house.turn_until_status(child_id, "waiting_for_worker")

    deploy(house, *new)
    house.answer(house.take_task("encode"))
    parent = house.turn_until_status(job_id, "finished")

    assert parent.plan_hash == new[0].plan.plan_hash
    assert house.job(child_id).plan_hash == new[1].plan.plan_hash
    house.turn_until(lambda: all(is_removed(house, each) for each in old))


def test_a_state_that_there_is_no_more_is_named_and_the_job_can_be_cancelled(stage: Callable[..., Stage]) -> None:
    old, new = task(), replaced()
    house = stage(old)
    orchestrator(house, old)
    job_id = house.create(old)
    house.turn_until_status(job_id, "waiting_for_worker")

    deploy(house, new)
    house.answer(house.take_task("encode"))
    resting = house.turn_until_status(job_id, "quarantined")
    house.store.signal(resting, "cancel", by="me")
    house.turn_until_status(job_id, "cancelled")

    assert resting.error is not None
    assert resting.error["missing"] == ["state 'start'", "state 'publish'", "state 'failed'"]
    assert resting.error["message"] == (
        f"plan {new.plan.plan_hash} cannot continue a job of plan {old.plan.plan_hash}: "
        "it has no state 'start', no state 'publish', no state 'failed'"
    )
    assert resting.plan_hash == old.plan.plan_hash
    house.turn_until(lambda: is_removed(house, old))


def test_what_is_missing_can_be_brought_back(stage: Callable[..., Stage]) -> None:
    old = task()
    house = stage(old)
    orchestrator(house, old)
    job_id = house.create(old)
    house.turn_until_status(job_id, "waiting_for_worker")
    deploy(house, replaced())
    house.answer(house.take_task("encode"))
    resting = house.turn_until_status(job_id, "quarantined")

    mended = changed(task())
    deploy(house, mended)
    house.store.signal(resting, "retry", by="me")
    house.turn_until(lambda: house.history(job_id)[-1] == "task_dispatched start")
    house.answer(house.take_task("encode"))

    assert house.turn_until_status(job_id, "finished").plan_hash == mended.plan.plan_hash


def test_a_plan_that_was_never_served_is_left_to_its_orchestrators_at_first(
    stage: Callable[..., Stage],
) -> None:
    old, new = task(), changed(task())
    house = stage(new)  # as a web that was deployed before its orchestrators
    house.orchestrator(blueprints=[old], take_over_seconds=60)
    job_id = house.create(new)

    turn_for(house, 3 * SECONDS)
    assert house.job(job_id).status == "pending"
    orchestrator(house, new)

    assert house.turn_until_status(job_id, "waiting_for_worker").plan_hash == new.plan.plan_hash


def test_a_job_of_a_removed_plan_continues(stage: Callable[..., Stage]) -> None:
    old, new = task(), changed(task())
    house = stage(old)
    orchestrator(house, old)
    turn_for(house, 0.1)
    deploy(house, new)
    house.turn_until(lambda: is_removed(house, old))

    broker.declare(house.connection, [old.plan])  # as a web with the old code
    job_id = house.create(old)

    assert house.turn_until_status(job_id, "waiting_for_worker").plan_hash == new.plan.plan_hash


def test_what_was_removed_under_an_orchestrator_is_declared_again(stage: Callable[..., Stage]) -> None:
    bp = task()
    house = stage(bp)
    orchestrator(house, bp)
    job_id = house.create(bp)
    house.turn_until_status(job_id, "waiting_for_worker")
    with house.connection.channel() as channel:
        for queue in bp.plan.queues:
            channel.queue_delete(queue)

    house.turn_until(lambda: is_bound(house, bp))
    house.answer(house.take_task("encode"))

    assert house.turn_until_status(job_id, "finished").plan_hash == bp.plan.plan_hash


def test_states_stay_with_the_orchestrators_of_their_queues(stage: Callable[..., Stage]) -> None:
    old, new = task(), changed(task())
    house = stage(old)
    orchestrator(house, old)
    job_id = house.create(old)
    house.turn_until_status(job_id, "waiting_for_worker")
    house.answer(house.take_task("encode"))  # its key leads to the heavy queue

    for each in list(house.orchestrators):
        house.end(each)
    main = orchestrator(house, new, queues=[new.plan.main_queue])
    turn_for(house, 3 * SECONDS)
    assert house.job(job_id).status == "waiting_for_worker", "its message waits for those who serve heavy"
    orchestrator(house, new, queues=[new.plan.queue_of("publish")])

    job = house.turn_until_status(job_id, "finished")
    assert main in house.orchestrators
    assert job.plan_hash == new.plan.plan_hash


def test_orchestrators_take_over_only_plans_of_their_queues(stage: Callable[..., Stage]) -> None:
    film, other = task(), album()
    house = stage(film, other)
    orchestrator(house, film, other, queues=[film.plan.queue_of("publish")])

    turn_for(house, 0.1)

    assert set(house.store.plans.announce().silent_ms) == {f"film@{film.plan.plan_hash}"}


def test_a_returning_orchestrator_forwards_messages_of_jobs_that_migrated(stage: Callable[..., Stage]) -> None:
    old, new = album(), changed(album())
    house = stage(old)
    orchestrator(house, old)
    job_id = house.create(old)
    house.turn_until_status(job_id, "waiting_for_parallel")
    taken = [house.take_task("resize") for _ in range(3)]
    deploy(house, new)
    house.answer(taken[0], status="failure", error={"code": "TRANSIENT_ERROR", "message": "busy"})
    house.turn_until(lambda: house.job(job_id).plan_hash == new.plan.plan_hash)

    orchestrator(house, old)
    for each in taken[1:]:
        house.answer(each, data=1)
    house.turn_until(lambda: house.history(job_id).count("task_dispatched start") == 4)
    house.answer(house.take_task("resize"), data=1)

    assert house.turn_until_status(job_id, "finished").result == [1, 1, 1]


def test_a_silence_of_the_server_is_none_of_the_others() -> None:
    clock = iter([0.0, 30.0, 200.0, 230.0, 255.0, 261.0])  # creation, then checks; nothing was observed from 30 to 200
    watch = SilenceDetector(60, pause_seconds=32, clock=lambda: next(clock))
    silent = PlanAnnouncements({"film@1": 300_000}, frozenset())

    assert [watch.abandoned({"film@1"}, silent) for _ in range(5)] == [[], [], [], [], ["film@1"]]


def test_a_plan_that_was_never_served_is_abandoned_later() -> None:
    clock = iter([0.0, 30.0, 60.0, 90.0, 120.0, 150.0, 180.0, 210.0])
    watch = SilenceDetector(60, pause_seconds=32, clock=lambda: next(clock))

    found = [watch.abandoned({"film@1"}, PlanAnnouncements({}, frozenset())) for _ in range(7)]

    assert found == [[], [], [], [], [], [], ["film@1"]]


def test_a_job_of_a_plan_that_was_never_served_goes_on_under_the_one_that_is(stage: Callable[..., Stage]) -> None:
    old, taken_back = task(), changed(task())
    house = stage(old, taken_back)
    orchestrator(house, old)
    job_id = house.create(taken_back)

    job = house.turn_until_status(job_id, "waiting_for_worker")

    assert (job.plan_hash, job.earlier_plans) == (old.plan.plan_hash, (taken_back.plan.plan_hash,))


def test_a_job_of_an_unserved_plan_is_cancelled_at_once(stage: Callable[..., Stage]) -> None:
    film, parent = task(), family()
    house = stage(film, parent)
    job_id = house.create(film)

    house.store.signal(house.job(job_id), "cancel", by="me")

    assert house.job(job_id).status == "cancelled"
    assert house.history(job_id) == ["job_created start", "job_cancelled start"]
    with pytest.raises(ConflictError):
        house.store.signal(house.job(job_id), "cancel", by="me")
    orchestrator(house, film)
    turn_for(house, 3 * SECONDS)
    assert house.job(job_id).status == "cancelled"


def test_each_plan_is_logged_in_one_line(stage: Callable[..., Stage], caplog: pytest.LogCaptureFixture) -> None:
    old, new = task(), changed(task())
    unborn = replaced()
    house = stage(old, unborn)
    house.end(orchestrator(house, old))
    house.store.plans.announce([f"film@{old.plan.plan_hash}"])
    house.create(old)
    caplog.set_level(logging.INFO, logger="avtomatika.orchestrator.plan_takeover")

    orchestrator(house, new)
    house.turn_until(lambda: "no orchestrator serves it" in caplog.text)

    told = [record.getMessage() for record in caplog.records if record.name == "avtomatika.orchestrator.plan_takeover"]
    assert sorted(told[:3]) == sorted(
        [
            f"plan film@{new.plan.plan_hash}: served here",
            f"plan film@{old.plan.plan_hash}: served by other orchestrators; taken over 0.3 s after the last stops",
            f"plan film@{unborn.plan.plan_hash}: not served yet; taken over unless an orchestrator serves it "
            "within 0.9 s",
        ]
    )
    assert told[3] == f"plan film@{old.plan.plan_hash}: taken over: no orchestrator serves it"


def test_a_timer_that_leads_nowhere_is_put_aside(stage: Callable[..., Stage]) -> None:
    house = stage(nap())
    orchestrator(house, house.blueprints[0])
    due = wire.dump_due_timer(wire.DueTimer("avt.steps", "nap@00000000.start._timer", "{}"))
    with house.connection.channel() as channel:
        channel.settle([Outgoing(TIMERS, TIMERS, due)], ())

    house.turn_until(lambda: house.store._server.execute(("XLEN", "{avt.g0}:q:avt.timers:dead")) == 1)


def test_a_timer_of_ours_is_none_of_those(stage: Callable[..., Stage]) -> None:
    bp = nap()
    house = stage(bp)
    orchestrator(house, bp)
    job_id = house.create(bp)
    house.turn_until_status(job_id, "waiting_for_timer")
    due = wire.dump_due_timer(wire.DueTimer("avt.steps", bp.plan.key("start", "_timer"), "{}"))
    house.orchestrators[0]._plans.due = float("inf")  # maintenance never runs
    with house.connection.channel() as channel:
        channel.queue_unbind(bp.plan.main_queue, "avt.steps", bp.plan.key("start", "_timer"))
        channel.settle([Outgoing(TIMERS, TIMERS, due)], ())

    house.turn_until(lambda: is_bound(house, bp))

    assert house.store._server.execute(("XLEN", "{avt.g0}:q:avt.timers:dead")) == 0
