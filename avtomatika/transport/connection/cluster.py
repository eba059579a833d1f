"""Redis Cluster: its URLs, and a client of the node that owns the slot of one group of keys."""

from collections.abc import Mapping, Sequence
from typing import Any

from redis import Connection, ConnectionPool, Redis, SSLConnection
from redis.crc import key_slot
from redis.exceptions import ConnectionError, MovedError, RedisError, ResponseError

from .addresses import Address, read_hosts

_DEFAULT_PORT = 6379
#: A node that does not answer within this time is skipped.
_ASK_SECONDS = 2.0


def connect_by_cluster(url: str, settings: Mapping[str, Any], *, tls: bool, prefix: str) -> Redis:
    """Return a client of the primary that owns the slot of keys that start with *prefix*.

    ``redis+cluster://[user:password@]host[:port][,host[:port]...]``: any node of these is asked for the owner, for new
    connections after the slot moved or its owner failed. Raises ValueError for a *prefix* without a hash tag, and for
    another database than 0.
    """
    if not prefix.find("}") - prefix.find("{") - 1 > 0:
        raise ValueError(f"the prefix of keys on a cluster must contain a hash tag, as in {{avt.g0}}:, not {prefix!r}")
    hosts, given = read_hosts(url, _DEFAULT_PORT)
    if given.pop("db", 0) != 0:
        raise ValueError("a cluster has only database 0")
    if "credential_provider" in settings:
        given = {key: value for key, value in given.items() if key not in ("username", "password")}
    of_nodes = dict(settings) | given
    owner = SlotOwner(hosts, key_slot(prefix.encode()), of_nodes, tls=tls)
    connection_class = _SecureSlotConnection if tls else SlotConnection
    return Redis(connection_pool=ConnectionPool(connection_class, owner=owner, **of_nodes))


class SlotOwner:
    """The address of the primary that owns *slot*; *seeds* and nodes that they name are asked for it."""

    def __init__(self, seeds: Sequence[Address], slot: int, settings: Mapping[str, Any], *, tls: bool) -> None:
        self._slot = slot
        self._seeds = tuple(seeds)
        self._connection_class = SSLConnection if tls else Connection
        limits = {"socket_timeout": _ASK_SECONDS, "socket_connect_timeout": _ASK_SECONDS}
        self._settings = dict(settings) | limits
        #: Nodes that the cluster named: they may outlive the seeds.
        self._nodes: tuple[Address, ...] = ()
        self._known: Address | None = None

    def find(self) -> Address:
        """Return the last known address, or ask. Raises ConnectionError if no node names one."""
        known = self._known
        if known is None:
            known = self._known = self._ask()
        return known

    def forget(self, refusal: ResponseError | None = None) -> None:
        """Ask again, or believe the address in MOVED: the slot has another owner, or its owner is unreachable."""
        is_named = isinstance(refusal, MovedError) and refusal.host
        self._known = (refusal.host, refusal.port) if is_named else None  # type: ignore[union-attr]

    def _ask(self) -> Address:
        for host, port in dict.fromkeys((*self._seeds, *self._nodes)):
            try:
                pool = ConnectionPool(self._connection_class, host=host, port=port, **self._settings)
                with Redis.from_pool(pool) as node:
                    slots = node.execute_command("CLUSTER SLOTS")
            except RedisError:
                continue
            owners = [(first, last, [_address(each, asked=host) for each in nodes]) for first, last, *nodes in slots]
            self._nodes = tuple(dict.fromkeys(each for _, _, nodes in owners for each in nodes))
            for first, last, nodes in owners:
                if first <= self._slot <= last:
                    return nodes[0]
        asked = ", ".join(f"{host}:{port}" for host, port in self._seeds)
        raise ConnectionError(f"no node of the cluster {asked} names an owner of slot {self._slot}")


def _address(node: Sequence[Any], *, asked: str) -> Address:
    """Return the address of a node in the reply to ``CLUSTER SLOTS``; of one without a name it is the *asked* host."""
    return (node[0] or b"").decode() or asked, node[1]


class SlotConnection(Connection):
    """A connection to the owner of a slot."""

    def __init__(self, *, owner: SlotOwner, **settings: Any) -> None:
        super().__init__(**settings)  # type: ignore[no-untyped-call]
        self.owner = owner

    def _connect(self) -> Any:
        self.host, self.port = self.owner.find()
        try:
            return super()._connect()  # type: ignore[no-untyped-call]
        except BaseException:
            self.owner.forget()
            raise


class _SecureSlotConnection(SlotConnection, SSLConnection):
    """The same with TLS."""
