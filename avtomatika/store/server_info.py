"""Reads the server's INFO: whether it has memory for new jobs, and how safely it stores jobs (for ``doctor``)."""

from dataclasses import dataclass, replace
from enum import StrEnum
from time import monotonic

from redis.exceptions import ResponseError

from avtomatika.errors import UnavailableError
from avtomatika.transport import Reading, RedisClient, info_fields, together
from avtomatika.transport.connection.pool import Pool
from avtomatika.transport.connection.redis_client import as_dict

from .scripts import server_errors
from .server_part import ServerPart

#: Above this share of the server's memory limit new jobs are rejected, so that running ones can finish.
MEMORY_SHARE_FOR_NEW_JOBS = 0.8


@dataclass(frozen=True, slots=True)
class ServerInfo:
    """*aof* is ``off``, ``no``, ``everysec``, ``always``, or ``on`` if the server does not report its appendfsync.

    Memory is in bytes; *maxmemory* 0 means no limit. *eviction* is the maxmemory-policy. *kind* is Redis or Valkey.
    *min_replicas* is its min-replicas-to-write. Of a server that refuses INFO, the version is empty. *node* is the
    address of one of several nodes of a cluster.
    """

    version: str = ""
    aof: str = "unknown"
    used_memory: int = 0
    maxmemory: int = 0
    eviction: str = "noeviction"
    replicas: int = 0
    min_replicas: int = 0
    kind: str = "Valkey"
    node: str = ""

    def check_room(self) -> None:
        """Raise UnavailableError if new jobs are rejected."""
        _check_room(self.used_memory, self.maxmemory)


class ServerInfoReader(ServerPart):
    """Thread-safe."""

    def __init__(self, server: RedisClient) -> None:
        super().__init__(server)
        self._checked = 0.0

    def infos(self) -> list[ServerInfo]:
        """Read the INFO of each node that has a shard, that of the first shard first. Raises UnavailableError if one is
        unreachable."""
        return self.read_together(self.read_infos())[0]

    def read_infos(self) -> Reading[list[ServerInfo]]:
        """The reading of :meth:`infos`, in one round trip."""
        found = yield from together(*map(self.read_info, self._nodes.values()))
        hosts = [node.factory.connection_kwargs for node in self._nodes]
        names = ["{host}:{port}".format(**each) for each in hosts] if len(hosts) > 1 else [""]
        return [replace(info, node=name) for info, name in zip(found, names, strict=True)]

    @property
    def _nodes(self) -> dict[Pool, str]:
        """The nodes that have shards, each with the prefix of one."""
        nodes = dict[Pool, str]()
        for prefix in self._server.prefixes:
            nodes.setdefault(self._server.pool_of(prefix), prefix)
        return nodes

    def _to(self, prefix: str, *command: str) -> tuple[str, ...]:
        """Return *command* for the node of a shard: an unknown name of a section or setting routes it."""
        return command if prefix == self._server.prefix else (*command, prefix)

    def read_info(self, prefix: str) -> Reading[ServerInfo]:
        """Read the INFO of the node of the shard with *prefix*, in one round trip."""
        config = ("CONFIG", "GET", "appendfsync", "min-replicas-to-write")
        text, settings = yield [self._to(prefix, "INFO", "default"), self._to(prefix, *config)]
        if isinstance(text, ResponseError):  # hosted servers may refuse both
            return ServerInfo()
        info = info_fields(text)
        known = {} if isinstance(settings, ResponseError) else as_dict(settings)
        return ServerInfo(
            version=info.get("valkey_version") or info["redis_version"],
            aof=known.get(b"appendfsync", b"on").decode() if info.get("aof_enabled") == "1" else "off",
            used_memory=int(info.get("used_memory", 0)),
            maxmemory=int(info.get("maxmemory", 0)),
            eviction=info.get("maxmemory_policy", "noeviction"),
            replicas=int(info.get("connected_slaves", 0)),
            min_replicas=int(known.get(b"min-replicas-to-write", 0)),
            kind="Valkey" if "valkey_version" in info else "Redis",
        )

    def refuse_when_full(self) -> None:
        """Raise UnavailableError if new jobs are rejected. Checks the server's memory at most once a second."""
        if monotonic() - self._checked < 1:
            return
        with server_errors():
            texts = self._server.pipeline([self._to(prefix, "INFO", "memory") for prefix in self._nodes.values()])
        for text in texts:
            if not isinstance(text, ResponseError):
                memory = info_fields(text)
                _check_room(int(memory["used_memory"]), int(memory.get("maxmemory", 0)))
        self._checked = monotonic()


def _check_room(used: int, limit: int) -> None:
    if limit and used > MEMORY_SHARE_FOR_NEW_JOBS * limit:
        share = round(100 * used / limit)
        raise UnavailableError(
            f"the server's memory is {share} % full: new jobs are rejected until others finish", retry_after_seconds=10
        )


class HealthState(StrEnum):
    OK = "ok"
    WARNING = "warning"  # works, but carries a risk
    FAULT = "fault"  # does not work, or will fail


@dataclass(frozen=True, slots=True)
class Finding:
    """The state of *subject*; *text* says what to do about it. *kind* is for programs, by default the subject."""

    subject: str
    state: HealthState
    text: str
    kind: str = ""
    count: int = 1


#: Possible data loss, by the setting of the server's append-only file.
_PERSISTENCE = {
    "always": (HealthState.OK, "acknowledged writes are never lost"),
    "everysec": (
        HealthState.OK,
        "no data is lost when processes are killed; a power failure may lose the last two seconds",
    ),
    "on": (HealthState.OK, "the server has an append-only file, but does not report how often it is synced"),
    "no": (HealthState.WARNING, "a crash of the host loses recent writes: set appendfsync everysec"),
    "off": (HealthState.WARNING, "a crash loses all writes since the last snapshot: set appendonly yes"),
}
_OLDEST_REDIS = 7


def check_server(server: ServerInfo) -> list[Finding]:
    """Return the findings about the server that stores the jobs, or one of its nodes."""
    state, text = _PERSISTENCE.get(server.aof, (HealthState.WARNING, "unknown"))
    found = [
        _version(server),
        Finding("persistence", state, f"{server.aof}: {text}"),
        _eviction(server),
        _memory(server),
        *([_replicas(server)] if server.replicas else []),
    ]
    return [replace(each, text=f"{server.node}: {each.text}") for each in found] if server.node else found


def _version(server: ServerInfo) -> Finding:
    if not server.version:
        return Finding("server", HealthState.WARNING, "it refuses INFO: its version, memory and eviction are unknown")
    text = f"{server.kind} {server.version}"
    if server.kind == "Redis" and int(server.version.split(".")[0]) < _OLDEST_REDIS:
        return Finding("server", HealthState.FAULT, f"{text} is not supported: use Redis 7 or newer, or Valkey")
    return Finding("server", HealthState.OK, text)


def _eviction(server: ServerInfo) -> Finding:
    if server.eviction == "noeviction":
        return Finding("eviction", HealthState.OK, "noeviction: no data is evicted")
    if not server.maxmemory:
        text = f"{server.eviction}, but no memory limit: with a limit, the server would evict jobs"
        return Finding("eviction", HealthState.WARNING, f"{text}. Set maxmemory-policy noeviction")
    text = f"{server.eviction}: the server evicts jobs when its memory is full. Set maxmemory-policy noeviction"
    return Finding("eviction", HealthState.FAULT, text)


def _memory(server: ServerInfo) -> Finding:
    used = f"{server.used_memory / 2**20:,.0f} MiB used"
    if not server.maxmemory:
        return Finding("memory", HealthState.OK, f"{used}, no limit set")
    share = server.used_memory / server.maxmemory
    text = f"{used}, {share:.0%} of the limit"
    if share > MEMORY_SHARE_FOR_NEW_JOBS:
        return Finding("memory", HealthState.FAULT, f"{text}: new jobs are rejected until others finish")
    return Finding("memory", HealthState.OK, text)


def _replicas(server: ServerInfo) -> Finding:
    if server.min_replicas:
        text = (
            f"{server.replicas}, and at least {server.min_replicas} for a write: a failover loses a few seconds at most"
        )
        return Finding("replicas", HealthState.OK, text)
    text = f"{server.replicas}: a primary that is cut off accepts writes that are lost. Set min-replicas-to-write 1"
    return Finding("replicas", HealthState.WARNING, text)
