"""The creation of a job: what is asked for, and the script call that writes it with its first message."""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import sha256

import orjson

from avtomatika.core.job import Json
from avtomatika.core.machine import new_job
from avtomatika.core.plan import Plan
from avtomatika.core.signing import GroupSecret
from avtomatika.core.step import SendEvent, Step
from avtomatika.transport import Router
from avtomatika.transport.scripts import Call

from .keys import Keys
from .messages import step_message
from .records import dump_doc, dump_entry, dump_init
from .scripts import CREATE

#: How long an idempotency key is remembered.
IDEMPOTENCY_SECONDS = 24 * 3600


@dataclass(frozen=True, slots=True)
class NewJob:
    """A job that somebody asks for; *retry_of* is the id of an ended one that it does again."""

    plan: Plan
    client: str
    initial_data: dict[str, Json] = field(default_factory=dict)
    priority: int = 0
    labels: dict[str, str] = field(default_factory=dict)
    webhook_url: str | None = None
    retry_of: str | None = None
    dispatch_timeout_seconds: float | None = None
    result_timeout_seconds: float | None = None
    idempotency_key: str | None = None


@dataclass(frozen=True, slots=True)
class Created:
    """*existing*: the idempotency key had been used before, and this is the job that it made then."""

    job_id: str
    existing: bool


def first_step(new: NewJob, job_id: str) -> Step:
    """The birth of *new* under *job_id*."""
    return new_job(
        new.plan,
        job_id=job_id,
        client=new.client,
        initial_data=new.initial_data,
        priority=new.priority,
        labels=new.labels,
        webhook_url=new.webhook_url,
        retry_of=new.retry_of,
        dispatch_timeout_seconds=new.dispatch_timeout_seconds,
        result_timeout_seconds=new.result_timeout_seconds,
    )


def create_call(new: NewJob, step: Step, *, keys: Keys, router: Router, secret: GroupSecret) -> Call:
    """The call that writes *step*. Raises NoRoute of the transport where its message leads nowhere."""
    job = step.job
    [sent] = [outgoing for outgoing in step.outgoing if isinstance(outgoing, SendEvent)]
    message = step_message(sent, secret)
    route = router.route(message.exchange, message.routing_key)
    idempotency, body_hash = keys.job(job.id), ""
    if new.idempotency_key is not None:
        idempotency = keys.idempotency(new.client, sha256(new.idempotency_key.encode()).hexdigest())
        body_hash = _body_hash(new)
    call_keys = [
        keys.job(job.id),
        keys.history(job.id),
        idempotency,
        route.bindings_key,
        router.stream(route.queues[0], message.priority),
        *keys.indexes(job),
    ]
    args: list[str | bytes | int] = [
        job.id,
        job.status,
        dump_doc(job),
        dump_init(job),
        route.version,
        router.encode(message),
        body_hash,
        IDEMPOTENCY_SECONDS,
        *(dump_entry(entry) for entry in step.history),
    ]
    return Call(CREATE, call_keys, args)


def _body_hash(new: NewJob) -> str:
    """What makes two requests under one idempotency key the same."""
    fields = {
        name: getattr(new, name) for name in NewJob.__dataclass_fields__ if name not in ("plan", "idempotency_key")
    }
    return sha256(orjson.dumps([new.plan.blueprint, fields], option=orjson.OPT_SORT_KEYS)).hexdigest()
