"""Creation of jobs: the request, and the script call that writes jobs with their first messages."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from hashlib import sha256
from itertools import chain, islice
from typing import Self

import orjson

from avtomatika.core.events import Signal
from avtomatika.core.frozen import dataclass
from avtomatika.core.job import Job
from avtomatika.core.job_request import JobRequest
from avtomatika.core.machine.creation import new_job
from avtomatika.core.machine.rerun import StartPoint
from avtomatika.core.plan import Plan
from avtomatika.core.signing import GroupSecret
from avtomatika.core.step import SendEvent, Step
from avtomatika.errors import AvtomatikaError, ConflictError, InvalidRequestError, QuotaExceededError
from avtomatika.transport import Outgoing, Router
from avtomatika.transport.scripts import Argument, Call

from .entries import dump_entry
from .keys import Keys
from .messages import message_of, opened_row, signal_key, step_message, timer_row
from .records import dump_doc, dump_init
from .scripts import CREATE_JOBS
from .server_part import ServerClock

#: Fields of a NewJob that are not part of a request's body.
_NOT_IN_BODY = frozenset({"plan", "idempotency_key", "point", "traceparent"})
#: Maximum number of invalid jobs in one error.
_MOST_JOBS_REPORTED = 20


@dataclass(frozen=True)
class NewJob(JobRequest):
    """A job of *client* to create. With an *idempotency_key*, a repeated request creates no second job.

    One that continues another job starts at a *point* of it.
    """

    plan: Plan
    client: str
    idempotency_key: str | None = None
    point: StartPoint | None = None


@dataclass(frozen=True, slots=True)
class CreatedJob:
    """*existing* if it was created by an earlier request with the same idempotency key or unique key."""

    job_id: str
    existing: bool


@dataclass(frozen=True, slots=True)
class Quota:
    """At most *limit* jobs may be created in *month* (``2026-11``); the next month starts at *renews*, UTC."""

    limit: int
    month: str
    renews: datetime

    @classmethod
    def of(cls, limit: int, *, now: datetime) -> Self:
        """Return the quota for the month of *now*.

        >>> Quota.of(5, now=datetime(2026, 12, 24, tzinfo=UTC)).renews.isoformat()
        '2027-01-01T00:00:00+00:00'
        """
        year, month = divmod(now.year * 12 + now.month, 12)
        return cls(limit, f"{now:%Y-%m}", datetime(year, month + 1, 1, tzinfo=UTC))


def first_steps(news: Sequence[NewJob], ids: Sequence[str], *, task_retries: int) -> list[Step]:
    """Return the first steps of *news*, which get *ids*; *task_retries* is the default of single tasks.

    Raises one InvalidRequestError for all whose data do not fit the blueprint.
    """
    steps, problems = list[Step](), dict[int, InvalidRequestError]()
    for place, (new, job_id) in enumerate(zip(news, ids, strict=True)):
        retries, point = task_retries, new.point
        try:
            step = new_job(new.plan, new, job_id=job_id, client=new.client, task_retries=retries, point=point)
            steps.append(step)
        except InvalidRequestError as error:
            if len(news) == 1:
                raise
            problems[place] = error
    if problems:
        place, first = next(iter(problems.items()))
        fields = {each: error.fields for each, error in islice(problems.items(), _MOST_JOBS_REPORTED)}
        raise InvalidRequestError(
            f"{len(problems)} of {len(news)} jobs are invalid: [{place}].{first}", fields={"jobs": fields}
        )
    return steps


def create_call(
    news: Sequence[NewJob],
    steps: Sequence[Step],
    *,
    replaced: Mapping[str, Sequence[Job]],
    quota: Quota | None,
    reserved: str,
    max_job_bytes: int,
    keys: Keys,
    router: Router,
    secret: GroupSecret,
    clock: ServerClock,
) -> Call:
    """Return the call that writes *steps*, the first steps of *news*, all of one client and one plan.

    *replaced* are the unfinished jobs that some of them replace, by the list of their unique key; *reserved* is their
    idempotency key if it is in another shard.

    Raises the transport's NoRouteError if a message has no queue, InvalidRequestError if a job would be too large.
    """
    keys = keys.of(steps[0].job.id)
    router = router.of(keys.prefix)
    first = keys.job(steps[0].job.id)
    idempotency, content = first, f"@{reserved}" if reserved else ""
    if news[0].idempotency_key is not None and not reserved:
        idempotency, content = idempotency_of(news[0], keys), body_hash(news)
    quota_key = first if quota is None else keys.quota(news[0].client, quota.month)
    call_keys = [idempotency, quota_key, keys.timers(), keys.timer_messages(), keys.statistics()]
    args: list[Argument] = [content]
    args += ["", 0] if quota is None else [quota.limit, round(quota.renews.timestamp())]
    messages = [
        [message_of(step.job, each, secret, version=1, clock=clock) for each in step.outgoing] for step in steps
    ]
    cancels = [
        _cancels(step.job, replaced.get(keys.unique_of(step.job), ()), secret) if replaced else {} for step in steps
    ]
    routes = {
        route.bindings_key: route
        for message in chain(*messages, *(each.values() for each in cancels))
        for route in [router.route(message.exchange, message.routing_key)]
    }
    args += (len(routes), *(route.version for route in routes.values()), len(steps))
    call_keys += routes
    for step, sent, olds in zip(steps, messages, cancels, strict=True):
        own_keys, own_args = _job_rows(step, sent, max_job_bytes, keys, router, secret)
        call_keys += (*own_keys, *(_stream(each, router) for each in olds.values()))
        args += (*own_args, step.job.on_conflict or "", len(olds))
        args += chain(*((job_id, router.encode(each)) for job_id, each in olds.items()))
    return Call(CREATE_JOBS, call_keys, args)


def created(
    news: Sequence[NewJob], steps: Sequence[Step], quota: Quota | None, status: bytes, detail: bytes
) -> list[CreatedJob] | AvtomatikaError:
    """Return the jobs that the script of :func:`create_call` created, or its error."""
    ids = detail.decode().replace("?", "").split() or [step.job.id for step in steps]
    if status == b"OTHER_BODY":
        return _other_body(news, ids)
    if status in (b"TAKEN", b"FULL"):
        more = ", and 100 jobs wait for it" if status == b"FULL" else ""
        return ConflictError(f"job {ids[0]} with the same unique key has not ended{more}")
    if status == b"QUOTA" and quota is not None:
        return QuotaExceededError(limit=quota.limit, created=int(detail), asked=len(news), renews=quota.renews)
    is_new = status == b"OK"
    return [
        CreatedJob(each, existing=not (is_new and each == step.job.id)) for each, step in zip(ids, steps, strict=True)
    ]


def idempotency_of(new: NewJob, keys: Keys) -> str:
    """Return the key of the jobs with the idempotency key of *new*."""
    return keys.idempotency(new.client, sha256(str(new.idempotency_key).encode()).hexdigest())


def held_jobs(news: Sequence[NewJob], held: str) -> tuple[list[str], list[CreatedJob] | ConflictError | None]:
    """Return the ids that the idempotency key of *news* holds, and the result unless it only reserves them."""
    content, _, text = held.partition(" ")
    ids = text.removeprefix("?").split()
    if content != body_hash(news):
        return ids, _other_body(news, ids)
    return ids, None if text.startswith("?") else [CreatedJob(each, existing=True) for each in ids]


def _other_body(news: Sequence[NewJob], ids: Sequence[str]) -> ConflictError:
    return ConflictError(
        f"the idempotency key {news[0].idempotency_key!r} was used with another body, for job {ids[0]}"
    )


def _cancels(new: Job, replaced: Sequence[Job], secret: GroupSecret) -> dict[str, Outgoing]:
    """Return the messages that cancel the jobs that *new* replaces, by job id."""
    if new.on_conflict != "replace":
        return {}
    signals = (Signal(job.id, "cancel", f"job {new.id}, which replaces it", f"replaced:{new.id}") for job in replaced)
    return {
        job.id: step_message(SendEvent(signal_key(job), signal), secret)
        for job, signal in zip(replaced, signals, strict=True)
    }


def _stream(message: Outgoing, router: Router) -> str:
    queue = router.route(message.exchange, message.routing_key).queues[0]
    return router.stream(queue, message.priority, message.headers)


def _job_rows(
    step: Step, messages: Sequence[Outgoing], max_job_bytes: int, keys: Keys, router: Router, secret: GroupSecret
) -> tuple[list[str], list[Argument]]:
    """Return the keys and arguments of one job."""
    job, indexes = step.job, keys.indexes(step.job)
    streams = [_stream(each, router) for each in messages]
    line = keys.job(job.id) if job.unique_key is None else keys.unique_of(job)
    init, doc = dump_init(job), dump_doc(job)
    size = init.size + (doc.size if job.state_history or job.kept else 0)
    if size > max_job_bytes:
        reason = f"the data of the job are {size} bytes of JSON, but MAX_JOB_BYTES={max_job_bytes}"
        raise InvalidRequestError(reason, fields={"initial_data": [reason]})
    args: list[Argument] = [job.id, job.status, doc.text, init.text]
    rows: tuple[Sequence[Sequence[Argument]], ...] = (
        list({**init.new, **doc.new}.items()),
        [timer_row(job.id, timer, router, secret) for timer in step.timers],
        [opened_row(job, task_id, router, secret) for task_id, _ in step.opened],
        [(dump_entry(entry),) for entry in step.history],
    )
    for row in rows:
        args += (len(row), *chain(*row))
    args += (len(indexes), len(messages))
    args += chain(*((router.encode(each), str(each.headers.get("x-group", ""))) for each in messages))
    return [keys.job(job.id), keys.history(job.id), keys.tasks(job.id), line, *indexes, *streams], args


def body_hash(news: Sequence[NewJob]) -> str:
    """Return a digest that two equal requests under one idempotency key share."""
    names = [name for name in NewJob.__dataclass_fields__ if name not in _NOT_IN_BODY]
    jobs = [{name: getattr(new, name) for name in names} for new in news]
    return sha256(orjson.dumps([news[0].plan.blueprint, jobs], option=orjson.OPT_SORT_KEYS)).hexdigest()
