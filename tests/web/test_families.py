"""Fan-outs, children and timers as a job shows them: an orchestrator moves the jobs, the API is asked."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from flask.testing import FlaskClient

from avtomatika import Blueprint
from avtomatika.tokens import Clients
from avtomatika.web.app import create_app

from ..support.orchestrators import Stage

Ask = Callable[[str], dict[str, Any]]


def crowd() -> Blueprint:
    bp = Blueprint("crowd")

    @bp.handler(is_start=True)
    def start(initial_data: dict[str, Any], actions: Any) -> None:
        tasks = [{"task_type": "greet", "params": {"n": n}} for n in range(initial_data["size"])]
        actions.dispatch_parallel(tasks, aggregate_into="collect")

    @bp.aggregator(is_end=True)
    def collect(aggregation_results: dict[str, Any]) -> int:
        return len(aggregation_results)

    return bp


def family() -> tuple[Blueprint, Blueprint]:
    parent, nap = Blueprint("parent"), Blueprint("nap")

    @parent.handler(is_start=True)
    def begin(actions: Any) -> None:
        actions.run_blueprint("nap", {}, transitions={"success": "done"})

    @parent.handler(is_end=True)
    def done() -> None: ...

    @nap.handler(is_start=True)
    def start(actions: Any) -> None:
        actions.wait(3600, then="awake")

    @nap.handler(is_end=True)
    def awake() -> None: ...

    return parent, nap


@pytest.fixture
def house(redis_url: str) -> Iterator[Stage]:
    house = Stage(redis_url, [crowd(), *family()])
    house.orchestrator()
    yield house
    house.close()


@pytest.fixture
def ask(house: Stage, clients: Clients) -> Ask:
    """A job as an operator sees it."""
    plans = [blueprint.plan for blueprint in house.blueprints]
    app = create_app(store=house.store, plans=plans, clients=clients, declare=lambda: None)
    client: FlaskClient = app.test_client()

    def ask(job_id: str) -> dict[str, Any]:
        response = client.get(f"/api/v1/jobs/{job_id}", headers={"X-Client-Token": "operators-own-token"})
        found: dict[str, Any] = response.json
        return found

    return ask


def test_a_fan_out_shows_how_many_branches_were_sent_and_are_left(house: Stage, ask: Ask) -> None:
    job_id = house.create(house.blueprints[0], size=1200)
    house.turn_until(lambda: (of := house.job(job_id).fan_out) is not None and of.sent == 1200)

    before = ask(job_id)
    for _ in range(3):
        house.answer(house.take_task("greet"), data={})
    house.turn_until(lambda: house.store.live_state(house.job(job_id)).branches_left == 1197)

    assert (before["status"], before["tasks"]) == ("waiting_for_parallel", [])
    assert before["branches"] == {"total": 1200, "sent": 1200, "left": 1200, "failed": 0}
    assert ask(job_id)["branches"] == {"total": 1200, "sent": 1200, "left": 1197, "failed": 0}


def test_what_was_a_fan_out_shows_no_branches_any_more(house: Stage, ask: Ask) -> None:
    job_id = house.create(house.blueprints[0], size=1)
    house.turn_until_status(job_id, "waiting_for_parallel")
    house.answer(house.take_task("greet"), data={})
    house.turn_until_status(job_id, "finished")

    job = ask(job_id)

    assert (job["branches"], job["result"]) == (None, 1)


def test_parent_and_child_know_each_other_and_a_timer_its_time(house: Stage, ask: Ask) -> None:
    parent_id = house.create(house.blueprints[1])
    house.turn_until_status(parent_id, "waiting_for_child")

    parent = ask(parent_id)
    [child_id] = parent["children"]
    house.turn_until_status(child_id, "waiting_for_timer")
    child = ask(child_id)

    assert (parent["parent_id"], child["parent_id"], child["children"]) == (None, parent_id, [])
    assert (parent["waiting_for"]["kind"], parent["waiting_for"]["child_id"]) == ("child", child_id)
    assert child["waiting_for"]["kind"] == "timer"
    assert child["waiting_for"]["since"] == child["updated_at"]
    assert child["waiting_for"]["until"][14:] == child["updated_at"][14:]
