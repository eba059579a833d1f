"""Schedules: their definitions and states, and the jobs of their ticks."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace

import orjson

from avtomatika.core.plan import Plan
from avtomatika.core.schedule import LABEL, Schedule
from avtomatika.core.schedule_state import ScheduleRecord
from avtomatika.errors import AvtomatikaError, ConflictError, InvalidRequestError, NotFoundError
from avtomatika.transport import Reading, none_refused
from avtomatika.transport.scripts import Call

from .creation import NewJob
from .records import UNREADABLE
from .scripts import WRITE_SCHEDULE
from .server_part import ServerPart

logger = logging.getLogger(__name__)

#: The client of the jobs.
CLIENT = "_schedules"
#: Maximum schedules of a server, of one record (bytes), and of due schedules that one call returns.
_MOST, _MOST_BYTES, _PAGE = 1000, 65_536, 50


class Schedules(ServerPart):
    """The schedules of one server. Thread-safe; every method raises UnavailableError if the server is unreachable."""

    def all(self) -> list[ScheduleRecord]:
        """Return all schedules by name."""
        return self.read_together(self.reading())[0]

    def reading(self) -> Reading[list[ScheduleRecord]]:
        """The reading of :meth:`all`."""
        [rows] = none_refused((yield [("HGETALL", self._keys.schedules())]))
        records = {rows[at]: _load(rows[at + 1]) for at in range(0, len(rows), 2)}
        for name in sorted(name for name, record in records.items() if record is None):
            logger.error("ignoring the schedule %r, which this version cannot read", name.decode())
        return [record for _, record in sorted(records.items()) if record is not None]

    def get(self, name: str, default: ScheduleRecord | None = None) -> ScheduleRecord:
        """Return the schedule *name*, or *default*. Raises NotFoundError if there is neither."""
        [text] = self._read([("HGET", self._keys.schedules(), name)])
        found = default if text is None else _load(text)
        if found is None:
            raise NotFoundError("schedule", name, known=[each.schedule.name for each in self.all()])
        return found

    def due(self, now_ms: int) -> list[ScheduleRecord]:
        """Return schedules that are due, the first ones first, up to a limit per call."""
        due = ("ZRANGE", self._keys.due_schedules(), "-inf", now_ms, "BYSCORE", "LIMIT", 0, _PAGE)
        [names] = self._read([due])
        [texts] = self._read([("HMGET", self._keys.schedules(), *map(bytes.decode, names))]) if names else [[]]
        return [record for text in texts if text is not None and (record := _load(text)) is not None]

    def write(self, before: ScheduleRecord, after: ScheduleRecord | None) -> bool:
        """Replace *before* by *after*, or delete it; return False if it has changed meanwhile. One that was not read
        must not exist yet.

        Raises InvalidRequestError if it is too large, ConflictError if there are too many schedules.
        """
        text = b"" if after is None else orjson.dumps(after.dump())
        if len(text) > _MOST_BYTES:
            message = f"the schedule has {len(text)} bytes of JSON, but at most {_MOST_BYTES} are kept"
            raise InvalidRequestError(message, fields={"initial_data": [message]})
        check = "" if after is None or after.check_ms is None else after.check_ms
        keys = [self._keys.schedules(), self._keys.due_schedules()]
        reply = self._run(Call(WRITE_SCHEDULE, keys, [before.schedule.name, before.stored, text, check, _MOST]))
        if reply == b"FULL":
            raise ConflictError(f"there are {_MOST} schedules already: remove some")
        return bool(reply == b"OK")

    def change(
        self, name: str, changed: Callable[[ScheduleRecord], ScheduleRecord | None], new: ScheduleRecord | None = None
    ) -> None:
        """Replace a schedule by what *changed* returns for it, None to delete it; one that does not exist is added if
        it is given as *new*. Raises NotFoundError, and what *changed* raises."""
        for _ in range(20):  # orchestrators change its state
            before = self.get(name, new)
            if self.write(before, changed(before)):
                return
        raise ConflictError(f"the schedule {name!r} is changed too often: try again")

    def last_statuses(self, records: Sequence[ScheduleRecord]) -> list[str | None]:
        """Return the status of the last job of each of *records*; None if there is none any more."""
        ids = [each.last_job_id or "" for each in records]
        rows = self._read([("HGET", self._keys.of(job_id).job(job_id), "status") for job_id in ids])
        return [None if status is None else status.decode() for status in rows]


def jobs_at(schedule: Schedule, plan: Plan, ticks: Sequence[int]) -> list[NewJob]:
    """Return the job of each tick: the same tick never creates two. *plan* is that of its blueprint, or of single
    tasks."""
    new = NewJob(
        plan=plan,
        client=CLIENT,
        skill=schedule.skill,
        initial_data=schedule.initial_data,
        labels={**schedule.labels, LABEL: schedule.name},
        priority=schedule.priority,
    )
    return [replace(new, scheduled_ms=tick, idempotency_key=f"{schedule.name} {tick}") for tick in ticks]


def _load(text: bytes) -> ScheduleRecord | None:
    """Return the record, or None if this version cannot read it."""
    try:
        return ScheduleRecord.load(orjson.loads(text), text)
    except (*UNREADABLE, AvtomatikaError):
        return None
