"""Declares the exchanges, queues and bindings of plans, using kombu's entities; lists and deletes step queues."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Self

from kombu import Connection

from avtomatika.core.plan import CONTROL, FILES, REQUESTS, STEPS, TASKS, TIMERS, WEBHOOKS, WORKERS, Plan
from avtomatika.errors import NoRouteError
from avtomatika.transport import FAIR, IF_EMPTY, Channel

from .connection import translated

#: Routing keys of notices: task started, progress, worker registered, worker heartbeat.
TAKEN = "taken"
PROGRESS = "progress"
REGISTER = "register"
HEARTBEAT = "heartbeat"
NOTICES = (TAKEN, PROGRESS, REGISTER, HEARTBEAT)

#: A worker that has not polled for its own tasks for this long is considered dead.
_OF_WORKER = {"x-expires": 900_000, FAIR: True}
#: An empty queue of a skill without workers is deleted after this time: clients can name any skill.
_OF_TASKS = {"x-expires": 86_400_000, IF_EMPTY: True, FAIR: True}
#: The same for control messages.
_OF_CONTROL = {"x-expires": 120_000}

#: Exchanges that :func:`declare` declares -> type.
EXCHANGES = dict.fromkeys((STEPS, TASKS, TIMERS, WORKERS, WEBHOOKS, FILES), "direct") | {CONTROL: "fanout"}
#: Queue -> (exchange, routing key) of its bindings.
_Queues = dict[str, list[tuple[str, str]]]
_NOTICES: _Queues = {WORKERS: [(WORKERS, key) for key in NOTICES], REQUESTS: [(WORKERS, REQUESTS)]}
_PREFIX = "steps."


def declare(connection: Connection, plans: Iterable[Plan]) -> None:
    """Declare everything that *plans* need; existing entities are unchanged.

    Raises NoRouteError, before anything is declared, if a plan binds a queue that it does not have; and
    UnavailableError.
    """
    plans = list(plans)
    fair = {task_type: {FAIR: True} for plan in plans for task_type in plan.task_types}
    _declare(connection, bindings_of_queues(plans), fair)


def bindings_of_queues(plans: Iterable[Plan]) -> _Queues:
    """Return (exchange, routing key) of every binding that :func:`declare` declares, by queue."""
    queues = _NOTICES | {name: [(name, name)] for name in (TIMERS, WEBHOOKS, FILES)}
    for plan in plans:
        queues |= {name: [] for name in plan.queues} | _task_queues(plan.task_types)
        for bound in plan.bindings:
            if bound.queue not in plan.queues:
                raise NoRouteError(STEPS, str(bound.key))
            queues[bound.queue].append((STEPS, str(bound.key)))
    return queues


def worker_queue(worker_id: str) -> str:
    """Return the name of the queue for tasks assigned to one worker."""
    return f"@{worker_id}"


def declare_tasks(connection: Connection, task_types: Iterable[str], *, worker_id: str | None = None) -> None:
    """Declare the queues of a worker: one per task type, its own queue, and the queues for results and notices."""
    own = [] if worker_id is None else [worker_queue(worker_id)]
    tasks = _task_queues(task_types)
    arguments = dict.fromkeys(tasks, _OF_TASKS) | dict.fromkeys(own, _OF_WORKER)
    _declare(connection, _NOTICES | tasks | _task_queues(own), arguments)


def declare_control(connection: Connection, queue: str) -> None:
    """Bind *queue* to the control messages for all workers; it expires soon after its last use."""
    with translated(connection), connection.channel() as channel:
        channel.exchange_declare(CONTROL, EXCHANGES[CONTROL])
        channel.queue_declare(queue, arguments=_OF_CONTROL)
        channel.queue_bind(queue, CONTROL)


def forget_control(connection: Connection, queue: str) -> None:
    """Delete the control queue *queue*."""
    with translated(connection), connection.channel() as channel:
        channel.queue_delete(queue)


def _task_queues(names: Iterable[str]) -> _Queues:
    return {name: [(TASKS, name)] for name in names}


def _declare(connection: Connection, queues: _Queues, arguments: Mapping[str, Mapping[str, Any]] | None = None) -> None:
    bindings = [(name, *bound) for name, bounds in queues.items() for bound in bounds]
    with translated(connection), connection.channel() as channel:
        channel.declare_many(exchanges=EXCHANGES, queues=queues, bindings=bindings, arguments=arguments)


@dataclass(frozen=True, slots=True, order=True)
class StepQueue:
    """A step queue: ``steps.<plan>`` or ``steps.<plan>.<short>``, where *plan* is ``<blueprint>@<plan_hash>``."""

    name: str
    plan: str
    short: str | None = None

    @property
    def blueprint(self) -> str:
        return self.plan.partition("@")[0]

    @classmethod
    def read(cls, name: str) -> Self | None:
        """Parse *name*; None if it is not a step queue."""
        if not name.startswith(_PREFIX) or "@" not in name:
            return None
        plan, _, short = name.removeprefix(_PREFIX).partition(".")
        return cls(name, plan, short or None)


class StepQueues:
    """The step queues of one broker."""

    def __init__(self, connection: Connection, channel: Channel) -> None:
        self._connection = connection
        self._channel = channel

    def all(self) -> list[StepQueue]:
        """Return all step queues of all plans."""
        with translated(self._connection):
            names = self._channel.topology.queues()
        return sorted(queue for name in names if (queue := StepQueue.read(name)) is not None)

    def bindings(self) -> list[tuple[str, str]]:
        """Return (routing key, queue) of every binding of step messages."""
        with translated(self._connection):
            return [(key, queue) for queue, _, key in self._channel.topology.bindings(STEPS)]

    def messages(self, queues: Iterable[str]) -> dict[str, int]:
        """Count the messages of each queue, including delayed and unacknowledged ones."""
        with translated(self._connection):
            return self._channel.topology.sizes(list(queues))

    def remove(self, queue: str) -> bool:
        """Delete *queue* and its bindings; return False, changing nothing, if it contains messages."""
        with translated(self._connection):
            return self._channel.topology.delete_queue(queue, if_empty=True)

    def unbind(self, bindings: Iterable[tuple[str, str]]) -> None:
        """Remove bindings returned by :meth:`bindings`."""
        with translated(self._connection):
            self._channel.topology.unbind((queue, STEPS, key) for key, queue in bindings)
