"""Registry of recently seen workers on all links, and of the names that workers.toml contained within a day."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from time import monotonic

import orjson

from avtomatika import transport
from avtomatika.core.job import Json
from avtomatika.core.names import JOB_ID, REVOKED
from avtomatika.core.placement import reputation
from avtomatika.core.placement.cached_files import MOST_FILES
from avtomatika.core.placement.selection import Candidate
from avtomatika.errors import NotFoundError
from avtomatika.schemas.wire import Heartbeat, Registered
from avtomatika.schemas.worker_status import sanitized_record, skill_names
from avtomatika.transport import Reading, RedisClient, Router, none_refused
from avtomatika.transport.scripts import Call

from .limits import Limits
from .records import json_object
from .scripts import CHOOSE_WORKER, DRAIN, HEARTBEAT, READ_WORKERS, RECORD_OUTCOMES, REFUSE, REGISTER_WORKER
from .server_part import ServerPart, milliseconds
from .worker_record import FIELDS, WorkerRecord, drains_of, record_of

#: A worker without a heartbeat for this long is deleted: after its next heartbeat it registers again.
WORKER_TTL_SECONDS = 120
#: Time for which a name that was removed from workers.toml may not use the shared token.
NAMED_SECONDS = 24 * 3600
#: A drained worker that is never resumed takes tasks again after this time.
DRAINED_SECONDS = 30 * 24 * 3600
_CACHED_SECONDS = 1.0

#: Returns True if the worker with this id may authenticate; raises UnavailableError.
IsAuthorized = Callable[[str], bool]


def everybody(worker_id: str) -> bool:
    """Authorize every worker: for processes that do not know the tokens."""
    return True


class WorkerRegistry(ServerPart):
    """Thread-safe. It also stores the names for ``avtomatika.tokens.Workers``."""

    def __init__(self, server: RedisClient, is_authorized: IsAuthorized = everybody) -> None:
        super().__init__(server)
        self._is_authorized = is_authorized
        self._limits = Limits(server, Router(server))
        self._queues = [transport.Keys(prefix) for prefix in server.prefixes]
        self._drained: tuple[frozenset[str], float] = frozenset(), float("-inf")

    def find(self, worker_id: str) -> WorkerRecord:
        """Return a registered worker. Raises NotFoundError."""
        known = {worker.worker_id: worker for worker in self.workers()}
        if worker_id not in known:
            raise NotFoundError("worker", worker_id, known=known)
        return known[worker_id]

    def drain(self, worker_id: str, *, by: str) -> None:
        """Let a worker take no new tasks until :meth:`resume`, also after a restart. Raises NotFoundError."""
        self.find(worker_id)
        self._run(Call(DRAIN, [self._keys.drained_workers()], [worker_id, by, DRAINED_SECONDS]))

    def resume(self, worker_id: str) -> None:
        """Let a drained worker take tasks again. Raises NotFoundError if it is neither drained nor registered."""
        if self._read([("HDEL", self._keys.drained_workers(), worker_id)]) == [0]:
            self.find(worker_id)

    def is_drained(self, worker_id: str) -> bool:
        """Return whether a worker is drained, as of at most a second ago."""
        if monotonic() - self._drained[1] > _CACHED_SECONDS:
            [names] = self._read([("HKEYS", self._keys.drained_workers())])
            self._drained = frozenset(name.decode() for name in names), monotonic()
        return worker_id in self._drained[0]

    def refuse(self, worker_ids: Iterable[str]) -> None:
        """Record that messages of these workers were rejected."""
        self._run_all([Call(REFUSE, [self._keys.worker(each)], []) for each in worker_ids])

    def register(self, worker_id: str, record: Mapping[str, Json]) -> None:
        """Register a worker. Replaces its previous record, but keeps its last selection and reputation."""
        self._run(self._call(Registered(worker_id, record)))
        self._limits.define_skills([record])

    def beat(self, worker_id: str, beat: Mapping[str, Json]) -> bool:
        """Record a heartbeat; False if the worker is not registered. An empty *beat* keeps the last reported status."""
        return bool(self._run(self._call(Heartbeat(worker_id, beat))))

    def record(self, notices: Sequence[Registered | Heartbeat]) -> None:
        """Record notices in one round trip; heartbeats of unregistered workers change nothing."""
        self._run_all([self._call(notice) for notice in notices])
        self._limits.define_skills([notice.record for notice in notices if isinstance(notice, Registered)])

    def skills(self, worker_id: str) -> tuple[str, ...] | None:
        """Return the skills that *worker_id* registered with, or None if it is not registered."""
        [text] = self._read([("HGET", self._keys.worker(worker_id), "record")])
        return None if text is None else tuple(skill_names(sanitized_record(json_object(text))))

    def parameters_of(self, skill: str) -> list[str]:
        """Return the names of the parameters of *skill* in order, as a worker registered it."""
        online = [worker.record["skills"] for worker in self.workers() if worker.is_online]
        for each in chain(*online):
            properties = each["schema"].get("properties")
            if each["name"] == skill and isinstance(properties, Mapping):
                return list(properties)
        return []

    def workers(self) -> list[WorkerRecord]:
        """Return all registered workers, sorted by id."""
        return self.read_together(self.read_workers())[0]

    def read_workers(self) -> Reading[list[WorkerRecord]]:
        """The reading of :meth:`workers`, in one round trip."""
        keys = [self._keys.workers(), self._keys.worker("")]
        call = Call(READ_WORKERS, keys, [1000 * WORKER_TTL_SECONDS + 1000, *FIELDS])
        [clock, *rows], drains = none_refused((yield [call, ("HGETALL", self._keys.drained_workers())]))
        now_ms, drained = milliseconds(clock), drains_of(drains)
        found = {worker_id.decode(): row for worker_id, row in zip(rows[::2], rows[1::2], strict=True)}
        return [
            record_of(worker_id, row, now_ms, drained.get(worker_id), is_revoked=not self._is_authorized(worker_id))
            for worker_id, row in sorted(found.items())
            if row[0] is not None
        ]

    def fleet(self, *, with_holdings: bool = False) -> list[Candidate]:
        """Return the workers that can be selected for tasks now, with their load, and on request their cached files."""
        there = [worker for worker in self.workers() if worker.is_online]
        if not there:
            return []
        queues = [f"@{worker.worker_id}" for worker in there]
        traits = self._read([("HMGET", keys.queues, *queues) for keys in self._queues])
        streams = [
            (place, keys.stream(queues[place], int(level)))
            for keys, of_shard in zip(self._queues, traits, strict=True)
            for place, known in enumerate(of_shard)
            for level in (known or b"").decode()
            if level.isdigit()
        ]
        sizes = self._read([("XLEN", stream) for _, stream in streams])
        own = [0] * len(there)
        for (place, _), size in zip(streams, sizes, strict=True):
            own[place] += int(size)
        members = [_member(worker, size) for worker, size in zip(there, own, strict=True)]
        chosen = [member for member, known in zip(members, traits[0], strict=True) if known is not None]
        return self._with_holdings(chosen) if with_holdings else chosen

    def _with_holdings(self, members: Sequence[Candidate]) -> list[Candidate]:
        held = self._read([("HGET", self._keys.worker(each.worker_id), "holds") for each in members])
        return [replace(member, cached_files=_holdings(text)) for member, text in zip(members, held, strict=True)]

    def chosen(self, worker_ids: Sequence[str]) -> None:
        """Record that these workers were selected, in this order."""
        keys = [self._keys.worker_turns()]
        self._run_all([Call(CHOOSE_WORKER, [self._keys.worker(each), *keys], []) for each in worker_ids])

    def record_outcomes(self, ended: Mapping[str, tuple[int, int]]) -> None:
        """Update reputations by *ended*: worker -> (succeeded tasks, failed tasks)."""
        half = reputation.HALVES_SECONDS
        self._run_all(
            [
                Call(RECORD_OUTCOMES, [self._keys.worker(worker_id)], [*reputation.decay_factors(good, bad), half])
                for worker_id, (good, bad) in ended.items()
            ]
        )

    def _call(self, notice: Registered | Heartbeat) -> Call:
        keys = [self._keys.worker(notice.worker_id), self._keys.workers()]
        if isinstance(notice, Registered):
            return Call(REGISTER_WORKER, keys, [notice.worker_id, orjson.dumps(notice.record), WORKER_TTL_SECONDS])
        fares = {name: value for name, value in notice.beat.items() if name != "holds"}
        beat = orjson.dumps(fares) if fares else b""
        is_here = int(bool(fares) and not fares.get("standby"))
        held = orjson.dumps(notice.beat["holds"]) if "holds" in notice.beat else b""
        return Call(HEARTBEAT, keys, [notice.worker_id, beat, WORKER_TTL_SECONDS, is_here, held])

    # ------------------------------------------------------------ names of workers.toml, and revoked ids

    def revoke(self, worker_id: str) -> None:
        """Reject all requests and messages of a worker until :meth:`allow`, whether or not it is registered. Raises
        NotFoundError for an id that no worker can have."""
        if JOB_ID.fullmatch(worker_id) is None:
            raise NotFoundError("worker", worker_id)
        self._read([("ZADD", self._keys.worker_names(), "+inf", REVOKED + worker_id)])

    def allow(self, worker_id: str) -> None:
        """Let a revoked worker authenticate again. Raises NotFoundError, with the revoked ids, if it is not revoked."""
        revoked = [name.removeprefix(REVOKED) for name in self.recall() if name.startswith(REVOKED)]
        if worker_id not in revoked:
            raise NotFoundError("revoked worker", worker_id, known=revoked)
        self._read([("ZREM", self._keys.worker_names(), REVOKED + worker_id)])

    def remember(self, names: Iterable[str]) -> None:
        until = self._now_ms() // 1000 + NAMED_SECONDS
        self._read([("ZADD", self._keys.worker_names(), until, name) for name in names])

    def recall(self) -> frozenset[str]:
        now = self._now_ms() // 1000
        _, names = self._read(
            [("ZREMRANGEBYSCORE", self._keys.worker_names(), "-inf", now), ("ZRANGE", self._keys.worker_names(), 0, -1)]
        )
        return frozenset(name.decode() for name in names)


def _holdings(text: bytes | None) -> frozenset[str]:
    """Return the files that a worker reported, without invalid entries."""
    try:
        said = orjson.loads(text or b"[]")
    except orjson.JSONDecodeError:
        said = []
    held = said[:MOST_FILES] if isinstance(said, list) else []
    return frozenset(each for each in held if isinstance(each, str))


def _member(worker: WorkerRecord, own: int) -> Candidate:
    """*own* is the number of tasks in the worker's queue, with running ones; its heartbeat may not count the latest."""
    record, beat = worker.record, worker.beat
    resources = record.get("resources") or {}
    return Candidate(
        worker_id=worker.worker_id,
        skills=frozenset(worker.skills),
        properties=resources.get("properties", {}),
        devices=resources.get("devices", ()),
        costs=record.get("costs", {}),
        slots=record.get("concurrency") or 1,
        load=max(own, beat.get("running", 0) + min(worker.routed, own)),
        last_chosen=worker.last_chosen,
        is_standby=worker.is_standby,
        reputation=worker.reputation,
        unfit=worker.unfit,
    )
