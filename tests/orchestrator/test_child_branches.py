"""Child jobs as branches of a fan-out, through real queues; the test acts as the worker."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection
from typing import Any

import pytest

from avtomatika import Blueprint
from avtomatika.core.explain.why import explain
from avtomatika.core.job import Job
from avtomatika.errors import UnauthorizedError
from avtomatika.store.records import dump_doc
from avtomatika.transport import connect

from ..support.orchestrators import Stage


def nap() -> Blueprint:
    """A child that needs no worker: it ends at once, never, or in quarantine, as its *ending* says."""
    bp = Blueprint("nap")

    @bp.handler(is_start=True, may_go_to=["done", "failed"])
    def start(initial_data: dict[str, Any], actions: Any) -> None:
        ending = initial_data["ending"]
        if ending == "never":
            actions.wait(3600, then="done")
        elif ending == "quarantine":
            actions.dispatch_task("odd", transitions={"success": "done"})
        else:
            actions.go_to(ending)

    @bp.handler(is_end=True)
    def done(initial_data: dict[str, Any]) -> Any:
        return initial_data["n"]

    @bp.handler(is_end="failed")
    def failed() -> None: ...

    return bp


def family(**policy: Any) -> Blueprint:
    bp = Blueprint("family")

    @bp.handler(is_start=True)
    def split(initial_data: dict[str, Any], actions: Any) -> None:
        naps = [
            {"blueprint": "nap", "initial_data": {"n": n, "ending": ending}}
            for n, ending in enumerate(initial_data["endings"])
        ]
        greetings = [{"task_type": "greet"} for _ in range(initial_data.get("greetings", 0))]
        actions.dispatch_parallel([*naps, *greetings], "collect", **policy)

    @bp.aggregator(is_end=True, queue="heavy")
    def collect(aggregation_results: dict[str, Any]) -> Any:
        return [[each["status"], each["data"]] for each in aggregation_results.values()]

    return bp


@pytest.fixture
def home(stage: Callable[..., Stage]) -> Callable[..., Stage]:
    """Return a stage of a family with the given arguments of its fan-out, and an orchestrator."""

    def home(**policy: Any) -> Stage:
        house = stage(family(**policy), nap())
        house.orchestrator()
        return house

    return home


def begin(house: Stage, *endings: str, greetings: int = 0) -> str:
    job_id = house.create(house.blueprints[0], endings=endings, greetings=greetings)
    house.turn_until(lambda: all_are_sent(house.job(job_id)), 60)
    return job_id


def all_are_sent(job: Job) -> bool:
    return job.status != "pending" and (job.fan_out is None or job.fan_out.sent == job.fan_out.size)


def children(house: Stage, job_id: str, count: int) -> list[str]:
    found = house.store.load_many([f"{job_id}-1-{number}" for number in range(1, count + 1)])
    return [str(child.status) for child in found if child is not None]


def test_children_and_tasks_join_without_another_version_of_the_job(home: Callable[..., Stage]) -> None:
    house = home()
    job_id = begin(house, "done", "done", greetings=1)
    house.answer(house.take_task("greet"), data="hello")

    job = house.turn_until_status(job_id, "finished")

    assert job.result == [["success", 0], ["success", 1], ["success", "hello"]]
    assert Counter(house.history(job_id)) == {
        "job_created split": 1,
        "state_entered split": 1,
        "child_started split": 2,
        "task_dispatched split": 1,
        "branch_finished split": 3,
        "branches_joined split": 1,
        "state_entered collect": 1,
        "job_finished collect": 1,
    }
    assert job.version == 4, "created, dispatched, joined into another queue, ended: no child changes the job"


def test_a_child_counts_where_every_worker_has_a_token(stage: Callable[..., Stage]) -> None:
    def no_worker(worker_id: str | None, text: bytes) -> Collection[str] | None:
        raise UnauthorizedError("unknown")

    house = stage(family(), nap())
    house.orchestrator(skills_of_signer=no_worker)

    assert house.turn_until_status(begin(house, "done"), "finished").result == [["success", 0]]


def test_each_child_has_its_own_large_data(stage: Callable[..., Stage]) -> None:
    bp = Blueprint("heavy")
    texts = ["a" * 20_000, "b" * 30_000]

    @bp.handler(is_start=True)
    def start(actions: Any) -> None:
        data = [{"n": n, "ending": "done", "text": text, "more": text} for n, text in enumerate(texts)]
        actions.run_blueprints([{"blueprint": "nap", "initial_data": each} for each in data], "collect")

    @bp.aggregator(is_end=True)
    def collect(aggregation_results: dict[str, Any]) -> None: ...

    house = stage(bp, nap())
    house.orchestrator()
    job_id = house.create(bp)
    house.turn_until_status(job_id, "finished")

    children = [house.job(f"{job_id}-1-{number}") for number in (1, 2)]

    assert [(child.initial_data["text"], child.initial_data["more"]) for child in children] == [
        (text, text) for text in texts
    ]


@pytest.mark.parametrize("count", [3, 301])
def test_cancelling_a_job_cancels_its_children_some_at_a_time(home: Callable[..., Stage], count: int) -> None:
    house = home()
    job_id = begin(house, *["never"] * (count - 1), "done")
    house.turn_until(lambda: Counter(children(house, job_id, count))["waiting_for_timer"] == count - 1, 60)

    house.store.signal(house.job(job_id), "cancel", by="me")
    house.turn_until(lambda: Counter(children(house, job_id, count))["cancelled"] == count - 1, 60)

    assert house.job(job_id).status == "cancelled"
    assert children(house, job_id, count)[-1] == "finished"


def test_children_of_children_are_cancelled_too(stage: Callable[..., Stage]) -> None:
    bp = Blueprint("clan")

    @bp.handler(is_start=True)
    def start(actions: Any) -> None:
        data = {"endings": ["never", "never"]}
        actions.run_blueprints([{"blueprint": "family", "initial_data": data} for _ in range(2)], "collect")

    @bp.aggregator(is_end=True)
    def collect(aggregation_results: dict[str, Any]) -> None: ...

    house = stage(bp, family(), nap())
    house.orchestrator()
    job_id = house.create(bp)
    everyone = [f"{job_id}-1-{child}{suffix}" for child in (1, 2) for suffix in ("", "-1-1", "-1-2")]
    house.turn_until(lambda: all(house.store.load_many(everyone)))

    house.store.signal(house.job(job_id), "cancel", by="me")

    house.turn_until(lambda: {str(job and job.status) for job in house.store.load_many(everyone)} == {"cancelled"})


def test_a_failure_cancels_the_other_children(home: Callable[..., Stage]) -> None:
    house = home()
    job_id = begin(house, "never", "failed", "never")

    job = house.turn_until_status(job_id, "failed")
    house.turn_until(lambda: children(house, job_id, 3) == ["cancelled", "failed", "cancelled"])

    assert job.error == {"code": "CHILD_ENDED", "message": f"job {job_id}-1-2 is failed"}


def test_a_quarantined_child_is_reported_and_may_be_cancelled(home: Callable[..., Stage]) -> None:
    house = home(max_failures=1)
    job_id = begin(house, "quarantine", "done")
    house.turn_until_status(f"{job_id}-1-1", "waiting_for_worker")
    house.answer(house.take_task("odd"), status="no_such_outcome")
    house.turn_until(lambda: "child_quarantined split" in house.history(job_id))
    waiting = house.job(job_id)

    house.store.signal(house.job(f"{job_id}-1-1"), "cancel", by="me")
    job = house.turn_until_status(job_id, "finished")

    assert waiting.status == "waiting_for_parallel"
    assert job.result == [["cancelled", None], ["success", 1]]


def test_the_first_success_cancels_the_other_branches(home: Callable[..., Stage]) -> None:
    house = home(first_success=True)
    job_id = begin(house, "never", "failed", greetings=2)
    house.turn_until(lambda: "branch_finished split" in house.history(job_id))
    first, late = house.take_task("greet"), house.take_task("greet")

    house.answer(first, data="hello")
    job = house.turn_until_status(job_id, "finished")
    house.answer(late, data="too late")
    house.turn_until(lambda: children(house, job_id, 2) == ["cancelled", "failed"])

    assert job.result == [["failure", None], ["success", "hello"]]
    assert house.history(job_id).count("branches_joined split") == 1


def test_two_successes_at_once_are_one(home: Callable[..., Stage]) -> None:
    house = home(first_success=True)
    house.orchestrator()
    job_id = begin(house, greetings=4)
    taken = [house.take_task("greet") for _ in range(4)]
    for number, each in enumerate(taken):
        house.answer(each, data=number)

    job = house.turn_until_status(job_id, "finished")

    assert len(job.result) == 1


def test_a_quarantined_child_explains_why_its_parent_waits(home: Callable[..., Stage]) -> None:
    house = home()
    job_id = begin(house, "quarantine")
    house.turn_until_status(f"{job_id}-1-1", "waiting_for_worker")
    house.answer(house.take_task("odd"), status="no_such_outcome")
    house.turn_until(lambda: "child_quarantined split" in house.history(job_id))

    reasons = explain(house.store.job_facts.facts(house.job(job_id)))

    assert [(reason.code, reason.job_id) for reason in reasons] == [
        ("branches_left", job_id),
        ("waits_for_child", job_id),
        ("quarantined", f"{job_id}-1-1"),
    ]
    assert reasons[1].text == f"One of them is the child job {job_id}-1-1 of 'nap'."


def test_what_a_mixed_branch_costs_does_not_grow_with_their_number(home: Callable[..., Stage]) -> None:
    _check_costs({count: _cost_of_a_branch(home, count) for count in (50, 500)})


@pytest.mark.faults
@pytest.mark.timeout(600)
def test_nor_with_ten_thousand_of_them(home: Callable[..., Stage]) -> None:
    costs = {count: _cost_of_a_branch(home, count) for count in (100, 10_000)}
    print(costs)
    _check_costs(costs)


def _check_costs(costs: dict[int, dict[str, float]]) -> None:
    few, many = (costs[count] for count in sorted(costs))
    assert many["commands"] <= 1.5 * few["commands"]
    assert many["bytes"] <= 1.5 * few["bytes"]
    assert many["record"] <= few["record"] + 5000, "the record of the job has no list of all branches"


def _cost_of_a_branch(home: Callable[..., Stage], count: int) -> dict[str, float]:
    """Return the commands and bytes that the server processed for each of *count* branches, half of them children, and
    the size of the record of their job."""
    house = home()
    with connect(house.url) as client:
        before = _spent(client)
        job_id = begin(house, *["done"] * (count // 2), greetings=count // 2)
        record = len(dump_doc(house.job(job_id)).text)
        for _ in range(count // 2):
            house.answer(house.take_task("greet"), data=None)
        house.turn_until(lambda: house.job(job_id).status == "finished", 500)
        after = _spent(client)
    spent = {what: (after[what] - before[what]) / count for what in before}
    return spent | {"record": record}


def _spent(client: Any) -> dict[str, float]:
    stats = client.info("stats")
    return {"commands": stats["total_commands_processed"], "bytes": stats["total_net_input_bytes"]}
