"""Waking requests when their job changes: one thread of the process looks at all these jobs in one round trip."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, Lock, Thread
from time import monotonic, sleep

from avtomatika.core.job import Job
from avtomatika.errors import UnavailableError
from avtomatika.store import Glance, Store

logger = logging.getLogger(__name__)

#: First and longest pause between two looks; the pause starts from the first when a request joins.
_SHORTEST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.05, 0.25
#: Looking takes at most this share of the time.
_LOOKING_SHARE = 0.1
#: Pause while the server is away.
_AWAY_SECONDS = 0.5


class Follower:
    """A request that waits for changes of *job*; if it *reads_history*, for entries behind *after* and progress too."""

    def __init__(self, job: Job, *, after: int = 0, reads_history: bool = False) -> None:
        self.job = job
        self.after = after
        self._reads_history = reads_history
        self._progress: tuple[bytes, ...] = ()
        self._woken = Event()
        self.has_ended = False

    def wait(self, seconds: float) -> bool:
        """Whether there is something new, or the request is to end, within *seconds*."""
        return self._woken.wait(max(seconds, 0))

    def begin_reading(self) -> None:
        """What is read from now on is up to date: only later changes wake the request."""
        self._woken.clear()
        if self.has_ended:
            self._woken.set()

    def end(self) -> None:
        """Have the request end: nobody waits for its answer."""
        self.has_ended = True
        self._woken.set()

    @property
    def asked(self) -> tuple[str, tuple[str, ...]]:
        """What to look at: the job, and the tasks whose progress counts."""
        return self.job.id, tuple(self.job.tasks) if self._reads_history else ()

    def show(self, asked: tuple[str, tuple[str, ...]], glance: Glance) -> None:
        """Wake the request if *glance* has something new for it."""
        if asked != self.asked:  # the request has moved on meanwhile
            return
        is_new = glance.version is None or glance.version > self.job.version
        if self._reads_history:
            progress = tuple(filter(None, glance.progress))
            is_new = is_new or glance.entries > self.after or progress != self._progress
            self._progress = progress
        if is_new:
            self._woken.set()


class JobWatcher:
    """Looks at jobs for their followers; its thread runs while there are any. Threads may share it."""

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
        """Wait until the job of *follower* changes or is deleted, *seconds* at most."""
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
                self._look(list(self._followers))
                pause = min(pause * 1.5, _LONGEST_PAUSE_SECONDS)
            except UnavailableError as error:
                logger.warning("%s; requests that wait for jobs go on waiting", error)
                pause = _AWAY_SECONDS
            except Exception:  # without this thread no request would be woken
                logger.exception("looking for changes of jobs failed, retrying")
                pause = _AWAY_SECONDS
            sleep(max(pause, (monotonic() - began) / _LOOKING_SHARE))
            with self._lock:
                if not self._followers:
                    self._thread = None
                    return

    def _look(self, followers: list[Follower]) -> None:
        asked = {follower: follower.asked for follower in followers}
        glances = self._store.glances.look(set(asked.values()))
        for follower, wanted in asked.items():
            follower.show(wanted, glances[wanted])
