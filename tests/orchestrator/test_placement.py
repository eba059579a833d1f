"""Tasks with requirements, on a real server; the test acts as the workers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from time import monotonic
from typing import Any

import pytest
import redis

from avtomatika import Blueprint, broker
from avtomatika.broker import Consumer, Delivery
from avtomatika.broker.topology import HEARTBEAT, REGISTER
from avtomatika.core.events import Result
from avtomatika.core.machine import placement as placing
from avtomatika.schemas import wire
from avtomatika.store.worker_record import LOST_AFTER_SECONDS

from ..support.orchestrators import Stage


def film(**asked: Any) -> Blueprint:
    """Create a blueprint with one task with requirements *asked*."""
    bp = Blueprint(name="film")

    @bp.handler(is_start=True)
    def start(actions: Any) -> None:
        actions.dispatch_task("encode", {}, {"success": "done", "failure": "failed"}, **asked)

    @bp.handler(is_end=True)
    def done() -> None: ...

    @bp.handler(is_end="failed")
    def failed() -> None: ...

    return bp


class Crew:
    """Registered workers; each consumes from its own queue when the test says so."""

    def __init__(self, house: Stage) -> None:
        self.house = house
        self.redis = redis.Redis.from_url(house.url)
        self._stack = ExitStack()
        self._intakes: dict[str, Consumer] = {}

    def add(self, worker_id: str, **record: Any) -> None:
        broker.declare_tasks(self.house.connection, ["encode"], worker_id=worker_id)
        skills = [{"name": "encode", "schema": {}}]
        self.house.store.registry.register(worker_id, {"type": "", "version": "", "skills": skills, **record})

    def own(self, worker_id: str) -> int:
        """Return the number of tasks in a worker's own queue."""
        return int(self.redis.xlen(f"{{avt.g0}}:q:@{worker_id}:0"))

    def take(self, worker_id: str) -> tuple[Delivery, wire.TaskMessage] | None:
        if worker_id not in self._intakes:
            connection = self._stack.enter_context(broker.connect(self.house.url))
            self._intakes[worker_id] = Consumer(connection, [broker.worker_queue(worker_id)], prefetch=10)
            self._stack.callback(self._intakes[worker_id].close)
        consumer = self._intakes[worker_id]
        for delivery in consumer.take(0.2):
            task = wire.load_task(delivery.body)
            consumer.settle_many([([broker.task_started(task, worker_id)], ())])
            return delivery, task
        return None

    def reputation(self, worker_id: str) -> float:
        workers = self.house.store.registry.workers()
        return next(worker.reputation for worker in workers if worker.worker_id == worker_id)

    def answer(self, worker_id: str, taken: tuple[Delivery, wire.TaskMessage], status: str = "success") -> None:
        delivery, task = taken
        result = Result(task.job_id, task.task_id, task.attempt, status, worker_id=worker_id)
        answer = broker.result_message(task, result, headers=broker.forwarded_headers(delivery.headers))
        assert self._intakes[worker_id].settle_many([([answer], [delivery.tag])]) == [True]

    def lose(self, worker_id: str) -> None:
        """Let the worker's heartbeats be overdue."""
        now = int(self.redis.time()[0]) * 1000
        self.redis.hset(f"{{avt.g0}}:worker:{worker_id}", "at", now - (LOST_AFTER_SECONDS + 1) * 1000)

    def close(self) -> None:
        self._stack.close()
        self.redis.close()


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Retry placement at once."""
    monkeypatch.setattr(placing, "VISIT_SECONDS", 0.05)


@pytest.fixture
def at_work(stage: Callable[..., Stage]) -> Iterator[Callable[..., tuple[Stage, Crew]]]:
    crews: list[Crew] = []

    def make(bp: Blueprint) -> tuple[Stage, Crew]:
        house = stage(bp)
        house.orchestrator()
        crews.append(Crew(house))
        return house, crews[-1]

    yield make
    for crew in crews:
        crew.close()


AtWork = Callable[..., tuple[Stage, Crew]]


def routed_to(house: Stage, job_id: str) -> str | None:
    return next((task.worker_id for task in house.job(job_id).tasks.values()), None)


def test_tasks_are_assigned_to_workers_in_turn(at_work: AtWork) -> None:
    bp = film(dispatch_strategy="round_robin")
    house, crew = at_work(bp)
    for worker_id in ("w-1", "w-2", "w-3"):
        crew.add(worker_id)
    jobs = [house.create(bp) for _ in range(6)]

    house.turn_until(lambda: all(routed_to(house, job_id) for job_id in jobs))

    assert Counter(routed_to(house, job_id) for job_id in jobs) == {"w-1": 2, "w-2": 2, "w-3": 2}
    assert [crew.own(worker_id) for worker_id in ("w-1", "w-2", "w-3")] == [2, 2, 2]
    assert crew.redis.xlen("{avt.g0}:q:encode:0") == 0


RUBBISH: list[dict[str, Any]] = [
    {},
    {"skills": 7, "resources": [], "costs": "many", "concurrency": "all"},
    {"skills": [None, {"name": ["encode"]}], "resources": {"properties": 1, "devices": {}}},
    {"skills": [{"name": "encode"}], "resources": {"devices": [7]}, "costs": {"encode": None}, "concurrency": -1},
]


@pytest.mark.parametrize("record", RUBBISH)
def test_whatever_a_worker_says_of_itself_others_get_their_tasks(at_work: AtWork, record: dict[str, Any]) -> None:
    bp = film(dispatch_strategy="cheapest", max_cost=5)
    house, crew = at_work(bp)
    crew.add("right", costs={"encode": 1})
    house.tell(wire.Registered("strange", record), REGISTER)
    house.tell(wire.Heartbeat("strange", {"running": "much", "links": 3, "standby": [], "holds": {}}), HEARTBEAT)
    house.turn_until(lambda: house.notices() == 0)

    job_id = house.create(bp)
    house.turn_until(lambda: routed_to(house, job_id) is not None)

    assert routed_to(house, job_id) == "right"


def test_a_routed_task_is_done_by_its_worker_and_the_job_goes_on(at_work: AtWork) -> None:
    bp = film(resource_requirements={"gpu": {"memory_gb": 16}}, max_cost=2)
    house, crew = at_work(bp)
    crew.add("small", costs={"encode": 1}, resources={"devices": [{"type": "gpu", "memory_gb": 8}]})
    crew.add("dear", costs={"encode": 3}, resources={"devices": [{"type": "gpu", "memory_gb": 24}]})
    crew.add("right", costs={"encode": 2}, resources={"devices": [{"type": "gpu", "memory_gb": 24}]})
    job_id = house.create(bp)

    house.turn_until(lambda: routed_to(house, job_id) is not None)
    taken = crew.take("right")
    assert taken is not None
    crew.answer("right", taken)
    job = house.turn_until_status(job_id, "finished")

    assert job.version == 4
    assert [entry for entry in house.history(job_id) if "task" in entry] == [
        "task_dispatched start",
        "task_routed start",
        "task_taken start",
        "task_succeeded start",
    ]


@pytest.mark.parametrize("strategy", ["least_connections", "cheapest", "best_value"])
def test_every_strategy_looks_at_what_workers_have_to_do_or_cost(at_work: AtWork, strategy: str) -> None:
    bp = film(dispatch_strategy=strategy)
    house, crew = at_work(bp)
    crew.add("cheap", costs={"encode": 1})
    crew.add("dear", costs={"encode": 5})
    jobs = [house.create(bp) for _ in range(4)]

    house.turn_until(lambda: all(routed_to(house, job_id) for job_id in jobs))

    shares = Counter(routed_to(house, job_id) for job_id in jobs)
    assert (
        shares
        == {
            "least_connections": {"cheap": 2, "dear": 2},
            "cheapest": {"cheap": 4},
            "best_value": {"cheap": 4},
        }[strategy]
    )


def test_a_task_without_a_fitting_worker_says_why_and_is_placed_when_one_registers(at_work: AtWork) -> None:
    bp = film(resource_requirements={"ram_gb": 64})
    house, crew = at_work(bp)
    crew.add("small", resources={"properties": {"ram_gb": 8}})
    job_id = house.create(bp)
    house.turn_until(lambda: "task_waiting start" in house.history(job_id))
    waiting = house.job(job_id)
    let_visits_pass(house, job_id)
    assert house.job(job_id) == waiting, "waiting costs the job nothing"

    crew.add("large", resources={"properties": {"ram_gb": 64}})
    house.turn_until(lambda: routed_to(house, job_id) == "large")

    [task] = waiting.tasks.values()
    assert task.missing == "none of 1 with the skill 'encode' fits: lacks ram_gb=64 (1)"
    entries, _ = house.store.history(job_id)
    [told] = [each.entry.data for each in entries if each.entry.event_type == "task_waiting"]
    assert told == {"missing": task.missing}


def test_a_worker_that_does_not_take_its_task_in_time_loses_it(at_work: AtWork) -> None:
    bp = film(dispatch_strategy="cheapest")
    house, crew = at_work(bp)
    crew.add("lazy", costs={"encode": 1})
    crew.add("eager", costs={"encode": 2})
    job_id = house.create(bp)
    house.turn_until(lambda: routed_to(house, job_id) == "lazy")

    house.turn_until(lambda: routed_to(house, job_id) == "eager")

    assert crew.take("lazy") is None, "what it did not take is not there any more"
    taken = crew.take("eager")
    assert taken is not None
    assert taken[1].attempt == 2
    crew.answer("eager", taken)
    house.turn_until_status(job_id, "finished")


def test_a_lost_worker_loses_its_task(at_work: AtWork) -> None:
    bp = film(dispatch_strategy="cheapest")
    house, crew = at_work(bp)
    crew.add("doomed", costs={"encode": 1})
    crew.add("eager", costs={"encode": 2})
    job_id = house.create(bp)
    house.turn_until(lambda: routed_to(house, job_id) == "doomed")
    in_hand = crew.take("doomed")
    assert in_hand is not None
    house.turn_until(lambda: "task_taken start" in house.history(job_id))
    let_visits_pass(house, job_id)
    assert routed_to(house, job_id) == "doomed", "who has begun may take its time"

    crew.lose("doomed")
    house.turn_until(lambda: routed_to(house, job_id) == "eager")
    taken = crew.take("eager")
    assert taken is not None
    crew.answer("doomed", in_hand)
    house.turn_until(lambda: bool(house.store.notes(job_id)))
    crew.answer("eager", taken)

    house.turn_until_status(job_id, "finished")
    [note] = house.store.notes(job_id)
    assert (note["event_type"], note["worker_id"]) == ("task_result_ignored", "doomed")


def test_an_ended_job_is_not_looked_at_for_ever(at_work: AtWork) -> None:
    bp = film(dispatch_strategy="cheapest")
    house, crew = at_work(bp)
    job_id = house.create(bp)
    house.turn_until(lambda: "task_waiting start" in house.history(job_id))

    house.store.signal(house.job(job_id), "cancel", by="me")
    house.turn_until_status(job_id, "cancelled")

    queue = bp.plan.main_queue
    house.turn_until(
        lambda: crew.redis.zcard(f"{{avt.g0}}:q:{queue}:delays") + crew.redis.xlen(f"{{avt.g0}}:q:{queue}:0") == 0
    )
    assert house.store.notes(job_id) == []


def let_visits_pass(house: Stage, job_id: str) -> None:
    """Run for the time of several placement attempts."""
    deadline = monotonic() + 10 * placing.VISIT_SECONDS
    house.turn_until(lambda: monotonic() > deadline)


def test_best_value_leaves_who_fails_for_who_costs_a_little_more(at_work: AtWork) -> None:
    bp = film(dispatch_strategy="best_value")
    house, crew = at_work(bp)
    crew.add("cheap", costs={"encode": 1.0})
    crew.add("sound", costs={"encode": 1.05})
    first = house.create(bp)
    house.turn_until(lambda: routed_to(house, first) == "cheap")
    taken = crew.take("cheap")
    assert taken is not None

    crew.answer("cheap", taken, "failure")
    house.turn_until(lambda: crew.reputation("cheap") < 1)
    second = house.create(bp)
    house.turn_until(lambda: routed_to(house, second) is not None)

    assert routed_to(house, second) == "sound"
    assert crew.reputation("cheap") == pytest.approx(0.9, abs=0.01)
    assert crew.reputation("sound") == 1


def test_a_task_that_is_lost_with_its_worker_counts_against_it(at_work: AtWork) -> None:
    bp = film(dispatch_strategy="best_value")
    house, crew = at_work(bp)
    crew.add("dies", costs={"encode": 1.0})
    job_id = house.create(bp)
    house.turn_until(lambda: routed_to(house, job_id) == "dies")
    crew.add("other", costs={"encode": 2.0})

    crew.lose("dies")
    house.turn_until(lambda: routed_to(house, job_id) == "other")

    house.turn_until(lambda: crew.reputation("dies") < 1)
    assert crew.reputation("dies") == pytest.approx(0.9, abs=0.01)
