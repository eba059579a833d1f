"""Periodic work: send due timers, delete expired jobs. Any orchestrator can do it."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

from redis.exceptions import RedisError

from avtomatika.core.plan import TIMERS
from avtomatika.transport import RedisClient, Router
from avtomatika.transport.scripts import Call

from .records import load_indexed
from .scripts import EXPIRE_JOB, SEND_DUE_TIMERS, server_errors
from .server_part import ServerClock, ServerPart

logger = logging.getLogger(__name__)

#: Maximum timers sent by one call, so that it does not block the server for long.
_BATCH = 500
#: Maximum jobs deleted by one call, for the same reason: it takes about 10 ms.
_EXPIRE_BATCH = 100
#: Claim of the orchestrator that deletes jobs, and when the claim expires if that one dies.
_RETENTION, _RETENTION_SECONDS = "retention", 5
#: Delay of the next attempt to delete a job if the server rejected it.
_REFUSED_SECONDS = 3600


@dataclass(frozen=True, slots=True)
class Swept:
    """Result of one call: the number of items *done*; *is_more* is True if others may be due already."""

    done: int
    is_more: bool


class Sweeper(ServerPart):
    """Does the periodic work of one server."""

    def __init__(
        self, server: RedisClient, router: Router, *, keeps_jobs: bool = False, prefixes: Sequence[str] | None = None
    ) -> None:
        """With *keeps_jobs* it deletes none: an :class:`.archiver.Archiver` does. *prefixes* are those of the shards
        that it works for, by default all."""
        super().__init__(server)
        self._shards = [keys for keys in self._keys.shards if prefixes is None or keys.prefix in prefixes]
        self._router = router
        self._keeps_jobs = keeps_jobs
        self._clock = ServerClock(server)

    def send_due_timers(self) -> Swept:
        """Move due timers into their queue, up to a limit per call."""
        calls = []
        with server_errors():
            for keys in self._shards:
                router = self._router.of(keys.prefix)
                [queue] = router.route(TIMERS, TIMERS).queues
                call_keys = [keys.timers(), keys.timer_messages(), router.stream(queue, 0)]
                calls.append(Call(SEND_DUE_TIMERS, call_keys, [_BATCH]))
            moved = list(map(int, self._server.run_each(calls)))
        return Swept(sum(moved), is_more=_BATCH in moved)

    def expire_jobs(self) -> Swept:
        """Delete jobs whose retention time is over, up to a limit per call.

        Only one orchestrator at a time does it: two would do the same work twice.
        """
        if self._keeps_jobs:
            return Swept(0, is_more=False)
        most, now_ms = max(_EXPIRE_BATCH // len(self._shards), 1), self._clock.now_ms()
        due = ("-inf", now_ms, "BYSCORE", "LIMIT", 0, most)
        rows = self._read([("ZRANGE", keys.retention(), *due) for keys in self._shards])
        found = {keys.claim(_RETENTION): row for keys, row in zip(self._shards, rows, strict=True) if row}
        claimed = self._read([("SET", claim, 1, "NX", "EX", _RETENTION_SECONDS) for claim in found])
        ours = {claim: row for (claim, row), answer in zip(found.items(), claimed, strict=True) if answer is not None}
        if not ours:
            return Swept(0, is_more=False)
        try:
            removed = self._expire([job_id.decode() for row in ours.values() for job_id in row])
        finally:
            self._read([("DEL", claim) for claim in ours])
        return Swept(removed, is_more=most in map(len, ours.values()))

    def announce_shards(self) -> None:
        """Announce which of several shards this process works for."""
        if len(self._keys.shards) > 1:
            now_ms = self._clock.now_ms()
            served = [(now_ms, place) for place, keys in enumerate(self._keys.shards) if keys in self._shards]
            self._read([("ZADD", self._keys.served_shards(), *chain(*served))])

    def _expire(self, job_ids: Sequence[str]) -> int:
        [rows] = self.read_together(self._read_rows(job_ids, ("status", "init", "reserved")))
        calls, reserved = [], set[str]()
        for job_id, row in zip(job_ids, rows, strict=True):
            status, init, key = (None, None, None) if isinstance(row, RedisError) else row
            reserved.update([key.decode()] if key else [])
            keys = self._keys.of(job_id)
            indexes = keys.indexes_of(*load_indexed(status, init))
            retention, *own = keys.all_of(job_id)
            calls.append(Call(EXPIRE_JOB, [retention, *own, *indexes], [job_id, len(own)]))
        answers = self._run_all(calls)
        refused = [each for each, answer in zip(job_ids, answers, strict=True) if isinstance(answer, RedisError)]
        self._postpone(refused)
        self._free(list(reserved))
        return sum(int(answer) for answer in answers if not isinstance(answer, RedisError))

    def _free(self, idempotency_keys: Sequence[str]) -> None:
        """Delete idempotency keys that reserved ids in other shards, once none of these jobs exists any more."""
        held = self._read([("GET", key) for key in idempotency_keys])
        for key, value in zip(idempotency_keys, held, strict=True):
            ids = (value or b"").decode().replace("?", "").split()[1:]
            if not any(self._read([("EXISTS", self._keys.of(job_id).job(job_id)) for job_id in ids])):
                self._read([("DEL", key)])

    def _postpone(self, job_ids: Sequence[str]) -> None:
        """Delete jobs later, or they would block the deletion of others."""
        if job_ids:
            logger.error("cannot delete %d finished jobs, next attempt in an hour: %s", len(job_ids), job_ids[:3])
            later_ms = self._clock.now_ms() + _REFUSED_SECONDS * 1000
            self._read([("ZADD", self._keys.of(each).retention(), "XX", later_ms, each) for each in job_ids])

    def claim(self, name: str, *, seconds: int) -> bool:
        """Return True if this orchestrator is the one to do work that is done once every *seconds*."""
        [answer] = self._read([("SET", self._keys.claim(name), 1, "NX", "EX", seconds)])
        return answer is not None

    def release_claim(self, name: str) -> None:
        """Release a claim, so that any orchestrator can do its work."""
        self._read([("DEL", self._keys.claim(name))])
