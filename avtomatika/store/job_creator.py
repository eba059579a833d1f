"""Creates jobs, all those of a batch or none."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import TypeVar

from avtomatika import tracing
from avtomatika.core.job import Job
from avtomatika.core.job_request import ON_CONFLICT
from avtomatika.core.step import Step
from avtomatika.errors import AvtomatikaError, InvalidRequestError, NoRouteError, UnavailableError
from avtomatika.transport import Command, Reading, none_refused, together
from avtomatika.transport.scripts import Call

from .creation import (
    CreatedJob,
    NewJob,
    Quota,
    body_hash,
    create_call,
    created,
    first_steps,
    held_jobs,
    idempotency_of,
)
from .ids import new_job_id
from .job_writer import JobWriter
from .keys import Keys
from .placement import Placement
from .scripts import TAKE_QUOTA
from .server_info import ServerInfoReader
from .server_part import checked

#: How long an idempotency key is kept after a creation that failed, and if some of its jobs are those of others.
_FAILED_SECONDS, _EXISTING_SECONDS = 60, 604_800
T = TypeVar("T")


@dataclass(slots=True)
class _Part:
    """The jobs of a batch that one script creates, in one shard: those at *places*, which get *ids*.

    *reserved* is the idempotency key, in another shard, that holds the *ids*; *counted* are the jobs of the month if
    the quota, which is counted at the home, does not suffice for *most* new jobs.
    """

    news: Sequence[NewJob]
    places: Sequence[int]
    quota: Quota | None
    ids: list[str] = field(default_factory=list)
    reserved: str = ""
    was_reserved: bool = False
    most: int = 0
    counted: int | None = None
    steps: Sequence[Step] = ()


class JobCreator(JobWriter):
    """With several shards, the unique key of a job chooses its shard, else that of the job that it continues, else its
    idempotency key, else the load of the shards. The jobs of a batch with different unique keys are then created by
    several scripts, all those of a script or none."""

    _group: str
    _max_retries: int
    _server_info: ServerInfoReader
    placement: Placement

    def create(self, new: NewJob, *, monthly: int | None = None) -> CreatedJob:
        """Write a job with its first history entry and its first message, atomically.

        *monthly* limits the jobs that its client may create in a calendar month (UTC). Raises ConflictError if the
        idempotency key was used with another body, QuotaExceededError, NoRouteError if the plan was never declared, and
        UnavailableError if the server is unreachable or out of memory for new jobs.
        """
        return self.create_many([new], monthly=monthly)[0]

    def create_many(
        self, news: Sequence[NewJob], *, monthly: int | None = None, declare: Callable[..., object] | None = None
    ) -> list[CreatedJob]:
        """As :meth:`create`, all jobs or none. They have the same client, plan and idempotency key.

        *declare* declares the plan, and the queues of the skills that it is given, if the broker does not know them.
        """
        return checked(self.create_each([news], monthly={news[0].client: monthly}, declare=declare))[0]

    def create_each(
        self,
        batches: Sequence[Sequence[NewJob]],
        *,
        monthly: Mapping[str, int | None],
        declare: Callable[..., object] | None = None,
    ) -> list[list[CreatedJob] | AvtomatikaError]:
        """As :meth:`create_many` for each of *batches*, in one round trip, or a few with several shards; *monthly* is
        by client. Returns the error of a batch in its place. Raises UnavailableError."""
        self._server_info.refuse_when_full()
        self.placement.record()
        limits = {client: limit for client, limit in monthly.items() if limit is not None}
        quotas = {client: Quota.of(limit, now=self.clock.now()) for client, limit in limits.items()}
        wholes = [
            _Part(news, range(len(news)), quotas.get(news[0].client), [new_job_id(self._group) for _ in news])
            for news in map(tracing.created, batches)
        ]
        if len(self._keys.shards) == 1:
            return self._create_parts(wholes, declare)
        placed = self.read_together(*map(self._place, wholes))
        made = iter(self._create_parts([part for parts, _ in placed for part in parts], declare))
        commands, results = list[Command](), list[list[CreatedJob] | AvtomatikaError]()
        for whole, (parts, known) in zip(wholes, placed, strict=True):
            outcomes = list(zip(parts, made, strict=False))
            commands += self._commands_after(whole, outcomes)
            results.append(_joined(outcomes) if known is None else known)
        with suppress(UnavailableError):
            self._run_all(commands)
        return results

    def _create_parts(
        self, parts: Sequence[_Part], declare: Callable[..., object] | None
    ) -> list[list[CreatedJob] | AvtomatikaError]:
        made = self._run_routed(self._router, parts, self._creation, self._created)
        unknown = [place for place, each in enumerate(made) if isinstance(each, NoRouteError)]
        if unknown and declare is not None:  # no orchestrator has declared the plan, or the server has lost its data
            declare(*({new.skill for place in unknown for new in parts[place].news} - {None}))
            again = self._run_routed(self._router, [parts[place] for place in unknown], self._creation, self._created)
            for place, each in zip(unknown, again, strict=True):
                made[place] = each
        return made

    def _creation(self, part: _Part) -> Call:
        part.steps = first_steps(part.news, part.ids, task_retries=self._max_retries)
        quota = part.quota
        if quota is not None and part.counted is not None:  # nothing may be created, but what exists is returned
            quota = replace(quota, limit=0)
        return create_call(
            part.news,
            part.steps,
            replaced=self._replaced(part.steps),
            quota=quota,
            reserved=part.reserved,
            max_job_bytes=self._max_job_bytes,
            clock=self.clock,
            **self._routing,
        )

    def _created(self, part: _Part, reply: Sequence[bytes]) -> list[CreatedJob] | AvtomatikaError:
        status, detail = reply
        counted = detail if status != b"QUOTA" or part.counted is None else b"%d" % part.counted
        return created(part.news, part.steps, part.quota, status, counted)

    def _replaced(self, steps: Sequence[Step]) -> dict[str, Sequence[Job]]:
        """Return the unfinished jobs that the jobs of *steps* replace, by the list of their unique key."""
        jobs = [step.job for step in steps if step.job.on_conflict == "replace"]
        lines = {self._keys.of(job.id).unique_of(job) for job in jobs}
        ids = {line: [each.decode() for each in self._read([("LRANGE", line, 0, -1)])[0]] for line in lines}
        return {line: [job for job in self.load_many(each) if job is not None] for line, each in ids.items()}

    # ------------------------------------------------------------ several shards

    def _place(self, whole: _Part) -> Reading[tuple[list[_Part], list[CreatedJob] | AvtomatikaError | None]]:
        """Divide a batch into parts of one shard each, reserve its idempotency key in another shard, and count its
        jobs for the quota. Return the parts, or the result if it is known already."""
        news, first, home = whole.news, whole.news[0], None
        try:
            groups = self._groups(whole)
        except InvalidRequestError as error:
            return [], error
        key, held = "", None
        if first.idempotency_key is not None:
            home, *earlier = self.placement.choices(f"{first.client} {first.idempotency_key}")
            keys = [idempotency_of(first, each) for each in earlier]
            values = none_refused((yield [("GET", each) for each in keys]))
            key, held = next(((each, value) for each, value in zip(keys, values, strict=True) if value), ("", None))
        shards = yield from together(*(self._read_shard(first, unique, home) for _, unique in groups))
        parts = [replace(whole, news=[news[place] for place in places], places=places) for places, _ in groups]
        for part, shard in zip(parts, shards, strict=True):
            part.ids = [new_job_id(shard.shard) for _ in part.places]
        if home is not None and not key and (groups[0][1] is not None or len(groups) > 1 or first.origins):
            key = idempotency_of(first, home)
            reserved = f"{body_hash(news)} ?{' '.join(_by_place((part.places, part.ids) for part in parts))}"
            held, _ = none_refused((yield [("SET", key, reserved, "NX", "GET"), ("PERSIST", key)]))
        if held is not None:
            ids, known = held_jobs(news, held.decode())
            if known is not None:
                return [], known
            for part in parts:
                part.ids = [ids[place] for place in part.places]
        is_counted, count = 1, None
        if whole.quota is not None:
            [(is_counted, count)] = none_refused((yield [self._quota_call(first.client, whole.quota, whole.most)]))
        for part in parts:
            part.reserved, part.was_reserved = key, held is not None
            part.quota, part.counted = (None, None) if is_counted else (whole.quota, count)
        return parts, None

    def _groups(self, whole: _Part) -> list[tuple[Sequence[int], Job | None]]:
        """Return the places of the jobs of a batch with the same unique key, and one of these jobs; None without."""
        if all(new.unique_key is None and new.plan.unique_key is None for new in whole.news):
            whole.most = len(whole.places)
            return [(whole.places, None)]
        jobs = [step.job for step in first_steps(whole.news, whole.ids, task_retries=self._max_retries)]
        places = defaultdict[str, list[int]](list)
        for place, job in enumerate(jobs):
            line = places["" if job.unique_key is None else self._keys.unique_of(job)]
            whole.most += not line or job.on_conflict != ON_CONFLICT[0]  # else an earlier one is returned
            line.append(place)
        return [(found, jobs[found[0]] if line else None) for line, found in places.items()]

    def _read_shard(self, new: NewJob, unique: Job | None, home: Keys | None) -> Reading[Keys]:
        """Read which shard new jobs belong to; *unique* is one with their unique key, *home* that of their idempotency
        key."""
        if unique is not None:
            chosen, *earlier = self.placement.choices(self._keys.unique_of(unique))
            used = none_refused((yield [("EXISTS", keys.unique_of(unique)) for keys in earlier]))
            return next((keys for keys, is_used in zip(earlier, used, strict=True) if is_used), chosen)
        if new.origins:
            return self._keys.of(new.origins[-1])
        return home or (yield from self.placement.read_least_loaded())

    def _quota_call(self, client: str, quota: Quota, count: int) -> Call:
        """Return the call that counts jobs, or subtracts a negative number of them."""
        return Call(
            TAKE_QUOTA, [self._keys.quota(client, quota.month)], [count, quota.limit, round(quota.renews.timestamp())]
        )

    def _commands_after(
        self, whole: _Part, outcomes: Sequence[tuple[_Part, list[CreatedJob] | AvtomatikaError]]
    ) -> Iterator[Command]:
        """Yield the commands that correct the quota and the idempotency key of a batch after its creation."""
        made = [result for _, result in outcomes if not isinstance(result, AvtomatikaError)]
        if not outcomes or any(isinstance(result, UnavailableError) for _, result in outcomes):
            return  # jobs may have been created
        part, jobs = outcomes[0][0], list(chain(*made))
        unused = whole.most - sum(not job.existing for job in jobs)
        if whole.quota is not None and part.counted is None and unused:
            yield self._quota_call(whole.news[0].client, whole.quota, -unused)
        if not part.reserved:
            return
        ids, result = _by_place((each.places, each.ids) for each, _ in outcomes), _joined(outcomes)
        used = [] if isinstance(result, AvtomatikaError) else [job.job_id for job in result]
        if not made:
            yield "EXPIRE", part.reserved, _FAILED_SECONDS
        elif used and (used != ids or len(outcomes) > 1):  # some may be deleted long before the others
            expiry = () if used == ids else ("EX", _EXISTING_SECONDS)
            yield "SET", part.reserved, f"{body_hash(whole.news)} {' '.join(used)}", *expiry
        elif part.was_reserved:
            yield "PERSIST", part.reserved


def _joined(outcomes: Sequence[tuple[_Part, list[CreatedJob] | AvtomatikaError]]) -> list[CreatedJob] | AvtomatikaError:
    """Return the jobs of a batch in order, or the first error of its parts."""
    found = list[tuple[Sequence[int], list[CreatedJob]]]()
    for part, result in outcomes:
        if isinstance(result, AvtomatikaError):
            return result
        found.append((part.places, result))
    return _by_place(found)


def _by_place(parts: Iterable[tuple[Sequence[int], Sequence[T]]]) -> list[T]:
    """Return the items of *parts* in the order of their places in the batch."""
    found = {place: item for places, items in parts for place, item in zip(places, items, strict=True)}
    return [found[place] for place in sorted(found)]
