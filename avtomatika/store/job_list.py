"""Lists and counts of jobs: a script intersects the indexes of all filters on the server."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias

import orjson

from avtomatika.core.job import JobStatus
from avtomatika.errors import InvalidRequestError
from avtomatika.transport import Reading, none_refused, together
from avtomatika.transport.scripts import Call

from .keys import Keys
from .records import JOB_FIELDS, JobFilter
from .scripts import LIST_JOBS
from .server_part import JobRow, ServerPart

#: Jobs that one call examines, or the calls to all shards together: a call takes the server 1 to 2 ms. Fewer if it must
#: read their records.
_PER_CALL = 2000
_RECORDS_PER_CALL = 500
#: Maximum number of calls for one page. A page that needs more is short, and its cursor continues.
_CALLS = 10
#: Length of the hash of a plan.
_HASH = 8
#: A job's creation in milliseconds, and its id.
_CURSOR = re.compile(r"([0-9]{1,15})\.([A-Za-z0-9_-]{1,256})")

#: What jobs are counted by.
Grouping: TypeAlias = Literal["", "blueprint", "state"]
#: Creation in milliseconds and id of a job: its place in all lists.
Position: TypeAlias = tuple[int, str]


@dataclass(frozen=True, slots=True)
class JobCounts:
    """Numbers of jobs by status or blueprint, without zeros. If not *is_exact*, there are more than these."""

    counts: Mapping[str, int]
    is_exact: bool = True

    @property
    def total(self) -> int:
        return sum(self.counts.values())


class JobLists(ServerPart):
    """Lists and counts the jobs of one server, in all shards."""

    def _read_list(
        self, wanted: JobFilter, fields: Sequence[str] = JOB_FIELDS[:-1]
    ) -> Reading[tuple[dict[str, JobRow], str | None]]:
        """Read *fields* of up to ``wanted.limit`` jobs by id, and the cursor of the next page, None at the end.

        A cursor is a position in the order of all jobs, which never changes. A page may have fewer jobs than the limit,
        or none, if few of many jobs match. Raises InvalidRequestError for an unknown cursor.
        """
        first, limit = start(wanted), wanted.limit
        found, ends = dict[Position, JobRow](), dict[Keys, Position]()
        behind: Sequence[Keys] = self._keys.shards
        for _ in range(_CALLS):
            places = [ends.get(keys, first) for keys in behind]
            options: dict[str, Any] = {"limit": limit, "shares": len(behind), "fields": fields}
            calls = [_call(keys, wanted, *place, **options) for keys, place in zip(behind, places, strict=True)]
            for keys, (created, last_id, *jobs) in zip(behind, none_refused((yield calls)), strict=True):
                positions = zip(map(int, jobs[1::3]), _texts(jobs[::3]), strict=True)
                found |= zip(positions, jobs[2::3], strict=True)
                ends.pop(keys, None)
                if last_id:
                    ends[keys] = int(created), last_id.decode()
            page, end = first_page(wanted, found, ends.values())
            limit = wanted.limit - len(page)
            if not limit or not ends:
                break
            # A shard that was read past what the page can still contain waits for the others.
            needed = in_order(wanted, {*found, *ends.values()})[: wanted.limit]
            behind = [keys for keys, place in ends.items() if place in needed]
        return {each[1]: found[each] for each in page}, None if end is None else "{}.{}".format(*end)

    def count_by_blueprint(self, wanted: JobFilter) -> JobCounts:
        """Count the jobs that match, by blueprint; up to 5,000 jobs are examined."""
        return JobCounts(*self.read_together(self._read_numbers(wanted, "blueprint", calls=_CALLS))[0])

    def read_states(self, wanted: JobFilter) -> Reading[tuple[dict[tuple[str, str], int], bool]]:
        """Count the jobs that match, by plan hash and state: the first 2,000, False if there are more."""
        found, is_exact = yield from self._read_numbers(wanted, "state")
        return {(name[:_HASH], name[_HASH:]): count for name, count in found.items()}, is_exact

    def _read_numbers(self, wanted: JobFilter, by: Grouping, *, calls: int = 1) -> Reading[tuple[Counter[str], bool]]:
        """Count the jobs that match, in *calls* round trips, and up to two more for what shards without more jobs leave
        to the others; False if there are more."""
        left = dict.fromkeys(self._keys.shards, start(wanted))
        found = Counter[str]()
        for made in range(1, calls + 3):
            asked = [_call(keys, wanted, *place, by=by, shares=len(left)) for keys, place in left.items()]
            for keys, row in zip(list(left), none_refused((yield asked)), strict=True):
                created, last_id, *pairs = _texts(row)
                found.update(dict(_numbers(pairs)))
                left[keys] = created, last_id
            left = {keys: place for keys, place in left.items() if place[1]}
            if not left or (made >= calls and len(left) == len(asked)):
                break
        return found, not left

    def count_by_status(self, wanted: JobFilter) -> JobCounts:
        """Count the jobs that match, by status; of each status up to 2,000 jobs are examined."""
        return self.read_together(self.read_counts(wanted))[0]

    def read_counts(self, wanted: JobFilter) -> Reading[JobCounts]:
        """The reading of :meth:`count_by_status`, in one round trip; in up to three if few shards have most jobs."""
        statuses = wanted.statuses or tuple(JobStatus)
        filters = [replace(wanted, cursor=None, status=status) for status in statuses]
        if not wanted.statuses:
            filters.append(replace(wanted, cursor=None))
        found = yield from together(*(self._read_numbers(each, "") for each in filters))
        rows = dict(zip((*statuses, ""), found, strict=False))
        counts = {status: numbers.total() for status, (numbers, _) in rows.items()}
        incomplete = [status for status, (_, is_exact) in rows.items() if not is_exact]
        total = counts.pop("", 0)
        if len(incomplete) == 1 and incomplete[0] and not wanted.statuses:  # the total is known, and so is the rest
            [status] = incomplete
            counts[status] = max(counts[status], total - (sum(counts.values()) - counts[status]))
            incomplete = []
        return JobCounts({status: number for status, number in counts.items() if number}, is_exact=not incomplete)


def in_order(wanted: JobFilter, found: Iterable[Position]) -> list[Position]:
    return sorted(found, reverse=not wanted.oldest_first)


def first_page(
    wanted: JobFilter, found: Iterable[Position], ends: Iterable[Position]
) -> tuple[list[Position], Position | None]:
    """Return the positions of a page of jobs, and that of the next page or None.

    Each of several sources has told all jobs up to its place in *ends*, or to its last one if it has none there.
    """
    ordered, end = in_order(wanted, found), next(iter(in_order(wanted, ends)), None)
    known = [each for each in ordered if end is None or each == end or (each < end) == wanted.oldest_first]
    page = known[: wanted.limit]
    return page, page[-1] if len(known) > wanted.limit else end


def _call(
    keys: Keys,
    wanted: JobFilter,
    created: int | str,
    last_id: str,
    *,
    limit: int | None = None,
    by: Grouping = "",
    shares: int,
    fields: Sequence[str] = JOB_FIELDS[:-1],
) -> Call:
    """Return the call that continues after a job; without a *limit* it counts. It is one of *shares* calls that
    examine as many jobs together as a single one may."""
    alternatives = [keys.by_status(status) for status in dict.fromkeys(wanted.statuses)]
    text = (wanted.text or "").encode().lower()
    reads_records = by == "blueprint" or wanted.state is not None or text != b"" or wanted.decider != ()
    args = [
        created,
        last_id,
        "" if limit is None else limit,
        max((_RECORDS_PER_CALL if reads_records else _PER_CALL) // shares, 1),
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
