"""Reads the server's INFO: whether it has memory for new jobs, and how safely it stores jobs (for ``doctor``)."""

from dataclasses import dataclass
from enum import StrEnum
from time import monotonic

from redis.exceptions import ResponseError

from avtomatika.errors import UnavailableError
from avtomatika.transport import Reading, RedisClient, info_fields
from avtomatika.transport.connection.redis_client import as_dict

from .scripts import server_errors
from .server_part import ServerPart

#: Above this share of the server's memory limit new jobs are rejected, so that running ones can finish.
MEMORY_SHARE_FOR_NEW_JOBS = 0.8


@dataclass(frozen=True, slots=True)
class ServerInfo:
    """*aof* is ``off``, ``no``, ``everysec``, ``always``, or ``on`` if the server does not report its appendfsync.

    Memory is in bytes; *maxmemory* 0 means no limit. *eviction* is the maxmemory-policy. *kind* is Redis or Valkey.
    *min_replicas* is its min-replicas-to-write. Of a server that refuses INFO, the version is empty.
    """

    version: str = ""
    aof: str = "unknown"
    used_memory: int = 0
    maxmemory: int = 0
    eviction: str = "noeviction"
    replicas: int = 0
    min_replicas: int = 0
    kind: str = "Valkey"

    def check_room(self) -> None:
        """Raise UnavailableError if new jobs are rejected."""
        _check_room(self.used_memory, self.maxmemory)


class ServerInfoReader(ServerPart):
    """Thread-safe."""

    def __init__(self, server: RedisClient) -> None:
        super().__init__(server)
        self._checked = 0.0

    def info(self) -> ServerInfo:
        """Read the server's INFO. Raises UnavailableError if the server is unreachable."""
        return self.read_together(self.read_info())[0]

    def read_info(self) -> Reading[ServerInfo]:
        """The reading of :meth:`info`, in one round trip."""
        text, settings = yield [("INFO", "default"), ("CONFIG", "GET", "appendfsync", "min-replicas-to-write")]
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
            [text] = self._server.pipeline([("INFO", "memory")])
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
    """Return the findings about the server that stores the jobs."""
    state, text = _PERSISTENCE.get(server.aof, (HealthState.WARNING, "unknown"))
    return [
        _version(server),
        Finding("persistence", state, f"{server.aof}: {text}"),
        _eviction(server),
        _memory(server),
        *([_replicas(server)] if server.replicas else []),
    ]


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
