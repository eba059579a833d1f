"""Declares the exchanges, queues and bindings of plans, using kombu's entities."""

from collections.abc import Iterable, Iterator
from typing import Any

from kombu import Connection, Exchange, Queue, binding

from avtomatika.core.plan import CONTROL, FILES, REQUESTS, STEPS, TASKS, TIMERS, WEBHOOKS, WORKERS, Plan
from avtomatika.errors import NoRouteError
from avtomatika.transport import IF_EMPTY

from .connection import translated

#: Routing keys of notices: task started, progress, worker registered, worker heartbeat.
TAKEN = "taken"
PROGRESS = "progress"
REGISTER = "register"
HEARTBEAT = "heartbeat"
NOTICES = (TAKEN, PROGRESS, REGISTER, HEARTBEAT)

#: A worker that has not polled for its own tasks for this long is considered dead.
_WORKER_QUEUE_SECONDS = 900
#: An empty queue of a skill without workers is deleted after this time: clients can name any skill.
_TASK_QUEUE_SECONDS = 86_400
#: The same for control messages.
_CONTROL_SECONDS = 120

_steps, _tasks, _timers, _workers, _webhooks, _files = (
    Exchange(name, "direct") for name in (STEPS, TASKS, TIMERS, WORKERS, WEBHOOKS, FILES)
)
_control = Exchange(CONTROL, "fanout")
_EXCHANGES = [_steps, _tasks, _timers, _workers, _webhooks, _files, _control]


def declare(connection: Connection, plans: Iterable[Plan]) -> None:
    """Declare everything that *plans* need; existing entities are unchanged.

    Raises NoRouteError, before anything is declared, if a plan binds a queue that it does not have; and
    UnavailableError.
    """
    queues = _queues(list(plans))
    with translated(connection), connection.channel() as channel:
        _declare(channel, _EXCHANGES, queues)


def bindings_of_queues(plans: Iterable[Plan]) -> dict[str, list[tuple[str, str]]]:
    """Return (exchange, routing key) of every binding that :func:`declare` declares, by queue."""
    return {queue.name: _bindings(queue) for queue in _queues(list(plans))}


def exchanges() -> tuple[str, ...]:
    """Return the names of all exchanges that :func:`declare` declares."""
    return tuple(exchange.name for exchange in _EXCHANGES)


def _queues(plans: list[Plan]) -> list[Queue]:
    task_types = sorted({task_type for plan in plans for task_type in plan.task_types})
    return [
        Queue(TIMERS, _timers, routing_key=TIMERS),
        *_notices(),
        Queue(WEBHOOKS, _webhooks, routing_key=WEBHOOKS),
        Queue(FILES, _files, routing_key=FILES),
        *(queue for plan in plans for queue in _step_queues(plan)),
        *_task_queues(task_types),
    ]


def worker_queue(worker_id: str) -> str:
    """Return the name of the queue for tasks assigned to one worker."""
    return f"@{worker_id}"


def declare_tasks(connection: Connection, task_types: Iterable[str], *, worker_id: str | None = None) -> None:
    """Declare the queues of a worker: one per task type, its own queue, and the queues for results and notices."""
    with translated(connection), connection.channel() as channel:
        queues = [*_notices(), *_task_queues(task_types, expires=_TASK_QUEUE_SECONDS)]
        if worker_id is not None:
            queues.append(_worker_queue(worker_id))
        _declare(channel, [_steps, _tasks, _workers], queues)


def declare_control(connection: Connection, queue: str) -> None:
    """Bind *queue* to the control messages for all workers; it expires soon after its last use."""
    with translated(connection), connection.channel() as channel:
        Queue(queue, _control, expires=_CONTROL_SECONDS)(channel).declare()


def forget_control(connection: Connection, queue: str) -> None:
    """Delete the control queue *queue*."""
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


def _notices() -> list[Queue]:
    notices = [binding(_workers, routing_key=key) for key in NOTICES]
    return [Queue(WORKERS, bindings=notices), Queue(REQUESTS, _workers, routing_key=REQUESTS)]


def _task_queues(task_types: Iterable[str], *, expires: float | None = None) -> list[Queue]:
    return [
        Queue(name, _tasks, routing_key=name, expires=expires, queue_arguments={IF_EMPTY: True}) for name in task_types
    ]


def _worker_queue(worker_id: str) -> Queue:
    name = worker_queue(worker_id)
    return Queue(name, _tasks, routing_key=name, expires=_WORKER_QUEUE_SECONDS)


def _declare(channel: Any, exchanges: list[Exchange], queues: list[Queue]) -> None:
    """Declare all at once if the transport supports it, else one by one."""
    if not hasattr(channel, "declare_many"):
        for entity in (*exchanges, *queues):
            entity(channel).declare()
        return
    channel.declare_many(
        exchanges={exchange.name: exchange.type for exchange in exchanges},
        queues=[queue.name for queue in queues],
        bindings=[(queue.name, *bound) for queue in queues for bound in _bindings(queue)],
        arguments={
            queue.name: channel.prepare_queue_arguments(queue.queue_arguments or {}, expires=queue.expires)
            for queue in queues
            if queue.expires is not None
        },
    )


def _bindings(queue: Queue) -> list[tuple[str, str]]:
    """Return (exchange, routing key) of every binding of *queue*."""
    if queue.bindings:
        return [(bound.exchange.name, bound.routing_key) for bound in queue.bindings]
    return [(queue.exchange.name, queue.routing_key)] if queue.exchange else []
