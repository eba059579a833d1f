"""Peer groups: which links lead to the same orchestrator group. Any link of a group can keep and answer a task of
another. A group is identified by its broker, since names chosen by people may coincide."""

from collections.abc import Mapping, Sequence

from avtomatika.addresses import Address


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
