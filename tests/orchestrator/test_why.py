"""Why a job does not move, case by case: real queues, real timers, real workers' words."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from typing import Any

import pytest

from avtomatika import Blueprint, PermanentError, TransientError
from avtomatika.broker import Consumer
from avtomatika.core.explain.facts import Facts
from avtomatika.core.explain.reason import Reason
from avtomatika.core.explain.why import explain
from avtomatika.core.job import Job
from avtomatika.core.limits import LimitValues
from avtomatika.schemas import wire
from avtomatika.store import NewJob
from avtomatika.testing import NEVER_ANSWERS, run
from avtomatika.transport import connect

from ..support.orchestrators import Stage
from ..support.servers import OwnServer

Made = Callable[..., Stage]


def film(**options: Any) -> Blueprint:
    bp = Blueprint("film", **options)

    @bp.handler(is_start=True)
    def start(actions: Any, initial_data: dict[str, Any]) -> None:
        actions.dispatch_task(
            "encode",
            {},
            transitions={"success": "done"},
            dispatch_timeout=initial_data.get("dispatch_timeout"),
            result_timeout=initial_data.get("result_timeout"),
        )

    @bp.handler(is_end=True)
    def done() -> str:
        return "ok"

    return bp


def reasons(house: Stage, job_id: str) -> list[Reason]:
    return explain(house.store.job_facts.facts(house.job(job_id)))


def codes(house: Stage, job_id: str) -> list[str]:
    return [reason.code for reason in reasons(house, job_id)]


def texts(house: Stage, job_id: str) -> str:
    return "\n".join(reason.text for reason in reasons(house, job_id))


def queued(house: Stage, **data: Any) -> str:
    """A job whose task is in the queue."""
    job_id = house.create(house.blueprints[0], **data)
    house.turn_until_status(job_id, "waiting_for_worker")
    return job_id


@pytest.fixture
def house(stage: Made) -> Stage:
    """Films, with one orchestrator."""
    made = stage(film())
    made.orchestrator()
    return made


def register(house: Stage, worker_id: str, status: str = "idle") -> None:
    house.store.registry.register(worker_id, {"type": "", "version": "", "skills": [{"name": "encode"}]})
    house.store.registry.beat(worker_id, {"status": status})


# ---------------------------------------------------------------- nobody decides


def test_without_an_orchestrator_the_plan_is_not_served(stage: Made) -> None:
    house = stage(film())
    job_id = house.create(house.blueprints[0])

    served, waits = reasons(house, job_id)

    assert (served.code, waits.code) == ("plan_not_served", "waits_for_orchestrator")
    assert "none has ever announced it" in served.text
    assert "run the handler of 'start'" in waits.text
    assert "1 message in its queue" in waits.text


def test_a_plan_that_was_served_once_says_how_long_ago(house: Stage) -> None:
    job_id = queued(house)
    with connect(house.url) as client:
        [(name, at)] = client.zrange("{avt.g0}:plans", 0, -1, withscores=True)
        client.zadd("{avt.g0}:plans", {name: at - 3_700_000})

    [served, *_] = reasons(house, job_id)

    assert "it was last announced 1 hour 1 minute ago" in served.text


def test_a_failed_handler_says_when_it_is_retried(stage: Made) -> None:
    bp = Blueprint("shaky")

    @bp.handler(is_start=True, may_go_to=["done"])
    def start() -> None:
        raise RuntimeError("the moon is in the way")

    @bp.handler(is_end=True)
    def done() -> None: ...

    house = stage(bp)
    house.orchestrator()
    job_id = house.create(bp)
    house.turn_until(lambda: house.job(job_id).handler_failures)

    [reason] = reasons(house, job_id)

    assert reason.code == "handler_back_off"
    assert reason.text.startswith("The handler of 'start' has failed once")


# ---------------------------------------------------------------- tasks


def test_a_queued_task_says_its_place_and_that_no_worker_is_there(house: Stage) -> None:
    first, second = queued(house), queued(house)

    waits, nobody = reasons(house, second)

    assert (waits.code, nobody.code) == ("task_queued", "no_worker")
    assert waits.text.endswith("at place 2 of 2 in queue 'encode'.")
    assert waits.facts["before"] == 1
    assert "at place 1 of 2" in texts(house, first)
    assert nobody.text == "No worker with the skill 'encode' is available. Start one that has it."


def test_a_queued_task_says_how_many_workers_could_take_it(house: Stage) -> None:
    job_id = queued(house, dispatch_timeout=3600)
    register(house, "w-1", "full")
    register(house, "w-2")

    _, able, limit = reasons(house, job_id)

    assert able.text == "2 workers have the skill 'encode': 1 full, 1 idle."
    assert limit.code == "dispatch_limit"
    assert limit.text.startswith("The task must be started within ")


def test_workers_that_left_are_no_help(house: Stage) -> None:
    job_id = queued(house)
    register(house, "w-1", "offline")

    assert reasons(house, job_id)[1].text == "No worker with the skill 'encode' is available: 1 offline."


def test_a_leased_task_names_its_worker(house: Stage) -> None:
    job_id = queued(house)
    house.take_task("encode")

    [handed, *_] = reasons(house, job_id)

    assert handed.code == "task_queued"
    assert "is leased by" in handed.text


def take(house: Stage, job_id: str) -> wire.TaskMessage:
    """As worker w-1: begin with the task, and say so."""
    _, task = house.take_task("encode")
    house.tell(wire.TaskStarted(job_id, task.task_id, 1, "w-1", "start"), "taken")
    house.turn_until(lambda: house.store.live_state(house.job(job_id)).in_flight)
    return task


def test_a_running_task_shows_worker_progress_and_last_heartbeat(house: Stage) -> None:
    register(house, "w-1", "busy")
    job_id = queued(house, result_timeout=3600)
    task = take(house, job_id)
    house.tell(wire.Progress(job_id, task.task_id, 1, "w-1", 0.4, "two of five"), "progress")
    house.turn_until(lambda: house.notices() == 0)

    taken, heard, limit = reasons(house, job_id)

    assert (taken.code, heard.code, limit.code) == ("task_taken", "worker_heard", "result_limit")
    assert taken.text.startswith("Worker 'w-1' runs its task 'encode' (attempt 1)")
    assert taken.text.endswith("40% done, 'two of five'.")
    assert re.fullmatch(r"The worker's last heartbeat was \d+ seconds? ago\.", heard.text)


def test_a_worker_that_says_nothing_is_named(house: Stage) -> None:
    register(house, "w-1")
    job_id = queued(house)
    take(house, job_id)
    with connect(house.url) as client:
        at = int(client.hget("{avt.g0}:worker:w-1", "at"))
        client.hset("{avt.g0}:worker:w-1", "at", at - 65_000)

    [_, silent] = reasons(house, job_id)

    assert silent.code == "worker_silent"
    assert "has sent no heartbeat for 1 minute" in silent.text


def test_a_back_off_says_until_when_and_why(house: Stage) -> None:
    job_id = queued(house)
    house.answer(house.take_task("encode"), status="failure", error={"code": TransientError.code, "message": "busy"})
    house.turn_until(lambda: "task_retried start" in house.history(job_id) or not _task(house.job(job_id)).is_open)

    [reason] = reasons(house, job_id)

    assert reason.code == "task_back_off"
    assert reason.text.startswith("Attempt 2 of its task 'encode' begins ")
    assert "TRANSIENT_ERROR: busy" in reason.text


def _task(job: Job) -> Any:
    [task] = job.tasks.values()
    return task


# ---------------------------------------------------------------- waits


def test_an_approval_shows_its_question_decisions_and_the_decision(stage: Made) -> None:
    bp = Blueprint("letter")

    @bp.handler(is_start=True)
    def ask(actions: Any) -> None:
        actions.await_human_approval("mail", "Send it?", {"approved": "sent", "rejected": "sent"}, timeout=7200)

    @bp.handler(is_end=True)
    def sent() -> None: ...

    house = stage(bp)
    house.orchestrator()
    job_id = house.create(bp)
    job = house.turn_until_status(job_id, "waiting_for_human")

    [asked] = reasons(house, job_id)
    house.store.decide(job, "approved", by="Ada")
    [decided] = reasons(house, job_id)

    assert re.fullmatch(
        r"It has waited for \d+ seconds? for a decision, requested by 'mail': Send it\? "
        r"Possible decisions: approved, rejected, within (2 hours|1 hour 59 minutes)\.",
        asked.text,
    )
    assert decided.text.startswith("It was decided: approved by Ada.")


def test_a_timer_shows_its_time_and_that_it_is_overdue(stage: Made) -> None:
    bp = Blueprint("nap")

    @bp.handler(is_start=True)
    def start(actions: Any) -> None:
        actions.wait(90_000, then="awake")

    @bp.handler(is_end=True)
    def awake() -> None: ...

    house = stage(bp)
    house.orchestrator()
    job_id = house.create(bp)
    house.turn_until_status(job_id, "waiting_for_timer")

    [waits] = reasons(house, job_id)
    with connect(house.url) as client:
        client.hincrby(f"{{avt.g0}}:job:{job_id}", "updated", -100_000_000)
    overdue = reasons(house, job_id)

    assert waits.text in [f"It waits for a timer that expires in 1 day{rest}." for rest in (" 1 hour", "")]
    assert [reason.code for reason in overdue] == ["waits_for_time", "timer_overdue"]
    assert "no orchestrator delivers due timers" in overdue[1].text


def test_a_parent_says_why_its_child_does_not_move(stage: Made) -> None:
    parent, child = Blueprint("parent"), film()

    @parent.handler(is_start=True)
    def begin(actions: Any) -> None:
        actions.run_blueprint("film", {}, transitions={"success": "done"})

    @parent.handler(is_end=True)
    def done() -> None: ...

    house = stage(parent, child)
    house.orchestrator()
    parent_id = house.create(parent)
    [child_id] = house.turn_until_status(parent_id, "waiting_for_child").children
    house.turn_until_status(child_id, "waiting_for_worker")

    told = [(reason.job_id, reason.code) for reason in reasons(house, parent_id)]
    with connect(house.url) as client:
        client.delete(f"{{avt.g0}}:job:{child_id}")

    assert told == [(parent_id, "waits_for_child"), (child_id, "task_queued"), (child_id, "no_worker")]
    assert codes(house, parent_id) == ["waits_for_child", "child_gone"]


# ---------------------------------------------------------------- the rest


def test_a_fan_out_says_how_many_are_left_and_what_they_wait_for(stage: Made) -> None:
    bp = Blueprint("many")

    @bp.handler(is_start=True)
    def start(actions: Any) -> None:
        tasks = [{"task_type": "encode", "params": {"n": n}} for n in range(30)]
        actions.dispatch_parallel(tasks, aggregate_into="collect")

    @bp.aggregator(is_end=True)
    def collect() -> None: ...

    house = stage(bp)
    house.orchestrator()
    job_id = house.create(bp)
    house.turn_until_status(job_id, "waiting_for_parallel")
    house.answer(house.take_task("encode"), data={})
    house.turn_until(lambda: house.store.live_state(house.job(job_id)).branches_left == 29)

    left, waits, nobody = reasons(house, job_id)

    assert left.text == "29 of 30 branches have not ended; then 'collect' runs."
    assert (waits.code, nobody.code) == ("task_queued", "no_worker")


def test_a_quarantined_job_says_why(house: Stage) -> None:
    job_id = queued(house)
    house.answer(house.take_task("encode"), status="odd")
    house.turn_until_status(job_id, "quarantined")

    [reason] = reasons(house, job_id)

    assert reason.code == "quarantined"
    assert "'odd'" in reason.text
    assert reason.text.endswith("Fix the cause and retry it, or cancel it.")


def test_a_job_that_is_over_says_so(house: Stage) -> None:
    job_id = queued(house)
    house.answer(house.take_task("encode"), data={})
    house.turn_until_status(job_id, "finished")

    assert re.fullmatch(r"The job is over: it finished \d+ seconds? ago\.", texts(house, job_id))


def short() -> Blueprint:
    bp = Blueprint("short")

    @bp.handler(is_start=True)
    def start(actions: Any, initial_data: dict[str, Any]) -> None:
        if initial_data.get("raises"):
            raise PermanentError("no such film")
        actions.dispatch_task("encode", {}, transitions={"success": "broken"}, result_timeout=0.05)

    @bp.handler(is_end="failed")
    def broken() -> dict[str, str]:
        return {"reason": "the tape"}

    return bp


def test_a_cancelled_job_says_by_whom(house: Stage) -> None:
    job_id = queued(house)
    house.store.signal(house.job(job_id), "cancel", by="alice")
    house.turn_until_status(job_id, "cancelled")

    over, why = reasons(house, job_id)

    assert over.code == "over"
    assert (why.code, why.text) == ("cancelled_by", "alice cancelled it in state 'start'.")
    assert why.facts["by"] == "alice"


@pytest.mark.parametrize(
    ("ended", "code", "text"),
    [
        (
            lambda: run(short(), skills={"encode": {}}),
            "failed_by_blueprint",
            'It reached \'broken\', a state that ends jobs as failed, with the result {"reason": "the tape"}.',
        ),
        (
            lambda: run(short(), skills={"encode": NEVER_ANSWERS}),
            "ended_by_error",
            "The error in state 'start' was RESULT_TIMEOUT: 'encode' had no result within 0.05 s.",
        ),
        (
            lambda: run(film(execution_timeout=60.0), skills={"encode": NEVER_ANSWERS}),
            "execution_timeout",
            "It did not end within its execution_timeout of 60.0 s; it was in state 'start' at that time.",
        ),
        (lambda: run(short(), {"raises": True}), "ended_by_error", "The error in state 'start' was "),
        (lambda: run(film(), skills={"encode": {}}), None, ""),
    ],
)
def test_a_job_that_did_not_finish_says_why(ended: Callable[[], Any], code: str | None, text: str) -> None:
    world = ended()
    facts = Facts(job=world.job, now_ms=world.job.updated_ms, ending=world.history[-1].entry)

    why = [reason for reason in explain(facts) if reason.code != "over"]

    assert [reason.code for reason in why] == ([] if code is None else [code])
    assert all(reason.text.startswith(text) for reason in why)


def test_revoked_and_silent_workers_do_not_count(house: Stage) -> None:
    job_id = queued(house)
    for worker_id in ("w-1", "w-2", "w-3"):
        register(house, worker_id)
    facts = house.store.job_facts.facts(house.job(job_id))
    revoked, silent, there = facts.workers
    revoked = replace(revoked, is_online=False, status="revoked")
    silent = replace(silent, silent_ms=21_000)

    some = explain(replace(facts, workers=[revoked, silent, there]))[1]
    none = explain(replace(facts, workers=[revoked, silent]))[1]

    assert some.text == "1 worker has the skill 'encode': 1 idle. Not available: 1 revoked, 1 silent."
    assert none.text == "No worker with the skill 'encode' is available: 1 revoked, 1 silent."
    assert (none.facts["revoked"], none.facts["lost"]) == (1, 1)


def test_a_revoked_worker_that_has_the_task_is_reported(house: Stage) -> None:
    job_id = queued(house)
    register(house, "w-1")
    take(house, job_id)
    facts = house.store.job_facts.facts(house.job(job_id))
    [worker] = facts.workers

    told = explain(replace(facts, workers=[replace(worker, is_online=False, status="revoked")]))

    assert told[1].code == "worker_revoked"


def test_a_full_server_is_named_first(stage: Made, make_server: Callable[..., OwnServer]) -> None:
    server = make_server()
    house = Stage(server.url, [film()])
    house.orchestrator()
    job_id = queued(house)
    with connect(server.url) as client:
        client.config_set("maxmemory", client.info("memory")["used_memory"])

    [full, *_] = reasons(house, job_id)
    house.close()

    assert full.code == "server_full"


# ---------------------------------------------------------------- limits and turns


def of_account(house: Stage, *accounts: int) -> list[str]:
    """Jobs of accounts, whose tasks are in the queue."""
    return [queued(house, account=account) for account in accounts]


def test_a_task_that_waits_for_a_limit_says_which_and_who_runs(stage: Made) -> None:
    house = stage(limited())
    house.orchestrator()
    first, second, third, other = of_account(house, 7, 7, 7, 8)
    assert {house.take_task("encode")[1].job_id for _ in range(2)} == {first, other}

    [_, of_second, *_], [_, of_third, *_] = reasons(house, second), reasons(house, third)

    assert of_second.code == "limit_reached"
    assert of_second.text == "It waits for the limit of the key 'acct-7': 1 of 1 running, 1st in line."
    assert of_third.text == "It waits for the limit of the key 'acct-7': 1 of 1 running, 2nd in line."
    assert of_third.facts["jobs"] == [first]
    assert (of_third.facts["limit"], of_third.facts["before"]) == ("key:acct-7", 1)


def test_the_time_in_line_follows_from_the_tasks_that_ended(stage: Made) -> None:
    house = stage(limited())
    house.orchestrator()
    _, second, third = of_account(house, 7, 7, 7)
    house.take_task("encode")
    house.store.task_times.record("encode", 20_000)
    house.store.task_times.flush()

    assert "1 of 1 running, 1st in line, about 20 seconds." in texts(house, second)
    assert "1 of 1 running, 2nd in line, about 40 seconds." in texts(house, third)


def test_a_rate_says_when_the_task_may_start(house: Stage) -> None:
    house.store.limits.put("skill:encode", LimitValues.of(None, "2/m"))
    _, _, third = (queued(house) for _ in range(3))
    house.take_task("encode")

    expected = "It waits for the limit of the skill 'encode': at most 2/minute, 2nd in line, about 1 minute."
    assert expected in texts(house, third)


@pytest.mark.parametrize("name", ["skill:encode", "client:me", "blueprint:film", "key:acct-7"])
def test_a_pause_says_since_when_and_by_whom(stage: Made, name: str) -> None:
    house = stage(limited())
    house.orchestrator()
    house.store.limits.set_paused(name, "anna")
    [job_id] = of_account(house, 7)
    with pytest.raises(AssertionError):
        house.take_task("encode")

    kind, _, word = name.partition(":")
    assert re.search(
        rf"The {kind} '{word}' has been paused since [\d :-]+ UTC, by 'anna'. Resume it.", texts(house, job_id)
    )

    house.store.limits.set_paused(name)
    house.take_task("encode")


def test_a_fan_out_says_how_many_of_its_branches_may_run(stage: Made) -> None:
    bp = Blueprint("album")

    @bp.handler(is_start=True)
    def split(actions: Any) -> None:
        actions.dispatch_parallel([{"type": "encode"}] * 5, aggregate_into="collect", max_concurrency=2)

    @bp.aggregator(is_end=True)
    def collect() -> None: ...

    house = stage(bp)
    house.orchestrator()
    job_id = house.create(bp)
    house.turn_until_status(job_id, "waiting_for_parallel")
    taken = [house.take_task("encode") for _ in range(2)]
    with pytest.raises(AssertionError):
        house.take_task("encode")

    assert "It waits for the limit of the fan-out: 2 of 2 running, 3rd in line." in texts(house, job_id)
    house.answer(taken[0])
    house.take_task("encode")


def test_a_task_in_turns_says_its_place(house: Stage) -> None:
    create = house.store.create
    for client in ["big"] * 3 + ["small"]:
        job_id = create(NewJob(plan=house.blueprints[0].plan, client=client)).job_id
        house.turn_until_status(job_id, "waiting_for_worker")
    with closing(Consumer(house.connection, ["encode"], prefetch=1)) as worker:
        assert worker.take(5)

    assert "at place 1 of 3 in queue 'encode', from which clients are served in turns" in texts(house, job_id)


def limited() -> Blueprint:
    bp = Blueprint("film")

    @bp.handler(is_start=True)
    @bp.limit(key="acct-{initial_data[account]}", concurrency=1)
    def start(actions: Any) -> None:
        actions.dispatch_task("encode", transitions={"success": "done"})

    @bp.handler(is_end=True)
    def done() -> str:
        return "ok"

    return bp
