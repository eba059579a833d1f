"""Unique keys: one unfinished job of a client and a blueprint, or skill, for each."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest

from avtomatika import Blueprint, broker
from avtomatika.core.explain.why import explain
from avtomatika.core.job import Job
from avtomatika.core.machine import single_task
from avtomatika.errors import BlueprintError, ConflictError, InvalidRequestError, QuotaExceededError
from avtomatika.store import CreatedJob, NewJob

from ..support.orchestrators import Stage


def orders(**options: Any) -> Blueprint:
    bp = Blueprint("orders", **options)

    @bp.handler(is_start=True)
    def start(actions: Any) -> None:
        actions.dispatch_task("pack", {}, {"success": "done", "failure": "failed"})

    @bp.handler(is_end=True)
    def done() -> str:
        return "packed"

    @bp.handler(is_end="failed")
    def failed() -> None: ...

    return bp


@pytest.fixture
def house(stage: Callable[..., Stage]) -> Stage:
    made = stage(orders())
    made.orchestrator()
    return made


def lines(house: Stage) -> list[str]:
    """The lists of unique keys."""
    return [key.decode() for key in house.store._server.execute(("KEYS", "*:unique:*"))]


def create(house: Stage, on_conflict: str | None = None, key: str = "order-1", **more: Any) -> CreatedJob:
    new = NewJob(plan=house.blueprints[0].plan, client="me", unique_key=key, on_conflict=on_conflict)
    return house.store.create(replace(new, **more))


def working(house: Stage, job_id: str) -> Job:
    return house.turn_until_status(job_id, "waiting_for_worker")


def end(house: Stage, job_id: str) -> None:
    house.answer(house.take_task("pack"))
    house.turn_until_status(job_id, "finished")


def test_the_unfinished_job_is_returned_until_it_ends(house: Stage) -> None:
    first = create(house)
    again = create(house)
    other_key, other_client = create(house, key="order-2"), create(house, client="you")

    assert (again.job_id, again.existing, first.existing) == (first.job_id, True, False)
    assert len({first.job_id, other_key.job_id, other_client.job_id}) == 3
    working(house, first.job_id)
    house.store.signal(house.job(first.job_id), "cancel", by="me")
    house.turn_until_status(first.job_id, "cancelled")
    assert create(house).job_id != first.job_id
    assert len(lines(house)) == 3


def test_reject_names_the_job(house: Stage) -> None:
    first = create(house)

    with pytest.raises(ConflictError, match=f"job {first.job_id} with the same unique key has not ended"):
        create(house, "reject")


def test_queued_jobs_start_in_turn(house: Stage) -> None:
    ids = [create(house, "queue").job_id for _ in range(3)]
    working(house, ids[0])
    for _ in range(5):
        house.orchestrators[0].run_once()
    assert [house.job(job_id).status for job_id in ids] == ["waiting_for_worker", "pending", "pending"]
    house.turn_until(lambda: explain(house.store.job_facts.facts(house.job(ids[2])))[0].code != "plan_not_served")
    [reason] = explain(house.store.job_facts.facts(house.job(ids[2])))
    assert reason.text == f"It waits for job {ids[0]} with the same unique key 'order-1'; 1 other job before it."

    for place, job_id in enumerate(ids):
        working(house, job_id)
        assert [house.job(later).status for later in ids[place + 1 :]] == ["pending"] * (2 - place)
        end(house, job_id)

    assert lines(house) == []
    assert house.store._server.execute(("ZCARD", house.store._keys.timers())) == 0


def test_a_queued_job_that_is_cancelled_leaves_its_place(house: Stage) -> None:
    ids = [create(house, "queue").job_id for _ in range(3)]
    working(house, ids[0])

    house.store.signal(house.job(ids[1]), "cancel", by="me")
    house.turn_until_status(ids[1], "cancelled")
    end(house, ids[0])

    working(house, ids[2])


def test_a_delay_is_kept_while_a_job_waits(house: Stage) -> None:
    first = create(house, "queue").job_id
    second = create(house, "queue", delay_seconds=3600).job_id
    working(house, first)

    end(house, first)

    [reason, *_] = [each for each in explain(house.store.job_facts.facts(house.job(second))) if each.code[0] == "w"]
    assert reason.code == "waits_for_start"


def test_replace_cancels_all_earlier_ones_and_starts_when_they_have_ended(house: Stage) -> None:
    ids = [create(house).job_id, create(house, "queue").job_id]
    working(house, ids[0])

    new = create(house, "replace").job_id
    assert house.job(new).status == "pending"
    working(house, new)

    assert [house.job(job_id).status for job_id in ids] == ["cancelled", "cancelled"]
    last = [recorded.entry for recorded in house.store.history(ids[0])[0]][-1]
    assert last.data == {"by": f"job {new}, which replaces it"}
    end_of_line = create(house, "replace")
    assert house.job(end_of_line.job_id).status == "pending"


def test_a_quarantined_job_has_not_ended(house: Stage) -> None:
    first = create(house)
    working(house, first.job_id)
    house.answer(house.take_task("pack"), status="odd")
    house.turn_until_status(first.job_id, "quarantined")

    with pytest.raises(ConflictError, match=first.job_id):
        create(house, "reject")
    new = create(house, "replace")
    working(house, new.job_id)
    assert house.job(first.job_id).status == "cancelled"


def test_only_so_many_wait(house: Stage) -> None:
    for _ in range(101):
        create(house, "queue")

    with pytest.raises(ConflictError, match="has not ended, and 100 jobs wait for it"):
        create(house, "queue")
    assert create(house).existing


def test_of_many_at_once_one_is_created(house: Stage) -> None:
    with ThreadPoolExecutor(16) as pool:
        made = list(pool.map(lambda _: create(house), range(64)))

    assert len({each.job_id for each in made}) == 1
    assert sum(not each.existing for each in made) == 1


def test_a_batch_with_equal_keys(house: Stage) -> None:
    first = create(house, key="b").job_id
    new = NewJob(plan=house.blueprints[0].plan, client="me", idempotency_key="once")
    batch = [replace(new, unique_key=key) for key in ("a", "b", "a")]

    a, b, again = house.store.create_many(batch, monthly=2)
    repeated = house.store.create_many(batch, monthly=2)

    assert (a.existing, b.existing, again.existing) == (False, True, True)
    assert (b.job_id, again.job_id) == (first, a.job_id)
    assert [each.job_id for each in repeated] == [a.job_id, first, a.job_id]
    with pytest.raises(QuotaExceededError):
        house.store.create_many([replace(new, unique_key=key, idempotency_key=None) for key in "cd"], monthly=2)
    with pytest.raises(ConflictError):
        house.store.create_many([replace(new, unique_key="e", on_conflict="reject", idempotency_key=None)] * 2)
    assert len(lines(house)) == 2


def test_a_single_task_has_a_line_of_its_own(house: Stage) -> None:
    new = NewJob(plan=single_task.PLAN, client="me", skill="pack", unique_key="order-1", on_conflict="queue")
    create(house)

    tasks = house.store.create_many([new, new], declare=lambda *_: declare(house))

    assert [each.existing for each in tasks] == [False, False]
    assert len(lines(house)) == 2
    assert [house.job(each.job_id).status for each in tasks] == ["pending", "pending"]


def declare(house: Stage) -> None:
    broker.declare(house.connection, [single_task.PLAN])
    broker.declare_tasks(house.connection, ["pack"])


def test_the_key_of_the_blueprint(stage: Callable[..., Stage]) -> None:
    bp = orders(unique_key="order-{initial_data[order]}", on_conflict="reject")
    house = stage(bp)
    first = house.create(bp, order=7)

    assert house.job(first).unique_key == "order-7"
    with pytest.raises(ConflictError):
        house.create(bp, order=7)
    house.create(bp, order=8)
    with pytest.raises(InvalidRequestError, match="order"):
        house.create(bp)
    with pytest.raises(BlueprintError, match="on_conflict must be one of"):
        orders(unique_key="x", on_conflict="wait")
    with pytest.raises(InvalidRequestError, match="on_conflict needs a unique_key"):
        house.store.create(NewJob(plan=orders().plan, client="me", on_conflict="queue"))


def test_one_that_ended_without_leaving_is_removed(house: Stage) -> None:
    """As after a failover to a replica that had lost the last writes."""
    first, second = create(house, "queue").job_id, create(house, "queue").job_id
    working(house, first)
    house.store._server.execute(("DEL", house.store._keys.of(first).job(first)))

    third = create(house, "queue").job_id

    working(house, second)
    assert house.job(third).status == "pending"
