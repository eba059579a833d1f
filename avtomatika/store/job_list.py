"""Lists and counts of jobs: a script intersects the indexes of all filters on the server."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import orjson

from avtomatika.core.job import JobStatus
from avtomatika.errors import InvalidRequestError
from avtomatika.transport import Reading, none_refused
from avtomatika.transport.scripts import Call

from .keys import Keys
from .records import JOB_FIELDS, JobFilter
from .scripts import LIST_JOBS
from .server_part import JobRow, ServerPart

#: Jobs that one call examines: a call takes the server 1 to 2 ms. Fewer if it must read their records.
_PER_CALL = 2000
_RECORDS_PER_CALL = 500
#: Maximum number of calls for one page. A page that needs more is short, and its cursor continues.
_CALLS = 10
#: Length of the hash of a plan.
_HASH = 8
#: A job's creation in milliseconds, and its id.
_CURSOR = re.compile(r"([0-9]{1,15})\.([A-Za-z0-9_-]{1,256})")


@dataclass(frozen=True, slots=True)
class JobCounts:
    """Numbers of jobs by status or blueprint, without zeros. If not *is_exact*, there are more than these."""

    counts: Mapping[str, int]
    is_exact: bool = True

    @property
    def total(self) -> int:
        return sum(self.counts.values())


class JobLists(ServerPart):
    """Lists and counts the jobs of one server."""

    def _read_list(
        self, wanted: JobFilter, fields: Sequence[str] = JOB_FIELDS[:-1]
    ) -> Reading[tuple[dict[str, JobRow], str | None]]:
        """Read *fields* of up to ``wanted.limit`` jobs by id, and the cursor of the next page, None at the end.

        A cursor is a position in the order of all jobs, which never changes. A page may have fewer jobs than the limit,
        or none, if few of many jobs match. Raises InvalidRequestError for an unknown cursor.
        """
        created, last_id = start(wanted)
        found: dict[str, JobRow] = {}
        for _ in range(_CALLS):
            limit = wanted.limit - len(found)
            call = _call(self._keys, wanted, created, last_id, limit=limit, fields=fields)
            [reply] = none_refused((yield [call]))
            created, last_id, *ids = _texts([*reply[:2], *reply[2::2]])
            found |= zip(ids, reply[3::2], strict=True)
            if not last_id or len(found) == wanted.limit:
                break
        return found, f"{created}.{last_id}" if last_id else None

    def count_by_blueprint(self, wanted: JobFilter) -> JobCounts:
        """Count the jobs that match, by blueprint; up to 5,000 jobs are examined."""
        created, last_id = start(wanted)
        found = Counter[str]()
        for _ in range(_CALLS):
            call = _call(self._keys, wanted, created, last_id, by="blueprint")
            created, last_id, *pairs = _texts(self._run(call))
            found.update(dict(_numbers(pairs)))
            if not last_id:
                break
        return JobCounts(found, is_exact=not last_id)

    def read_states(self, wanted: JobFilter) -> Reading[tuple[dict[tuple[str, str], int], bool]]:
        """Count the jobs that match, by plan hash and state: the first 2,000, False if there are more."""
        call = _call(self._keys, wanted, *start(wanted), by="state")
        [reply] = none_refused((yield [call]))
        _, last_id, *pairs = _texts(reply)
        found = {(name[:_HASH], name[_HASH:]): count for name, count in _numbers(pairs)}
        return found, not last_id

    def count_by_status(self, wanted: JobFilter) -> JobCounts:
        """Count the jobs that match, by status; of each status up to 2,000 jobs are examined."""
        return self.read_together(self.read_counts(wanted))[0]

    def read_counts(self, wanted: JobFilter) -> Reading[JobCounts]:
        """The reading of :meth:`count_by_status`, in one round trip."""
        statuses = wanted.statuses or tuple(JobStatus)
        filters = [replace(wanted, cursor=None, status=status) for status in statuses]
        if not wanted.statuses:
            filters.append(replace(wanted, cursor=None))
        rows = none_refused((yield [_call(self._keys, each, *start(each)) for each in filters]))
        counts, incomplete = dict[str, int](), list[str]()
        for status, row in zip((*statuses, ""), rows, strict=False):
            _, last_id, *pairs = _texts(row)
            counts[status] = sum(number for _, number in _numbers(pairs))
            if last_id:
                incomplete.append(status)
        total = counts.pop("", 0)
        if len(incomplete) == 1 and incomplete[0] and not wanted.statuses:  # the total is known, and so is the rest
            [status] = incomplete
            counts[status] = max(counts[status], total - (sum(counts.values()) - counts[status]))
            incomplete = []
        return JobCounts({status: number for status, number in counts.items() if number}, is_exact=not incomplete)


def _call(
    keys: Keys,
    wanted: JobFilter,
    created: str,
    last_id: str,
    *,
    limit: int | None = None,
    by: Literal["", "blueprint", "state"] = "",
    fields: Sequence[str] = JOB_FIELDS[:-1],
) -> Call:
    """Return the call that continues after a job; without a *limit* it counts."""
    alternatives = [keys.by_status(status) for status in dict.fromkeys(wanted.statuses)]
    text = (wanted.text or "").encode().lower()
    reads_records = by == "blueprint" or wanted.state is not None or text != b"" or wanted.decider != ()
    args = [
        created,
        last_id,
        "" if limit is None else limit,
        _RECORDS_PER_CALL if reads_records else _PER_CALL,
        _end(wanted),
        len(alternatives),
        keys.job(""),
        wanted.state or "",
        orjson.dumps(wanted.text or "")[1:-1].lower(),
        text,
        by,
        "1" if wanted.oldest_first else "",
        " ".join(wanted.decider),
        *fields,
    ]
    return Call(LIST_JOBS, [*alternatives, *_indexes(keys, wanted)] or [keys.by_all()], args)


def _indexes(keys: Keys, wanted: JobFilter) -> Sequence[str]:
    _, _, *indexes = keys.indexes_of("", wanted.client, wanted.blueprint, wanted.skill, {})
    return [keys.by_label(name, value) for name, value in dict.fromkeys(wanted.labels)] + indexes


def start(wanted: JobFilter) -> tuple[str, str]:
    """Return creation and id of the job to start after, or the end of the wanted time."""
    created, last_id = ("", "") if wanted.cursor is None else _position(wanted.cursor)
    first = wanted.created_after_ms if wanted.oldest_first else wanted.created_before_ms
    if first is not None and (not created or (int(created) < first) == wanted.oldest_first):
        return str(first), ""
    return created, last_id


def _end(wanted: JobFilter) -> int | str:
    """Return the creation of the last job that may be found, "" for no limit."""
    if not wanted.oldest_first:
        return "" if wanted.created_after_ms is None else wanted.created_after_ms
    return "" if wanted.created_before_ms is None else wanted.created_before_ms - 1


def _position(cursor: str) -> tuple[str, str]:
    match = _CURSOR.fullmatch(cursor)
    if match is None:
        raise InvalidRequestError(
            f"{cursor!r} is not a cursor", fields={"cursor": ["must be the cursor of a previous response"]}
        )
    return match[1], match[2]


def _texts(row: Sequence[bytes]) -> list[str]:
    return [text.decode() for text in row]


def _numbers(pairs: Sequence[str]) -> Iterator[tuple[str, int]]:
    return zip(pairs[::2], map(int, pairs[1::2]), strict=True)
