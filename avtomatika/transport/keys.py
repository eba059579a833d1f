"""Names of all keys that belong to queues and their bindings."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

#: Consumer group of every stream.
GROUP = "avt"
#: Field of a binding hash that changes whenever a binding does.
VERSION = ":version"


@dataclass(frozen=True, slots=True)
class Keys:
    """Every key begins with *prefix*."""

    prefix: str = "avt:"

    def identity(self) -> str:
        """Text: what tells this server from every other one."""
        return f"{self.prefix}identity"

    def exchanges(self) -> str:
        """Hash: exchange -> its type."""
        return f"{self.prefix}exchanges"

    def bindings(self, exchange: str) -> str:
        """Hash: ``<routing key>\\t<queue>`` -> nothing, and ``:version``."""
        return f"{self.prefix}bindings:{exchange}"

    def queues(self) -> str:
        """Hash: queue -> its traits.

        Digits of the levels in use; ``d`` with delays, ``f`` with a fanout exchange, ``t`` where its messages have a
        time to live, ``e`` where it expires itself.
        """
        return f"{self.prefix}queues"

    def limits(self) -> str:
        """Hash: ``<queue>\\tttl`` and ``<queue>\\texpires`` -> ms, for queues that have such limits."""
        return f"{self.prefix}limits"

    def expiring(self) -> str:
        """Sorted set: queue -> when it goes unless somebody uses it (ms, server clock)."""
        return f"{self.prefix}expiring"

    def bell(self) -> str:
        """Stream of one entry that every waiting consumer reads too: rung when one should look at the queues again."""
        return f"{self.prefix}bell"

    def revoked(self) -> str:
        """Sorted set: group, or ``<stream>/<entry>``, whose messages are to be dropped -> until when (ms)."""
        return f"{self.prefix}revoked"

    def beat(self) -> str:
        """Hash of the last sign of life: ``at`` (ms, server clock), ``run`` (id of the server's run) and ``resume``
        (ms): from when on messages may be taken over."""
        return f"{self.prefix}beat"

    def presence(self, consumer: str) -> str:
        """Channel, not a key: it has a subscriber for as long as the process of *consumer* is connected."""
        return f"{self.prefix}consumer:{consumer}"

    def stream(self, queue: str, level: int | str) -> str:
        """Stream of the messages of one priority.

        Fields: ``p`` payload, ``g`` group, ``n`` earlier deliveries, ``x`` end of its life (ms, server clock).
        """
        return f"{self.prefix}q:{queue}:{level}"

    def delays(self, queue: str) -> str:
        """Sorted set: ``<level>:<number>`` of a delayed message -> when it is due (ms)."""
        return f"{self.prefix}q:{queue}:delays"

    def delayed(self, queue: str) -> str:
        """Hash: name of a delayed message -> its payload; ``<name>:group``, ``<name>:ttl`` (ms); ``:count``."""
        return f"{self.prefix}q:{queue}:delayed"

    def dead_queues(self) -> str:
        """Sorted set: queue that has dead letters, be it that it was removed -> when the last of them goes (ms)."""
        return f"{self.prefix}dead"

    def dead(self, queue: str) -> str:
        """Stream of dead letters: the entry's fields, ``reason``, ``deliveries``, ``error``, ``at`` (ms), ``queue``."""
        return f"{self.prefix}q:{queue}:dead"

    def listens(self, queue: str) -> str:
        """Hash: fanout exchange -> ``<id>/<ordinal>`` of the entry that the queue has read last."""
        return f"{self.prefix}q:{queue}:listens"

    def fanout(self, exchange: str) -> str:
        """Capped stream of a fanout exchange."""
        return f"{self.prefix}fanout:{exchange}"


def make_tag(stream: str, entry: str) -> str:
    """The delivery tag of *entry*; also the name under which it alone can be revoked."""
    return f"{stream}/{entry}"


def parse_tag(tag: str) -> tuple[str, str]:
    """Stream key and entry id of a delivery tag."""
    stream, _, entry = tag.rpartition("/")
    return stream, entry


def earliest(places: Iterable[Mapping[str, str]]) -> dict[str, str]:
    """Stream -> the lowest of the entry ids that *places* have for it."""
    first, *others = places
    found = dict(first)
    for each in others:
        for stream, entry in each.items():
            other = found.get(stream)
            if other is None or (other != entry and _order(entry) < _order(other)):
                found[stream] = entry
    return found


def is_after(entry: str, other: str) -> bool:
    """Whether the entry id *entry* is higher than *other*; an empty one is higher than all."""
    return not entry or _order(entry) > _order(other)


def _order(entry: str) -> tuple[int, int]:
    ms, _, number = entry.partition("-")
    return int(ms), int(number or 0)
