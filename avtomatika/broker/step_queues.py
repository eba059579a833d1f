"""The step queues of current and former plans on the broker, and deleting them."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

from kombu import Connection

from avtomatika.core.plan import STEPS
from avtomatika.transport import Channel

from .connection import translated

_PREFIX = "steps."


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
