"""Names of all Redis keys of the store. Keys of queues and bindings are in ``transport``."""

from collections.abc import Mapping
from dataclasses import dataclass

from avtomatika.core.job import Job


@dataclass(frozen=True, slots=True)
class Keys:
    """Every key starts with *prefix*."""

    prefix: str = "avt:"

    def job(self, job_id: str) -> str:
        """Hash: ``v`` version, ``status``, ``doc`` JSON that changes, ``init`` JSON that never changes, ``created`` and
        ``updated`` ms, ``final`` 1 once it is finished, ``wait`` the token of its last wait, ``decided`` the token
        and decision of the last approval, ``wish:<wish>`` version and ms of a request that was sent,
        ``data:<version>.<number>`` a large value (JSON), ``idempotency`` the key that it was created with."""
        return f"{self.prefix}job:{job_id}"

    def history(self, job_id: str) -> str:
        """List of ``<version> <ms> <json>``, oldest first; the position is the entry's ``seq``."""
        return f"{self.prefix}job:{job_id}:history"

    def tasks(self, job_id: str) -> str:
        """Hash of the open tasks: ``<task>`` -> attempt, ``<task>/worker`` -> worker id, ``<task>/progress`` ->
        attempt, ms, share and message of the last report, ``<task>/limit`` -> result timeout ms and its timer message.
        Deleted when the job finishes."""
        return f"{self.prefix}job:{job_id}:tasks"

    def branches(self, job_id: str) -> str:
        """Hash of a fan-out: ``left`` number of the ``size`` branches that have not ended, its ``step``, the ``prefix``
        of the routing keys of its state, ``bytes`` of all answers; for each branch its number -> task (JSON), and
        ``<number>/checked`` if the machine checks its results. Deleted when the job leaves the fan-out."""
        return f"{self.prefix}job:{job_id}:branches"

    def branch_answers(self, job_id: str) -> str:
        """Hash: number of a branch -> its answer (JSON). Deleted when the job leaves the fan-out."""
        return f"{self.prefix}job:{job_id}:branches:answers"

    def stream(self, job_id: str) -> str:
        """Redis stream of what the skills of a job wrote and logged: entry ``<seq>-0`` with ``task``, ``attempt``,
        ``kind``, ``data``, ``level`` and ``ms``. Bounded; the oldest entries are dropped."""
        return f"{self.prefix}job:{job_id}:stream"

    def stream_state(self, job_id: str) -> str:
        """Hash: ``last`` seq of the stream, its ``bytes``, the number of ``open`` runs, ``=<task>`` -> its current run
        (JSON), ``+<task> <number>`` -> chunks that wait for earlier ones."""
        return f"{self.prefix}job:{job_id}:stream:state"

    def seen(self, job_id: str) -> str:
        """Hash: event id -> version that it led to. Deleted when the job finishes."""
        return f"{self.prefix}job:{job_id}:seen"

    def notes(self, job_id: str) -> str:
        """List of ``<ms> <json>`` about ignored events, newest first, at most 100."""
        return f"{self.prefix}job:{job_id}:notes"

    def webhooks(self, job_id: str) -> str:
        """Hash: ``done`` number of the last webhook that was settled, ``<number>`` -> message of a later one that waits
        for it."""
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

    def by_skill(self, skill: str) -> str:
        """Sorted set of the ids of single tasks by creation (ms)."""
        return f"{self.prefix}jobs:skill:{skill}"

    def by_label(self, name: str, value: str) -> str:
        """Sorted set of job ids by creation (ms)."""
        return f"{self.prefix}jobs:label:{name}={value}"

    def indexes(self, job: Job) -> list[str]:
        """Return every index that contains *job*."""
        return self.indexes_of(job.status, job.client, job.blueprint, job.skill, job.labels)

    def indexes_of(
        self, status: str, client: str | None, blueprint: str | None, skill: str | None, labels: Mapping[str, str]
    ) -> list[str]:
        """Return the indexes that contain a job with these fields; unknown ones are None."""
        return [
            self.by_all(),
            self.by_status(status),
            *([] if client is None else [self.by_client(client)]),
            *([] if blueprint is None else [self.by_blueprint(blueprint)]),
            *([] if skill is None else [self.by_skill(skill)]),
            *(self.by_label(name, value) for name, value in labels.items()),
        ]

    def all_of(self, job_id: str) -> list[str]:
        """Return the retention set, then every key of the job alone."""
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
            self.stream(job_id),
            self.stream_state(job_id),
        ]

    def secret(self) -> str:
        """String: the group's secret, if no SECRET_KEY is configured."""
        return f"{self.prefix}secret"

    def fingerprints(self) -> str:
        """Hash: fingerprint of a group secret -> when a process last started to use it (seconds)."""
        return f"{self.prefix}secret:fingerprints"

    def timers(self) -> str:
        """Sorted set: timer name -> due (ms, server clock)."""
        return f"{self.prefix}timers"

    def timer_messages(self) -> str:
        """Hash: timer name -> message for the queue of due timers."""
        return f"{self.prefix}timers:messages"

    def retention(self) -> str:
        """Sorted set: id of a finished job -> when it is deleted (ms)."""
        return f"{self.prefix}retention"

    def claim(self, name: str) -> str:
        """String: a lock on a periodic task, held until it is due again."""
        return f"{self.prefix}claim:{name}"

    def data(self, blueprint: str, name: str) -> str:
        """Hash of a blueprint's data store: key -> JSON. Never expires."""
        return f"{self.prefix}data:{blueprint}:{name}"

    def quota(self, client: str, month: str) -> str:
        """String: number of jobs that a client with a quota has created in a month (``2026-11``); then it expires."""
        return f"{self.prefix}quota:{client}:{month}"

    def idempotency(self, client: str, digest: str) -> str:
        """String ``<body hash> <job ids>``, kept as long as one of the jobs."""
        return f"{self.prefix}idempotency:{client}:{digest}"

    def held(self, task_id: str) -> str:
        """Hash of a task leased to an HTTP worker: ``worker``, ``tag`` of the delivery, ``message``, ``at`` ms, and
        ``named`` 1 once the worker has confirmed it."""
        return f"{self.prefix}held:{task_id}"

    def answers(self, task_id: str) -> str:
        """Set of digests of the accepted answers to a task, which identify repeated ones."""
        return f"{self.prefix}held:{task_id}:answers"

    def held_by(self, worker_id: str) -> str:
        """Set of ids of tasks leased to an HTTP worker."""
        return f"{self.prefix}worker:{worker_id}:tasks"

    def worker(self, worker_id: str) -> str:
        """Hash of a registered worker: ``record`` and ``beat`` JSON, ``since`` (registered) and ``at`` (last message)
        ms, ``turn`` when it was last chosen for a task, ``routed`` how often since its heartbeat, ``holds`` digests
        of the files in its cache (JSON). Expires without heartbeats."""
        return f"{self.prefix}worker:{worker_id}"

    def workers(self) -> str:
        """Sorted set of ids of registered workers by their last message (ms)."""
        return f"{self.prefix}workers"

    def plans(self) -> str:
        """Sorted set: ``<blueprint>@<plan_hash>`` -> when an orchestrator last announced it (ms)."""
        return f"{self.prefix}plans"

    def abandoned_plans(self) -> str:
        """Sorted set of plans that no orchestrator serves: their jobs migrate to other plans."""
        return f"{self.prefix}plans:abandoned"

    def worker_turns(self) -> str:
        """Number: how often any worker was chosen for a task."""
        return f"{self.prefix}workers:turns"

    def statistics(self, window: str = "") -> str:
        """String of the figures of ten minutes, or the prefix of all: see ``lua/statistics.lua``. Expires in a day."""
        return f"{self.prefix}statistics:{window}"

    def versions(self) -> str:
        """Sorted set: versions of running orchestrators by their last announcement (ms)."""
        return f"{self.prefix}versions"

    def login(self, digest: str) -> str:
        """String: the client of a login session of the pages, by the digest of the session's id."""
        return f"{self.prefix}login:{digest}"

    def login_link(self, digest: str) -> str:
        """String: client and fingerprint of a link to log in with once, by the digest of its key."""
        return f"{self.prefix}login-link:{digest}"

    def access_token(self, digest: str) -> str:
        """Hash of a temporary token, by its digest: ``worker``, ``basis``, ``family``, ``access``."""
        return f"{self.prefix}session:access:{digest}"

    def refresh_token(self, digest: str) -> str:
        """Hash of the token that refreshes it; also ``used`` seconds once it was used."""
        return f"{self.prefix}session:refresh:{digest}"

    def session_family(self, name: str) -> str:
        """String: exists while the tokens of one family are valid."""
        return f"{self.prefix}session:family:{name}"

    def worker_names(self) -> str:
        """Sorted set: names of sections that a workers.toml had -> until when they may not use the shared token (s)."""
        return f"{self.prefix}workers:named"
