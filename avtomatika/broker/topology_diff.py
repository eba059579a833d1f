"""The difference between plans and the broker: missing and obsolete queues and bindings.

Only step queues of the plans' own blueprints are ever deleted; task queues are shared with workers.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from kombu import Connection

from avtomatika.core.plan import STEPS, Plan
from avtomatika.transport import Channel

from .connection import translated
from .topology import EXCHANGES, StepQueue, StepQueues, bindings_of_queues

#: (exchange, routing key)
Bound = tuple[str, str]


@dataclass(frozen=True, slots=True)
class QueueChange:
    """A change to a queue and its bindings. *why_kept* says why it cannot be deleted now."""

    queue: str
    change: Literal["add", "change", "same", "remove", "keep"]
    messages: int = 0
    added: tuple[Bound, ...] = ()
    removed: tuple[Bound, ...] = ()
    why_kept: str | None = None


@dataclass(frozen=True, slots=True)
class TopologyDiff:
    """Missing *exchanges*; *queues* of the plans and obsolete queues of their blueprints."""

    exchanges: tuple[str, ...]
    queues: tuple[QueueChange, ...]

    @property
    def is_refused(self) -> bool:
        """Return whether any obsolete queue has to be kept for now."""
        return any(each.change == "keep" for each in self.queues)


def diff_topology(
    connection: Connection, plans: Iterable[Plan], *, needed: Mapping[str, str] | None = None
) -> TopologyDiff:
    """Compare *plans* with the broker.

    *needed* maps other plans (``<blueprint>@<plan_hash>``) whose queues must be kept to the reason.
    """
    plans = list(plans)
    with translated(connection), connection.channel() as channel:
        live = _live_bindings(channel)
        there = set(channel.topology.queues())
        missing = tuple(name for name in EXCHANGES if channel.topology.type_of(name) is None)
        wanted = bindings_of_queues(plans)
        old = [queue for queue in StepQueues(connection, channel).all() if _is_old(queue, plans)]
        sizes = channel.topology.sizes([*wanted, *(queue.name for queue in old)])
    changes = [
        _wanted(queue, tuple(keys), live.get(queue, ()), is_there=queue in there, messages=sizes[queue])
        for queue, keys in wanted.items()
    ]
    changes += [_unwanted(queue, live.get(queue.name, ()), sizes[queue.name], needed or {}) for queue in old]
    return TopologyDiff(missing, tuple(changes))


def remove_queues(connection: Connection, found: TopologyDiff) -> TopologyDiff:
    """Delete obsolete queues; return the ones kept because a message arrived in the meantime."""
    kept = []
    with connection.channel() as channel:
        live = StepQueues(connection, channel)
        for each in found.queues:
            if each.change == "remove" and not live.remove(each.queue):
                kept.append(QueueChange(each.queue, "keep", removed=each.removed, why_kept="a message has come"))
            live.unbind((key, each.queue) for exchange, key in each.removed if each.change == "change")
    return TopologyDiff((), tuple(kept))


def _live_bindings(channel: Channel) -> dict[str, tuple[Bound, ...]]:
    found: dict[str, tuple[Bound, ...]] = {}
    for queue, exchange, key in sorted(channel.topology.all_bindings()):
        found[queue] = (*found.get(queue, ()), (exchange, key))
    return found


def _is_old(queue: StepQueue, plans: Iterable[Plan]) -> bool:
    """Return whether *queue* belongs to one of these blueprints but no longer to its plan."""
    return any(queue.blueprint == plan.blueprint for plan in plans) and not any(
        queue.name in plan.queues for plan in plans
    )


def _wanted(
    queue: str, wanted: tuple[Bound, ...], live: tuple[Bound, ...], *, is_there: bool, messages: int
) -> QueueChange:
    added = tuple(bound for bound in wanted if bound not in live)
    removed = tuple(bound for bound in live if bound not in wanted and bound[0] == STEPS)
    if not is_there:
        return QueueChange(queue, "add", messages, added)
    return QueueChange(queue, "change" if added or removed else "same", messages, added, removed)


def _unwanted(queue: StepQueue, live: tuple[Bound, ...], messages: int, needed: Mapping[str, str]) -> QueueChange:
    why = f"it holds {messages} messages" if messages else needed.get(queue.plan)
    return QueueChange(queue.name, "remove" if why is None else "keep", messages, removed=live, why_kept=why)
