"""Task requests: creates a single task for each message of a kombu or Celery program that a worker forwarded."""

import logging
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace

from avtomatika import tracing
from avtomatika.broker import Consumer, Delivery, Outgoing
from avtomatika.core.job import Json
from avtomatika.core.machine import single_task
from avtomatika.core.plan import REQUESTS, WORKERS
from avtomatika.errors import ConflictError, InvalidRequestError, NoRouteError, UnavailableError
from avtomatika.schemas import wire
from avtomatika.store import NewJob, Store

logger = logging.getLogger(__name__)

#: The client of these tasks.
CLIENT = "_broker"
#: Delay of the next attempt while the server accepts no new jobs.
_FULL_SECONDS = 10.0


class TaskRequests:
    """Creates jobs in *store* for the requests that *consumer* delivers; none if they are not *accepted*."""

    def __init__(self, *, consumer: Consumer, store: Store, accepted: bool) -> None:
        self._consumer = consumer
        self._store = store
        self._accepted = accepted

    def create(self, requests: Sequence[tuple[Delivery, wire.TaskRequest]]) -> None:
        """Create the jobs, and acknowledge the requests. A repeated request creates no second job."""
        for delivery, request in requests:
            try:
                self._create(self._job(request))
            except (InvalidRequestError, wire.InvalidMessageError) as error:
                self._consumer.dead_letter(delivery, reason="malformed", error=str(error))
            except UnavailableError as error:
                logger.warning("%s; a task request waits %g s", error, _FULL_SECONDS)
                self._defer(delivery)
            else:
                self._consumer.ack([delivery.tag])

    def _create(self, new: NewJob) -> None:
        with suppress(ConflictError):  # other arguments under the same id: the first task counts
            try:
                self._store.create(new)
            except NoRouteError:  # the queue has expired
                self._consumer.declare_tasks([str(new.skill)])
                self._store.create(new)

    def _defer(self, delivery: Delivery) -> None:
        again = Outgoing(
            WORKERS, REQUESTS, delivery.body.decode(), headers=delivery.headers, delay_seconds=_FULL_SECONDS
        )
        self._consumer.settle_many([([replace(again, properties=delivery.properties)], [delivery.tag])])

    def _job(self, request: wire.TaskRequest) -> NewJob:
        """Return the job. Raises InvalidRequestError or InvalidMessageError if there can be none."""
        if not self._accepted:
            raise InvalidRequestError("tasks of other programs are refused: ACCEPT_KOMBU_TASKS=false")
        args, params = request.arguments()
        headers, properties = request.headers, request.properties
        at_ms, expires_ms, seconds = request.time("eta"), request.time("expires"), None
        if expires_ms is not None:
            seconds = (expires_ms - max(self._store.clock.now_ms(), at_ms or 0)) / 1000
            if seconds <= 0:
                raise InvalidRequestError("the task has expired")
        return NewJob(
            plan=single_task.PLAN,
            client=CLIENT,
            skill=request.skill,
            initial_data={**self._named(request.skill, args, params), **params},
            at_ms=at_ms,
            priority=min(max(_number(properties.get("priority")) or 0, 0), 9),
            dispatch_timeout_seconds=seconds,
            result_timeout_seconds=_number((headers.get("timelimit") or [None])[0]),
            reply=request.reply(),
            traceparent=tracing.checked(headers.get("traceparent")),
            idempotency_key=f"{request.skill}/{headers.get('id') or properties.get('message_id') or request.tag}",
        )

    def _named(self, skill: str, args: Sequence[Json], params: Mapping[str, Json]) -> Mapping[str, Json]:
        """Return the arguments by position under the names of the skill's parameters, as its workers registered it."""
        names = self._store.registry.parameters_of(skill) if args else []
        if len(names) < len(args):
            raise InvalidRequestError(
                f"{len(args)} arguments by position, but the parameters of the skill {skill!r} are: "
                f"{', '.join(names) or 'none by name'}. Send arguments by name"
            )
        named = dict(zip(names, args, strict=False))
        if twice := named.keys() & params.keys():
            raise InvalidRequestError(f"arguments given by position and by name: {', '.join(sorted(twice))}")
        return named


def _number(value: Json) -> int | None:
    return value if type(value) is int and value > 0 else None
