"""Wakes held requests when their job changes: one thread of the process checks all their jobs in one round trip."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event, Lock, Thread
from time import monotonic, sleep

from avtomatika.core.job import Job
from avtomatika.errors import UnavailableError

from .job_revisions import JobRevision, Wanted
from .store import Store

logger = logging.getLogger(__name__)

#: First and longest pause between two checks; a new request resets the pause to the first.
_SHORTEST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.05, 0.25
#: Share of the time that checks may take.
_CHECKING_SHARE = 0.1
#: Pause while the server is unavailable.
_BACKOFF_SECONDS = 0.5


class Follower:
    """A request that waits for changes of *job*. If it *reads_history*, history entries after *after* and progress
    count as changes too; if it *reads_stream*, stream entries after *after* do."""

    def __init__(self, job: Job, *, after: int = 0, reads_history: bool = False, reads_stream: bool = False) -> None:
        self.job = job
        self.after = after
        self._reads_history = reads_history
        self._reads_stream = reads_stream
        self._progress: tuple[bytes, ...] = ()
        self._woken = Event()
        #: Called when something has changed, in the thread of the watcher.
        self.on_change: Callable[[], object] = self._woken.set
        self.has_ended = False

    def wait(self, seconds: float) -> bool:
        """Wait for a change or the end of the request; return False after *seconds*."""
        return self._woken.wait(max(seconds, 0))

    def mark_read(self) -> None:
        """Consider everything up to date from now on: only later changes wake the request."""
        self._woken.clear()
        if self.has_ended:
            self._woken.set()

    def end(self) -> None:
        """End the request: its client has disconnected, or the process stops."""
        self.has_ended = True
        self._woken.set()

    @property
    def watched(self) -> Wanted:
        """The key of the check: the job, the tasks whose progress counts, and whether the stream does."""
        return self.job.id, tuple(self.job.tasks) if self._reads_history else (), self._reads_stream

    def update(self, asked: Wanted, revision: JobRevision) -> None:
        """Wake the request if *revision* is newer than the one it has read."""
        if asked != self.watched:  # the request watches something else now
            return
        is_new = revision.version is None or revision.version > self.job.version
        if self._reads_stream:
            is_new = is_new or revision.streamed > self.after
        if self._reads_history:
            progress = tuple(filter(None, revision.progress))
            is_new = is_new or revision.entries > self.after or progress != self._progress
            self._progress = progress
        if is_new:
            self.on_change()


class JobWatcher:
    """Checks jobs for their followers; its thread runs while there are any. Thread-safe."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._followers: set[Follower] = set()
        self._lock = Lock()
        self._joined = Event()
        self._thread: Thread | None = None

    @contextmanager
    def following(self, follower: Follower) -> Iterator[Follower]:
        with self._lock:
            self._followers.add(follower)
            if self._thread is None:
                self._thread = Thread(target=self._run, name="job-watcher", daemon=True)
                self._thread.start()
        self._joined.set()
        try:
            yield follower
        finally:
            with self._lock:
                self._followers.discard(follower)

    def wait(self, follower: Follower, seconds: float) -> None:
        """Wait until the job of *follower* changes or is deleted, at most *seconds*."""
        with self.following(follower):
            follower.wait(seconds)

    def _run(self) -> None:
        pause = _SHORTEST_PAUSE_SECONDS
        while True:
            if self._joined.is_set():
                self._joined.clear()
                pause = _SHORTEST_PAUSE_SECONDS
            began = monotonic()
            try:
                self._check(list(self._followers))
                pause = min(pause * 1.5, _LONGEST_PAUSE_SECONDS)
            except UnavailableError as error:
                logger.warning("%s; held requests keep waiting for their jobs", error)
                pause = _BACKOFF_SECONDS
            except Exception:  # the thread must survive: it alone wakes requests
                logger.exception("checking jobs for changes failed, retrying")
                pause = _BACKOFF_SECONDS
            sleep(max(pause, (monotonic() - began) / _CHECKING_SHARE))
            with self._lock:
                if not self._followers:
                    self._thread = None
                    return

    def _check(self, followers: list[Follower]) -> None:
        asked = {follower: follower.watched for follower in followers}
        revisions = self._store.job_revisions.read(set(asked.values()))
        for follower, wanted in asked.items():
            follower.update(wanted, revisions[wanted])
