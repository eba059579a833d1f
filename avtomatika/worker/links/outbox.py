"""Outbox: a thread that sends results of a runtime, and spools those that cannot be sent now.

How they are sent depends on the link's :class:`ResultSender`.
"""

import logging
import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from time import monotonic, time
from typing import Protocol

from avtomatika.broker.backoff import Backoff
from avtomatika.errors import AvtomatikaError, UnavailableError
from avtomatika.schemas import wire
from avtomatika.worker.execution import TaskExecution
from avtomatika.worker.runtime import Runtime
from avtomatika.worker.spool import SpoolPartition
from avtomatika.worker.stream_buffer import StreamBuffer

from .oversize import OversizeResults, kept_notice
from .pending import PendingResult

logger = logging.getLogger(__name__)

#: Maximum sleep of the thread.
_IDLE_SECONDS = 10.0
#: Maximum delay before a retry while the link stops.
_LAST_PAUSE_SECONDS = 0.1
#: After this many failures a stopping link leaves its results to the spool.
_LAST_TRIES = 5
#: Delay before a result that is too large is checked again; while it is being stored.
_KEPT_SECONDS, _STORING_SECONDS = 60.0, 0.5
#: Results wait for chunks that were refused until this many failures.
_CHUNK_TRIES = 10


class ResultSender(Protocol):
    """Sends results to where their tasks came from."""

    def prepare(self, pending: PendingResult) -> None:
        """Complete a result before it is written to the spool, from where another worker may send it."""

    def on_kept(self, pending: PendingResult) -> None:
        """Take the task off its queue, or keep its lease: the result is in the spool."""

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


class Outbox:
    """Sends the results of *runtime* through *sender*."""

    def __init__(self, runtime: Runtime, sender: ResultSender, partition: SpoolPartition | None = None) -> None:
        self._runtime = runtime
        self._sender = sender
        self._partition = partition
        self._oversize = OversizeResults(runtime.storage, ttl_seconds=runtime.result_ttl_seconds)
        self._unsent: deque[PendingResult] = deque()
        #: Results left in the spool that were not tried yet.
        self._orphaned: list[PendingResult] = []
        self._chunk_failures = 0
        self._finishing = threading.Event()
        self._done = threading.Event()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._serve, name="outbox", daemon=True)

    def start(self) -> None:
        """Start the thread, first with results left in the spool."""
        for spooled in () if self._partition is None else self._partition.take_orphaned():
            logger.info("task %s, attempt %d: sending its spooled result", spooled.task_id, spooled.attempt)
            pending = PendingResult.from_spool(spooled)
            self._sender.on_kept(pending)
            self._unsent.append(pending)
        self._orphaned = list(self._unsent)
        self._thread.start()

    def drain(self, timeout_seconds: float, requeue: Callable[[Sequence[TaskExecution]], None]) -> None:
        """Wait until the started tasks have finished and their results are sent, up to the time limit. *requeue* the
        tasks that have not started, and at the end those that have not finished. Call it once no new tasks start."""
        self._requeue(self._runtime.withdraw(timeout_seconds), requeue)
        self._done.clear()
        self._finishing.set()
        self._runtime.wake()
        self._done.wait(timeout_seconds)
        self._requeue(self._runtime.close(), requeue)
        for pending in self._stop():
            logger.error("task %s: its result could not be sent", pending.task_id)

    def _requeue(self, executions: Sequence[TaskExecution], requeue: Callable[[Sequence[TaskExecution]], None]) -> None:
        for execution in executions:
            logger.info("task %s, attempt %d: requeued", execution.task.task_id, execution.task.attempt)
        requeue(executions)

    @property
    def deferred(self) -> int:
        """Number of results that wait for a binding."""
        now = monotonic()
        return sum(pending.due_at > now and pending.is_leased for pending in list(self._unsent))

    @property
    def is_resending(self) -> bool:
        """True while results left in the spool are not tried yet: taking one of their tasks would run it again."""
        unsent = set(self._unsent)
        self._orphaned = [pending for pending in self._orphaned if pending in unsent and not pending.due_at]
        return bool(self._orphaned)

    @property
    def unsent(self) -> list[PendingResult]:
        """Results that are not sent yet."""
        return list(self._unsent)

    def _stop(self) -> list[PendingResult]:
        """End the thread; return results that are neither sent nor spooled."""
        self._stopping.set()
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
        self._unsent.extend(map(PendingResult.of, collected))
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
        reason = self._oversize.reason_to_keep(pending, age_seconds=_age_seconds(pending))
        if reason is None:
            return True
        pending.due_at = monotonic() + (_KEPT_SECONDS if pending.upload is None else _STORING_SECONDS)
        pending.execution = None
        if pending.path is None:
            logger.error("task %s: %s; it is kept in the spool", pending.task_id, reason)
            self._write(pending)
        if reason != pending.reported and self._send_progress([kept_notice(pending, reason)]):
            pending.reported = reason
        if pending.path is not None:
            self._sender.on_kept(pending)
        return False

    def _spool_unsent(self) -> None:
        """Write unsent results to the spool."""
        for pending in self._unsent:
            if pending.path is None:
                if self._oversize.fits(pending):
                    self._sender.prepare(pending)
                self._write(pending)

    def _write(self, pending: PendingResult) -> None:
        if self._partition is not None:
            pending.path = self._partition.save(pending.task_id, pending.task.attempt, pending.as_json())

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
