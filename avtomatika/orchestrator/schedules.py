"""Schedules: announces those of blueprints and of the file, and creates the jobs of due ticks.

Any orchestrator does it. A tick creates one job: its idempotency key is made of schedule and tick, and the record of
the schedule is replaced only if it has not changed. If an orchestrator is killed between the two, the next one gets the
same job and replaces the record.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from time import monotonic

from avtomatika.core.blueprint.blueprint import Blueprint
from avtomatika.core.job import Job, JobStatus
from avtomatika.core.machine import single_task
from avtomatika.core.schedule import Schedule
from avtomatika.core.schedule_state import ScheduleRecord, Source, decide
from avtomatika.errors import AvtomatikaError, InvalidRequestError, NoRouteError, NotFoundError, UnavailableError
from avtomatika.store import Store, Sweeper, jobs_at

logger = logging.getLogger(__name__)

#: Claim of the orchestrator that runs due schedules, and when it expires if that one dies.
_CLAIM, _CLAIM_SECONDS = "schedules", 2
#: Delay of the next look at a schedule whose blueprint no orchestrator serves, and of all if no job can be created.
_RETRY_MS, _FULL_SECONDS = 10_000, 10.0
#: Interval of checking that the server still has the announced schedules.
_CHECK_SECONDS = 60.0

#: Returns the schedules of the file by name, the same object while the file does not change; None without a file.
ReadFile = Callable[[], Mapping[str, Schedule] | None]


class ScheduleRunner:
    """The schedules of one orchestrator, which serves *blueprints*. *declare* declares its plans, and the queues of
    skills that it is given."""

    def __init__(
        self,
        *,
        blueprints: Sequence[Blueprint],
        store: Store,
        sweeper: Sweeper,
        declare: Callable[..., object],
        read_file: ReadFile,
    ) -> None:
        self._plans = {blueprint.name: blueprint.plan for blueprint in blueprints}
        self._code = {name: each for blueprint in blueprints for name, each in blueprint.schedules.items()}
        self._store = store
        self._schedules = store.schedules
        self._sweeper = sweeper
        self._declare = declare
        self._read_file = read_file
        self._announced: Mapping[str, Schedule] | None = None
        self._check_due = 0.0
        self._not_before = 0.0

    def announce(self) -> None:
        """Write the definitions of this process if the file has changed, or if the server has lost them."""
        file = self._read_file()
        is_changed = not self._check_due or file is not self._announced
        if not is_changed and monotonic() < self._check_due:
            return
        records = {record.schedule.name: record for record in self._schedules.all()}
        own: dict[str, tuple[Source, Schedule]] = {name: ("code", each) for name, each in self._code.items()}
        own |= {name: ("file", each) for name, each in (file or {}).items()}
        is_written = True
        if is_changed or (own and own.keys().isdisjoint(records)):
            for name, (source, schedule) in own.items():
                is_written &= self._define(records.get(name), source, schedule, has_file=file is not None)
            for name, record in records.items():
                is_ours = {"file": file is not None, "code": record.schedule.blueprint in self._plans, "api": False}
                if name not in own and is_ours[record.source]:
                    logger.info("schedule %s: removed with its definition in the %s", name, record.source)
                    self._schedules.write(record, None)
        if is_written:
            self._announced, self._check_due = file, monotonic() + _CHECK_SECONDS

    def _define(self, found: ScheduleRecord | None, source: Source, schedule: Schedule, *, has_file: bool) -> bool:
        """Return False if the record has changed meanwhile."""
        found = found or ScheduleRecord(schedule=schedule, source=source)
        if source == "code" and found.source == "file" and not has_file:
            logger.warning("schedule %s: a file has it, so that of the code is ignored", schedule.name)
            return True
        if found.stored and (found.schedule, found.source) == (schedule, source):
            return True
        if found.source == "api" or (source == "file" and found.source == "code"):
            logger.warning("schedule %s: that of the %s replaces that of the %s", schedule.name, source, found.source)
        return self._schedules.write(found, found.defined(schedule, source, self._store.clock.now_ms()))

    def run_due(self) -> bool:
        """Create the jobs of due ticks; return True if more may be due. One orchestrator at a time does it."""
        records = self._schedules.due(self._store.clock.now_ms()) if monotonic() >= self._not_before else []
        if not records or not self._sweeper.claim(_CLAIM, seconds=_CLAIM_SECONDS):
            return False
        try:
            return any(list(map(self._run_or_defer, records)))
        finally:
            self._sweeper.release_claim(_CLAIM)

    def _run_or_defer(self, record: ScheduleRecord) -> bool:
        """As :meth:`_run`; a schedule that cannot run is deferred, or it would delay the others."""
        try:
            return self._run(record)
        except UnavailableError:
            raise
        except Exception as error:
            if not isinstance(error, NotFoundError):
                logger.exception("cannot run the schedule %s", record.schedule.name)
            retry_ms = self._store.clock.now_ms() + _RETRY_MS
            self._schedules.write(record, replace(record, error=str(error)[:500], retry_ms=retry_ms))
            return False

    def _run(self, record: ScheduleRecord) -> bool:
        """Run the due ticks of one schedule; return True if more are due."""
        schedule, now_ms = record.schedule, self._store.clock.now_ms()
        name = schedule.blueprint or single_task.NAME
        if name not in self._plans:
            if not any(plan.startswith(f"{name}@") for plan in self._store.plans.served()):
                raise NotFoundError("orchestrator for the blueprint", name)  # once there is one, this was a downtime
            return False
        previous = self._previous(record)
        ticks, after = decide(record, now_ms=now_ms, is_running=previous is not None)
        if schedule.overlap == "queue" and after.skipped > record.skipped:
            logger.warning("schedule %s: too many ticks wait: the oldest are skipped", schedule.name)
        created = self._created(after, ticks)
        if created is None:
            self._not_before = monotonic() + _FULL_SECONDS
            return False
        if schedule.overlap == "cancel_previous" and previous is not None and ticks:
            self._store.signal_each([previous], "cancel", by=f"schedule {schedule.name}, for its next run")
        self._schedules.write(record, created)
        return after.next_ms is not None and after.next_ms <= now_ms

    def _previous(self, record: ScheduleRecord) -> Job | None:
        """Return the job of the last run if it has not ended."""
        if record.last_job_id is None or record.schedule.overlap == "allow":
            return None
        [job] = self._store.load_many([record.last_job_id])
        return None if job is None or JobStatus(job.status).is_final else job

    def _created(self, after: ScheduleRecord, ticks: Sequence[int]) -> ScheduleRecord | None:
        """Create the jobs of *ticks* and return the record with them; None if the server accepts none now."""
        schedule = after.schedule
        news = jobs_at(schedule, self._plans[schedule.blueprint or single_task.NAME], ticks)
        try:
            made = self._store.create_each([[new] for new in news], monthly={}, declare=self._declare) if news else []
        except UnavailableError as error:
            made = [error]
        for tick, each in zip(ticks, made, strict=False):
            if isinstance(each, UnavailableError | NoRouteError):
                logger.warning("schedule %s: %s; its ticks wait", schedule.name, each)
                return None
            if isinstance(each, InvalidRequestError):
                logger.error("schedule %s: %s", schedule.name, each)
                after = replace(after, error=str(each)[:500])
            else:  # a conflict: the tick had run before the definition was changed
                job_id = after.last_job_id if isinstance(each, AvtomatikaError) else each[0].job_id
                after = replace(after, last_ms=tick, last_job_id=job_id, error=None)
        return after
