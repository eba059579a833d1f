"""Chooses the shards of new jobs."""

from collections import Counter
from itertools import pairwise
from random import sample
from time import monotonic

from avtomatika.core.job import JobStatus
from avtomatika.core.shards import choose_shard
from avtomatika.errors import SettingsError
from avtomatika.transport import Reading, RedisClient, none_refused

from .keys import Keys
from .server_part import ServerClock, ServerPart

#: Interval of reading the number of unfinished jobs of each shard.
_READ_EVERY_SECONDS = 2.0
#: Keys choose as before for this time after the number of shards has grown: some processes still know the former one.
_GROWING_MS = 3_600_000
#: For this time, jobs with a key are also looked for where the key chose before the number grew.
_EARLIER_MS = 90 * 24 * 3_600_000
_UNFINISHED = [status for status in JobStatus if not status.is_final]


class Placement(ServerPart):
    """Thread-safe. Keys with the same text choose the same shard in every process."""

    def __init__(self, server: RedisClient, clock: ServerClock) -> None:
        super().__init__(server)
        self._clock = clock
        self._names = [keys.shard for keys in self._keys.shards]
        self._is_recorded = False
        #: When this number of shards was recorded, and smaller ones with the end of their use (ms), the largest first.
        self._since_ms = 0
        self._earlier: list[tuple[int, int]] = []
        self._unfinished = Counter[Keys]()
        self._by_server = [self._keys.shards]
        self._read_at = float("-inf")

    def record(self) -> None:
        """Record the number of shards at the home, once in a process.

        Raises SettingsError if a larger one is recorded: there are jobs that this process would not find.
        """
        if self._is_recorded:
            return
        number, key, now_ms = len(self._names), self._keys.shard_counts(), self._clock.now_ms()
        row, has_jobs = self._read([("HGETALL", key), ("EXISTS", self._keys.by_all())])
        since = {int(count): int(ms) for count, ms in zip(row[::2], row[1::2], strict=True)}
        if not since and has_jobs:  # of a version without shards
            since[1] = 0
        if number < max(since, default=1):
            text = f"AVTOMATIKA_SHARDS is {number}, but the installation has {max(since)} shards: it can only grow"
            raise SettingsError(text)
        if number not in since or not row:
            since.setdefault(number, now_ms)
            self._read([("HSETNX", key, count, ms) for count, ms in since.items()])
        self._since_ms = since[number]
        self._earlier = [(count, since[later]) for later, count in pairwise(sorted(since, reverse=True))]
        self._is_recorded = True

    def counts(self) -> tuple[int, int]:
        """Return the number of shards of this process, and the recorded one."""
        [recorded] = self._read([("HKEYS", self._keys.shard_counts())])
        return len(self._names), max(map(int, recorded), default=1)

    def choices(self, text: str) -> list[Keys]:
        """Return the shard that *text* chooses, then others that it may have chosen with fewer shards."""
        now_ms = self._clock.now_ms()
        counts = [count for count, until_ms in self._earlier if now_ms - until_ms < _EARLIER_MS]
        if not counts or now_ms - self._since_ms >= _GROWING_MS:
            counts.insert(0, len(self._names))
        return [
            self._shard(name) for name in dict.fromkeys(choose_shard(text, self._names[:count]) for count in counts)
        ]

    def read_least_loaded(self) -> Reading[Keys]:
        """Read the number of unfinished jobs of all shards, at most every two seconds; return the better of two shards
        at random, of the better of two servers: some have more shards. All processes would send their jobs to the best
        one until they read the numbers again."""
        if monotonic() - self._read_at >= _READ_EVERY_SECONDS:
            self._read_at = monotonic()
            shards = [keys for keys in self._keys.shards for _ in _UNFINISHED]
            commands = [("ZCARD", keys.by_status(status)) for keys in self._keys.shards for status in _UNFINISHED]
            unfinished = Counter[Keys]()
            for keys, count in zip(shards, none_refused((yield commands)), strict=True):
                unfinished[keys] += count
            by_server: dict[object, list[Keys]] = {}
            for keys in self._keys.shards:
                by_server.setdefault(self._server.pool_of(keys.prefix), []).append(keys)
            self._unfinished, self._by_server = unfinished, list(by_server.values())
        load, servers = self._unfinished.__getitem__, self._by_server
        shards = min(sample(servers, min(2, len(servers))), key=lambda shards: sum(map(load, shards)))
        chosen = min(sample(shards, min(2, len(shards))), key=load)
        self._unfinished[chosen] += 1
        return chosen

    def _shard(self, name: str) -> Keys:
        return self._keys.shards[self._names.index(name)]
