"""Plan -> declarations: exchanges, queues and bindings, as kombu's entities, on the broker."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from kombu import Connection, Exchange, Queue, binding

from avtomatika.core.plan import CONTROL, FILES, STEPS, TASKS, TIMERS, WEBHOOKS, WORKERS, Plan
from avtomatika.errors import NoRouteError

from .connection import translated

#: Routing keys of notices: a worker has begun with a task, it is there, it is still there.
TAKEN = "taken"
PROGRESS = "progress"
REGISTER = "register"
HEARTBEAT = "heartbeat"
NOTICES = (TAKEN, PROGRESS, REGISTER, HEARTBEAT)

#: A worker that does not ask for its own tasks for so long will not come back for them.
_OWN_QUEUE_SECONDS = 900
#: Nor for what all were told.
_CONTROL_SECONDS = 120

_steps, _tasks, _timers, _workers, _webhooks, _files = (
    Exchange(name, "direct") for name in (STEPS, TASKS, TIMERS, WORKERS, WEBHOOKS, FILES)
)
_control = Exchange(CONTROL, "fanout")
_EXCHANGES = [_steps, _tasks, _timers, _workers, _webhooks, _files, _control]


def declare(connection: Connection, plans: Iterable[Plan]) -> None:
    """Declare everything that *plans* need; what is there already stays as it is.

    Raises NoRouteError for a binding to a queue that its plan does not have, before anything is declared; and
    UnavailableError.
    """
    queues = _queues(list(plans))
    with translated(connection), connection.channel() as channel:
        _declare(channel, _EXCHANGES, queues)


def bindings_of_queues(plans: Iterable[Plan]) -> dict[str, list[tuple[str, str]]]:
    """Queue -> (exchange, routing key) of every binding: all that :func:`declare` declares."""
    return {queue.name: _bindings(queue) for queue in _queues(list(plans))}


def exchanges() -> tuple[str, ...]:
    """Names of all exchanges that :func:`declare` declares."""
    return tuple(exchange.name for exchange in _EXCHANGES)


def _queues(plans: list[Plan]) -> list[Queue]:
    task_types = sorted({task_type for plan in plans for task_type in plan.task_types})
    return [
        Queue(TIMERS, _timers, routing_key=TIMERS),
        _notices(),
        Queue(WEBHOOKS, _webhooks, routing_key=WEBHOOKS),
        Queue(FILES, _files, routing_key=FILES),
        *(queue for plan in plans for queue in _step_queues(plan)),
        *_task_queues(task_types),
    ]


def worker_queue(worker_id: str) -> str:
    """Name of the queue of tasks that one worker was chosen for."""
    return f"@{worker_id}"


def declare_tasks(connection: Connection, task_types: Iterable[str], *, worker_id: str | None = None) -> None:
    """Declare what workers need: a queue for each of *task_types*, one for the worker itself, and where results and
    notices go."""
    with translated(connection), connection.channel() as channel:
        queues = [_notices(), *_task_queues(task_types)]
        if worker_id is not None:
            queues.append(_worker_queue(worker_id))
        _declare(channel, [_steps, _tasks, _workers], queues)


def declare_control(connection: Connection, queue: str) -> None:
    """Have *queue* hear what all workers are told, from now on; it goes when nobody listens any more."""
    with translated(connection), connection.channel() as channel:
        Queue(queue, _control, expires=_CONTROL_SECONDS)(channel).declare()


def forget_control(connection: Connection, queue: str) -> None:
    """Nobody listens at *queue* any more."""
    with translated(connection), connection.channel() as channel:
        channel.queue_delete(queue)


def _step_queues(plan: Plan) -> Iterator[Queue]:
    leading_to: dict[str, list[binding]] = {queue: [] for queue in plan.queues}
    for bound in plan.bindings:
        if bound.queue not in leading_to:
            raise NoRouteError(STEPS, str(bound.key))
        leading_to[bound.queue].append(binding(_steps, routing_key=str(bound.key)))
    for queue, bindings in leading_to.items():
        yield Queue(queue, bindings=bindings)


def _notices() -> Queue:
    return Queue(WORKERS, bindings=[binding(_workers, routing_key=key) for key in NOTICES])


def _task_queues(task_types: Iterable[str]) -> list[Queue]:
    return [Queue(task_type, _tasks, routing_key=task_type) for task_type in task_types]


def _worker_queue(worker_id: str) -> Queue:
    name = worker_queue(worker_id)
    return Queue(name, _tasks, routing_key=name, expires=_OWN_QUEUE_SECONDS)


def _declare(channel: Any, exchanges: list[Exchange], queues: list[Queue]) -> None:
    """All at once where the transport can, else one by one."""
    if not hasattr(channel, "declare_many"):
        for entity in (*exchanges, *queues):
            entity(channel).declare()
        return
    channel.declare_many(
        exchanges={exchange.name: exchange.type for exchange in exchanges},
        queues=[queue.name for queue in queues],
        bindings=[(queue.name, *bound) for queue in queues for bound in _bindings(queue)],
    )
    for queue in queues:
        if queue.expires is not None:
            queue(channel).queue_declare()


def _bindings(queue: Queue) -> list[tuple[str, str]]:
    """(exchange, routing key) of every binding of *queue*."""
    if queue.bindings:
        return [(bound.exchange.name, bound.routing_key) for bound in queue.bindings]
    return [(queue.exchange.name, queue.routing_key)] if queue.exchange else []
