"""Redis Cluster: its URLs, which primary owns our keys, and a pool of connections to each of these."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from redis import Connection, ConnectionPool, Redis, SSLConnection
from redis.crc import key_slot
from redis.exceptions import AskError, ConnectionError, MovedError, RedisError, ResponseError, TryAgainError

from .addresses import Address, read_hosts
from .pool import Pool

_DEFAULT_PORT = 6379
#: A node that does not answer within this time is skipped.
_ASK_SECONDS = 2.0


class Cluster:
    """Finds the primaries that own the slots of *prefixes*.

    ``redis+cluster://[user:password@]host[:port][,host[:port]...]``: any node of these is asked for them, and again
    after a slot moved or an owner failed. Raises ValueError for a prefix without a hash tag, and for another database
    than 0.
    """

    def __init__(self, url: str, settings: Mapping[str, Any], *, tls: bool, prefixes: Sequence[str]) -> None:
        self._seeds, given = read_hosts(url, _DEFAULT_PORT)
        for prefix in prefixes:
            if len(_tag(prefix)) <= len("{}"):
                raise ValueError(
                    f"the prefix of keys on a cluster must contain a hash tag, as in {{avt.g0}}:, not {prefix!r}"
                )
        if given.pop("db", 0) != 0:
            raise ValueError("a cluster has only database 0")
        if "credential_provider" in settings:
            given = {key: value for key, value in given.items() if key not in ("username", "password")}
        self._settings = {**settings, **given}
        self._connection_class = SSLConnection if tls else Connection
        #: Nodes that the cluster named: they may outlive the seeds.
        self._nodes: Sequence[Address] = ()
        #: Hash tag of our keys -> slot.
        self.slots = {_tag(prefix): key_slot(prefix.encode()) for prefix in prefixes}
        #: Slot -> its owner, as far as known.
        self._owners: dict[int, Address] = {}

    def connect(self, node: Address, **settings: Any) -> Redis:
        """Return a client of one node."""
        host, port = node
        kwargs = self._settings | settings
        return Redis.from_pool(ConnectionPool(self._connection_class, host=host, port=port, **kwargs))

    def owner(self, prefix: str) -> Address:
        """Return the last known owner of keys with *prefix*, or ask. Raises ConnectionError if no node names one."""
        slot = self.slots[_tag(prefix)]
        return self._owners.get(slot) or self._ask(slot)

    def forget(self, node: Address, refusal: ResponseError | None = None) -> None:
        """Ask again who owns the slots of *node*, which failed or refused a command: first the node that it names."""
        if type(refusal) in (AskError, TryAgainError):  # a slot is moving, and still its own
            return
        self._owners = {slot: owner for slot, owner in self._owners.items() if owner != node}
        if isinstance(refusal, MovedError):
            self._nodes = [(refusal.host or node[0], refusal.port), *self._nodes]

    def _ask(self, slot: int) -> Address:
        own = {"socket_timeout": _ASK_SECONDS, "socket_connect_timeout": _ASK_SECONDS, "redis_connect_func": None}
        tried: list[Address] = []
        for asked in dict.fromkeys((*self._nodes, *self._seeds)):
            tried.append(asked)
            try:
                with self.connect(asked, **own) as node:
                    shares = node.execute_command("CLUSTER SLOTS")
            except RedisError:
                continue
            named = [(first, last, [_address(each, asked[0]) for each in nodes]) for first, last, *nodes in shares]
            known = dict.fromkeys(each for _, _, nodes in named for each in nodes)
            wanted = set(self.slots.values())
            owners = {each: nodes[0] for first, last, nodes in named for each in wanted if first <= each <= last}
            if slot in owners:
                self._nodes = sorted(known, key=tried.__contains__)  # ask another next: this one may be cut off
                self._owners = owners
                return owners[slot]
        seeds = ", ".join(f"{host}:{port}" for host, port in self._seeds)
        raise ConnectionError(f"no node of the cluster {seeds} names an owner of slot {slot}")


class NodePools:
    """A pool of connections to each node that owns keys of ours."""

    def __init__(self, cluster: Cluster, make_pool: Callable[..., Pool]) -> None:
        self._cluster = cluster
        self._make_pool = make_pool
        self._pools: dict[Address, Pool] = {}
        #: Hash tag of keys -> pool, as far as known.
        self._known: dict[str, Pool] = {}

    def find(self, command: Sequence[object], prefix: str) -> Pool:
        """Return the pool for *command*, by its first key; if it has none of ours, that for the keys with *prefix*."""
        for word in command:
            if isinstance(word, str) and word[:1] == "{":
                tag = word[: word.find("}") + 1]
                if tag in self._cluster.slots:
                    return self._known.get(tag) or self._open(tag)
        return self._known.get(_tag(prefix)) or self._open(_tag(prefix))

    def _open(self, tag: str) -> Pool:
        node = self._cluster.owner(tag)
        if node not in self._pools:
            pool = self._make_pool(self._cluster.connect(node), on_failure=partial(self._forget, node))
            self._pools.setdefault(node, pool)
        pool = self._known[tag] = self._pools[node]
        return pool

    def _forget(self, node: Address, refusal: ResponseError | None) -> None:
        self._cluster.forget(node, refusal)
        self._known.clear()

    def split(self, commands: Sequence[Sequence[object]], prefix: str) -> dict[Pool, list[int]]:
        """Return the places of *commands* by their pools. The order of pools is the same for all callers, so that they
        do not wait for connections of each other."""
        places: dict[Pool, list[int]] = {}
        for place, command in enumerate(commands):
            places.setdefault(self.find(command, prefix), []).append(place)
        return places if len(places) == 1 else dict(sorted(places.items(), key=lambda part: id(part[0])))

    @property
    def open(self) -> int:
        """Number of open connections."""
        return sum(pool.open for pool in list(self._pools.values()))

    def close(self) -> None:
        """Close all idle connections."""
        for pool in list(self._pools.values()):
            pool.close()


def _tag(key: str) -> str:
    return key[: key.find("}") + 1]


def _address(node: Sequence[Any], asked: str) -> Address:
    """Return the address of a node in the reply to ``CLUSTER SLOTS``; of one without a name it is the *asked* host."""
    return (node[0] or b"").decode() or asked, node[1]
