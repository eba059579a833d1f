"""Names of all Redis keys of the store. Keys of queues and bindings are in ``transport``."""

from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256

from avtomatika.core.job import Job
from avtomatika.core.shards import shard_name, shard_of
from avtomatika.transport.keys import PREFIX


class KeyTemplate:
    """A name in ``Keys``: a function that inserts its arguments into *template*."""

    def __init__(self, template: str) -> None:
        self._template = template

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, keys: "Keys", owner: type) -> Callable[..., str]:
        template = keys.prefix.replace("{", "{{").replace("}", "}}") + self._template
        keys.__dict__[self._name] = template.format  # found before this descriptor from now on
        return template.format


class Keys:
    """Each name is called with the parts of the key. All keys start with *prefix*, whose hash tag puts them in one slot
    of a cluster; :meth:`of` has those of other shards."""

    def __init__(self, prefix: str = PREFIX, *others: str) -> None:
        """*others* are the prefixes of the other shards."""
        self.prefix = prefix
        #: The name of the shard, with which the ids of its jobs begin.
        self.shard = shard_name(prefix)
        #: The keys of each shard, this one first.
        self.shards = [self, *map(Keys, others)]
        self._of = {keys.shard: keys for keys in self.shards}

    def of(self, job_id: str) -> "Keys":
        """Return the keys of the shard of a job or task."""
        if len(self.shards) == 1:
            return self
        return self._of[shard_of(job_id, self._of, self.shard)]

    #: Hash: ``v`` version, ``status``, ``doc`` JSON that changes, ``init`` JSON that never changes, ``created`` and
    #: ``updated`` ms, ``final`` 1 once it is finished, ``wait`` the token of its last wait, ``decided`` the token and
    #: decision of the last approval, ``wish:<wish>`` version and ms of a request that was sent,
    #: ``data:<version>.<number>`` a large value (JSON), ``idempotency`` the key that it was created with,
    #: ``reserved`` the same in another shard, ``signals`` those that it has not taken (JSON lines), ``signalled``
    #: digests of their idempotency keys and data, ``unique`` the list of its unique key, ``start`` due
    #: time, name and message of the timer that starts it in its turn.
    job = KeyTemplate("job:{}")
    #: List of ``<version> <ms> <json>``, oldest first; the position is the entry's ``seq``.
    history = KeyTemplate("job:{}:history")
    #: Hash of the open tasks: ``<task>`` -> attempt, ``<task>/worker`` -> worker id, ``<task>/progress`` -> attempt,
    #: ms, share and message of the last report, ``<task>/limit`` -> result timeout ms and its timer message. Deleted
    #: when the job finishes.
    tasks = KeyTemplate("job:{}:tasks")
    #: Hash of a fan-out: ``left`` number of the ``size`` branches that have not ended, its ``step``, the ``prefix`` of
    #: the routing keys of its state, ``bytes`` of all answers; for each branch its number -> task (JSON), and
    #: ``<number>/checked`` if the machine checks its results. Deleted when the job leaves the fan-out.
    branches = KeyTemplate("job:{}:branches")
    #: Hash: number of a branch -> its answer (JSON). Deleted when the job leaves the fan-out.
    branch_answers = KeyTemplate("job:{}:branches:answers")
    #: Redis stream of what the skills of a job wrote and logged: entry ``<seq>-0`` with ``task``, ``attempt``,
    #: ``kind``, ``data``, ``level`` and ``ms``. Bounded; the oldest entries are dropped.
    stream = KeyTemplate("job:{}:stream")
    #: Hash: ``last`` seq of the stream, its ``bytes``, the number of ``open`` runs, ``=<task>`` -> its current run
    #: (JSON), ``+<task> <number>`` -> chunks that wait for earlier ones.
    stream_state = KeyTemplate("job:{}:stream:state")
    #: Hash: event id -> version that it led to. Deleted when the job finishes.
    seen = KeyTemplate("job:{}:seen")
    #: List of ``<ms> <json>`` about ignored events, newest first, at most 100.
    notes = KeyTemplate("job:{}:notes")
    #: Hash: ``done`` number of the last webhook that was settled, ``<number>`` -> message of a later one that waits for
    #: it.
    webhooks = KeyTemplate("job:{}:webhooks")
    #: Sorted set of job ids by creation (ms).
    by_all = KeyTemplate("jobs")
    #: Sorted set of job ids by creation (ms).
    by_status = KeyTemplate("jobs:status:{}")
    #: Sorted set of job ids by creation (ms).
    by_client = KeyTemplate("jobs:client:{}")
    #: Sorted set of job ids by creation (ms).
    by_blueprint = KeyTemplate("jobs:blueprint:{}")
    #: Sorted set of the ids of single tasks by creation (ms).
    by_skill = KeyTemplate("jobs:skill:{}")
    #: Sorted set of job ids by creation (ms).
    by_label = KeyTemplate("jobs:label:{}={}")
    #: Sorted set of the later tries and forks of a first job by creation (ms).
    by_origin = KeyTemplate("jobs:origin:{}")
    #: String: the group's secret, if no SECRET_KEY is configured.
    secret = KeyTemplate("secret")
    #: Hash: number of shards -> since when (ms) processes use it; the home has it.
    shard_counts = KeyTemplate("shards")
    #: Hash: fingerprint of a group secret -> when a process last started to use it (seconds).
    fingerprints = KeyTemplate("secret:fingerprints")
    #: Sorted set: timer name -> due (ms, server clock).
    timers = KeyTemplate("timers")
    #: Hash: timer name -> message for the queue of due timers.
    timer_messages = KeyTemplate("timers:messages")
    #: Sorted set: id of a finished job -> when it is deleted (ms).
    retention = KeyTemplate("retention")
    #: String: why ended jobs could not be archived; expires unless the archive stays unavailable.
    archive_error = KeyTemplate("archive:error")
    #: String: a lock on a periodic task, held until it is due again.
    claim = KeyTemplate("claim:{}")
    #: Hash: name of a schedule -> its definition and state (JSON).
    schedules = KeyTemplate("schedules")
    #: Sorted set: names of active schedules by the time of their next check (ms).
    due_schedules = KeyTemplate("schedules:due")
    #: Hash of a blueprint's data store: key -> JSON. Never expires.
    data = KeyTemplate("data:{}:{}")
    #: String: number of jobs that a client with a quota has created in a month (``2026-11``); then it expires.
    quota = KeyTemplate("quota:{}:{}")
    #: String: number of requests of a client with a rate limit in one window; then it expires.
    requests = KeyTemplate("requests:{}:{}")
    #: Set: skills without a queue that a client named; expires an hour after the first.
    new_skills = KeyTemplate("new-skills:{}")
    #: List of the unfinished jobs of a client and a blueprint, or ``@`` and a skill, with the same unique key, whose
    #: digest it has: the one that may run, then those that wait for it.
    unique = KeyTemplate("unique:{}:{}:{}")
    #: String ``<body hash> <job ids>``, kept as long as one of the jobs.
    idempotency = KeyTemplate("idempotency:{}:{}")
    #: Hash of a task leased to an HTTP worker: ``worker``, ``tag`` of the delivery, ``message``, ``at`` ms, and
    #: ``named`` 1 once the worker has confirmed it.
    held = KeyTemplate("held:{}")
    #: Set of digests of the accepted answers to a task, which identify repeated ones.
    answers = KeyTemplate("held:{}:answers")
    #: Set of ids of tasks leased to an HTTP worker.
    held_by = KeyTemplate("worker:{}:tasks")
    #: Hash of a registered worker: ``record`` and ``beat`` JSON, ``since`` (registered) and ``at`` (last message) ms,
    #: ``turn`` when it was last chosen for a task, ``routed`` how often since its heartbeat, ``holds`` digests of the
    #: files in its cache (JSON), ``refused`` (last rejected message) ms. Expires without heartbeats.
    worker = KeyTemplate("worker:{}")
    #: Sorted set of ids of registered workers by their last message (ms).
    workers = KeyTemplate("workers")
    #: Hash: worker that takes no new tasks -> ``<ms> <who asked>``.
    drained_workers = KeyTemplate("workers:drained")
    #: Sorted set: ``<blueprint>@<plan_hash>`` -> when an orchestrator last announced it (ms).
    plans = KeyTemplate("plans")
    #: Sorted set of plans that no orchestrator serves: their jobs migrate to other plans.
    abandoned_plans = KeyTemplate("plans:abandoned")
    #: Number: how often any worker was chosen for a task.
    worker_turns = KeyTemplate("workers:turns")
    #: Prefix of the strings of the figures of ten minutes, see ``lua/statistics.lua``. They expire in a day.
    statistics = KeyTemplate("statistics:")
    #: Hash of a minute since 1970: skill -> tasks that ended, ``<skill>/ms`` -> their milliseconds. Expires.
    task_times = KeyTemplate("task-times:{}")
    #: Sorted set: versions of running orchestrators by their last announcement (ms).
    versions = KeyTemplate("versions")
    #: Sorted set, if there are several: numbers of shards -> when an orchestrator last announced to serve them (ms).
    served_shards = KeyTemplate("shards:served")
    #: String: the client of a login session of the pages, by the digest of the session's id.
    login = KeyTemplate("login:{}")
    #: String: client and fingerprint of a link to log in with once, by the digest of its key.
    login_link = KeyTemplate("login-link:{}")
    #: Hash of a temporary token, by its digest: ``worker``, ``basis``, ``family``, ``access``.
    access_token = KeyTemplate("session:access:{}")
    #: Hash of the token that refreshes it; also ``used`` seconds once it was used.
    refresh_token = KeyTemplate("session:refresh:{}")
    #: String: exists while the tokens of one family are valid.
    session_family = KeyTemplate("session:family:{}")
    #: Sorted set: names of sections that a workers.toml had -> until when they may not use the shared token (s).
    worker_names = KeyTemplate("workers:named")

    def unique_of(self, job: Job) -> str:
        """Return the list of the jobs with the unique key of *job*."""
        what = job.blueprint if job.skill is None else f"@{job.skill}"
        return self.unique(job.client, what, sha256(str(job.unique_key).encode()).hexdigest())

    def indexes(self, job: Job) -> list[str]:
        """Return every index that contains *job*."""
        return self.indexes_of(job.status, job.client, job.blueprint, job.skill, job.labels, job.origins)

    def indexes_of(
        self,
        status: str,
        client: str | None,
        blueprint: str | None,
        skill: str | None,
        labels: Mapping[str, str],
        origins: Sequence[str] | None = None,
    ) -> list[str]:
        """Return the indexes that contain a job with these fields; unknown ones are None."""
        return [
            self.by_all(),
            self.by_status(status),
            *([] if client is None else [self.by_client(client)]),
            *([] if blueprint is None else [self.by_blueprint(blueprint)]),
            *([] if skill is None else [self.by_skill(skill)]),
            *(self.by_label(name, value) for name, value in labels.items()),
            *(self.by_origin(each) for each in (origins or ())[:1]),
        ]

    def all_of(self, job_id: str) -> list[str]:
        """Return the retention set, then every key of the job alone."""
        own = (self.job, self.history, self.tasks, self.seen, self.notes, self.webhooks, self.branches)
        others = (self.branch_answers, self.stream, self.stream_state)
        return [self.retention(), *(key(job_id) for key in (*own, *others))]
