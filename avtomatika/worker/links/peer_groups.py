"""Groups: which links of a worker lead to the same orchestrator group. They are one: what came by one of them is kept
and answered by any. A group is known by its broker: names are chosen by people, and two may have chosen the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from avtomatika.worker.config import Address


class PeerGroups:
    """Links are known by the places of *addresses*; one whose group is not known stands alone. Threads share it."""

    def __init__(self, addresses: Sequence[Address]) -> None:
        self._addresses = addresses
        self._brokers: list[str | None] = [None] * len(addresses)
        self._in_hand: dict[int, Mapping[str, object]] = {}

    def joined(self, place: int, broker_id: str | None) -> None:
        """A link leads to the group of that broker."""
        self._brokers[place] = broker_id

    def holds(self, place: int, in_hand: Mapping[str, object]) -> None:
        """What a link has in hand, by task id; whoever owns *in_hand* goes on to change it."""
        self._in_hand[place] = in_hand

    def is_one(self, place: int, other: int) -> bool:
        """Whether two links lead to the same group."""
        broker_id = self._brokers[place]
        return place == other or (broker_id is not None and broker_id == self._brokers[other])

    def others(self, place: int) -> list[int]:
        """The other links of the same group."""
        return [other for other in range(len(self._brokers)) if other != place and self.is_one(place, other)]

    def in_hand(self, place: int) -> list[str]:
        """Ids of the tasks that all links of the group have in hand."""
        return [task_id for each in (place, *self.others(place)) for task_id in list(self._in_hand.get(each, ()))]
