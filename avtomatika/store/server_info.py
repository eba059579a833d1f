"""Reads the server's INFO: whether it has memory for new jobs, and how safely it stores jobs (for ``doctor``)."""

from dataclasses import dataclass
from enum import StrEnum
from time import monotonic

from avtomatika.errors import UnavailableError
from avtomatika.transport import Reading, RedisClient, info_fields, none_refused

from .scripts import server_errors
from .server_part import ServerPart

#: Above this share of the server's memory limit new jobs are rejected, so that running ones can finish.
MEMORY_SHARE_FOR_NEW_JOBS = 0.8


@dataclass(frozen=True, slots=True)
class ServerInfo:
    """*aof* is ``off``, ``no``, ``everysec``, ``always``, or ``on`` if the server does not report its appendfsync.

    Memory is in bytes; *maxmemory* 0 means no limit. *eviction* is the maxmemory-policy. *kind* is Redis or Valkey.
    """

    version: str
    aof: str
    used_memory: int
    maxmemory: int
    eviction: str = "noeviction"
    replicas: int = 0
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
        text, fsync = yield [("INFO", "default"), ("CONFIG", "GET", "appendfsync")]
        info = info_fields(*none_refused([text]))
        known = fsync[1].decode() if isinstance(fsync, list) and fsync else "on"  # hosted servers forbid CONFIG
        return ServerInfo(
            version=info.get("valkey_version") or info["redis_version"],
            aof=known if info.get("aof_enabled") == "1" else "off",
            used_memory=int(info["used_memory"]),
            maxmemory=int(info["maxmemory"]),
            eviction=info["maxmemory_policy"],
            replicas=int(info.get("connected_slaves", 0)),
            kind="Valkey" if "valkey_version" in info else "Redis",
        )

    def refuse_when_full(self) -> None:
        """Raise UnavailableError if new jobs are rejected. Checks the server's memory at most once a second."""
        if monotonic() - self._checked < 1:
            return
        with server_errors():
            memory = self._server.info("memory")
        _check_room(int(memory["used_memory"]), int(memory["maxmemory"]))
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
    text = f"{server.replicas}: a failover loses writes that have not reached the new primary"
    return Finding("replicas", HealthState.WARNING, text)
