"""Reads the server's INFO, and whether it has memory for new jobs."""

from dataclasses import dataclass
from time import monotonic

from redis.exceptions import ResponseError

from avtomatika.errors import UnavailableError
from avtomatika.transport import RedisClient

from .scripts import server_errors

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


class ServerInfoReader:
    """Thread-safe."""

    def __init__(self, server: RedisClient) -> None:
        self._server = server
        self._checked = 0.0

    def info(self) -> ServerInfo:
        """Read the server's INFO. Raises UnavailableError if the server is unreachable."""
        with server_errors():
            info = self._server.info()
            fsync = self._fsync() if info.get("aof_enabled") == "1" else "off"
        return ServerInfo(
            version=info.get("valkey_version") or info["redis_version"],
            aof=fsync,
            used_memory=int(info["used_memory"]),
            maxmemory=int(info["maxmemory"]),
            eviction=info["maxmemory_policy"],
            replicas=int(info.get("connected_slaves", 0)),
            kind="Valkey" if "valkey_version" in info else "Redis",
        )

    def _fsync(self) -> str:
        """Return the server's appendfsync, or ``on`` if it is unknown: hosted servers forbid CONFIG."""
        try:
            found = self._server.execute(("CONFIG", "GET", "appendfsync"))
        except ResponseError:
            return "on"
        values = list(found.values()) if isinstance(found, dict) else found[1:]
        return values[0].decode() if values else "on"

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
