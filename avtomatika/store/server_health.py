"""How safely the server keeps jobs, in words: for ``doctor`` and ``/readyz`` alike."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from .server_info import MEMORY_SHARE_FOR_NEW_JOBS, ServerInfo


class HealthState(StrEnum):
    OK = "ok"
    WARNING = "warning"  # it works, but somebody should know
    FAULT = "fault"  # it will go wrong


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found of *subject*, and what to do about it."""

    subject: str
    state: HealthState
    text: str


#: What survives, by the server's append-only file.
_PERSISTENCE = {
    "always": (HealthState.OK, "nothing that was acknowledged is lost, whatever is killed"),
    "everysec": (
        HealthState.OK,
        "nothing is lost when processes are killed; a power failure may cost a second or two",
    ),
    "on": (HealthState.OK, "there is an append-only file; how often it is synced the server does not tell"),
    "no": (HealthState.WARNING, "what the system has not written is lost with the server: set appendfsync everysec"),
    "off": (HealthState.WARNING, "all since the last snapshot is lost with the server: set appendonly yes"),
}
_OLDEST_REDIS = 7


def check_server(server: ServerInfo) -> list[Finding]:
    """What there is to say of the server that keeps the jobs."""
    state, words = _PERSISTENCE.get(server.aof, (HealthState.WARNING, "unknown"))
    return [
        _version(server),
        Finding("persistence", state, f"{server.aof}: {words}"),
        _eviction(server),
        _memory(server),
        *([_replicas(server)] if server.replicas else []),
    ]


def _version(server: ServerInfo) -> Finding:
    text = f"{server.kind} {server.version}"
    if server.kind == "Redis" and int(server.version.split(".")[0]) < _OLDEST_REDIS:
        return Finding("server", HealthState.FAULT, f"{text}: Redis 7 is the oldest that will do, or any Valkey")
    return Finding("server", HealthState.OK, text)


def _eviction(server: ServerInfo) -> Finding:
    if server.eviction == "noeviction":
        return Finding("eviction", HealthState.OK, "noeviction: nothing is thrown away")
    if not server.maxmemory:
        text = f"{server.eviction}, without a limit yet: with one, the server throws jobs away"
        return Finding("eviction", HealthState.WARNING, f"{text}. Set maxmemory-policy noeviction")
    text = f"{server.eviction}: a full server throws jobs away. Set maxmemory-policy noeviction"
    return Finding("eviction", HealthState.FAULT, text)


def _memory(server: ServerInfo) -> Finding:
    used = f"{server.used_memory / 2**20:,.0f} MiB used"
    if not server.maxmemory:
        return Finding("memory", HealthState.OK, f"{used}, no limit set")
    share = server.used_memory / server.maxmemory
    text = f"{used}, {share:.0%} of the limit"
    if share > MEMORY_SHARE_FOR_NEW_JOBS:
        return Finding("memory", HealthState.FAULT, f"{text}: new jobs are refused until others end")
    return Finding("memory", HealthState.OK, text)


def _replicas(server: ServerInfo) -> Finding:
    text = f"{server.replicas}: when one of them takes over, what had not reached it is lost"
    return Finding("replicas", HealthState.WARNING, text)
