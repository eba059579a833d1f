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
from avtomatika.core.schedule import Overlap, Schedule
from avtomatika.core.schedule_state import DueTicks, ScheduleRecord, Source, decide
from avtomatika.errors import AvtomatikaError, InvalidRequestError, NoRouteError, UnavailableError
from avtomatika.store import CreatedJob, Store, Sweeper, jobs_at

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
        #: When the next look at due schedules is allowed, by the monotonic clock.
        self.not_before = 0.0

    # ------------------------------------------------------------ definitions

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
            self._remove([record for name, record in records.items() if name not in own], has_file=file is not None)
        if is_written:
            self._announced, self._check_due = file, monotonic() + _CHECK_SECONDS

    def _define(self, found: ScheduleRecord | None, source: Source, schedule: Schedule, *, has_file: bool) -> bool:
        """Return False if the record has changed meanwhile."""
        now_ms, name = self._store.clock.now_ms(), schedule.name
        if found is None:
            new = ScheduleRecord(schedule=schedule, source=source).defined(schedule, source, now_ms)
            return self._schedules.write(None, new)
        if source == "code" and found.source == "file" and not has_file:
            logger.warning("schedule %s: the file of another orchestrator has it: the one of the code is ignored", name)
            return True
        if (found.schedule, found.source) == (schedule, source):
            return True
        if found.source == "api" or (source == "file" and found.source != source):
            logger.warning("schedule %s: the one of the %s replaces the one of the %s", name, source, found.source)
        return self._schedules.write(found, found.defined(schedule, source, now_ms))

    def _remove(self, records: Sequence[ScheduleRecord], *, has_file: bool) -> None:
        """Remove those of *records* that the file, or the blueprints of this process, had before."""
        for record in records:
            is_ours = {"file": has_file, "code": record.schedule.blueprint in self._plans, "api": False}
            if is_ours[record.source]:
                logger.info("schedule %s: removed with its definition in the %s", record.schedule.name, record.source)
                self._schedules.write(record, None)

    # ------------------------------------------------------------ ticks

    def run_due(self) -> bool:
        """Create the jobs of due ticks; return True if more may be due. One orchestrator at a time does it."""
        records = self._schedules.due(self._store.clock.now_ms())
        if not records or not self._sweeper.claim(_CLAIM, seconds=_CLAIM_SECONDS):
            return False
        try:
            return any(list(map(self._run, records)))
        finally:
            self._sweeper.release_claim(_CLAIM)

    def _run(self, record: ScheduleRecord) -> bool:
        """Run the due ticks of one schedule; return True if more are due."""
        schedule, now_ms = record.schedule, self._store.clock.now_ms()
        if schedule.blueprint is not None and schedule.blueprint not in self._plans:
            served = {plan.partition("@")[0] for plan in self._store.plans.served()}
            if schedule.blueprint not in served:  # once it is served, this counts as a downtime
                problem = f"no orchestrator serves the blueprint {schedule.blueprint!r}"
                self._schedules.write(record, replace(record, error=problem, retry_ms=now_ms + _RETRY_MS))
            return False
        previous = self._previous(record)
        due = decide(record, now_ms=now_ms, is_running=previous is not None)
        if due.dropped:
            logger.warning("schedule %s: %d ticks are skipped: too many wait", schedule.name, due.dropped)
        after = self._create(due)
        if after is None:
            self.not_before = monotonic() + _FULL_SECONDS
            return False
        if due.cancels_previous and previous is not None:
            self._store.signal_each([previous], "cancel", by=f"schedule {schedule.name}, for its next run")
        self._schedules.write(record, after)
        return after.next_ms is not None and after.next_ms <= now_ms

    def _previous(self, record: ScheduleRecord) -> Job | None:
        """Return the job of the last run if it has not ended."""
        if record.last_job_id is None or record.schedule.overlap is Overlap.ALLOW:
            return None
        [job] = self._store.load_many([record.last_job_id])
        return None if job is None or JobStatus(job.status).is_final else job

    def _create(self, due: DueTicks) -> ScheduleRecord | None:
        """Create the jobs of the ticks and return the record afterwards; None if the server accepts none now."""
        after, schedule = due.after, due.after.schedule
        news = jobs_at(schedule, self._plans.get(schedule.blueprint or ""), due.run)
        try:
            made = self._store.create_each([[new] for new in news], monthly={}, declare=self._declare) if news else []
        except UnavailableError as error:
            made = [error]
        for tick, each in zip(due.run, made, strict=False):
            if isinstance(each, UnavailableError | NoRouteError):
                logger.warning("schedule %s: %s; its ticks wait", schedule.name, each)
                return None
            after = _recorded(after, tick, each)
        return after


def _recorded(record: ScheduleRecord, tick: int, made: list[CreatedJob] | AvtomatikaError) -> ScheduleRecord:
    """Return *record* with the result of a tick."""
    if isinstance(made, InvalidRequestError):
        logger.error("schedule %s: %s", record.schedule.name, made)
        return replace(record, error=str(made))
    if isinstance(made, AvtomatikaError):  # the tick had run before the definition was changed
        return replace(record, last_ms=tick, error=None)
    return replace(record, last_ms=tick, last_job_id=made[0].job_id, error=None)
