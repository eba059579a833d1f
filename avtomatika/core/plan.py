"""The compiled form of a blueprint: states, queues, and bindings that lead each outcome to the state that comes next.

A plan is what the broker is told; nothing in it refers to the handlers, so two processes with the same plan_hash agree.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from .names import NAME
from .retry import RetryPolicy

#: Direct exchange of all step messages.
STEPS = "avt.steps"
#: Direct exchange of all tasks: routing key and queue are the task type.
TASKS = "avt.tasks"
#: Direct exchange, and the queue, of jobs that are over and whose files are to be looked after.
FILES = "avt.files"
#: Due timers pass through the queue of the same name on their way to a step queue.
TIMERS = "avt.timers"
#: Direct exchange, and the queue, of what the owners of jobs are to be told over HTTP.
WEBHOOKS = "avt.webhooks"
#: What workers tell: ``taken``, later register, heartbeat, progress.
WORKERS = "avt.workers"
#: Fanout exchange: what orchestrators tell all workers.
CONTROL = "avt.control"

#: Routing key ends that mean an event of the state itself; always bound to the state's own queue.
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
#: Outcomes that a dispatching state always has a binding for, with or without a transition.
BUILTIN_OUTCOMES = ("success", "failure", "timeout", "cancelled")
#: Outcomes of ``run_blueprint``.
CHILD_OUTCOMES = ("success", "failure", "cancelled")


@dataclass(frozen=True, slots=True, order=True)
class RoutingKey:
    """``<blueprint>@<plan_hash>.<state>.<outcome>``.

    No part holds a dot, an ``@`` or a wildcard, so none can change a binding.
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
    """*key* of ``avt.steps`` leads to *queue*; *targets* are the states that may come next (for people)."""

    key: RoutingKey
    queue: str
    targets: tuple[str, ...] = ()


class EndKind(StrEnum):
    FINISHED = "finished"
    FAILED = "failed"


class Via(StrEnum):
    """The action that leads along an edge."""

    GO_TO = "go_to"
    TASK = "task"
    WAIT = "wait"
    APPROVAL = "approval"
    CHILD = "child"


@dataclass(frozen=True, slots=True, order=True)
class Transition:
    """An edge: *outcome* is None for ``go_to`` and ``wait``, and *task_type* None where it is computed at run time."""

    target: str
    outcome: str | None = None
    task_type: str | None = None
    guard: str | None = None
    via: Via = Via.GO_TO


@dataclass(frozen=True, slots=True)
class StatePlan:
    """A node.

    ``queue`` is the short name given by the user (None: the blueprint's main queue). ``may_go_to`` are the states that
    its handlers declared because their source does not tell. ``aggregators`` are those of its targets that collect
    branches, ``children`` the blueprints that it runs. A
    state that ``is_retired`` is entered by no new job; those that are in it go on.
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
    line: int | None = field(default=None, compare=False)

    @property
    def outcomes(self) -> tuple[str, ...]:
        """What its tasks may answer, besides the outcomes that every task has."""
        named = (edge.outcome for edge in self.transitions if edge.via is Via.TASK and edge.outcome is not None)
        return tuple(dict.fromkeys(named))

    def targets_of(self, outcome: str) -> tuple[str, ...]:
        """States that the *outcome* of a task may lead to."""
        edges = (edge for edge in self.transitions if edge.via is Via.TASK and edge.outcome == outcome)
        return tuple(dict.fromkeys(edge.target for edge in edges))


def queue_name(blueprint: str, plan_hash: str, short: str | None = None) -> str:
    """Full name of a step queue; *short* is what the user called it, None for the blueprint's main queue.

    >>> queue_name("video", "1f3a9c2e", "heavy")
    'steps.video@1f3a9c2e.heavy'
    """
    main = f"steps.{blueprint}@{plan_hash}"
    return main if short is None else f"{main}.{short}"


@dataclass(frozen=True, slots=True)
class Plan:
    """What a blueprint compiles into; ``plan_hash`` is a hash of all that routing depends on (its first 8 hex
    digits)."""

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

    @property
    def main_queue(self) -> str:
        return queue_name(self.blueprint, self.plan_hash)

    def queue_of(self, state: str) -> str:
        """Full name of the step queue that *state* lives in."""
        return queue_name(self.blueprint, self.plan_hash, self.states[state].queue)

    @property
    def queues(self) -> tuple[str, ...]:
        """Full names of all step queues, the main one first."""
        shorts = sorted({state.queue for state in self.states.values() if state.queue is not None})
        return (self.main_queue, *(queue_name(self.blueprint, self.plan_hash, short) for short in shorts))

    @property
    def task_types(self) -> tuple[str, ...]:
        """Every task type that the source names, sorted."""
        return tuple(sorted({task for state in self.states.values() for task in state.task_types}))

    def key(self, state: str, outcome: str) -> str:
        """Routing key of *outcome* in *state*."""
        return f"{self.blueprint}@{self.plan_hash}.{state}.{outcome}"

    def edges(self) -> Iterator[tuple[str, Transition]]:
        """Every transition with the state that it leaves."""
        for state in self.states.values():
            for transition in state.transitions:
                yield state.name, transition
