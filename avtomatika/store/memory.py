"""What the server says of itself, above all whether it has room for new jobs."""

from __future__ import annotations

from dataclasses import dataclass
from time import monotonic

from redis.exceptions import ResponseError

from avtomatika.errors import Unavailable
from avtomatika.transport import Server

from .scripts import server_errors

#: Above this share of the server's memory limit new jobs are refused, so that running ones can end.
MEMORY_SHARE_FOR_NEW_JOBS = 0.8


@dataclass(frozen=True, slots=True)
class ServerInfo:
    """*aof* is ``off``, ``no``, ``everysec``, ``always``, or ``on`` where the server does not tell which of them.

    Memory in bytes, *maxmemory* 0 for no limit; *eviction* is what it does at the limit. *kind* is Redis or Valkey.
    """

    version: str
    aof: str
    used_memory: int
    maxmemory: int
    eviction: str = "noeviction"
    replicas: int = 0
    kind: str = "Valkey"


class ServerMemory:
    """Threads may share it."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._checked = 0.0

    def info(self) -> ServerInfo:
        """What the server says of itself; raises Unavailable when it is away."""
        with server_errors():
            info = self._server.client.info()
            fsync = self._fsync() if info.get("aof_enabled") else "off"
        return ServerInfo(
            version=info.get("valkey_version") or info["redis_version"],
            aof=fsync,
            used_memory=info["used_memory"],
            maxmemory=info["maxmemory"],
            eviction=info["maxmemory_policy"],
            replicas=info.get("connected_slaves", 0),
            kind="Valkey" if "valkey_version" in info else "Redis",
        )

    def _fsync(self) -> str:
        """How often the append-only file is synced; hosted servers keep that to themselves."""
        try:
            return str(self._server.client.config_get("appendfsync")["appendfsync"])
        except ResponseError:
            return "on"

    def refuse_when_full(self) -> None:
        """Look at the server's memory at most once a second."""
        if monotonic() - self._checked < 1:
            return
        with server_errors():
            memory = self._server.client.info("memory")
        limit = memory["maxmemory"]
        if limit and memory["used_memory"] > MEMORY_SHARE_FOR_NEW_JOBS * limit:
            share = round(100 * memory["used_memory"] / limit)
            raise Unavailable(
                f"the server's memory is {share} % full: new jobs wait until others end", retry_after_seconds=10
            )
        self._checked = monotonic()
