"""Schedules, for operators."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

from avtomatika.core.data_checks import check_input
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

_OWNERS = {"file": "schedules.toml", "code": "the code of its blueprint"}


@routes.before_request
def _authorize() -> None:
    require_operator()


@dataclass(frozen=True, slots=True)
class ScheduleView:
    """A schedule with its *next* ticks and the status of its last job."""

    record: ScheduleRecord
    next: list[int]
    last_status: str | None


@routes.get("")
@routes.arguments(ScheduleQuerySchema, location="query")
@routes.response(200, list_of("schedules", ScheduleInfo))
def list_schedules(wanted: dict[str, int]) -> dict[str, Any]:
    """List the schedules by name; for operators"""
    return {"schedules": views(services().store.schedules.all(), **wanted)}


@routes.get("/<name>")
@routes.arguments(ScheduleQuerySchema, location="query")
@routes.response(200, ScheduleInfo)
def show_schedule(wanted: dict[str, int], name: str) -> ScheduleView:
    """Show a schedule; for operators"""
    return views([services().store.schedules.get(name)], **wanted)[0]


@routes.put("/<name>")
@routes.arguments(ScheduleSchema)
@routes.response(200, ScheduleInfo)
def put_schedule(wanted: dict[str, Any], name: str) -> ScheduleView:
    """Add a schedule or replace its definition; its state is kept; for operators"""
    schedule, now_ms = Schedule.of(name, wanted), services().store.clock.now_ms()
    if (plan := _plan(schedule)) is not None:
        check_input(plan, schedule.initial_data)

    def define(found: ScheduleRecord) -> ScheduleRecord:
        return _owned(found).defined(schedule, "api", now_ms)

    new = ScheduleRecord(schedule=schedule, source="api")
    return _view(services().store.schedules.change(name, define, default=new))


@routes.delete("/<name>")
@routes.response(204)
def remove_schedule(name: str) -> None:
    """Remove a schedule; its jobs stay; for operators"""

    def remove(found: ScheduleRecord) -> None:
        _owned(found)

    services().store.schedules.change(name, remove)


@routes.post("/<name>/pause")
@routes.response(200, ScheduleInfo)
def pause_schedule(name: str) -> ScheduleView:
    """Pause a schedule: its ticks are left out until it is resumed; for operators"""
    return set_paused(name, True)


@routes.post("/<name>/resume")
@routes.response(200, ScheduleInfo)
def resume_schedule(name: str) -> ScheduleView:
    """Resume a paused schedule from its next tick; for operators"""
    return set_paused(name, False)


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
    if wanted["to_ms"] > services().store.clock.now_ms():
        raise InvalidRequestError("the range must end in the past", fields={"to": ["must be in the past"]})
    ticks = list(islice(schedule.ticks_between(wanted["from_ms"] - 1, wanted["to_ms"]), MOST_TICKS + 1))
    if len(ticks) > MOST_TICKS:
        message = f"the range has more than {MOST_TICKS} ticks: take a shorter one"
        raise InvalidRequestError(message, fields={"to": [message]})
    made = [None] * len(ticks) if wanted["dry_run"] else _create(schedule, ticks)
    return {"runs": [_run(tick, each) for tick, each in zip(ticks, made, strict=True)]}


def views(records: Sequence[ScheduleRecord], ticks: int) -> list[ScheduleView]:
    """Return *records* with the given number of next ticks and the status of their last jobs."""
    found = zip(records, services().store.schedules.last_statuses(records), strict=True)
    now_ms = services().store.clock.now_ms()
    return [
        ScheduleView(each, list(islice(each.schedule.ticks(now_ms), ticks if each.status == "active" else 0)), status)
        for each, status in found
    ]


def set_paused(name: str, is_paused: bool) -> ScheduleView:
    """Pause a schedule or resume it."""
    now_ms = services().store.clock.now_ms()
    return _view(services().store.schedules.change(name, lambda found: found.paused(is_paused, now_ms)))


def run_now(name: str) -> CreatedJob:
    """Create a job of a schedule."""
    schedules, now_ms = services().store.schedules, services().store.clock.now_ms()
    [made] = _create(schedules.get(name).schedule, [now_ms])
    if isinstance(made, AvtomatikaError):
        raise made
    schedules.change(name, lambda found: replace(found, last_ms=now_ms, last_job_id=made.job_id))
    return made


def _view(record: ScheduleRecord | None) -> ScheduleView:
    return views([] if record is None else [record], ticks=1)[0]


def _owned(found: ScheduleRecord) -> ScheduleRecord:
    """Raises ConflictError unless the API may change the definition."""
    if found.source != "api":
        owner = _OWNERS[found.source]
        raise ConflictError(f"the schedule {found.schedule.name!r} is defined in {owner}: change it there")
    return found


def _plan(schedule: Schedule) -> Plan | None:
    return None if schedule.blueprint is None else services().plan(schedule.blueprint)


def _create(schedule: Schedule, ticks: Sequence[int]) -> list[CreatedJob | AvtomatikaError]:
    """Create the job of each tick, or return a ConflictError if it ran before the definition was changed."""
    made = create_each([[new] for new in jobs_at(schedule, _plan(schedule), ticks)]) if ticks else []
    for each in made:
        if isinstance(each, AvtomatikaError) and not isinstance(each, ConflictError):
            raise each
    return [each if isinstance(each, AvtomatikaError) else each[0] for each in made]


def _run(tick: int, made: CreatedJob | AvtomatikaError | None) -> dict[str, Any]:
    if isinstance(made, CreatedJob):
        return {"scheduled_ms": tick, "job_id": made.job_id, "existing": made.existing}
    return {"scheduled_ms": tick, "job_id": None, "existing": made is not None}
