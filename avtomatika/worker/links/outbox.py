"""Outbox: a thread that sends results of a runtime, and spools those that cannot be sent now.

How they are sent depends on the link's :class:`ResultSender`.
"""

import logging
import threading
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic, time
from typing import Any, Protocol

from avtomatika.broker.backoff import Backoff
from avtomatika.errors import AvtomatikaError, NoRouteError, UnavailableError
from avtomatika.schemas import wire
from avtomatika.worker.execution import TaskExecution
from avtomatika.worker.runtime import Runtime
from avtomatika.worker.spool import SpooledResult, SpoolPartition
from avtomatika.worker.stream_buffer import StreamBuffer

from .oversize import OversizeResult, OversizeResults, kept_notice

logger = logging.getLogger(__name__)

#: Maximum sleep of the thread.
_IDLE_SECONDS = 10.0
#: Maximum delay before a retry while the link stops.
_LAST_PAUSE_SECONDS = 0.1
#: After this many failures a stopping link leaves its results to the spool.
_LAST_TRIES = 5
#: Delay before an unroutable result is sent again ...
_DEFER_SECONDS = 2.0
#: ... and the time after which it is dropped.
_MAX_DEFER_SECONDS = 24 * 3600.0
#: Delay before a result that is too large is checked again; while it is being stored.
_KEPT_SECONDS, _STORING_SECONDS = 60.0, 0.5
#: Results wait for chunks that were refused until this many failures.
_CHUNK_TRIES = 10


@dataclass(slots=True, eq=False)
class PendingResult:
    """A result to be sent; *content* belongs to the sender, or is an OversizeResult; *path* is its file in the spool.

    It is not sent before ``due_at``, a monotonic time.
    """

    task_id: str
    attempt: int
    content: Any
    path: Path | None = None
    due_at: float = 0.0
    written_at: float = field(default_factory=monotonic)

    def defer(self) -> bool:
        """Postpone it; return False if it was postponed for too long."""
        self.due_at = monotonic() + _DEFER_SECONDS
        return self.due_at - self.written_at < _MAX_DEFER_SECONDS


class ResultSender(Protocol):
    """Sends results to where their tasks came from."""

    def prepare(self, execution: TaskExecution) -> PendingResult:
        """Return the pending result of a finished execution."""

    def serialize(self, pending: PendingResult) -> Mapping[str, Any]:
        """Return the content as JSON for the spool. It must not contain a token."""

    def deserialize(self, spooled: SpooledResult) -> PendingResult:
        """Restore a spooled result, possibly of a worker that has exited."""

    def keep(self, execution: TaskExecution) -> OversizeResult:
        """Return the result of an execution that is too large to be sent."""

    def on_kept(self, oversize: OversizeResult) -> None:
        """Take the task off its queue, or keep its lease: *oversize* is in the spool."""

    def content_of(self, oversize: OversizeResult) -> Any:
        """Return the content of a pending result that can be sent now."""

    def send(self, results: deque[PendingResult]) -> None:
        """Send *results* in order and remove sent and dropped ones.

        Raises AvtomatikaError if the others must wait; unroutable ones are deferred.
        """

    def send_progress(self, progress: Sequence[wire.Progress]) -> None:
        """Send progress. Raises AvtomatikaError; failed reports are not sent again."""

    def send_chunks(self, chunks: Sequence[wire.RunChunks]) -> None:
        """Send chunks of streams. Raises AvtomatikaError; the same chunks are then sent again."""

    def abort(self) -> None:
        """Abort a running request. Any thread may call it."""


def send_each(results: deque[PendingResult], send: Callable[[PendingResult], None]) -> list[PendingResult]:
    """Call *send* for each result, and remove it from *results*. Unroutable results are deferred, since a binding may
    be missing for a moment. Return those that were dropped."""
    deferred: list[PendingResult] = []
    dropped: list[PendingResult] = []
    try:
        while results:
            pending = results[0]
            try:
                send(pending)
            except NoRouteError as error:
                (deferred if pending.defer() else dropped).append(pending)
                logger.warning("task %s: its result cannot be routed yet: %s", pending.task_id, error)
            results.popleft()
    finally:
        results.extend(deferred)
    return dropped


class Outbox:
    """Sends the results of *runtime* through *sender*."""

    def __init__(self, runtime: Runtime, sender: ResultSender, partition: SpoolPartition | None = None) -> None:
        self._runtime = runtime
        self._sender = sender
        self._partition = partition
        self._oversize = OversizeResults(runtime.storage, ttl_seconds=runtime.result_ttl_seconds)
        self._unsent: deque[PendingResult] = deque()
        self._chunk_failures = 0
        self._finishing = threading.Event()
        self._done = threading.Event()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._serve, name="outbox", daemon=True)

    def start(self) -> None:
        """Start the thread, first with results left in the spool."""
        for spooled in () if self._partition is None else self._partition.take_orphaned():
            logger.info("task %s, attempt %d: sending its spooled result", spooled.task_id, spooled.attempt)
            oversize = OversizeResult.from_json(spooled.content)
            self._unsent.append(
                self._sender.deserialize(spooled)
                if oversize is None
                else PendingResult(spooled.task_id, spooled.attempt, oversize, spooled.path)
            )
        self._thread.start()

    def finish(self, timeout_seconds: float) -> bool:
        """Wait until all executions have finished and their results are sent; return False on time-out. Call it once no
        new tasks start."""
        self._done.clear()
        self._finishing.set()
        self._runtime.wake()
        return self._done.wait(timeout_seconds)

    @property
    def deferred(self) -> int:
        """Number of results that wait for a binding."""
        now = monotonic()
        return sum(
            pending.due_at > now and not isinstance(pending.content, OversizeResult) for pending in list(self._unsent)
        )

    @property
    def unsent(self) -> list[PendingResult]:
        """Results that are not sent yet."""
        return list(self._unsent)

    def stop(self) -> list[PendingResult]:
        """End the thread; return results that are neither sent nor spooled."""
        self._stopping.set()
        self._finishing.set()
        self._runtime.wake()
        self._sender.abort()
        self._thread.join()
        self._spool_unsent()
        return [pending for pending in self._unsent if pending.path is None]

    # ------------------------------------------------------------ in the thread

    def _serve(self) -> None:
        backoff = Backoff(logger, "unsent results wait")

        def wait(seconds: float) -> None:
            is_all_spooled = all(pending.path for pending in self._unsent)
            if backoff.count >= _LAST_TRIES and not self._runtime.busy and is_all_spooled:
                self._done.set()
            if self._finishing.wait(seconds):
                self._stopping.wait(min(seconds, _LAST_PAUSE_SECONDS))

        backoff.run(self._run_once, until=self._stopping.is_set, wait=wait)

    def _run_once(self) -> None:
        """Send finished results, or wait for the next."""
        self._runtime.mark_alive("outbox")
        reports, streams = self._runtime.reports, self._runtime.streams
        collected = self._runtime.collect(min(_IDLE_SECONDS, reports.wait_seconds, streams.wait_seconds, self._due_in))
        for execution in collected:
            pending = self._sender.prepare(execution)
            if execution.is_oversize:
                pending.content = self._sender.keep(execution)
            self._unsent.append(pending)
        is_ending = streams.close(collected)
        self._send_chunks(streams, flush=is_ending or self._due_in == 0)
        if due_reports := reports.due():
            self._send_progress(due_reports)
        if self._unsent:
            self._send()
        if not self._runtime.busy and all(pending.path and pending.due_at for pending in self._unsent):
            self._done.set()

    @property
    def _due_in(self) -> float:
        """Seconds until there is a result to send."""
        if not self._unsent:
            return _IDLE_SECONDS
        return max(min(pending.due_at for pending in self._unsent) - monotonic(), 0.0)

    def _send(self) -> None:
        now = monotonic()
        due = [pending for pending in self._unsent if pending.due_at <= now and self._is_sendable(pending)]
        if not due:
            return
        left = deque(due)
        try:
            self._sender.send(left)
        finally:
            sent = set(due).difference(left)
            self._unsent = deque(pending for pending in self._unsent if pending not in sent)
            self._remove_spooled(sent)
            if left:
                self._spool_unsent()

    def _is_sendable(self, pending: PendingResult) -> bool:
        """Return whether the result is small enough; otherwise keep it in the spool and report why."""
        oversize = pending.content
        if not isinstance(oversize, OversizeResult):
            return True
        reason = self._oversize.reason_to_keep(oversize, age_seconds=_age_seconds(pending))
        if reason is None:
            pending.content = self._sender.content_of(oversize)
            return True
        pending.due_at = monotonic() + (_KEPT_SECONDS if oversize.upload is None else _STORING_SECONDS)
        if pending.path is None:
            logger.error("task %s: %s; it is kept in the spool", pending.task_id, reason)
            self._spool(pending)
        if reason != oversize.reported and self._send_progress([kept_notice(oversize, reason)]):
            oversize.reported = reason
        if pending.path is not None:
            self._sender.on_kept(oversize)
        return False

    def _spool_unsent(self) -> None:
        """Write unsent results to the spool."""
        for pending in self._unsent:
            if pending.path is None:
                self._spool(pending)

    def _spool(self, pending: PendingResult) -> None:
        if self._partition is not None:
            is_oversize = isinstance(pending.content, OversizeResult)
            content = pending.content.as_json() if is_oversize else self._sender.serialize(pending)
            pending.path = self._partition.save(pending.task_id, pending.attempt, content)

    def _remove_spooled(self, sent: Iterable[PendingResult]) -> None:
        for pending in sent:
            if pending.path is not None and self._partition is not None:
                self._partition.remove(pending.path)

    def _send_chunks(self, streams: StreamBuffer, *, flush: bool) -> None:
        """Send due chunks, with *flush* all. Results wait for them: the gateway refuses chunks of a task that has a
        result. Raises UnavailableError if results wait."""
        while batch := streams.take(flush=flush):
            try:
                self._sender.send_chunks(batch)
            except AvtomatikaError as error:
                logger.info("%s; chunks of the streams of %d tasks wait", error, len(batch))
                streams.put_back(batch)
                if isinstance(error, UnavailableError) and self._due_in == 0:
                    self._chunk_failures += 1
                    if self._chunk_failures < _CHUNK_TRIES:
                        self._spool_unsent()
                        raise
                return
            self._chunk_failures = 0

    def _send_progress(self, due_reports: Sequence[wire.Progress]) -> bool:
        try:
            self._sender.send_progress(due_reports)
        except AvtomatikaError as error:
            logger.info("%s; the progress of %d tasks is not reported", error, len(due_reports))
            return False
        return True


def _age_seconds(pending: PendingResult) -> float:
    """Return how long the result has been in the spool."""
    try:
        return 0.0 if pending.path is None else time() - pending.path.stat().st_mtime
    except FileNotFoundError:
        return 0.0
