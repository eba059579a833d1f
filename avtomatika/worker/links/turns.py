"""Turns: what the links of one worker share. Each asks here before it takes tasks, and says how it fared."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from threading import Condition
from time import monotonic
from typing import Any

from avtomatika.worker.config import Address, Mode

from .order import LinkView, Memory, Turn, next_turn

logger = logging.getLogger(__name__)

#: How often who waits looks at the clock: turns can come by it alone.
_LOOK_SECONDS = 0.5


class Turns:
    """Gives turns to the links of *addresses*, by their places in that list, while fewer than *capacity* tasks run."""

    def __init__(
        self, mode: Mode, addresses: Sequence[Address], *, capacity: int, clock: Callable[[], float] = monotonic
    ) -> None:
        self._mode = mode
        self._addresses = addresses
        self._capacity = capacity
        self._clock = clock
        self._links = [LinkView(address.weight) for address in addresses]
        self._memory = Memory()
        self._given: dict[int, Turn] = {}
        self._reserved: dict[int, int] = {}
        self._running: dict[int, Callable[[], int]] = {}
        #: Tasks that are here already and wait for a slot.
        self._brought = 0
        self._changed = Condition()

    def count(self, place: int, running: Callable[[], int]) -> None:
        """Have what *running* tells of a link counted among the tasks that run."""
        self._running[place] = running

    def wake(self) -> None:
        """Tasks have ended: there may be turns."""
        with self._changed:
            self._changed.notify_all()

    def take(self, place: int, timeout_seconds: float) -> Turn | None:
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

    def ended(self, turn: Turn, *, taken: int) -> None:
        """A turn is over; *taken* tasks of it run already."""
        with self._changed:
            self._reserved.pop(turn.link, None)
            self._see(turn.link, is_dry=taken == 0)
            self._changed.notify_all()

    def wait_for_slot(self, turn: Turn, is_stopping: Callable[[], bool]) -> None:
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
        self._set_health(place, is_healthy=True)

    # ------------------------------------------------------------ inside; the lock is held

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
            before = self._memory.in_charge
            now = self._clock()
            free = self._free - self._brought
            turn, self._memory = next_turn(self._mode, self._links, free=free, memory=self._memory, now=now)
            if self._memory.in_charge != before:
                self._tell_switch(before)
            if turn is None:
                return
            self._given[turn.link] = turn
            self._see(turn.link, is_ready=False, asked_at=now)
            if turn.reserves:
                self._reserved[turn.link] = turn.tasks
            self._changed.notify_all()

    def _tell_switch(self, before: int | None) -> None:
        now = self._memory.in_charge
        if now is None:
            logger.warning("no orchestrator can be reached; trying all of them on")
        elif before is not None or now != 0:
            logger.warning("tasks are taken from %s now", self._addresses[now])


class Seat:
    """One link's place in *turns*."""

    def __init__(self, turns: Turns, place: int, running: Callable[[], int]) -> None:
        """*running* tells how many tasks of this link run."""
        self._turns = turns
        self._place = place
        turns.count(place, running)

    def take(self, timeout_seconds: float) -> Turn | None:
        return self._turns.take(self._place, timeout_seconds)

    def ended(self, turn: Turn, *, taken: int) -> None:
        self._turns.ended(turn, taken=taken)

    def wait_for_slot(self, turn: Turn, is_stopping: Callable[[], bool]) -> None:
        self._turns.wait_for_slot(turn, is_stopping)

    def failed(self) -> None:
        self._turns.failed(self._place)

    def recovered(self) -> None:
        self._turns.recovered(self._place)

    def wake(self) -> None:
        self._turns.wake()
