"""An orchestrator whose commit is split in two: the negative control of the storms.

First the job and its history are written, then, a moment later, the messages are sent and the cause is acknowledged.
Each half alone is right; killed between them, the step is done again, or never goes on.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from time import sleep, time_ns
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

import three

from avtomatika import broker
from avtomatika.core.plan import TIMERS, WORKERS
from avtomatika.orchestrator import Orchestrator
from avtomatika.orchestrator.handler_runner import HandlerRunner
from avtomatika.settings import Settings
from avtomatika.store import Commit, CommitReply, CommitStatus, Keyring, Store, Sweeper
from avtomatika.store.entries import dump_entry
from avtomatika.store.messages import message_of
from avtomatika.store.records import dump_doc

#: Long enough for a kill to fall between the halves.
_BETWEEN_SECONDS = 0.05


class SplitStore(Store):
    """Reads as the real store does, but writes in two steps."""

    def commit(self, commits: Sequence[Commit]) -> list[CommitReply]:
        for commit in commits:
            self._write(commit)
            sleep(_BETWEEN_SECONDS)
            self._send(commit)
        return [CommitReply(CommitStatus.OK) for _ in commits]

    def _write(self, commit: Commit) -> None:
        job, version = commit.step.job, commit.before.version + 1
        fields = ("v", version, "status", job.status, "doc", dump_doc(job).text, "final", int(job.status.is_final))
        entries = [b"%d %d %s" % (version, time_ns() // 1_000_000, dump_entry(e)) for e in commit.step.history]
        self._server.execute(("HSET", self._keys.job(job.id), *fields))
        self._server.execute(("RPUSH", self._keys.history(job.id), *entries))

    def _send(self, commit: Commit) -> None:
        job = commit.step.job
        sent = [
            message_of(job, each, self.keyring.secret, version=job.version, clock=self.clock)
            for each in commit.step.outgoing
        ]
        INTAKE.settle_many([(sent, [cause.tag for cause in commit.causes])])


settings = Settings.from_environment()
connection = broker.connect(str(settings.redis_url), **settings.delivery)
plan = three.bp.plan
broker.declare(connection, [plan])
INTAKE: Any = broker.Consumer(connection, [*plan.queues, TIMERS, WORKERS], prefetch=200)
server, router = INTAKE.channel.server, INTAKE.channel.router
orchestrator = Orchestrator(
    blueprints=[three.bp],
    consumer=INTAKE,
    store=SplitStore(server, router, keyring=Keyring(server, settings.group_secret)),
    sweeper=Sweeper(server, router),
    runner=HandlerRunner(timeout_seconds=30),
)
signal.signal(signal.SIGTERM, lambda *_: orchestrator.stop())
orchestrator.run()
