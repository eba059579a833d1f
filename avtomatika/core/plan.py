"""The compiled form of a blueprint: states, queues, and bindings that route each outcome to the next state.

A plan is declared to the broker. It does not refer to handlers, so two processes with the same ``plan_hash`` agree.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from .limits import KeyTemplate, LimitValues
from .names import NAME
from .retry import RetryPolicy

#: Direct exchange of all step messages.
STEPS = "avt.steps"
#: Direct exchange of all tasks: routing key and queue are the task type.
TASKS = "avt.tasks"
#: Direct exchange and queue of the file clean-up of ended jobs.
FILES = "avt.files"
#: Exchange and queue that due timers pass on their way to a step queue.
TIMERS = "avt.timers"
#: Direct exchange and queue of webhooks.
WEBHOOKS = "avt.webhooks"
#: Exchange of messages from workers: ``taken``, registration, heartbeats, progress.
WORKERS = "avt.workers"
#: Queue of tasks that other programs published and workers forwarded.
REQUESTS = "avt.requests"
#: Queue of the results of Celery workers.
REPLIES = "avt.replies"
#: The worker that the history names for all Celery workers; it sends no heartbeats.
CELERY = "celery"
#: Fanout exchange of messages from orchestrators to all workers.
CONTROL = "avt.control"

#: Outcomes in routing keys that are events of the state itself; always bound to the queue of the state.
STATE_EVENTS = (
    "_enter",
    "_retry",
    "_timeout",
    "_timer",
    "_approval",
    "_child",
    "_branches",
    "_joined",
    "_signal",
    "_unknown",
)
#: Outcomes that are bound for every state that dispatches tasks, with or without a transition.
BUILTIN_OUTCOMES = ("success", "failure", "timeout", "cancelled")
#: Outcomes of ``run_blueprint``.
CHILD_OUTCOMES = ("success", "failure", "cancelled")
#: Outcomes of ``wait_for``.
SIGNAL_OUTCOMES = ("received", "timeout")


@dataclass(frozen=True, slots=True, order=True)
class RoutingKey:
    """``<blueprint>@<plan_hash>.<state>.<outcome>``.

    No part contains a dot, an ``@`` or a wildcard, so none can change a binding.
    """

    blueprint: str
    plan_hash: str
    state: str
    outcome: str

    def __post_init__(self) -> None:
        for part in (self.blueprint, self.plan_hash, self.state, self.outcome):
            if not NAME.fullmatch(part):
                raise ValueError(f"routing key part {part!r} must match {NAME.pattern}")

    def __str__(self) -> str:
        return f"{self.blueprint}@{self.plan_hash}.{self.state}.{self.outcome}"


@dataclass(frozen=True, slots=True, order=True)
class Binding:
    """*key* of ``avt.steps`` is routed to *queue*; *targets* are the possible next states, for display."""

    key: RoutingKey
    queue: str
    targets: tuple[str, ...] = ()


class EndKind(StrEnum):
    FINISHED = "finished"
    FAILED = "failed"


class Via(StrEnum):
    """The kind of action of a transition."""

    GO_TO = "go_to"
    TASK = "task"
    WAIT = "wait"
    APPROVAL = "approval"
    SIGNAL = "signal"
    CHILD = "child"


@dataclass(frozen=True, slots=True, order=True)
class Transition:
    """A transition; *outcome* is None for ``go_to`` and ``wait``, *task_type* is None if computed at run time."""

    target: str
    outcome: str | None = None
    task_type: str | None = None
    guard: str | None = None
    via: Via = Via.GO_TO


#: Signals with the JSON Schema of their data, None without; the name is None if it is computed at run time.
SignalTypes = tuple[tuple[str | None, Mapping[str, Any] | None], ...]


@dataclass(frozen=True, slots=True)
class StatePlan:
    """A state.

    ``queue`` is the short name given by the user (None: the blueprint's main queue). ``may_go_to`` are targets declared
    by handlers because their source does not show them. ``aggregators`` are the targets that join branches,
    ``children`` the blueprints that it runs, ``signals`` those that it waits for. A state that ``ends_with_task`` runs
    one task, whose end is the end of the job. No new job enters a state that ``is_retired``; jobs that are in it
    continue. ``limits`` apply to the tasks that it dispatches.
    """

    name: str
    queue: str | None = None
    is_start: bool = False
    end: EndKind | None = None
    transitions: tuple[Transition, ...] = ()
    task_types: tuple[str, ...] = ()
    dispatches: bool = False
    guards: tuple[str, ...] = ()
    may_go_to: tuple[str, ...] = ()
    is_aggregator: bool = False
    aggregators: tuple[str, ...] = ()
    children: tuple[str, ...] = ()
    is_retired: bool = False
    ends_with_task: bool = False
    limits: tuple[tuple[KeyTemplate, LimitValues], ...] = ()
    signals: SignalTypes = field(default=(), compare=False)
    line: int | None = field(default=None, compare=False)

    @property
    def outcomes(self) -> tuple[str, ...]:
        """Outcomes of its tasks, besides the built-in ones."""
        named = (edge.outcome for edge in self.transitions if edge.via is Via.TASK and edge.outcome is not None)
        return tuple(dict.fromkeys(named))

    def targets_of(self, outcome: str) -> tuple[str, ...]:
        """Return the possible target states of a task's *outcome*."""
        edges = (edge for edge in self.transitions if edge.via is Via.TASK and edge.outcome == outcome)
        return tuple(dict.fromkeys(edge.target for edge in edges))


def queue_name(blueprint: str, plan_hash: str, short: str | None = None) -> str:
    """Return the full name of a step queue; *short* is the user's name, None for the main queue.

    >>> queue_name("video", "1f3a9c2e", "heavy")
    'steps.video@1f3a9c2e.heavy'
    """
    main = f"steps.{blueprint}@{plan_hash}"
    return main if short is None else f"{main}.{short}"


@dataclass(frozen=True, slots=True)
class Plan:
    """A compiled blueprint; ``plan_hash`` is a hash of everything that affects routing (8 hex digits).

    ``input`` and ``output`` are types of ``initial_data`` and result; ``description`` is the first handler's docstring.
    """

    blueprint: str
    plan_hash: str
    start: str
    states: Mapping[str, StatePlan]
    bindings: tuple[Binding, ...]
    api_version: str = "v1"
    api_endpoint: str | None = None
    execution_timeout_seconds: float | None = None
    retry: RetryPolicy | None = None
    max_transitions: int | None = None
    fairness_key: KeyTemplate | None = None
    unique_key: KeyTemplate | None = None
    on_conflict: str | None = None
    input: Any = field(default=None, compare=False)
    output: Any = field(default=None, compare=False)
    description: str | None = field(default=None, compare=False)

    @property
    def main_queue(self) -> str:
        return queue_name(self.blueprint, self.plan_hash)

    def queue_of(self, state: str) -> str:
        """Return the full name of the step queue of *state*."""
        return queue_name(self.blueprint, self.plan_hash, self.states[state].queue)

    @property
    def queues(self) -> tuple[str, ...]:
        """Full names of all step queues, the main queue first."""
        shorts = sorted({state.queue for state in self.states.values() if state.queue is not None})
        return (self.main_queue, *(queue_name(self.blueprint, self.plan_hash, short) for short in shorts))

    @property
    def task_types(self) -> tuple[str, ...]:
        """All task types named in the source, sorted."""
        return tuple(sorted({task for state in self.states.values() for task in state.task_types}))

    def key(self, state: str, outcome: str) -> str:
        """Return the routing key of *outcome* in *state*."""
        return f"{self.blueprint}@{self.plan_hash}.{state}.{outcome}"

    def edges(self) -> Iterator[tuple[str, Transition]]:
        """Yield every transition with its source state."""
        for state in self.states.values():
            for transition in state.transitions:
                yield state.name, transition
