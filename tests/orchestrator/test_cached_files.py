"""Tasks that name files prefer workers that have cached them, on a real server."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from avtomatika import Blueprint
from avtomatika.core.blueprint.single_tasks import SINGLE_TASKS
from avtomatika.core.machine import placement as placing
from avtomatika.core.placement.cached_files import digest_of
from avtomatika.store import NewJob

from ..support.orchestrators import Stage
from .test_placement import Crew, routed_to

FILM = "s3://raw/lake.mov"


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Retry placement at once."""
    monkeypatch.setattr(placing, "VISIT_SECONDS", 0.05)


@pytest.fixture
def crew_of(stage: Callable[..., Stage]) -> Iterator[Callable[[Blueprint], tuple[Stage, Crew]]]:
    """Create a stage, and a crew whose ``holder`` has two slots and has cached the film."""
    crews: list[Crew] = []

    def make(bp: Blueprint) -> tuple[Stage, Crew]:
        house = stage(bp)
        house.orchestrator()
        crew = Crew(house)
        crews.append(crew)
        for worker_id in ("holder", "other"):
            crew.add(worker_id, concurrency=2)
        tell(house, holds=[digest_of(FILM)])
        return house, crew

    yield make
    for crew in crews:
        crew.close()


CrewOf = Callable[[Blueprint], tuple[Stage, Crew]]


def tell(house: Stage, *, running: int = 0, **said: Any) -> None:
    """Send a heartbeat of the holder."""
    house.store.registry.beat("holder", {"status": "idle", "running": running, **said})


def film() -> Blueprint:
    bp = Blueprint(name="film")

    @bp.handler(is_start=True)
    def start(initial_data: Any, actions: Any) -> None:
        actions.dispatch_task("encode", {"film": initial_data["film"]}, {"success": "done", "failure": "failed"})

    @bp.handler(is_end=True)
    def done() -> None: ...

    @bp.handler(is_end="failed")
    def failed() -> None: ...

    return bp


def scenes() -> Blueprint:
    bp = Blueprint(name="scenes")

    @bp.handler(is_start=True)
    def cut(actions: Any) -> None:
        tasks = [{"type": "encode", "params": {"film": FILM, "scene": scene}} for scene in range(6)]
        actions.dispatch_parallel(tasks, aggregate_into="done")

    @bp.aggregator(is_end=True)
    def done() -> None: ...

    return bp


def anybodys(crew: Crew) -> int:
    """Return the number of tasks in the shared queue."""
    return int(crew.redis.xlen("{avt.g0}:q:encode:0"))


def test_the_holder_does_it_and_others_get_what_it_has_not(crew_of: CrewOf) -> None:
    bp = film()
    house, crew = crew_of(bp)
    near, far = house.create(bp, film=FILM), house.create(bp, film="s3://raw/sea.mov")
    house.turn_until(lambda: routed_to(house, near) and anybodys(crew))
    taken = crew.take("holder")
    assert taken is not None
    crew.answer("holder", taken)

    job = house.turn_until_status(near, "finished")

    assert taken[1].params == {"film": FILM}
    assert [entry for entry in house.history(near) if "task" in entry] == [
        "task_dispatched start",
        "task_routed start",
        "task_taken start",
        "task_succeeded start",
    ]
    assert job.version == 4
    assert [entry for entry in house.history(far) if "task" in entry] == ["task_dispatched start"]
    assert crew.take("other") is None


def test_a_single_task_prefers_the_holder(crew_of: CrewOf) -> None:
    house, crew = crew_of(SINGLE_TASKS)
    new = NewJob(plan=SINGLE_TASKS.plan, client="me", skill="encode", initial_data={"film": FILM})
    job_id = house.store.create(new).job_id
    house.turn_until(lambda: routed_to(house, job_id))
    taken = crew.take("holder")
    assert taken is not None
    crew.answer("holder", taken)

    house.turn_until_status(job_id, "finished")

    assert taken[1].params == {"film": FILM}
    assert anybodys(crew) == 0


def test_branches_go_there_as_far_as_there_is_room_and_the_rest_to_anybody(crew_of: CrewOf) -> None:
    bp = scenes()
    house, crew = crew_of(bp)
    house.create(bp)

    house.turn_until(lambda: crew.own("holder") + anybodys(crew) == 6)

    assert (crew.own("holder"), crew.own("other"), anybodys(crew)) == (2, 0, 4)


def test_load_includes_other_tasks_and_those_since_the_heartbeat(crew_of: CrewOf) -> None:
    bp = film()
    house, crew = crew_of(bp)
    tell(house, running=1)
    first = house.create(bp, film=FILM)
    house.turn_until(lambda: crew.own("holder") == 1)

    second = house.create(bp, film=FILM)
    house.turn_until(lambda: anybodys(crew) == 1)

    assert (routed_to(house, first), routed_to(house, second)) == ("holder", None)


def test_where_the_holder_does_not_begin_in_time_anybody_does_it(crew_of: CrewOf) -> None:
    bp = film()
    house, crew = crew_of(bp)
    job_id = house.create(bp, film=FILM)
    house.turn_until(lambda: routed_to(house, job_id) == "holder")

    house.turn_until(lambda: anybodys(crew) == 1)

    assert crew.take("holder") is None, "what it did not take is not there any more"
    taken = house.take_task("encode")
    assert taken[1].attempt == 2
    house.answer(taken)
    house.turn_until_status(job_id, "finished")
    assert [entry for entry in house.history(job_id) if "task" in entry] == [
        "task_dispatched start",
        "task_routed start",
        "task_rerouted start",
        "task_succeeded start",
    ]
