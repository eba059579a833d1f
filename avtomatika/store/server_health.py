"""Checks how safely the server stores jobs, for ``doctor`` and ``/readyz``."""

from dataclasses import dataclass
from enum import StrEnum

from .server_info import MEMORY_SHARE_FOR_NEW_JOBS, ServerInfo


class HealthState(StrEnum):
    OK = "ok"
    WARNING = "warning"  # works, but carries a risk
    FAULT = "fault"  # does not work, or will fail


@dataclass(frozen=True, slots=True)
class Finding:
    """The state of *subject*; *text* says what to do about it."""

    subject: str
    state: HealthState
    text: str


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
