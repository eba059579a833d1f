"""Orchestrators run schedules: each tick creates one job, and the definitions of code and file are announced."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import orjson
import pytest

from avtomatika import Blueprint
from avtomatika.core.blueprint.single_tasks import SINGLE_TASKS
from avtomatika.core.job import Job
from avtomatika.core.schedule import Schedule
from avtomatika.core.schedule_state import ScheduleRecord
from avtomatika.errors import BlueprintError
from avtomatika.orchestrator import sweeps
from avtomatika.store import JobFilter
from avtomatika.transport import connect

from ..support.orchestrators import Stage

DAY_MS = 86_400_000


@pytest.fixture(autouse=True)
def short_intervals(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweeps, "_SCHEDULES_EVERY_SECONDS", 0.0)
    monkeypatch.setattr(sweeps, "_TIMERS_EVERY_SECONDS", 0.02)


@dataclass
class Input:
    region: str = "north"


def shop(**schedule: Any) -> Blueprint:
    bp = Blueprint(name="shop", input=Input)

    @bp.handler(is_start=True)
    def start(initial_data: Input, scheduled_at: datetime | None, actions: Any) -> None:
        actions.dispatch_task("pack", {"at": scheduled_at}, transitions={"success": "done"})

    @bp.handler(is_end=True)
    def done() -> None: ...

    if schedule:
        bp.schedule("nightly", **schedule)(start)
    return bp


def add(stage: Stage, **fields: Any) -> ScheduleRecord:
    """Add the schedule ``nightly``, whose last tick has just been missed, over the API."""
    now_ms, state = stage.store.clock.now_ms(), {"next_ms": fields.pop("next_ms", None)}
    schedule = Schedule(name="nightly", **{"blueprint": "shop", "interval": "1d", **fields})
    state["next_ms"] = state["next_ms"] or now_ms // DAY_MS * DAY_MS
    new = ScheduleRecord(schedule=schedule, source="api", **state)
    assert stage.store.schedules.write(new, new)
    return record(stage)


def record(stage: Stage) -> ScheduleRecord:
    return stage.store.schedules.get("nightly")


def make_due(stage: Stage) -> None:
    """Have the last tick of ``nightly`` be due again, as if the orchestrators had not looked since."""
    stage.store.schedules.change("nightly", lambda found: replace(found, next_ms=(found.next_ms or 0) - DAY_MS))


def jobs(stage: Stage) -> list[Job]:
    """The jobs, oldest first."""
    return stage.store.list_jobs(JobFilter(), with_data=True)[0][::-1]


def is_decided(stage: Stage) -> bool:
    return (record(stage).next_ms or 0) > stage.store.clock.now_ms()


def test_a_due_tick_creates_a_job_whose_handlers_know_the_time(stage: Callable[..., Stage]) -> None:
    there = stage(shop())
    orchestrator = there.orchestrator()
    before = add(there, labels={"team": "a"}, initial_data={"region": "south"})
    there.turn_until(lambda: [job.status for job in jobs(there)] == ["waiting_for_worker"])

    [job] = jobs(there)
    assert (job.client, job.labels, job.initial_data) == (
        "_schedules",
        {"team": "a", "schedule": "nightly"},
        {"region": "south"},
    )
    assert job.scheduled_ms == before.next_ms
    [task] = job.tasks.values()
    assert datetime.fromisoformat(task.params["at"]).timestamp() * 1000 == before.next_ms
    after = record(there)
    assert (after.last_job_id, after.last_ms, after.error) == (job.id, before.next_ms, None)
    assert after.next_ms == before.next_ms + DAY_MS
    assert orchestrator is not None


def test_an_orchestrator_that_dies_before_the_schedule_is_advanced_costs_nothing(stage: Callable[..., Stage]) -> None:
    there = stage(shop())
    there.orchestrator()
    before = add(there, overlap="allow")
    there.turn_until(lambda: is_decided(there))
    now = record(there)

    assert there.store.schedules.write(now, replace(before, stored=now.stored))
    there.turn_until(lambda: is_decided(there))

    assert len(jobs(there)) == 1
    assert record(there).last_job_id == now.last_job_id


def test_of_several_orchestrators_one_runs_a_tick(stage: Callable[..., Stage]) -> None:
    there = stage(shop())
    for _ in range(3):
        there.orchestrator()
    add(there, interval=1, overlap="allow", next_ms=there.store.clock.now_ms() // 1000 * 1000)

    there.turn_until(lambda: len(jobs(there)) >= 4)

    ticks = [job.scheduled_ms for job in jobs(there)]
    assert ticks == [ticks[0] + 1000 * n for n in range(len(ticks))]


def test_schedules_run_single_tasks(stage: Callable[..., Stage]) -> None:
    there = stage(shop(), SINGLE_TASKS)
    there.orchestrator()
    add(there, blueprint=None, skill="resize", initial_data={"width": 5})

    there.turn_until(lambda: [job.skill for job in jobs(there)] == ["resize"])

    _, task = there.take_task("resize")
    assert task.params == {"width": 5}


def test_a_schedule_that_cannot_run_says_why_and_runs_when_it_can(stage: Callable[..., Stage]) -> None:
    there = stage(shop())
    there.orchestrator(blueprints=[SINGLE_TASKS])
    before = add(there)
    there.turn_until(lambda: record(there).error is not None)
    assert record(there).error == "no orchestrator for the blueprint 'shop'"
    assert record(there).next_ms == before.next_ms

    there.orchestrator()
    there.store.schedules.change("nightly", lambda found: replace(found, retry_ms=None))
    there.turn_until(lambda: is_decided(there))
    assert (len(jobs(there)), record(there).error) == (1, None)


def test_another_orchestrator_runs_what_this_one_does_not_serve(stage: Callable[..., Stage]) -> None:
    there = stage(shop())
    there.orchestrator()
    there.turn_until(lambda: bool(there.store.plans.served()))
    there.orchestrator(blueprints=[SINGLE_TASKS])
    add(there)

    there.turn_until(lambda: is_decided(there))

    assert (len(jobs(there)), record(there).error) == (1, None)


def test_refused_input_is_shown_and_the_schedule_goes_on(stage: Callable[..., Stage]) -> None:
    there = stage(shop())
    there.orchestrator()
    add(there, initial_data={"region": 5})
    there.turn_until(lambda: is_decided(there))

    assert "region" in str(record(there).error)
    assert jobs(there) == []

    there.store.schedules.change(
        "nightly", lambda found: replace(found, schedule=replace(found.schedule, initial_data={}))
    )
    make_due(there)
    there.turn_until(lambda: is_decided(there))
    assert (len(jobs(there)), record(there).error) == (1, None)


def test_a_record_that_breaks_the_orchestrator_delays_no_other(stage: Callable[..., Stage]) -> None:
    there = stage(shop())
    before = add(there)
    other = replace(before, schedule=replace(before.schedule, name="other"), stored=b"")
    assert there.store.schedules.write(other, other)
    broken = orjson.dumps({**before.dump(), "next_ms": "soon"})
    with connect(there.url) as client:
        client.hset("{avt.g0}:schedules", "nightly", broken)

    there.orchestrator()
    there.turn_until(lambda: len(jobs(there)) == 1)

    assert "'str'" in str(record(there).error)
    assert (record(there).retry_ms or 0) > there.store.clock.now_ms()


def test_skip_leaves_out_a_tick_while_the_previous_job_runs(stage: Callable[..., Stage]) -> None:
    there = stage(shop())
    there.orchestrator()
    add(there)
    there.turn_until(lambda: is_decided(there))
    there.store.schedules.change("nightly", lambda found: replace(found, next_ms=(found.next_ms or 0) - DAY_MS // 2))

    make_due(there)
    there.turn_until(lambda: is_decided(there))

    assert (len(jobs(there)), record(there).skipped) == (1, 1)


def test_queue_runs_the_tick_when_the_previous_job_has_ended(stage: Callable[..., Stage]) -> None:
    there = stage(shop())
    there.orchestrator()
    add(there, interval=1, overlap="queue")
    there.turn_until(lambda: len(record(there).waiting) >= 2)
    assert len(jobs(there)) == 1
    there.store.schedules.change("nightly", lambda found: replace(found, next_ms=None))
    first, second = record(there).waiting[:2]

    there.answer(there.take_task("pack"))
    there.turn_until(lambda: len(jobs(there)) == 2)
    there.answer(there.take_task("pack"))
    there.turn_until(lambda: len(jobs(there)) == 3)

    assert [job.scheduled_ms for job in jobs(there)[1:]] == [first, second]


def test_cancel_previous_cancels_it_and_says_why(stage: Callable[..., Stage]) -> None:
    there = stage(shop())
    there.orchestrator()
    add(there, interval=1, overlap="cancel_previous")

    there.turn_until(lambda: [job.status for job in jobs(there)][:1] == ["cancelled"])

    first = jobs(there)[0]
    entries, _ = there.store.history(first.id)
    assert entries[-1].entry.data["by"] == "schedule nightly, for its next run"
    assert len(jobs(there)) >= 2


def test_ticks_wait_while_the_server_accepts_no_jobs(
    stage: Callable[..., Stage], caplog: pytest.LogCaptureFixture
) -> None:
    there = stage(shop())
    orchestrator = there.orchestrator()
    before = add(there)
    with connect(there.url) as client:
        client.config_set("maxmemory", int(client.info("memory")["used_memory"] * 1.05))
        try:
            there.turn_until(lambda: "its ticks wait" in caplog.text)
        finally:
            client.config_set("maxmemory", 0)
    assert record(there).next_ms == before.next_ms

    there.end(orchestrator)
    there.orchestrator()
    there.turn_until(lambda: is_decided(there))
    assert len(jobs(there)) == 1


# ---------------------------------------------------------------- definitions


class File:
    """A schedules.toml."""

    def __init__(self) -> None:
        self.schedules: Mapping[str, Schedule] | None = None

    def write(self, **sections: dict[str, Any]) -> None:
        self.schedules = {name: Schedule.of(name, {"interval": 60, **given}) for name, given in sections.items()}

    def read(self) -> Mapping[str, Schedule] | None:
        return self.schedules


def sources(stage: Stage) -> dict[str, str]:
    return {each.schedule.name: each.source for each in stage.store.schedules.all()}


def test_an_orchestrator_announces_the_schedules_of_its_blueprints(stage: Callable[..., Stage]) -> None:
    there = stage(shop(cron="0 7 * * 1-5", timezone="Europe/Berlin"))
    first = there.orchestrator()
    there.turn_until(lambda: sources(there) == {"nightly": "code"})
    assert record(there).check_ms == record(there).schedule.next_after(there.store.clock.now_ms())
    there.store.schedules.change("nightly", lambda found: replace(found, skipped=7, next_ms=(found.next_ms or 0) - 5))

    there.end(first)
    there.orchestrator()
    for _ in range(3):
        there.orchestrators[0].run_once()
    assert (record(there).skipped, record(there).stored) == (7, record(there).stored)  # a restart changes nothing
    there.end(there.orchestrators[0])

    there.orchestrator(blueprints=[shop(cron="0 8 * * *")])
    there.turn_until(lambda: record(there).schedule.cron == "0 8 * * *")
    assert record(there).skipped == 7
    there.end(there.orchestrators[0])

    there.orchestrator(blueprints=[shop()])
    there.turn_until(lambda: sources(there) == {})


def test_the_file_wins_over_code_and_api_and_says_so(
    stage: Callable[..., Stage], caplog: pytest.LogCaptureFixture
) -> None:
    there, file = stage(shop(interval=30)), File()
    new = ScheduleRecord(schedule=Schedule(name="weekly", skill="resize", interval=5), source="api")
    there.store.schedules.write(new, new)
    there.orchestrator(schedules_of_file=file.read)
    there.turn_until(lambda: sources(there) == {"nightly": "code", "weekly": "api"})

    file.write(nightly={"blueprint": "shop"}, weekly={"skill": "resize"}, daily={"skill": "resize"})
    there.turn_until(lambda: sources(there) == dict.fromkeys(["nightly", "weekly", "daily"], "file"))
    assert record(there).schedule.interval == 60
    assert "schedule nightly: that of the file replaces that of the code" in caplog.messages
    assert "schedule weekly: that of the file replaces that of the api" in caplog.messages

    other = there.orchestrator()
    for _ in range(3):
        other.run_once()
    assert sources(there)["nightly"] == "file"
    there.end(other)

    file.write(daily={"skill": "resize"})
    there.turn_until(lambda: sources(there) == {"nightly": "code", "daily": "file"})
    assert record(there).schedule.interval == 30

    file.write()
    there.turn_until(lambda: sources(there) == {"nightly": "code"})


def test_schedules_are_announced_again_after_the_server_has_lost_its_data(
    stage: Callable[..., Stage], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("avtomatika.orchestrator.schedules._CHECK_SECONDS", 0.0)
    there = stage(shop(interval=30))
    there.orchestrator()
    there.turn_until(lambda: sources(there) == {"nightly": "code"})

    there.store._server.execute(("DEL", "{avt.g0}:schedules", "{avt.g0}:schedules:due"))

    there.turn_until(lambda: sources(there) == {"nightly": "code"})


def test_a_wrong_schedule_is_an_error_of_its_blueprint() -> None:
    bp = Blueprint(name="shop")
    with pytest.raises(BlueprintError, match="blueprint 'shop': schedule 'shop': cron"):
        bp.schedule(cron="0 7")
    bp.schedule(interval="1h")
    with pytest.raises(BlueprintError, match="defined twice"):
        bp.schedule(interval="2h")
