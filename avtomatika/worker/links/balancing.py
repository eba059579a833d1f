"""Whose turn it is: which link may ask for tasks now, and for how long. Pure: the clock is handed in.

FAILOVER: the first healthy link of the list is in charge and waits for tasks; the others are asked now and then, so
that nothing is stranded there. ROUND_ROBIN: the next task of links that have some is taken by weighted fair queueing;
links that had none all wait at the same time, so that no link is delayed by an idle one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from avtomatika.worker.config import Mode

#: A better link takes over again when it has been healthy so long.
BACK_AFTER_SECONDS = 10.0
#: Who has not been reached so long after the start is not waited for any more.
TRUSTED_SECONDS = 2.0
#: How often a link that is not in charge is asked.
STANDBY_EVERY_SECONDS = 5.0
#: How long a link waits for tasks: a router on the way may cut off what takes 30 s ...
WAIT_SECONDS = 20.0
#: ... and where a better link may come back meanwhile.
SHORT_WAIT_SECONDS = 4.0
#: How many tasks for each unit of weight a link may be behind another one, and makes up for.
_MAX_LAG = 4.0
_LONG_AGO = float("-inf")


@dataclass(frozen=True, slots=True)
class LinkState:
    """A link as the order sees it; times are of one monotonic clock, in seconds.

    A link is taken for healthy until it fails, or until *trusted_until* where it has not worked by then. It is dry when
    it had nothing the last time. *asking* is the number of tasks that it asks for at the moment.
    """

    weight: int = 1
    is_healthy: bool = True
    since: float = _LONG_AGO
    is_ready: bool = False
    is_dry: bool = False
    asking: int = 0
    asked_at: float = _LONG_AGO
    trusted_until: float = float("inf")

    def may_be_in_charge(self, now: float) -> bool:
        return self.is_healthy and now < self.trusted_until

    @property
    def may_ask(self) -> bool:
        return self.is_healthy and self.is_ready


@dataclass(frozen=True, slots=True)
class Grant:
    """*link* (its place in the list) may ask for *tasks* and wait so long; *reserves*: their slots are kept free."""

    link: int
    tasks: int = 1
    wait_seconds: float = 0.0
    reserves: bool = True


@dataclass(frozen=True, slots=True)
class BalancerState:
    """What is kept between two turns: who is in charge, and the virtual time of each link, in tasks for each unit of
    its weight."""

    in_charge: int | None = None
    times: tuple[float, ...] = ()

    def time(self, place: int) -> float:
        return self.times[place] if self.times else 0.0


def with_taken(memory: BalancerState, links: Sequence[LinkState], place: int, tasks: int) -> BalancerState:
    """*memory* after the link at *place* has taken *tasks*."""
    times = [memory.time(each) + (tasks / link.weight if each == place else 0) for each, link in enumerate(links)]
    earliest = max(times) - _MAX_LAG  # a link that had nothing for a while does not make up for all of it
    return replace(memory, times=tuple(max(time, earliest) for time in times))


def next_turn(
    mode: Mode, links: Sequence[LinkState], *, free: int, memory: BalancerState, now: float
) -> tuple[Grant | None, BalancerState]:
    """The next turn while *free* slots are left, or None where nobody may ask; and what to remember."""
    if mode is Mode.FAILOVER:
        memory = replace(memory, in_charge=in_charge(links, memory.in_charge, now=now))
        return (_failover(links, memory.in_charge, free=free, now=now) if free > 0 else None), memory
    return _round_robin(links, memory) if free > 0 else (None, memory)


def in_charge(links: Sequence[LinkState], present: int | None, *, now: float) -> int | None:
    """The link that tasks are taken from. None: no link is healthy."""
    healthy = [place for place, link in enumerate(links) if link.may_be_in_charge(now)]
    if present not in healthy:
        return healthy[0] if healthy else None
    steady = (place for place in healthy if place < present and now - links[place].since >= BACK_AFTER_SECONDS)
    return next(steady, present)


def _failover(links: Sequence[LinkState], chosen: int | None, *, free: int, now: float) -> Grant | None:
    if chosen is not None and links[chosen].may_ask:
        wait_seconds = SHORT_WAIT_SECONDS if chosen else WAIT_SECONDS
        return Grant(chosen, tasks=free, wait_seconds=wait_seconds, reserves=False)
    for place, link in enumerate(links):
        if place != chosen and link.may_ask and now - link.asked_at >= STANDBY_EVERY_SECONDS:
            return Grant(place)
    return None


def _round_robin(links: Sequence[LinkState], memory: BalancerState) -> tuple[Grant | None, BalancerState]:
    dry = next((place for place, link in enumerate(links) if link.may_ask and link.is_dry), None)
    if dry is not None:  # it takes nobody's slot by waiting, and would never be asked while others are rich
        return Grant(dry, wait_seconds=WAIT_SECONDS, reserves=False), memory
    rich = [place for place, link in enumerate(links) if link.is_healthy and not link.is_dry]
    rich = [place for place in rich if links[place].is_ready or links[place].asking]
    if not rich:
        return None, memory

    def finish(place: int) -> tuple[float, bool]:
        """The virtual time at which its next task would be done."""
        link = links[place]
        return memory.time(place) + (link.asking + 1) / link.weight, not link.is_ready

    chosen = min(rich, key=finish)
    return (Grant(chosen) if links[chosen].is_ready else None), memory
