"""The buffer of a link for what its skills write and log, until the outbox sends it in batches."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from time import monotonic
from typing import TYPE_CHECKING

from avtomatika.schemas import wire

if TYPE_CHECKING:
    from .execution import TaskExecution

#: A batch is sent at most this often, unless it is full.
INTERVAL_SECONDS = 0.1
#: Maximum size of a batch.
BATCH_BYTES = 65_536
#: Maximum size of the buffer; beyond it the oldest chunks are dropped, and a ``dropped`` chunk takes their place.
BUFFER_BYTES = 4 * 1024 * 1024
#: Delay before a failed batch is sent again.
_RETRY_SECONDS = 1.0


@dataclass(slots=True)
class _Run:
    """The numbering of the chunks of one execution; *run* is larger for later runs of the same attempt."""

    run: int
    numbered: int = 0
    dropped: int = 0


class StreamBuffer:
    """Any thread may write; *wake* is called when there is something to send. One thread takes batches."""

    def __init__(self, wake: Callable[[], None], *, clock: Callable[[], float] = monotonic) -> None:
        self._wake = wake
        self._clock = clock
        self._lock = threading.Lock()
        self._chunks: deque[tuple[TaskExecution, wire.Chunk]] = deque()
        self._bytes = 0
        self._runs: dict[TaskExecution, _Run] = {}
        self._unsent: list[wire.RunChunks] = []
        self._due_at = 0.0

    def write(self, execution: TaskExecution, chunk: wire.Chunk) -> None:
        """Add a chunk. Never blocks: beyond BUFFER_BYTES the oldest chunk is dropped."""
        with self._lock:
            if execution not in self._runs:
                self._runs[execution] = _Run(_run_number(execution, chunk.at_ms))
            was_empty, was_full = not self._chunks, self._bytes >= BATCH_BYTES
            self._chunks.append((execution, chunk))
            self._bytes += chunk.size
            while self._bytes > BUFFER_BYTES:
                oldest, lost = self._chunks.popleft()
                self._bytes -= lost.size
                self._runs[oldest].dropped += 1
            wakes = was_empty or (self._bytes >= BATCH_BYTES and not was_full)
        if wakes:
            self._wake()

    def close(self, executions: Iterable[TaskExecution]) -> bool:
        """Mark the end of the runs of *executions*; return whether any of them has written."""
        if not self._runs:
            return False
        written = [execution for execution in executions if execution in self._runs]
        for execution in written:
            self.write(execution, wire.Chunk("end", "", None, 0))
        return bool(written)

    @property
    def wait_seconds(self) -> float:
        """Seconds until a batch is due; infinite without chunks."""
        if not self._chunks and not self._unsent:
            return float("inf")
        if self._bytes >= BATCH_BYTES and not self._unsent:
            return 0.0
        return max(self._due_at - self._clock(), 0.0)

    def take(self, *, flush: bool = False) -> list[wire.RunChunks]:
        """Return the batch to send now, with *flush* even if it is not due. A failed one is given to
        :meth:`put_back`."""
        if self.wait_seconds > 0 and not (flush and (self._chunks or self._unsent)):
            return []
        self._due_at = self._clock() + INTERVAL_SECONDS
        if self._unsent:
            batch, self._unsent = self._unsent, []
            return batch
        with self._lock:
            return self._next_batch()

    def put_back(self, batch: list[wire.RunChunks]) -> None:
        """Keep a batch that could not be sent, unchanged: it may have arrived."""
        self._unsent = batch
        self._due_at = self._clock() + _RETRY_SECONDS

    def _next_batch(self) -> list[wire.RunChunks]:
        batch: dict[TaskExecution, list[tuple[str | int | None, ...]]] = {}
        numbers: dict[TaskExecution, int] = {}
        size = 0
        while self._chunks and (not size or size + self._chunks[0][1].size <= BATCH_BYTES):
            execution, chunk = self._chunks.popleft()
            size += chunk.size
            run = self._runs[execution]
            numbers[execution] = run.run
            rows = batch.setdefault(execution, [])
            if run.dropped:
                run.numbered += 1
                rows.append((run.numbered, "dropped", str(run.dropped), None, chunk.at_ms))
                run.dropped = 0
            run.numbered += 1
            rows.append((run.numbered, *chunk))
            if chunk.kind == "end":
                del self._runs[execution]
        self._bytes -= size
        return [_run_chunks(execution, numbers[execution], rows) for execution, rows in batch.items()]


def _run_number(execution: TaskExecution, now_ms: int) -> int:
    """Return the number of the run: by deliveries first, and by the clock between equal ones."""
    return int(min(getattr(execution.origin, "deliveries", 1), 900)) * 10**13 + now_ms


def _run_chunks(execution: TaskExecution, run: int, rows: list[tuple[str | int | None, ...]]) -> wire.RunChunks:
    task = execution.task
    return wire.RunChunks(task.job_id, task.task_id, task.attempt, task.ticket, run, rows)
