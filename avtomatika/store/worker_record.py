"""The state of a worker as the server stores it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from avtomatika.core.job import Json, job_of
from avtomatika.core.placement import reputation
from avtomatika.core.placement.selection import Unfit
from avtomatika.schemas.worker_status import sanitized_record, sanitized_status
from avtomatika.transport.connection.redis_client import as_dict

from .records import json_object, number

#: Workers send heartbeats every 5 s, workers of the public SDK every 15 s.
LOST_AFTER_SECONDS = 40
#: A worker whose messages are rejected counts as revoked if none was accepted for this long: longer than between two
#: heartbeats, since others can send rejected messages in its name.
_REFUSED_AFTER_SECONDS = 20
#: Time for which a worker counts as taking its tasks here after it last did, even if another link reports standby.
_SERVED_SECONDS = 12
#: Fields of the hash of a worker that :func:`record_of` reads.
FIELDS = ("record", "beat", "at", "since", "served", "turn", "routed", "reputation", "judged", "refused")


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerRecord:
    """The last known state of a worker. *record* and *beat* are validated by ``schemas.worker_status``.

    *last_chosen* is the number of its last selection for a task, counted over all workers; 0 for never. *routed* is the
    number of tasks sent to it since its last heartbeat. *reputation* is computed by ``core.placement.reputation``.
    *drain_requested_by* asked at *drain_requested_ms* that it takes no new tasks.
    """

    worker_id: str
    record: Mapping[str, Any]
    beat: Mapping[str, Any]
    heard_ms: int
    since_ms: int
    silent_ms: int
    is_standby: bool = False
    is_revoked: bool = False
    last_chosen: int = 0
    routed: int = 0
    reputation: float = 1.0
    drain_requested_ms: int | None = None
    drain_requested_by: str | None = None

    @property
    def tasks(self) -> list[dict[str, Json]]:
        """The tasks that it ran at its last heartbeat, the longest-running first."""
        return [
            {
                **task,
                "job_id": job_of(task["task_id"]),
                "started_ms": None if task["running_ms"] is None else self.heard_ms - task["running_ms"],
            }
            for task in self.beat.get("tasks", ())
        ]

    @property
    def is_draining(self) -> bool:
        """True if it takes no new tasks: an operator drains it, or it is stopping."""
        return self.drain_requested_by is not None or self.beat.get("status") == "draining"

    @property
    def unfit(self) -> Unfit | None:
        """The reason why it takes no tasks of some skills, or of all."""
        return Unfit("it is draining", frozenset(self.skills)) if self.is_draining else Unfit.of(self.beat)

    @property
    def skills(self) -> list[str]:
        return [skill["name"] for skill in self.record["skills"]]

    @property
    def is_lost(self) -> bool:
        """True if it has missed too many heartbeats and is considered dead."""
        return self.silent_ms > LOST_AFTER_SECONDS * 1000

    @property
    def is_online(self) -> bool:
        """True if it can execute tasks now."""
        return self.status not in ("revoked", "lost", "offline")

    @property
    def takes_tasks(self) -> bool:
        """True if it is online and not draining."""
        return self.is_online and not self.is_draining

    @property
    def status(self) -> str:
        """``idle``, ``busy``, ``full`` or ``offline``, as reported; ``unfit`` if some of its skills are unavailable;
        ``draining`` if it takes no tasks; ``lost`` if it has missed heartbeats; ``revoked`` if its token is rejected.
        """
        if self.is_revoked:
            return "revoked"
        said = str(self.beat.get("status", "idle"))
        if self.is_lost and said != "offline":
            return "lost"
        if self.is_draining and said != "offline":
            return "draining"
        return "unfit" if "unfit" in self.beat and said != "offline" else said


def drains_of(answer: Any) -> dict[str, tuple[int, str]]:
    """Parse the hash of drained workers: when (ms) and by whom."""
    drains = {name.decode(): value.decode().partition(" ") for name, value in as_dict(answer).items()}
    return {name: (int(since), by) for name, (since, _, by) in drains.items()}


def record_of(
    worker_id: str, row: Sequence[bytes | None], now_ms: int, drain: tuple[int, str] | None, *, is_revoked: bool
) -> WorkerRecord:
    """Parse the :data:`FIELDS` of a worker; *drain* is when and by whom it was drained."""
    record, beat, at, since, served, last_chosen, routed, known, judged, refused = row
    heard_ms = number(at)
    is_refused = number(refused) > heard_ms and now_ms - heard_ms > _REFUSED_AFTER_SECONDS * 1000
    return WorkerRecord(
        worker_id=worker_id,
        record={"skills": [], **_readable(json_object(record), sanitized_record)},
        beat=_readable(json_object(beat), sanitized_status),
        heard_ms=heard_ms,
        since_ms=number(since),
        silent_ms=max(now_ms - heard_ms, 0),
        is_standby=_is_standby(beat, served, now_ms),
        is_revoked=is_revoked or is_refused,
        drain_requested_ms=drain and drain[0],
        drain_requested_by=drain and drain[1],
        last_chosen=number(last_chosen),
        routed=number(routed),
        reputation=round(reputation.decayed(_share(known), (now_ms - (number(judged) or now_ms)) / 1000), 4),
    )


def _readable(stored: Mapping[str, Json], heard: Callable[[Mapping[str, Json]], dict[str, Json]]) -> dict[str, Json]:
    """Return *stored* with each field of the type that *heard* makes it."""
    right = heard(stored)
    return {name: right.get(name, value) for name, value in stored.items()}


def _share(stored: bytes | None) -> float:
    """Return the stored reputation; 1 if it is unknown or invalid."""
    try:
        share = float(stored or 1)
    except ValueError:
        return 1.0
    return share if 0 <= share <= 1 else 1.0


def _is_standby(beat: bytes | None, served: bytes | None, now_ms: int) -> bool:
    """Return True if all its links report standby; a link that is not known to have others counts alone."""
    said = json_object(beat).get("standby")
    return bool(said) and now_ms - number(served) > _SERVED_SECONDS * 1000
