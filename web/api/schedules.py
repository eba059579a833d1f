"""Schedules, for operators."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import islice
from typing import Any

from avtomatika.core.data_checks import check_input
from avtomatika.core.machine import single_task
from avtomatika.core.plan import Plan
from avtomatika.core.schedule import Schedule
from avtomatika.core.schedule_state import ScheduleRecord
from avtomatika.errors import AvtomatikaError, ConflictError, InvalidRequestError
from avtomatika.schemas.answers import SubmittedJob
from avtomatika.schemas.api_requests import MOST_TICKS, BackfillSchema, ScheduleQuerySchema, ScheduleSchema
from avtomatika.schemas.responses import list_of
from avtomatika.schemas.server_answers import ScheduledRun, ScheduleInfo
from avtomatika.store import CreatedJob, jobs_at

from ..auth import require_operator
from ..routes import Routes
from ..services import services
from .creation import create_each

routes = Routes("schedules", __name__, url_prefix="/api/v1/schedules", description="Manage schedules")
routes.before_request(require_operator)


@routes.get("")
@routes.arguments(ScheduleQuerySchema, location="query")
@routes.response(200, list_of("schedules", ScheduleInfo))
def list_schedules(wanted: dict[str, int]) -> dict[str, Any]:
    """List the schedules by name; for operators"""
    return {"schedules": views(services().store.schedules.all(), **wanted)}


@routes.get("/<name>")
@routes.arguments(ScheduleQuerySchema, location="query")
@routes.response(200, ScheduleInfo)
def show_schedule(wanted: dict[str, int], name: str) -> dict[str, Any]:
    """Show a schedule; for operators"""
    return views([services().store.schedules.get(name)], **wanted)[0]


@routes.put("/<name>")
@routes.arguments(ScheduleSchema)
@routes.response(200, ScheduleInfo)
def put_schedule(wanted: dict[str, Any], name: str) -> dict[str, Any]:
    """Add a schedule or replace its definition; its state is kept; for operators"""
    schedule, now_ms = Schedule.of(name, wanted), services().store.clock.now_ms()
    check_input(_plan(schedule), schedule.initial_data)

    def define(found: ScheduleRecord) -> ScheduleRecord:
        _check_owner(found)
        return found.defined(schedule, "api", now_ms)

    return _changed(name, define, ScheduleRecord(schedule=schedule, source="api"))


@routes.delete("/<name>")
@routes.response(204)
def remove_schedule(name: str) -> None:
    """Remove a schedule; its jobs stay; for operators"""
    services().store.schedules.change(name, _check_owner)


@routes.post("/<name>/<any(pause, resume):action>")
@routes.response(200, ScheduleInfo)
def pause_schedule(name: str, action: str) -> dict[str, Any]:
    """Pause a schedule, whose ticks are then left out, or resume it from its next tick; for operators"""
    return set_paused(name, action == "pause")


@routes.post("/<name>/run")
@routes.response(202, SubmittedJob)
def run_schedule(name: str) -> CreatedJob:
    """Run a schedule now, whatever its state; for operators"""
    return run_now(name)


@routes.post("/<name>/backfill")
@routes.arguments(BackfillSchema)
@routes.response(200, list_of("runs", ScheduledRun))
def backfill_schedule(wanted: dict[str, Any], name: str) -> dict[str, Any]:
    """Run the ticks of a range that have not run, all at once; for operators"""
    schedule = services().store.schedules.get(name).schedule
    ticks = list(islice(schedule.ticks_between(wanted["from_ms"] - 1, wanted["to_ms"]), MOST_TICKS + 1))
    is_past = wanted["to_ms"] <= services().store.clock.now_ms()
    if not is_past or len(ticks) > MOST_TICKS:
        message = f"the range has more than {MOST_TICKS} ticks" if is_past else "the range must end in the past"
        raise InvalidRequestError(message, fields={"to": [message]})
    made = [CreatedJob("", existing=False)] * len(ticks) if wanted["dry_run"] else _create(schedule, ticks)
    runs = ((tick, each.job_id or None, each.existing) for tick, each in zip(ticks, made, strict=True))
    return {"runs": [dict(zip(("scheduled_ms", "job_id", "existing"), run, strict=True)) for run in runs]}


def views(records: Sequence[ScheduleRecord], ticks: int = 1) -> list[dict[str, Any]]:
    """Return *records* with the given number of next ticks and the status of their last jobs."""
    statuses, now_ms = services().store.schedules.last_statuses(records), services().store.clock.now_ms()
    following = (each.schedule.ticks(now_ms) if each.status == "active" else () for each in records)
    return [
        {"record": record, "next": list(islice(upcoming, ticks)), "last_status": status}
        for record, upcoming, status in zip(records, following, statuses, strict=True)
    ]


def set_paused(name: str, is_paused: bool) -> dict[str, Any]:
    """Pause a schedule or resume it."""
    now_ms = services().store.clock.now_ms()
    return _changed(name, lambda found: found.paused(is_paused, now_ms))


def run_now(name: str) -> CreatedJob:
    """Create a job of a schedule."""
    now_ms = services().store.clock.now_ms()
    [made] = _create(services().store.schedules.get(name).schedule, [now_ms])
    _changed(name, lambda found: replace(found, last_ms=now_ms, last_job_id=made.job_id))
    return made


def _changed(
    name: str, changed: Callable[[ScheduleRecord], ScheduleRecord], new: ScheduleRecord | None = None
) -> dict[str, Any]:
    services().store.schedules.change(name, changed, new)
    return views([services().store.schedules.get(name)])[0]


def _check_owner(found: ScheduleRecord) -> None:
    """Raises ConflictError unless the API may change the definition."""
    if found.source != "api":
        owner = {"file": "schedules.toml", "code": "the code of its blueprint"}[found.source]
        raise ConflictError(f"the schedule {found.schedule.name!r} is defined in {owner}: change it there")


def _plan(schedule: Schedule) -> Plan:
    return services().plan(schedule.blueprint or single_task.NAME)


def _create(schedule: Schedule, ticks: Sequence[int]) -> list[CreatedJob]:
    """Create the job of each tick; one that ran before the definition was changed has no id."""
    made = create_each([[new] for new in jobs_at(schedule, _plan(schedule), ticks)]) if ticks else []
    for each in made:
        if isinstance(each, AvtomatikaError) and not isinstance(each, ConflictError):
            raise each
    return [CreatedJob("", existing=True) if isinstance(each, AvtomatikaError) else each[0] for each in made]
