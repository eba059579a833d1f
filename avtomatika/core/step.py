"""A step: the changed job with everything that is written and sent with it in one atomic commit."""

from collections.abc import Mapping
from typing import NamedTuple

from .events import Event
from .frozen import dataclass
from .job import HistoryEntry, Job, Json, Task


@dataclass(frozen=True, slots=True)
class SendTask:
    """Publish *task* to ``avt.tasks`` with its type as the key, under *limits* of its job (``machine.limits``)."""

    task: Task
    limits: tuple[Json, ...] = ()


@dataclass(frozen=True, slots=True)
class SendEvent:
    """Publish *event* to ``avt.steps`` with *routing_key*."""

    routing_key: str
    event: Event


@dataclass(frozen=True, slots=True)
class SendWebhook:
    """Send a webhook for *job* in this version: it ended, was quarantined, waits for a person, or *event* happened."""

    job: Job
    event: str | None = None


@dataclass(frozen=True, slots=True)
class SendReply:
    """Tell the program that sent the task of *job* through the broker how it ended."""

    job: Job


Outgoing = SendTask | SendEvent | SendWebhook | SendReply


@dataclass(frozen=True, slots=True)
class SetTimer:
    """Send *event* with *routing_key* after *delay_seconds* of server time; replaces a timer of the same id.

    With *at_ms* (milliseconds since the epoch), send it at that time instead.
    """

    id: str
    delay_seconds: float
    routing_key: str
    event: Event
    at_ms: int | None = None


@dataclass(frozen=True, slots=True)
class BranchEnd:
    """The result of a branch: ``{"status", "data", "error"}``."""

    task_id: str
    answer: Mapping[str, Json]


class Step(NamedTuple):
    """One atomic commit; a tuple, which is made in a quarter of the time of a dataclass: a job has a dozen of them.

    ``enter`` names the state whose handler must decide before the step is complete. ``opened`` and ``closed`` are
    ``(task_id, attempt)`` pairs, ``cancelled_timers`` timer ids, ``revoked`` revocation groups of messages (of whole
    tasks or of one attempt). ``ended`` are branches that ended in this step; the commit that stores the last branch
    sends ``joined``. ``drops_branches`` deletes the stored branches of the fan-out. ``children`` are the first steps of
    child jobs, created in the same commit. If the event was ignored, only ``note`` is set.
    """

    job: Job
    history: tuple[HistoryEntry, ...] = ()
    outgoing: tuple[Outgoing, ...] = ()
    timers: tuple[SetTimer, ...] = ()
    cancelled_timers: tuple[str, ...] = ()
    opened: tuple[tuple[str, int], ...] = ()
    closed: tuple[tuple[str, int], ...] = ()
    revoked: tuple[str, ...] = ()
    ended: tuple[BranchEnd, ...] = ()
    joined: SendEvent | None = None
    drops_branches: bool = False
    children: "tuple[Step, ...]" = ()
    enter: str | None = None
    note: Mapping[str, Json] | None = None

    def then(self, later: "Step") -> "Step":
        """Combine this step and *later* into one commit. It cancels timers before it sets new ones, and does not open a
        task that *later* closes."""
        if self[1:-2] == _NOTHING:
            return later
        return Step(
            job=later.job,
            history=self.history + later.history,
            outgoing=self.outgoing + later.outgoing,
            timers=self._timers_without(later.cancelled_timers) + later.timers,
            cancelled_timers=self.cancelled_timers + later.cancelled_timers,
            opened=self._opened_without(later.closed) + later.opened,
            closed=self.closed + later.closed,
            revoked=self.revoked + later.revoked,
            ended=self.ended + later.ended,
            joined=later.joined or self.joined,
            drops_branches=self.drops_branches or later.drops_branches,
            children=self.children + later.children,
            enter=later.enter,
            note=later.note,
        )

    def _timers_without(self, cancelled: tuple[str, ...]) -> tuple[SetTimer, ...]:
        return tuple(timer for timer in self.timers if timer.id not in cancelled) if cancelled else self.timers

    def _opened_without(self, closed: tuple[tuple[str, int], ...]) -> tuple[tuple[str, int], ...]:
        return tuple(task for task in self.opened if task not in closed) if closed else self.opened


#: What a step without consequences writes and sends.
_NOTHING = Step(Job("", "", ""))[1:-2]
