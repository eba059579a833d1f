"""The number and the duration of the tasks of each skill that ended in the last minutes, for the scaling signal."""

from collections import Counter

from avtomatika.transport import RedisClient

from .server_part import ServerPart

#: Complete minutes that are read, and seconds for which the figures are kept.
_MINUTES, _KEPT_SECONDS = 5, 900


class TaskTimes(ServerPart):
    """One thread records; no commit waits for it."""

    def __init__(self, server: RedisClient) -> None:
        super().__init__(server)
        #: Fields of the hash of this minute -> what is not added to them yet.
        self._unwritten = Counter[str]()

    def record(self, skill: str, ms: int) -> None:
        self._unwritten[skill] += 1
        self._unwritten[f"{skill}/ms"] += min(ms, 2**40)  # a worker may report any number

    def flush(self) -> None:
        """Write what was recorded."""
        if self._unwritten:
            key = self._keys.task_times(self._now_ms() // 60_000)
            self._read([*(("HINCRBY", key, *each) for each in self._unwritten.items()), ("EXPIRE", key, _KEPT_SECONDS)])
            self._unwritten.clear()

    def read(self, skill: str) -> tuple[float, float]:
        """Return the tasks of *skill* that ended in a second, and their average duration in seconds (0: unknown)."""
        now_ms = self._now_ms()
        keys = [self._keys.task_times(now_ms // 60_000 - age) for age in range(_MINUTES + 1)]
        rows = self._read([("HMGET", key, skill, f"{skill}/ms") for key in keys])
        count, ms = (sum(int(number or 0) for number in column) for column in zip(*rows, strict=True))
        return count / (_MINUTES * 60 + now_ms % 60_000 / 1000), ms / count / 1000 if count else 0.0
