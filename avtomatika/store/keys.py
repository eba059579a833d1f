"""Names of all keys that hold jobs; queues and bindings have theirs in ``transport``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from avtomatika.core.job import Job


@dataclass(frozen=True, slots=True)
class Keys:
    """Every key begins with *prefix*."""

    prefix: str = "avt:"

    def job(self, job_id: str) -> str:
        """Hash: ``v`` version, ``status``, ``doc`` JSON that changes, ``init`` JSON that never does, ``created`` and
        ``updated`` ms, ``final`` 1 once it is over, ``pause`` the token of what it waits for last, ``decided`` the
        token of the last approval that somebody decided and what, ``wish:<wish>`` version and ms of a wish that was
        sent, ``data:<version>.<number>`` a large value, JSON, ``idempotency`` the key that it was created with."""
        return f"{self.prefix}job:{job_id}"

    def history(self, job_id: str) -> str:
        """List of ``<version> <ms> <json>``, oldest first; the place in the list is the entry's ``seq``."""
        return f"{self.prefix}job:{job_id}:history"

    def tasks(self, job_id: str) -> str:
        """Hash of the open tasks: ``<task>`` -> attempt, ``<task>/worker`` -> who has it, ``<task>/progress`` ->
        attempt, ms, share and message that it told last, ``<task>/limit`` -> result timeout ms and its timer message.
        Gone when the job is over."""
        return f"{self.prefix}job:{job_id}:tasks"

    def branches(self, job_id: str) -> str:
        """Hash of a fan-out: ``left`` how many of the ``size`` branches have not ended, its ``step``, the ``prefix``
        of the routing keys of its state, ``bytes`` of all answers, and of each branch by its number the task, JSON, and
        ``<number>/checked`` where its results are looked at by the machine. Gone when the fan-out is left."""
        return f"{self.prefix}job:{job_id}:branches"

    def branch_answers(self, job_id: str) -> str:
        """Hash: number of a branch -> what came of it, JSON. Gone when the fan-out is left."""
        return f"{self.prefix}job:{job_id}:branches:answers"

    def seen(self, job_id: str) -> str:
        """Hash: event id -> version that it made. Gone when the job is over."""
        return f"{self.prefix}job:{job_id}:seen"

    def notes(self, job_id: str) -> str:
        """List of ``<ms> <json>``, newest first, at most 100: what was ignored."""
        return f"{self.prefix}job:{job_id}:notes"

    def webhooks(self, job_id: str) -> str:
        """Hash: ``done`` number of the last webhook that was settled, ``<number>`` -> message of one that waits for its
        turn."""
        return f"{self.prefix}job:{job_id}:webhooks"

    def by_all(self) -> str:
        """Sorted set of job ids by creation (ms)."""
        return f"{self.prefix}jobs"

    def by_status(self, status: str) -> str:
        """Sorted set of job ids by creation (ms)."""
        return f"{self.prefix}jobs:status:{status}"

    def by_client(self, client: str) -> str:
        """Sorted set of job ids by creation (ms)."""
        return f"{self.prefix}jobs:client:{client}"

    def by_blueprint(self, blueprint: str) -> str:
        """Sorted set of job ids by creation (ms)."""
        return f"{self.prefix}jobs:blueprint:{blueprint}"

    def by_label(self, name: str, value: str) -> str:
        """Sorted set of job ids by creation (ms)."""
        return f"{self.prefix}jobs:label:{name}={value}"

    def indexes(self, job: Job) -> list[str]:
        """Every index that *job* stands in."""
        return self.indexes_of(job.status, job.client, job.blueprint, job.labels)

    def indexes_of(
        self, status: str, client: str | None, blueprint: str | None, labels: Mapping[str, str]
    ) -> list[str]:
        """The indexes of a job by what it is listed under, as far as that is known."""
        return [
            self.by_all(),
            self.by_status(status),
            *([] if client is None else [self.by_client(client)]),
            *([] if blueprint is None else [self.by_blueprint(blueprint)]),
            *(self.by_label(name, value) for name, value in labels.items()),
        ]

    def all_of(self, job_id: str) -> list[str]:
        """The set of ends, then every key that belongs to the job alone."""
        return [
            self.retention(),
            self.job(job_id),
            self.history(job_id),
            self.tasks(job_id),
            self.seen(job_id),
            self.notes(job_id),
            self.webhooks(job_id),
            self.branches(job_id),
            self.branch_answers(job_id),
        ]

    def secret(self) -> str:
        """String: the group's secret, where no SECRET_KEY is configured."""
        return f"{self.prefix}secret"

    def fingerprints(self) -> str:
        """Hash: fingerprint of a group secret -> when a process last began to use it (seconds)."""
        return f"{self.prefix}secret:fingerprints"

    def timers(self) -> str:
        """Sorted set: timer name -> due (ms, server clock)."""
        return f"{self.prefix}timers"

    def timer_messages(self) -> str:
        """Hash: timer name -> message for the queue of due timers."""
        return f"{self.prefix}timers:messages"

    def retention(self) -> str:
        """Sorted set: id of a job that is over -> when it goes (ms)."""
        return f"{self.prefix}retention"

    def claim(self, name: str) -> str:
        """String: somebody does, or has done, what is done once in a while. Gone when it is to be done again."""
        return f"{self.prefix}claim:{name}"

    def data(self, blueprint: str, name: str) -> str:
        """Hash of a blueprint's data store: key -> JSON. It stays until somebody deletes it."""
        return f"{self.prefix}data:{blueprint}:{name}"

    def quota(self, client: str, month: str) -> str:
        """String: how many jobs a client with a quota has created in a month (``2026-11``); gone when it is over."""
        return f"{self.prefix}quota:{client}:{month}"

    def idempotency(self, client: str, digest: str) -> str:
        """String ``<body hash> <job ids>``, kept as long as one of its jobs."""
        return f"{self.prefix}idempotency:{client}:{digest}"

    def held(self, task_id: str) -> str:
        """Hash of a task that a worker over HTTP has: ``worker``, ``tag`` of the delivery, ``message``, ``at`` ms, and
        ``named`` 1 once the worker has said that it has it."""
        return f"{self.prefix}held:{task_id}"

    def answers(self, task_id: str) -> str:
        """Set of digests of the answers to a task that were taken: each is known when it comes again."""
        return f"{self.prefix}held:{task_id}:answers"

    def held_by(self, worker_id: str) -> str:
        """Set of ids of tasks in the hands of a worker over HTTP."""
        return f"{self.prefix}worker:{worker_id}:tasks"

    def worker(self, worker_id: str) -> str:
        """Hash of a registered worker: ``record`` and ``beat`` JSON, ``since`` (registered) and ``at`` (last heard of)
        ms, ``turn`` when it was last chosen for a task, ``routed`` how often since the last beat, ``holds`` digests of
        the files that it has at hand (JSON). Gone when it is silent for long."""
        return f"{self.prefix}worker:{worker_id}"

    def workers(self) -> str:
        """Sorted set of ids of registered workers by when they were last heard of (ms)."""
        return f"{self.prefix}workers"

    def plans(self) -> str:
        """Sorted set: ``<blueprint>@<plan_hash>`` -> when an orchestrator last said that it serves it (ms)."""
        return f"{self.prefix}plans"

    def abandoned_plans(self) -> str:
        """Sorted set of plans that nobody serves: others go on with their jobs."""
        return f"{self.prefix}plans:abandoned"

    def worker_turns(self) -> str:
        """Number: how often a worker was chosen for a task."""
        return f"{self.prefix}workers:turns"

    def login(self, digest: str) -> str:
        """String: the client of a login session of the dashboard, by the digest of the session's id."""
        return f"{self.prefix}login:{digest}"

    def access_token(self, digest: str) -> str:
        """Hash of a token for a while, by its digest: ``worker``, ``basis``, ``family``, ``access``."""
        return f"{self.prefix}session:access:{digest}"

    def refresh_token(self, digest: str) -> str:
        """The same of the token that renews it; ``used`` seconds, once it was."""
        return f"{self.prefix}session:refresh:{digest}"

    def session_family(self, name: str) -> str:
        """String: there as long as the tokens are good that go back to one beginning."""
        return f"{self.prefix}session:family:{name}"

    def worker_names(self) -> str:
        """Sorted set: names of sections that a workers.toml had -> until when the shared token is not for them (ms)."""
        return f"{self.prefix}workers:named"
