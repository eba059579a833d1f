"""Workers over HTTP that were heard of lately, and the names that workers.toml has had within a day."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import orjson

from avtomatika.core.job import Json
from avtomatika.transport import Server, connect

from .keys import Keys
from .scripts import read_all

#: A worker that says nothing so long is gone: its next heartbeat makes it register anew.
WORKER_TTL_SECONDS = 120
#: How long the shared token is not for who was taken out of workers.toml.
NAMED_SECONDS = 24 * 3600


class Registry:
    """Threads may share it. It is also the memory of ``avtomatika.tokens.Workers``."""

    def __init__(self, server: Server, *, prefix: str = "avt:") -> None:
        self._server = server
        self._keys = Keys(prefix)

    @classmethod
    def connect(cls, url: str) -> Registry:
        """With connections of its own; nothing is sent yet."""
        return cls(Server(connect(url)))

    def register(self, worker_id: str, record: Mapping[str, Json]) -> None:
        """Write down a worker; what was known of it before is forgotten."""
        text = orjson.dumps(dict(record)).decode()
        read_all(self._server, [("SET", self._keys.worker(worker_id), text, "EX", WORKER_TTL_SECONDS)])

    def skills(self, worker_id: str) -> tuple[str, ...] | None:
        """The skills that *worker_id* registered with; None where it is not known."""
        [text] = read_all(self._server, [("GET", self._keys.worker(worker_id))])
        return None if text is None else tuple(orjson.loads(text)["skills"])

    def heard_of(self, worker_id: str) -> bool:
        """Whether the worker is known; if so it stays so for a while."""
        [known] = read_all(self._server, [("EXPIRE", self._keys.worker(worker_id), WORKER_TTL_SECONDS)])
        return bool(known)

    def close(self) -> None:
        """Disconnect; the next call connects again."""
        self._server.close()

    # ------------------------------------------------------------ memory of names

    def remember(self, names: Iterable[str]) -> None:
        until = self._now_seconds() + NAMED_SECONDS
        read_all(self._server, [("ZADD", self._keys.worker_names(), until, name) for name in names])

    def recall(self) -> frozenset[str]:
        now = self._now_seconds()
        _, names = read_all(
            self._server,
            [
                ("ZREMRANGEBYSCORE", self._keys.worker_names(), "-inf", now),
                ("ZRANGE", self._keys.worker_names(), 0, -1),
            ],
        )
        return frozenset(name.decode() for name in names)

    def _now_seconds(self) -> int:
        [clock] = read_all(self._server, [("TIME",)])
        return int(clock[0])
