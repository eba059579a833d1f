"""The streams of jobs: what their skills write and log while they run."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from avtomatika.core.job import Json
from avtomatika.schemas.wire import RunChunks, StreamChunks
from avtomatika.schemas.wire.streams import CHUNK_OVERHEAD_BYTES
from avtomatika.transport import RedisClient
from avtomatika.transport.scripts import Call

from .scripts import APPEND_STREAM
from .server_part import ServerPart

#: Default size of the stream of one job.
MAX_STREAM_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class StreamEntry:
    """An entry of a stream; *kind* is that of a wire.Chunk or ``restart``: a new run of the task starts.

    *data* is base64 text for ``bytes``, and for ``dropped`` the number of entries that are missing here.
    """

    seq: int
    task_id: str | None
    attempt: int | None
    kind: str
    data: Json
    level: str | None = None
    at_ms: int | None = None


@dataclass(frozen=True, slots=True)
class StreamPage:
    """*next* is the ``seq`` to continue after. *is_last*: there are no further entries now. *is_open*: a run of a task
    has not reported its end."""

    entries: list[StreamEntry]
    next: int
    is_last: bool
    is_open: bool


class JobStreams(ServerPart):
    """Thread-safe. The stream of a job has at most *max_bytes*; the oldest entries are dropped."""

    def __init__(self, server: RedisClient, *, max_bytes: int = MAX_STREAM_BYTES) -> None:
        super().__init__(server)
        self._max_bytes = max_bytes

    def append(self, messages: Sequence[StreamChunks]) -> None:
        """Append chunks in the order of their numbers; repeated ones and those of earlier runs are dropped."""
        self._run_all([self._call(run) for message in messages for run in message.runs if run.chunks])

    def page(self, job_id: str, *, after: int = 0, limit: int = 1000) -> StreamPage:
        """Return entries with ``seq > after``. Entries that were dropped before the first are marked."""
        keys = self._keys.of(job_id)
        stream, state = keys.stream(job_id), keys.stream_state(job_id)
        rows, [open_runs] = self._read(
            [("XRANGE", stream, f"{after + 1}-0", "+", "COUNT", limit + 1), ("HMGET", state, "open")]
        )
        entries = [_entry(*row) for row in rows[:limit]]
        if entries and entries[0].seq > after + 1:
            entries.insert(0, StreamEntry(entries[0].seq - 1, None, None, "dropped", entries[0].seq - 1 - after))
        following = entries[-1].seq if entries else after
        return StreamPage(entries, following, len(rows) <= limit, int(open_runs or 0) > 0)

    def _call(self, run: RunChunks) -> Call:
        keys, job_id = self._keys.of(run.job_id), run.job_id
        values = ["" if value is None else value for chunk in run.chunks for value in chunk]
        return Call(
            APPEND_STREAM,
            [keys.job(job_id), keys.tasks(job_id), keys.stream(job_id), keys.stream_state(job_id)],
            [run.task_id, run.attempt, run.run, self._max_bytes, CHUNK_OVERHEAD_BYTES, *values],
        )


def _entry(entry_id: bytes, fields: Sequence[bytes]) -> StreamEntry:
    seq = int(entry_id.partition(b"-")[0])
    task_id, attempt, kind, data, level, ms = (value.decode() for value in fields[1::2])
    return StreamEntry(seq, task_id, int(attempt), kind, _value(kind, data), level or None, int(ms))


def _value(kind: str, data: str) -> Any:
    """Return the value of *data*. Workers may send text that is not JSON, which is returned as it is."""
    if kind == "restart":
        return None
    if kind not in ("json", "dropped"):
        return data
    try:
        return orjson.loads(data)
    except ValueError:
        return data
