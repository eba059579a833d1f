"""The limits of tasks on the server, by the source that defines each: workers, the API, or limits.toml."""

import logging
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from time import monotonic
from typing import Any

from avtomatika.core.job import Json
from avtomatika.core.limits import KINDS, LimitValues
from avtomatika.core.rate_limit import RateLimit
from avtomatika.errors import ConflictError, InvalidRequestError, NotFoundError
from avtomatika.transport import FlowControl, Limit, RedisClient, Router

from .scripts import server_errors
from .shares import Shares

logger = logging.getLogger(__name__)

#: Where limits are defined; a later one replaces what an earlier one defines.
_SOURCES = ("", "worker", "api", "file")
#: Interval of writing what files define, which the server may have lost.
_CHECK_SECONDS = 60.0
ReadFiles = Callable[[], tuple[Mapping[str, LimitValues] | None, Mapping[str, float] | None]]


class Limits:
    """Thread-safe; every method raises UnavailableError if the server is unreachable. Names are as in messages:
    ``skill:encode``."""

    def __init__(self, server: RedisClient, router: Router) -> None:
        self._flow = FlowControl(server, router)
        self._shares = Shares(server, router) if len(server.prefixes) > 1 else None
        #: Returns the limits of limits.toml by name, and the weights of clients.toml by client; None without the file.
        self.read_files: ReadFiles = lambda: (None, None)
        self._announced: tuple[object, float] = None, 0.0

    @server_errors()
    def all(self) -> dict[str, Limit]:
        """Return the limits that are defined, paused or in use, by name."""
        limits = [each for each in self._flow.limits() if each.name.partition(":")[0] in KINDS]
        if self._shares is not None:  # which keeps those of messages for some seconds
            limits = [each for each in limits if each.source or each.paused_by or each.running or each.waiting]
        return {each.name: each for each in limits}

    @server_errors()
    def find(self, name: str) -> Limit:
        """Return a limit, one without values if it is not defined."""
        return self._flow.limits([name])[0]

    def put(self, name: str, values: LimitValues) -> Limit:
        """Define a limit over the API and return it. Raises ConflictError if limits.toml defines it."""
        self._check_owner(name)
        self._set(name, values, "api")
        return self.find(name)

    @server_errors()
    def remove(self, name: str) -> None:
        """Remove the values of a limit. Raises NotFoundError, and ConflictError if limits.toml defines it."""
        self._check_owner(name)
        if not self._set(name, None):
            raise NotFoundError("limit", name, known=self.all())

    @server_errors()
    def set_paused(self, name: str, by: str = "") -> Limit:
        """Start no tasks with the limit *name*, also if it has no values; resume it if *by* is empty."""
        self._flow.pause(name, by) if by else self._flow.resume(name)
        return self.find(name)

    @server_errors()
    def define(self, source: str, wanted: Mapping[str, LimitValues | None], *, is_complete: bool = False) -> None:
        """Define *wanted*, except where a later source does, and remove those without values; with *is_complete* also
        all others of this source."""
        known = self.all()
        others = [name for name, each in known.items() if is_complete and each.source == source]
        for name, values in {**dict.fromkeys(others), **wanted}.items():
            found = known.get(name, Limit(name))
            if values is None and found.source == source:
                self._set(name, None)
            if values is None or _SOURCES.index(found.source) > _SOURCES.index(source):
                continue
            if found.source not in ("", source):
                logger.warning("limit %s: that of the %s replaces that of the %s", name, source, found.source)
            if (found.source, limit_values(found)) != (source, values):
                self._set(name, values, source)

    @server_errors()
    def announce(self) -> None:
        """Write what the files define, if it has changed, and once a minute."""
        found = (limits, weights) = self.read_files()
        if found == self._announced[0] and monotonic() < self._announced[1]:
            return
        if limits is not None:
            self.define("file", limits, is_complete=True)
        if weights is not None:
            self._flow.set_weights(weights)
        self._announced = found, monotonic() + _CHECK_SECONDS

    def define_skills(self, records: Iterable[Mapping[str, Json]]) -> None:
        """Define the limits of skills as workers with *records* state them; the last worker decides."""
        wanted: dict[str, LimitValues | None] = {}
        for skill in (skill for record in records for skill in record["skills"]):
            wanted[f"skill:{skill['name']}"] = None
            with suppress(InvalidRequestError):
                wanted[f"skill:{skill['name']}"] = LimitValues.of(skill.get("concurrency"), skill.get("rate"))
        if wanted:
            self.define("worker", wanted)

    def _check_owner(self, name: str) -> None:
        if self.find(name).source == "file":
            raise ConflictError(f"the limit {name!r} is defined in limits.toml: change it there")

    def move_shares(self) -> None:
        """Move shares of limits to the shards whose tasks wait for them; with one shard there are none."""
        if self._shares is not None:
            self._shares.move()

    @server_errors()
    def _set(self, name: str, values: LimitValues | None, source: str = "") -> bool:
        """Define a limit or remove it; return False if there was none to remove."""
        if self._shares is not None:
            return self._shares.define(name, None if values is None else values.on_wire(), source)
        if values is None:
            return self._flow.remove_limit(name)
        sent: dict[str, Any] = {"concurrency": None, "rate": None, **values.on_wire()}
        self._flow.set_limit(name, **sent, source=source)
        return True


def limit_values(limit: Limit) -> LimitValues:
    """Return the values of a limit on the server."""
    return LimitValues(limit.concurrency, RateLimit(limit.rate, limit.per_ms // 1000) if limit.rate else None)
