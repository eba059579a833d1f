"""Balancing: which link may request tasks now, and for how long. Pure functions; the caller passes the time.

FAILOVER: the first healthy link is active and waits for tasks; standby links are polled occasionally, so that no task
is stranded there. ROUND_ROBIN: links with tasks are served by weighted fair queueing; links that had none all wait at
the same time, so that an idle link delays no other.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from avtomatika.addresses import Mode

#: A preferred link becomes active again after it has been healthy for this long.
FAILBACK_SECONDS = 10.0
#: A link that has not connected by then after the start counts as unhealthy.
STARTUP_GRACE_SECONDS = 2.0
#: Interval between polls of a standby link.
STANDBY_EVERY_SECONDS = 5.0
#: Time that a link waits for tasks; proxies may close a request after 30 s.
WAIT_SECONDS = 20.0
#: The same where a preferred link may recover in the meantime.
SHORT_WAIT_SECONDS = 4.0
#: Maximum number of tasks per unit of weight by which a link may lag behind and catch up.
_MAX_LAG = 4.0
_LONG_AGO = float("-inf")


@dataclass(frozen=True, slots=True)
class LinkState:
    """State of a link; times are monotonic, in seconds.

    A link counts as healthy until it fails, or until *grace_until* if it has not connected by then. *was_empty* means
    that its last request returned no task; *requested* is the number of tasks in its current request.
    """

    weight: int = 1
    is_healthy: bool = True
    since: float = _LONG_AGO
    is_ready: bool = False
    was_empty: bool = False
    requested: int = 0
    requested_at: float = _LONG_AGO
    grace_until: float = float("inf")

    def may_be_active(self, now: float) -> bool:
        return self.is_healthy and now < self.grace_until

    @property
    def can_request(self) -> bool:
        return self.is_healthy and self.is_ready


@dataclass(frozen=True, slots=True)
class Grant:
    """Permission for *link* (its index) to request *tasks* and wait for them; *reserves*: slots are reserved for
    them."""

    link: int
    tasks: int = 1
    wait_seconds: float = 0.0
    reserves: bool = True


@dataclass(frozen=True, slots=True)
class BalancerState:
    """State between two grants: the active link, and each link's virtual time in tasks per unit of weight."""

    active: int | None = None
    virtual_times: tuple[float, ...] = ()

    def virtual_time(self, index: int) -> float:
        return self.virtual_times[index] if self.virtual_times else 0.0


def after_taking(state: BalancerState, links: Sequence[LinkState], index: int, tasks: int) -> BalancerState:
    """Return the state after the link at *index* has taken *tasks*."""
    virtual_times = [
        state.virtual_time(each) + (tasks / link.weight if each == index else 0) for each, link in enumerate(links)
    ]
    earliest = max(virtual_times) - _MAX_LAG  # limits how much an idle link may catch up
    return replace(state, virtual_times=tuple(max(virtual_time, earliest) for virtual_time in virtual_times))


def next_grant(
    mode: Mode, links: Sequence[LinkState], *, free: int, state: BalancerState, now: float
) -> tuple[Grant | None, BalancerState]:
    """Return the next grant while there are *free* slots, or None, and the new state."""
    if mode is Mode.FAILOVER:
        state = replace(state, active=active_link(links, state.active, now=now))
        return (_failover(links, state.active, free=free, now=now) if free > 0 else None), state
    return _round_robin(links, state) if free > 0 else (None, state)


def active_link(links: Sequence[LinkState], current: int | None, *, now: float) -> int | None:
    """Return the link to take tasks from; None if no link is healthy."""
    healthy = [index for index, link in enumerate(links) if link.may_be_active(now)]
    if current not in healthy:
        return healthy[0] if healthy else None
    steady = (index for index in healthy if index < current and now - links[index].since >= FAILBACK_SECONDS)
    return next(steady, current)


def _failover(links: Sequence[LinkState], active: int | None, *, free: int, now: float) -> Grant | None:
    if active is not None and links[active].can_request:
        wait_seconds = SHORT_WAIT_SECONDS if active else WAIT_SECONDS
        return Grant(active, tasks=free, wait_seconds=wait_seconds, reserves=False)
    for index, link in enumerate(links):
        if index != active and link.can_request and now - link.requested_at >= STANDBY_EVERY_SECONDS:
            return Grant(index)
    return None


def _round_robin(links: Sequence[LinkState], state: BalancerState) -> tuple[Grant | None, BalancerState]:
    empty_link = next((index for index, link in enumerate(links) if link.can_request and link.was_empty), None)
    if empty_link is not None:  # waiting takes no slot, and links with tasks would otherwise always go first
        return Grant(empty_link, wait_seconds=WAIT_SECONDS, reserves=False), state
    supplied = [index for index, link in enumerate(links) if link.is_healthy and not link.was_empty]
    supplied = [index for index in supplied if links[index].is_ready or links[index].requested]
    if not supplied:
        return None, state

    def finish(index: int) -> tuple[float, bool]:
        """Virtual time at which its next task would finish."""
        link = links[index]
        return state.virtual_time(index) + (link.requested + 1) / link.weight, not link.is_ready

    active = min(supplied, key=finish)
    return (Grant(active) if links[active].is_ready else None), state
