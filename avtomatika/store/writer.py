"""Commits steps of jobs: many in one round trip, each wholly or not at all."""

from __future__ import annotations

from collections.abc import Sequence

from avtomatika import transport
from avtomatika.transport import Router, Server
from avtomatika.transport.scripts import Call

from .cleanups import CleanupTimes
from .clock import ServerClock
from .commit import Answer, Commit, CommitReply, TooLarge, commit_call, dump_step, read_reply
from .keyring import Keyring
from .keys import Keys
from .large import Dump, ValueCache
from .scripts import run_all, server_errors


class JobWriter:
    """Over one server. The large values that it writes are added to *cache*."""

    def __init__(
        self,
        server: Server,
        router: Router,
        *,
        keyring: Keyring,
        keys: Keys,
        clock: ServerClock,
        job_ttl_ms: int,
        cleanups: CleanupTimes,
        max_job_bytes: int,
        cache: ValueCache,
    ) -> None:
        self._server = server
        self._router = router
        self._keyring = keyring
        self._keys = keys
        self._clock = clock
        self._job_ttl_ms = job_ttl_ms
        self._cleanups = cleanups
        self._max_job_bytes = max_job_bytes
        self._cache = cache

    def commit(self, commits: Sequence[Commit]) -> list[CommitReply]:
        """Raises Unavailable when the server is away: any may have been written, and all may be committed again."""
        replies: list[CommitReply | None] = [None] * len(commits)
        calls: dict[int, Call] = {}
        docs: dict[int, Dump] = {}
        with server_errors():
            for index, commit in enumerate(commits):
                try:
                    docs[index] = dump_step(commit, max_bytes=self._max_job_bytes)
                    calls[index] = self._call(commit, docs[index])
                except transport.NoRoute as error:
                    replies[index] = CommitReply(Answer.NO_ROUTE, commit.causes, str(error))
                except TooLarge as error:
                    replies[index] = CommitReply(Answer.TOO_LARGE, commit.causes, str(error))
        for index, answer in zip(calls, run_all(self._server, list(calls.values())), strict=True):
            reply = replies[index] = read_reply(commits[index], answer)
            job = commits[index].step.job
            if reply.answer is Answer.OK and not job.status.is_final:
                self._cache.add(job.id, docs[index].values)
        return [reply for reply in replies if reply is not None]

    def _call(self, commit: Commit, doc: Dump) -> Call:
        return commit_call(
            commit,
            doc=doc,
            keys=self._keys,
            router=self._router,
            secret=self._keyring.secret,
            clock=self._clock,
            job_ttl_ms=self._job_ttl_ms,
            max_bytes=self._max_job_bytes,
            cleanups=self._cleanups,
        )
