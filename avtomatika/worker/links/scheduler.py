"""Link scheduler: shared by the links of a worker, which request a grant before they take tasks and report their
health."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from threading import Condition
from time import monotonic
from typing import Any

from avtomatika import metrics
from avtomatika.addresses import Address, Mode

from .balancing import STARTUP_GRACE_SECONDS, BalancerState, Grant, LinkState, active_link, after_taking, next_grant

logger = logging.getLogger(__name__)

#: Interval at which waiting links check the time, on which grants also depend.
_CHECK_SECONDS = 0.5
_FOREVER = float("inf")


class PeerGroups:
    """Groups of links, by index in *addresses*; a link of an unknown group has no peers. Thread-safe."""

    def __init__(self, addresses: Sequence[Address]) -> None:
        self._addresses = addresses
        self._brokers: list[str | None] = [None] * len(addresses)
        self._in_flight: dict[int, Mapping[str, object]] = {}

    def set_broker(self, index: int, broker_id: str | None) -> None:
        """Record that a link leads to the group of that broker."""
        self._brokers[index] = broker_id

    def set_in_flight(self, index: int, in_flight: Mapping[str, object]) -> None:
        """Register the tasks of a link by id; the owner keeps changing *in_flight*."""
        self._in_flight[index] = in_flight

    def is_same_group(self, index: int, other: int) -> bool:
        """Return whether two links lead to the same group."""
        broker_id = self._brokers[index]
        return index == other or (broker_id is not None and broker_id == self._brokers[other])

    def others(self, index: int) -> list[int]:
        """Return the other links of the same group."""
        return [other for other in range(len(self._brokers)) if other != index and self.is_same_group(index, other)]

    def in_flight(self, index: int) -> list[str]:
        """Return the ids of the tasks of all links of the group."""
        return [task_id for each in (index, *self.others(index)) for task_id in list(self._in_flight.get(each, ()))]


class LinkScheduler:
    """Grants task slots to the links of *addresses*, by index, while fewer than *capacity* tasks run."""

    def __init__(
        self, mode: Mode, addresses: Sequence[Address], *, capacity: int, clock: Callable[[], float] = monotonic
    ) -> None:
        self._mode = mode
        self._addresses = addresses
        self._capacity = capacity
        self._clock = clock
        grace_until = clock() + STARTUP_GRACE_SECONDS if len(addresses) > 1 else _FOREVER
        self._links = [LinkState(address.weight, grace_until=grace_until) for address in addresses]
        self._state = BalancerState()
        self._grants: dict[int, Grant] = {}
        self._reserved: dict[int, int] = {}
        self._running: dict[int, Callable[[], int]] = {}
        #: Tasks that have arrived and wait for a slot.
        self._waiting_for_slot = 0
        self._changed = Condition()
        self.groups = PeerGroups(addresses)
        #: Callbacks, by link, when another link becomes active. Called from any thread.
        self.on_switch: dict[int, Callable[[], None]] = {}
        #: Number of times that another link became active.
        self.switches = 0
        self._last_active = 0
        self._has_started = False

    def track_running(self, index: int, running: Callable[[], int]) -> None:
        """Add the number of running tasks that *running* returns for a link."""
        self._running[index] = running

    def wake(self) -> None:
        """Check for new grants after tasks have finished."""
        with self._changed:
            self._changed.notify_all()

    def take(self, index: int, timeout_seconds: float) -> Grant | None:
        """Wait for the link's next grant; None on time-out. Each must be :meth:`complete`."""
        deadline = self._clock() + timeout_seconds
        with self._changed:
            self._update_link(index, is_ready=True)
            self._issue_grants()
            while index not in self._grants and (left := deadline - self._clock()) > 0:
                self._changed.wait(min(left, _CHECK_SECONDS))
                self._issue_grants()
            self._update_link(index, is_ready=False)
            return self._grants.pop(index, None)

    def complete(self, grant: Grant, *, taken: int) -> None:
        """Complete a grant; *taken* tasks of it are running."""
        with self._changed:
            self._reserved.pop(grant.link, None)
            self._update_link(grant.link, was_empty=taken == 0, requested=0)
            self._state = after_taking(self._state, self._links, grant.link, taken)
            self._changed.notify_all()

    def wait_for_slot(self, grant: Grant, is_stopping: Callable[[], bool]) -> None:
        """Block until a slot is free for a task taken without a reservation; no link takes more in that time."""
        if grant.reserves:
            return
        with self._changed:
            self._waiting_for_slot += 1
            while self._free <= 0 and not is_stopping():
                self._changed.wait(_CHECK_SECONDS)
            self._waiting_for_slot -= 1
            self._reserved[grant.link] = grant.tasks

    def failed(self, index: int) -> None:
        """Mark the link as unhealthy."""
        self._set_health(index, is_healthy=False)

    def recovered(self, index: int) -> None:
        """Mark the link as healthy."""
        link, now = self._links[index], self._clock()
        if link.grace_until != _FOREVER:
            with self._changed:
                self._update_link(index, grace_until=_FOREVER, since=link.since if now < link.grace_until else now)
        self._set_health(index, is_healthy=True)

    # ------------------------------------------------------------ queries

    @property
    def running(self) -> int:
        """Number of running tasks of all links."""
        return sum(running() for running in list(self._running.values()))

    def states(self) -> list[tuple[Address, str]]:
        """Return each address with its state: ``in_use``, ``standby`` or ``down``."""
        with self._changed:
            active = self._active_link()
            return [
                (address, _link_state(link, is_in_use=active in (None, index), now=self._clock()))
                for index, (address, link) in enumerate(zip(self._addresses, self._links, strict=True))
            ]

    def is_standby(self, index: int) -> bool:
        """Return whether another group is active."""
        with self._changed:
            active = self._active_link()
            return active is not None and not self.groups.is_same_group(index, active)

    def peers(self, index: int) -> list[Address]:
        """Return the web addresses of other healthy links of the same group."""
        others = (other for other in self.groups.others(index) if self.is_healthy(other))
        return [self._addresses[other] for other in others if self._addresses[other].is_web]

    def is_healthy(self, index: int) -> bool:
        return self._links[index].may_be_active(self._clock())

    # ------------------------------------------------------------ inside; the lock is held

    def _active_link(self) -> int | None:
        """Return the active link; None if all links are in use or no link is healthy."""
        if self._mode is not Mode.FAILOVER:
            return None
        before = self._state.active
        active = active_link(self._links, before, now=self._clock())
        if active != before:
            self._state = replace(self._state, active=active)
            self._announce_switch(before)
        return active

    def _set_health(self, index: int, *, is_healthy: bool) -> None:
        with self._changed:
            if self._links[index].is_healthy is not is_healthy:
                self._update_link(index, is_healthy=is_healthy, since=self._clock())
                self._issue_grants()

    def _update_link(self, index: int, **changes: Any) -> None:
        self._links[index] = replace(self._links[index], **changes)

    @property
    def _free(self) -> int:
        return self._capacity - sum(running() for running in self._running.values()) - sum(self._reserved.values())

    def _issue_grants(self) -> None:
        """Issue all grants that are possible now."""
        while True:
            self._active_link()
            now = self._clock()
            free = self._free - self._waiting_for_slot
            grant, self._state = next_grant(self._mode, self._links, free=free, state=self._state, now=now)
            if grant is None:
                return
            self._grants[grant.link] = grant
            self._update_link(grant.link, is_ready=False, requested=grant.tasks, requested_at=now)
            if grant.reserves:
                self._reserved[grant.link] = grant.tasks
            self._changed.notify_all()

    def _announce_switch(self, before: int | None) -> None:
        now = self._state.active
        if now is None:
            logger.warning("no orchestrator can be reached; retrying all of them")
        elif now != self._last_active:
            self._last_active = now
            self.switches += 1
            metrics.LINK_SWITCHES.inc()
            logger.warning("now taking tasks from %s", self._addresses[now])
        elif before is None and self._has_started:
            logger.warning("taking tasks from %s again", self._addresses[now])
        self._has_started = True
        for callback in self.on_switch.values():
            callback()


def _link_state(link: LinkState, *, is_in_use: bool, now: float) -> str:
    if not link.may_be_active(now):
        return "down"
    return "in_use" if is_in_use else "standby"


class LinkSlot:
    """One link's view of *scheduler*: its methods for the link *index*."""

    def __init__(self, scheduler: LinkScheduler, index: int) -> None:
        groups = scheduler.groups
        self.take = partial(scheduler.take, index)
        self.complete = scheduler.complete
        self.wait_for_slot = scheduler.wait_for_slot
        self.wake = scheduler.wake
        self.failed = partial(scheduler.failed, index)
        self.recovered = partial(scheduler.recovered, index)
        self.is_healthy = partial(scheduler.is_healthy, index)
        self.peers = partial(scheduler.peers, index)
        self.set_broker = partial(groups.set_broker, index)
        self.set_in_flight = partial(groups.set_in_flight, index)
        self.in_flight = partial(groups.in_flight, index)
        #: Sets a callback, called from any thread, for when another link becomes active.
        self.on_switch = partial(scheduler.on_switch.__setitem__, index)
