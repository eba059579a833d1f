"""Identity and status of a worker, sent when it registers and with each heartbeat, over any link."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from time import time
from typing import Any

from avtomatika import __version__
from avtomatika.core.job import Json
from avtomatika.core.signing import WorkerKey, mac_key_of

from .scheduler import LinkScheduler


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Identity and abilities of a worker; *skills* maps names to parameter schemas, *limits* some of the names to
    ``concurrency`` and ``rate``. Only headers contain the token."""

    worker_id: str
    token: str = field(default="", repr=False)
    worker_type: str = ""
    skills: Mapping[str, Mapping[str, Json]]
    limits: Mapping[str, Mapping[str, Json]] = field(default_factory=dict)
    resources: Mapping[str, Json] = field(default_factory=dict)
    costs: Mapping[str, float] = field(default_factory=dict)
    concurrency: int = 1

    @property
    def key(self) -> WorkerKey | None:
        """The key that signs messages over a broker."""
        return WorkerKey(mac_key_of(self.token)) if self.token else None

    @property
    def headers(self) -> dict[str, str]:
        return {"X-Worker-ID": self.worker_id, "X-Worker-Token": self.token, "User-Agent": "avtomatika"}

    def registration(self) -> dict[str, Any]:
        """Return the registration message."""
        devices = self.resources.get("devices", [])
        properties = {name: value for name, value in self.resources.items() if name != "devices"}
        return {
            "worker_id": self.worker_id,
            "worker_type": self.worker_type,
            "version": f"avtomatika {__version__}",
            "concurrency": self.concurrency,
            "supported_skills": [
                {"name": name, "type": name, "input_schema": dict(schema), **self.limits.get(name, {})}
                for name, schema in self.skills.items()
            ],
            "available_skills": list(self.skills),
            "resources": {"properties": properties, "devices": devices},
            "capabilities": {"cost_per_skill": dict(self.costs)},
            "timestamp": int(time()),
        }


class WorkerStatus:
    """Heartbeat contents for link *index* of *scheduler*; *cached_digests* returns the digests of cached files."""

    def __init__(
        self,
        identity: Identity,
        scheduler: LinkScheduler,
        index: int,
        *,
        cached_digests: Callable[[], Sequence[str]] = tuple,
        unfit: Callable[[], Json] = lambda: None,
        tasks: Callable[[], Sequence[Json]] = tuple,
    ) -> None:
        """*unfit* returns why some skills are suspended, or None; *tasks* the running tasks of all links."""
        self._unfit = unfit
        self._tasks = tasks
        #: Set by the link while it takes no tasks at the request of an operator, or because it is stopping.
        self.is_draining = False
        self.identity = identity
        self._scheduler = scheduler
        self._index = index
        self._cached_digests = cached_digests
        self._sent_digests: Sequence[str] = ()

    def mark_registered(self) -> None:
        """Send all digests again: the orchestrator has forgotten earlier ones."""
        self._sent_digests = ()

    def heartbeat(self, *, status: str | None = None) -> dict[str, Any]:
        """Return the heartbeat; *status* overrides the one derived from running tasks. Digests are included only if
        changed."""
        running, cached, sent = self._scheduler.running, self._cached_digests(), self._sent_digests
        self._sent_digests = cached
        unfit = self._unfit()
        return {
            **({} if unfit is None else {"unfit": unfit}),
            **({} if set(cached) == set(sent) else {"holds": list(cached)}),
            "worker_id": self.identity.worker_id,
            "status": status or ("draining" if self.is_draining else _status(running, self.identity.concurrency)),
            "running": running,
            "tasks": list(self._tasks()),
            "standby": self._scheduler.is_standby(self._index),
            "links": [{"address": str(address), "state": state} for address, state in self._scheduler.states()],
            "switches": self._scheduler.switches,
            "timestamp": int(time()),
        }


def _status(running: int, concurrency: int) -> str:
    if running == 0:
        return "idle"
    return "full" if running >= concurrency else "busy"
