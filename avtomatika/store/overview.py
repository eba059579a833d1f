"""The state of a server in figures, read in two round trips whose size does not depend on the number of jobs."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from avtomatika import __version__
from avtomatika.core.job import JobStatus
from avtomatika.core.plan import TASKS
from avtomatika.transport import QueueStats, Reading, RedisClient, Router, none_refused, together
from avtomatika.transport.flow import FlowControl, Limit
from avtomatika.transport.scripts import Call

from .keyring import REMEMBERED_SECONDS
from .keys import Keys
from .plans import SERVED_WITHIN_MS
from .queues import read_queues, shard_inspectors
from .schedules import Schedules
from .scripts import OVERVIEW, SAMPLE
from .server_info import ServerInfo, ServerInfoReader
from .server_part import ServerPart
from .worker_record import WorkerRecord
from .worker_registry import WorkerRegistry


@dataclass(frozen=True, slots=True, kw_only=True)
class Overview:
    """*jobs* are numbers by status, *dead_letters* by queue. *hour* and *day* are points as ``PointsSchema`` has them.

    *secrets* is the number of different secrets that processes started to use within a day. *versions* are those of
    orchestrators. *silent_ms* is the time since an orchestrator announced its plans. *archive_error*: why jobs stay.
    *unserved_shards* are the numbers of shards that no orchestrator serves.
    """

    at_ms: int
    jobs: Mapping[str, int]
    queues: Sequence[QueueStats]
    task_queues: Sequence[str]
    dead_letters: Mapping[str, int]
    workers: Sequence[WorkerRecord]
    servers: Sequence[ServerInfo]
    secrets: int
    versions: Sequence[str]
    silent_ms: int
    hour: Mapping[str, Any]
    day: Mapping[str, Any]
    limits: Sequence[Limit] = ()
    schedule_errors: Mapping[str, str] = field(default_factory=dict)
    archive_error: str | None = None
    unserved_shards: Sequence[int] = ()

    @property
    def tasks(self) -> dict[str, int]:
        """Tasks of all skills: those that workers have leased are running."""
        found = [queue for queue, _ in self.served()]
        return {
            "running": sum(each.held for each in found),
            "waiting": sum(each.waiting for each in found),
            "oldest_waiting_seconds": max((each.waited_ms for each in found), default=0) // 1000,
        }

    @property
    def waiting(self) -> dict[str, int]:
        """Jobs by what they wait for, and waiting tasks of skills that no worker has (``no_worker``)."""
        unserved = sum(queue.waiting for queue, able in self.served() if not any(each.takes_tasks for each in able))
        waits = {each: each.removeprefix("waiting_for_") for each in self.jobs if each.startswith("waiting_for_")}
        reasons = {"pending": "start", "quarantined": "quarantined", **waits}
        return {reason: self.jobs[status] for status, reason in reasons.items()} | {"no_worker": unserved}

    @property
    def workers_by_status(self) -> dict[str, int]:
        return {"alive": sum(each.is_online for each in self.workers), **Counter(each.status for each in self.workers)}

    @property
    def all_versions(self) -> list[str]:
        """The versions of this process, the orchestrators and the workers."""
        told = [str(worker.record.get("version")) for worker in self.workers if worker.is_online]
        ours = {each.removeprefix("avtomatika ") for each in told if each.startswith("avtomatika ")}
        return sorted({__version__, *self.versions, *ours})

    def served(self) -> Iterator[tuple[QueueStats, list[WorkerRecord]]]:
        """Yield the queues of tasks, each with the workers that take from it."""
        for queue in self.queues:
            if queue.name in self.task_queues:
                yield queue, [each for each in self.workers if queue.name in (f"@{each.worker_id}", *each.skills)]


class OverviewReader(ServerPart):
    """Thread-safe. Every method raises UnavailableError if the server is unreachable."""

    def __init__(self, server: RedisClient, router: Router, *, registry: WorkerRegistry) -> None:
        super().__init__(server)
        self._router = router
        self._registry = registry

    def read(self) -> Overview:
        return self.read_together(self.reading())[0]

    def reading(self) -> Reading[Overview]:
        """The reading of :meth:`read`, in two round trips."""
        readings: Sequence[Reading[Any]] = (
            self._read_figures(),
            read_queues(shard_inspectors(self._server, self._router)),
            self._registry.read_workers(),
            ServerInfoReader(self._server).read_infos(),
            Schedules(self._server).reading(),
            FlowControl(self._server, self._router).read_limits(),
            self._read_served_shards(),
        )
        figures, queues, workers, servers, schedules, limits, served = yield from together(*readings)
        figures["jobs"] = {status: figures["jobs"][status] for status in JobStatus}
        errors = {each.schedule.name: each.error for each in schedules if each.error is not None}
        within_ms = figures["at_ms"] - SERVED_WITHIN_MS
        unserved = [place for place, at_ms in enumerate(served) if at_ms < within_ms]
        parts = {
            "queues": queues,
            "workers": workers,
            "servers": servers,
            "limits": limits,
            "unserved_shards": unserved,
        }
        return Overview(**parts, schedule_errors=errors, **figures)

    def read_blueprints(
        self, names: Sequence[str], jobs: Mapping[str, int]
    ) -> tuple[dict[str, int], dict[tuple[str, str], int], int]:
        """Return the jobs of the blueprints *names* and of all ``other``, those that have not ended by blueprint and
        status (up to 10,000 *jobs* of one, which the server intersects in 2 ms), and the number of timers."""
        statuses = [each for each in JobStatus if not each.is_final and 0 < jobs[each] <= 10_000]
        pairs = [(name, str(status)) for name in names for status in statuses]
        commands: list[tuple[str | int, ...]] = []
        for keys in self._keys.shards:
            commands.append(("ZCARD", keys.timers()))
            commands += [("ZCARD", keys.by_blueprint(name)) for name in names]
            commands += [("ZINTERCARD", 2, keys.by_blueprint(name), keys.by_status(status)) for name, status in pairs]
        size, replies = 1 + len(names) + len(pairs), self._read(commands)
        timers, *numbers = (sum(replies[place::size]) for place in range(size))
        by_name = dict(zip(names, numbers, strict=False))
        by_name["other"] = max(sum(jobs.values()) - sum(by_name.values()), 0)
        return by_name, dict(zip(pairs, numbers[len(names) :], strict=True)), timers

    def sample(self) -> None:
        """Store the load of this minute."""
        self._run(Call(SAMPLE, [self._keys.statistics()], list(self.read().tasks.values())))

    def _read_served_shards(self) -> Reading[list[int]]:
        """Read when an orchestrator last announced to serve each of several shards, in ms."""
        number = len(self._keys.shards)
        if number == 1:
            return []
        [found] = none_refused((yield [("ZMSCORE", self._keys.served_shards(), *range(number))]))
        return [int(float(at_ms or 0)) for at_ms in found]

    def _read_figures(self) -> Reading[Any]:
        calls = [self._figures_call(keys) for keys in self._keys.shards]
        *texts, error = none_refused((yield [*calls, ("GET", self._keys.archive_error())]))
        home, *others = map(orjson.loads, texts)
        for other in others:
            home["task_queues"] = list(dict.fromkeys((*home["task_queues"], *other["task_queues"])))
            for name in ("jobs", "dead_letters"):
                home[name] = Counter(home[name]) + Counter(other[name])
            for name in ("hour", "day"):
                _add(home[name], other[name])
        return {**home, "archive_error": None if error is None else error.decode()}

    def _figures_call(self, keys: Keys) -> Call:
        broker = self._router.of(keys.prefix).keys
        announced = (keys.statistics(), keys.fingerprints(), keys.versions(), keys.plans())
        indexes = (keys.by_status(status) for status in JobStatus)
        return Call(
            OVERVIEW,
            [*announced, broker.bindings(TASKS), broker.dead_queues, *indexes],
            [REMEMBERED_SECONDS, SERVED_WITHIN_MS, broker.dead("%s"), *JobStatus],
        )


def _add(points: dict[str, Any], other: Mapping[str, Any]) -> None:
    """Add the jobs that another shard counted to *points*; what is sampled is in the first shard alone."""
    shift = (other["starts_ms"] - points["starts_ms"]) // (1000 * points["step_seconds"])  # a minute began in between
    for name in ("created", "finished", "failed", "cancelled"):
        numbers = points["series"][name]
        for place, number in enumerate(other["series"][name], start=shift):
            if number is not None and 0 <= place < len(numbers):
                numbers[place] = (numbers[place] or 0) + number
