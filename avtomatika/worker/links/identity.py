"""Presence: what a worker says of itself when it registers and with each heartbeat, over every kind of link."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from threading import Condition
from time import monotonic, time
from typing import Any

from avtomatika import __version__
from avtomatika.core.job import Json
from avtomatika.core.signing import WorkerKey, mac_key_of

from .scheduler import LinkScheduler


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Who asks, and what it can do; *skills* with the schemas of their parameters. The token is in headers only."""

    worker_id: str
    token: str = field(default="", repr=False)
    worker_type: str = ""
    skills: Mapping[str, Mapping[str, Json]]
    resources: Mapping[str, Json] = field(default_factory=dict)
    costs: Mapping[str, float] = field(default_factory=dict)
    concurrency: int = 1

    @property
    def key(self) -> WorkerKey | None:
        """What answers by a broker are signed with."""
        return WorkerKey(mac_key_of(self.token)) if self.token else None

    @property
    def headers(self) -> dict[str, str]:
        return {"X-Worker-ID": self.worker_id, "X-Worker-Token": self.token, "User-Agent": "avtomatika"}

    def registration(self) -> dict[str, Any]:
        """What it registers with."""
        devices = self.resources.get("devices", [])
        properties = {name: value for name, value in self.resources.items() if name != "devices"}
        return {
            "worker_id": self.worker_id,
            "worker_type": self.worker_type,
            "version": f"avtomatika {__version__}",
            "concurrency": self.concurrency,
            "supported_skills": [
                {"name": name, "type": name, "input_schema": dict(schema)} for name, schema in self.skills.items()
            ],
            "available_skills": list(self.skills),
            "resources": {"properties": properties, "devices": devices},
            "capabilities": {"cost_per_skill": dict(self.costs)},
            "timestamp": int(time()),
        }


class WorkerStatus:
    """Speaks for the link at *place* of *turns*; *holdings* tells the digests of files that the worker has at hand."""

    def __init__(
        self,
        identity: Identity,
        turns: LinkScheduler,
        place: int,
        *,
        holdings: Callable[[], Sequence[str]] = tuple,
        unfit: Callable[[], Json] = lambda: None,
    ) -> None:
        """*unfit* answers why the worker cannot do some of its skills for now, or None."""
        self._unfit = unfit
        self.identity = identity
        self._turns = turns
        self._place = place
        self._holdings = holdings
        self._told: Sequence[str] = ()

    def registered(self) -> None:
        """Whatever was told before is forgotten there."""
        self._told = ()

    def heartbeat(self, *, status: str | None = None) -> dict[str, Any]:
        """How it fares now; *status* in place of what follows from its tasks. What it holds only where that changed."""
        running, held, told = self._turns.running, self._holdings(), self._told
        self._told = held
        unfit = self._unfit()
        return {
            **({} if unfit is None else {"unfit": unfit}),
            **({} if set(held) == set(told) else {"holds": list(held)}),
            "worker_id": self.identity.worker_id,
            "status": status or _status(running, self.identity.concurrency),
            "running": running,
            "standby": self._turns.is_standby(self._place),
            "links": [{"address": str(address), "state": state} for address, state in self._turns.states()],
            "switches": self._turns.switches,
            "timestamp": int(time()),
        }


class Pulse:
    """Tells a thread when its next heartbeat is due: by the clock, or at once."""

    def __init__(self) -> None:
        self._changed = Condition()
        self._is_due = False
        self._has_ended = False

    def now(self) -> None:
        """Have the next heartbeat at once."""
        with self._changed:
            self._is_due = True
            self._changed.notify_all()

    def end(self) -> None:
        """No more heartbeats."""
        with self._changed:
            self._has_ended = True
            self._changed.notify_all()

    def wait(self, seconds: float) -> bool:
        """Wait for the next heartbeat, *seconds* at most; False where there shall be none."""
        deadline = monotonic() + seconds
        with self._changed:
            while not (self._is_due or self._has_ended) and (left := deadline - monotonic()) > 0:
                self._changed.wait(left)
            self._is_due = False
            return not self._has_ended


def _status(running: int, concurrency: int) -> str:
    if running == 0:
        return "idle"
    return "full" if running >= concurrency else "busy"
