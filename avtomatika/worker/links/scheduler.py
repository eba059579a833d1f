"""Turns: what the links of one worker share. Each asks here before it takes tasks, and says how it fared."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from threading import Condition
from time import monotonic
from typing import Any

from avtomatika.worker.config import Address, Mode

from .balancing import TRUSTED_SECONDS, BalancerState, Grant, LinkState, in_charge, next_turn, with_taken
from .peer_groups import PeerGroups

logger = logging.getLogger(__name__)

#: How often who waits looks at the clock: turns can come by it alone.
_LOOK_SECONDS = 0.5
_FOREVER = float("inf")


class LinkScheduler:
    """Gives turns to the links of *addresses*, by their places in that list, while fewer than *capacity* tasks run."""

    def __init__(
        self, mode: Mode, addresses: Sequence[Address], *, capacity: int, clock: Callable[[], float] = monotonic
    ) -> None:
        self._mode = mode
        self._addresses = addresses
        self._capacity = capacity
        self._clock = clock
        trusted_until = clock() + TRUSTED_SECONDS if len(addresses) > 1 else _FOREVER
        self._links = [LinkState(address.weight, trusted_until=trusted_until) for address in addresses]
        self._memory = BalancerState()
        self._given: dict[int, Grant] = {}
        self._reserved: dict[int, int] = {}
        self._running: dict[int, Callable[[], int]] = {}
        #: Tasks that are here already and wait for a slot.
        self._brought = 0
        self._changed = Condition()
        self.groups = PeerGroups(addresses)
        #: Called, for each link in whatever thread, when another link is in charge.
        self.on_switch: dict[int, Callable[[], None]] = {}
        #: How often another link came to be in charge.
        self.switches = 0
        self._last_in_charge = 0
        self._has_begun = False

    def count(self, place: int, running: Callable[[], int]) -> None:
        """Have what *running* tells of a link counted among the tasks that run."""
        self._running[place] = running

    def wake(self) -> None:
        """Tasks have ended: there may be turns."""
        with self._changed:
            self._changed.notify_all()

    def take(self, place: int, timeout_seconds: float) -> Grant | None:
        """The next turn of a link, once it has one; None where its time is up. Each is to be :meth:`ended`."""
        deadline = self._clock() + timeout_seconds
        with self._changed:
            self._see(place, is_ready=True)
            self._give()
            while place not in self._given and (left := deadline - self._clock()) > 0:
                self._changed.wait(min(left, _LOOK_SECONDS))
                self._give()
            self._see(place, is_ready=False)
            return self._given.pop(place, None)

    def ended(self, turn: Grant, *, taken: int) -> None:
        """A turn is over; *taken* tasks of it run already."""
        with self._changed:
            self._reserved.pop(turn.link, None)
            self._see(turn.link, is_dry=taken == 0, asking=0)
            self._memory = with_taken(self._memory, self._links, turn.link, taken)
            self._changed.notify_all()

    def wait_for_slot(self, turn: Grant, is_stopping: Callable[[], bool]) -> None:
        """What a turn without reserved slots brought begins when one is free, before anybody may ask for more."""
        if turn.reserves:
            return
        with self._changed:
            self._brought += 1
            while self._free <= 0 and not is_stopping():
                self._changed.wait(_LOOK_SECONDS)
            self._brought -= 1
            self._reserved[turn.link] = turn.tasks

    def failed(self, place: int) -> None:
        """A link is in trouble."""
        self._set_health(place, is_healthy=False)

    def recovered(self, place: int) -> None:
        """A link works (again)."""
        link, now = self._links[place], self._clock()
        if link.trusted_until != _FOREVER:
            with self._changed:
                self._see(place, trusted_until=_FOREVER, since=link.since if now < link.trusted_until else now)
        self._set_health(place, is_healthy=True)

    # ------------------------------------------------------------ see

    @property
    def running(self) -> int:
        """How many tasks run, over all links."""
        return sum(running() for running in list(self._running.values()))

    def states(self) -> list[tuple[Address, str]]:
        """Each address with what it is to the worker now: ``in_use``, ``standby`` or ``down``."""
        with self._changed:
            chosen = self._chosen()
            return [
                (address, _state(link, is_in_use=chosen in (None, place), now=self._clock()))
                for place, (address, link) in enumerate(zip(self._addresses, self._links, strict=True))
            ]

    def is_standby(self, place: int) -> bool:
        """Whether tasks are taken elsewhere, and not from the group that this link leads to."""
        with self._changed:
            chosen = self._chosen()
            return chosen is not None and not self.groups.is_one(place, chosen)

    def fellows(self, place: int) -> list[Address]:
        """Web addresses of the other healthy links of the same group."""
        others = (other for other in self.groups.others(place) if self.is_healthy(other))
        return [self._addresses[other] for other in others if self._addresses[other].is_web]

    def is_healthy(self, place: int) -> bool:
        return self._links[place].may_be_in_charge(self._clock())

    # ------------------------------------------------------------ inside; the lock is held

    def _chosen(self) -> int | None:
        """The one link that tasks are taken from; None where it is all of them, or none can be reached."""
        if self._mode is not Mode.FAILOVER:
            return None
        before = self._memory.in_charge
        chosen = in_charge(self._links, before, now=self._clock())
        if chosen != before:
            self._memory = replace(self._memory, in_charge=chosen)
            self._tell_switch(before)
        return chosen

    def _set_health(self, place: int, *, is_healthy: bool) -> None:
        with self._changed:
            if self._links[place].is_healthy is not is_healthy:
                self._see(place, is_healthy=is_healthy, since=self._clock())
                self._give()

    def _see(self, place: int, **changes: Any) -> None:
        self._links[place] = replace(self._links[place], **changes)

    @property
    def _free(self) -> int:
        return self._capacity - sum(running() for running in self._running.values()) - sum(self._reserved.values())

    def _give(self) -> None:
        """Give all turns that there are now."""
        while True:
            self._chosen()
            now = self._clock()
            free = self._free - self._brought
            turn, self._memory = next_turn(self._mode, self._links, free=free, memory=self._memory, now=now)
            if turn is None:
                return
            self._given[turn.link] = turn
            self._see(turn.link, is_ready=False, asking=turn.tasks, asked_at=now)
            if turn.reserves:
                self._reserved[turn.link] = turn.tasks
            self._changed.notify_all()

    def _tell_switch(self, before: int | None) -> None:
        now = self._memory.in_charge
        if now is None:
            logger.warning("no orchestrator can be reached; trying all of them on")
        elif now != self._last_in_charge:
            self._last_in_charge = now
            self.switches += 1
            logger.warning("tasks are taken from %s now", self._addresses[now])
        elif before is None and self._has_begun:
            logger.warning("tasks are taken from %s again", self._addresses[now])
        self._has_begun = True
        for tell in self.on_switch.values():
            tell()


def _state(link: LinkState, *, is_in_use: bool, now: float) -> str:
    if not link.may_be_in_charge(now):
        return "down"
    return "in_use" if is_in_use else "standby"


class LinkSlot:
    """One link's place in *turns*."""

    def __init__(self, turns: LinkScheduler, place: int) -> None:
        self._turns = turns
        self._place = place

    def take(self, timeout_seconds: float) -> Grant | None:
        return self._turns.take(self._place, timeout_seconds)

    def ended(self, turn: Grant, *, taken: int) -> None:
        self._turns.ended(turn, taken=taken)

    def wait_for_slot(self, turn: Grant, is_stopping: Callable[[], bool]) -> None:
        self._turns.wait_for_slot(turn, is_stopping)

    def failed(self) -> None:
        self._turns.failed(self._place)

    def recovered(self) -> None:
        self._turns.recovered(self._place)

    def joined(self, broker_id: str | None) -> None:
        self._turns.groups.joined(self._place, broker_id)

    def holds(self, in_hand: Mapping[str, object]) -> None:
        self._turns.groups.holds(self._place, in_hand)

    def in_hand(self) -> list[str]:
        return self._turns.groups.in_hand(self._place)

    def fellows(self) -> list[Address]:
        return self._turns.fellows(self._place)

    @property
    def is_healthy(self) -> bool:
        return self._turns.is_healthy(self._place)

    def on_switch(self, tell: Callable[[], None]) -> None:
        """Have *tell* called, in whatever thread, when another link is in charge."""
        self._turns.on_switch[self._place] = tell

    def wake(self) -> None:
        self._turns.wake()
