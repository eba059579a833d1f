"""Names of the Redis keys for queues, exchanges and bindings."""

from collections.abc import Iterable, Mapping

#: Prefix of all keys. Its hash tag puts them in one slot of a cluster.
PREFIX = "{avt.g0}:"
#: Consumer group of every stream.
GROUP = "avt"
#: Field of a binding hash that changes with each change of a binding.
VERSION = ":version"


class Keys:
    """All keys start with *prefix*."""

    def __init__(self, prefix: str = PREFIX) -> None:
        self.prefix = prefix
        #: String: identifies this server's data.
        self.identity = f"{prefix}identity"
        #: Hash: exchange -> type.
        self.exchanges = f"{prefix}exchanges"
        #: Hash: queue -> traits: the digits of the priorities in use, and letters: ``d`` for delayed messages, ``f``
        #: for a fanout exchange, ``t`` for a message TTL, ``e`` for a queue that expires, ``p`` for a paused one,
        #: ``x`` for a fair one, ``w`` for a queue whose messages are taken in turns.
        self.queues = f"{prefix}queues"
        #: Hash: ``<queue>\tttl`` and ``<queue>\texpires`` -> ms, for queues with these limits; ``<queue>\tempty`` if
        #: it expires only while it is empty; ``<queue>\tpaused`` -> ``<ms> <who paused it>``; ``<queue>\tkey`` -> the
        #: first fairness key of a fair queue.
        self.limits = f"{prefix}limits"
        #: Sorted set: queue -> when it expires unless it is used (ms, server clock).
        self.expiring = f"{prefix}expiring"
        #: Stream of one entry that all waiting consumers read: a new one tells them to look at the queues again.
        self.bell = f"{prefix}bell"
        #: Sorted set: group, or ``<stream>/<entry>``, whose messages are dropped -> until when (ms).
        self.revoked = f"{prefix}revoked"
        #: Hash of the last heartbeat: ``at`` (ms, server clock), ``run`` (the server's run id) and ``resume`` (ms),
        #: the time before which no expired lease is reclaimed.
        self.beat = f"{prefix}beat"
        #: Sorted set: queue with dead letters, even if it was deleted -> when the last of them is deleted (ms).
        self.dead_queues = f"{prefix}dead"

        #: Hash: limit of flow control -> its values (JSON). Other ``flow:`` keys are described in ``lua/slots.lua``.
        self.flow_limits = f"{prefix}flow:limits"
        #: String: the last mover of shares of limits, which may write them.
        self.flow_mover = f"{prefix}flow:mover"
        #: Hash: fairness key -> weight; 1 for others.
        self.flow_weights = f"{prefix}flow:weights"
        #: Sorted set by name: ``<limit>\0<holder>\0<tag>`` of each running message.
        self.flow_holders = f"{prefix}flow:holders"

    def bindings(self, exchange: str) -> str:
        """Hash: ``<routing key>\\t<queue>`` -> "", and ``:version``."""
        return f"{self.prefix}bindings:{exchange}"

    def presence(self, consumer: str) -> str:
        """Channel, not a key: has a subscriber while the process of *consumer* is connected."""
        return f"{self.prefix}consumer:{consumer}"

    def stream(self, queue: str, level: int | str) -> str:
        """Stream of the messages of one priority.

        Fields: ``p`` payload, ``g`` group, ``n`` earlier deliveries, ``x`` expiry time (ms, server clock), ``o``
        the id before it was requeued.
        """
        return f"{self.prefix}q:{queue}:{level}"

    def delays(self, queue: str) -> str:
        """Sorted set: ``<priority>:<number>`` of a delayed message -> when it is due (ms)."""
        return f"{self.prefix}q:{queue}:delays"

    def delayed(self, queue: str) -> str:
        """Hash: name of a delayed message -> payload; ``<name>:group``, ``<name>:ttl`` (ms); ``:count``."""
        return f"{self.prefix}q:{queue}:delayed"

    def dead(self, queue: str) -> str:
        """Stream of dead letters: the entry's fields, ``reason``, ``deliveries``, ``error``, ``at`` (ms),
        ``queue``."""
        return f"{self.prefix}q:{queue}:dead"

    def listens(self, queue: str) -> str:
        """Hash: fanout exchange -> ``<id>/<ordinal>`` of the last entry the queue has read."""
        return f"{self.prefix}q:{queue}:listens"

    def turns(self, queue: str) -> list[str]:
        """Sorted sets of a queue in turns, described in ``lua/slots.lua``; the first lists its waiting messages."""
        return [f"{self.prefix}q:{queue}:{name}" for name in ("waiting", "ready", "turns", "finish", "stopped")]

    def held(self, queue: str) -> str:
        """Hash: ``<priority><entry>`` of an unacknowledged message -> the limits that count it."""
        return f"{self.prefix}q:{queue}:held"

    def fanout(self, exchange: str) -> str:
        """Capped stream of a fanout exchange."""
        return f"{self.prefix}fanout:{exchange}"


def make_tag(stream: str, entry: str) -> str:
    """Return the delivery tag of *entry*, which is also the name to revoke this message with."""
    return f"{stream}/{entry}"


def parse_tag(tag: str) -> tuple[str, str]:
    """Return the stream key and entry id of a delivery tag."""
    stream, _, entry = tag.rpartition("/")
    return stream, entry


def prefix_of(tag: str) -> str:
    """Return the prefix of the shard of a delivery tag; all prefixes of several shards are a hash tag and a colon."""
    return tag[: tag.index("}:") + 2]


def earliest(positions: Iterable[Mapping[str, str]]) -> dict[str, str]:
    """Return the lowest entry id in *positions* for each stream."""
    first, *others = positions
    found = dict(first)
    for each in others:
        for stream, entry in each.items():
            other = found.get(stream)
            if other is None or (other != entry and _order(entry) < _order(other)):
                found[stream] = entry
    return found


def is_after(entry: str, other: str) -> bool:
    """Return whether the entry id *entry* is higher than *other*; "" is higher than all."""
    return not entry or _order(entry) > _order(other)


def _order(entry: str) -> tuple[int, int]:
    ms, _, number = entry.partition("-")
    return int(ms), int(number or 0)
