"""The commit of a step as one script call: its arguments and its replies."""

from collections.abc import Sequence
from dataclasses import field
from enum import StrEnum

import orjson
from redis.exceptions import RedisError

from avtomatika.core.frozen import dataclass
from avtomatika.core.job import Branches, Job, JobStatus, branch_of, step_of
from avtomatika.core.signing import GroupSecret
from avtomatika.core.step import Step
from avtomatika.transport import Outgoing, Route, Router
from avtomatika.transport.errors import is_wrong_type
from avtomatika.transport.scripts import Call

from .cleanups import NO_CLEANUPS, CleanupTimes, cleanup_timers
from .entries import dump_entry
from .keys import Keys
from .large_values import Dump, check_inline, is_initial
from .messages import message_of, notification, opened_row, prefix_of, step_message, timer_name, timer_row
from .records import as_dict, dump_doc, dump_init, dump_signals
from .scripts import COMMIT, COMMIT_MORE
from .server_part import ServerClock

#: An argument of a script.
Value = str | bytes | int


class CommitStatus(StrEnum):
    OK = "OK"
    LEASE_LOST = "LEASE_LOST"  # another consumer has leased the message: stop
    DUP = "DUP"  # the event was committed before; acknowledged
    CONFLICT = "CONFLICT"  # made from an old version of the job, or of a stale cause: load and decide again
    TERMINAL = "TERMINAL"  # the job is finished; acknowledged, noted
    STALE = "STALE"  # the task is closed or the attempt is not current; acknowledged, noted
    REROUTE = "REROUTE"  # the bindings have changed: read them and send again
    NO_ROUTE = "NO_ROUTE"  # a message has no queue: nothing was written
    GONE = "GONE"  # the job does not exist; acknowledged
    LARGE_VALUES = "LARGE_VALUES"  # it has values that belong in S3: nothing was written
    TOO_LARGE = "TOO_LARGE"  # the job would exceed its size limit: nothing was written
    REFUSED = "REFUSED"  # the server cannot write now: try again later
    WRONG_TYPE = "WRONG_TYPE"  # a key of the job contains a value of another type: nothing was written


@dataclass(frozen=True, slots=True)
class Cause:
    """A delivery that a step handles: its tag, its event's id, and the task and attempt that it closes."""

    tag: str
    event_id: str
    closes: tuple[str, int] | None = None


@dataclass(frozen=True, slots=True)
class Commit:
    """The *step* that *causes* led to, from the job *before*."""

    before: Job
    step: Step
    causes: tuple[Cause, ...]


@dataclass(frozen=True, slots=True)
class CommitReply:
    """*live* are the causes that still have to be handled; *reason* is for people. *unbound* is the exchange and
    routing key that has no queue."""

    answer: CommitStatus
    live: tuple[Cause, ...] = ()
    reason: str = ""
    unbound: tuple[str, str] | None = None

    @property
    def is_written(self) -> bool:
        """True if the step is committed, by this call or an earlier one."""
        return self.answer in (CommitStatus.OK, CommitStatus.DUP)


def commit_call(
    commit: Commit,
    *,
    doc: Dump,
    keys: Keys,
    router: Router,
    secret: GroupSecret,
    clock: ServerClock,
    job_ttl_ms: int,
    max_bytes: int,
    cleanups: CleanupTimes = NO_CLEANUPS,
    max_inline_bytes: int | None = None,
    notifies: bool = False,
) -> Call:
    """Return the script call for *commit*; *doc* is the record of its job.

    Raises NoRouteError if a message has no queue, and LargeValuesError for a value above *max_inline_bytes*; nothing is
    written then.
    """
    job, step = commit.step.job, commit.step
    keys = keys.of(job.id)
    router = router.of(keys.prefix)
    sent = _sent(commit, router, secret, clock, notifies=notifies)
    causes = [(*router.parse_tag(cause.tag), cause) for cause in commit.causes]
    args = _Arguments(
        _scalars(commit, doc, router, job_ttl_ms=job_ttl_ms, joined_at=len(sent.payloads), max_bytes=max_bytes)
    )
    args.add_items([route.version for route in sent.routes.values()])
    args.add_rows(sent.payloads)
    args.add_rows([(entry, cause.event_id, *(cause.closes or ("", ""))) for _, entry, cause in causes])
    args.add_items([dump_entry(entry) for entry in step.history])
    args.add_rows([*_timers(step, router, secret), *cleanup_timers(job, cleanups, router, secret)])
    args.add_items([timer_name(job.id, timer_id) for timer_id in step.cancelled_timers])
    args.add_rows([opened_row(job, task_id, router, secret) for task_id, _ in step.opened])
    args.add_items([task_id for task_id, _ in step.closed])
    args.add_items(step.revoked)
    started = _new_branches(commit)
    ended = [end for end in step.ended if started is None or step_of(end.task_id) == started.step]
    args.add_rows([(branch_of(end.task_id), orjson.dumps(end.answer)) for end in ended])
    branches = _branches_to_keep(commit)
    inits = [dump_init(child.job) for child in step.children]
    child_values = [row for init in inits for row in init.new.items()]
    if max_inline_bytes is not None:
        check_inline([*doc.new.values(), *(row[1] for row in (*child_values, *branches))], max_inline_bytes)
    indexes = [keys.indexes(child.job) for child in step.children]
    args.add_rows(branches)
    args.add_rows([_child_row(*each) for each in zip(step.children, inits, indexes, strict=True)])
    args.add_rows(child_values)
    changed = job.signals is not commit.before.signals
    args.add_rows([*doc.new.items(), *([("signals", dump_signals(job.signals))] if changed else [])])
    args.add_items([name for name in commit.before.large if name not in doc.values and not is_initial(name)])

    streams = [*sent.streams, *(stream for stream, _, _ in causes)]
    bindings = [route.bindings_key for route in sent.routes.values()]
    call_keys = [*_keys(commit, keys, router), *bindings, *streams]
    for child, of_child in zip(step.children, indexes, strict=True):
        call_keys += (keys.job(child.job.id), keys.history(child.job.id), *of_child)
    adds_messages = len(sent.streams) - (step.joined is not None) > 1
    return Call(COMMIT_MORE if adds_messages else COMMIT, call_keys, args.values)


def _scalars(
    commit: Commit, doc: Dump, router: Router, *, job_ttl_ms: int, joined_at: int, max_bytes: int
) -> list[Value]:
    """Return the arguments before the lists; payload *joined_at* announces that all branches have ended."""
    before, job, step = commit.before, commit.step.job, commit.step
    fan_out = _new_branches(commit)
    branches = "" if fan_out is None else f"{fan_out.size} {fan_out.step} {prefix_of(job, fan_out.state)}"
    token = "" if job.wait in (None, before.wait) else job.wait.token
    values: list[Value] = [router.consumer_name, before.version, job.status, doc.text, job_ttl_ms, job.id]
    values += [1 if job.status.is_final else "", token, int(step.drops_branches), branches]
    return [*values, 0 if step.joined is None else joined_at, max_bytes]


def _keys(commit: Commit, keys: Keys, router: Router) -> list[str]:
    """Return the keys of the job, and the keys that all jobs share."""
    before, job = commit.before, commit.step.job
    own = [keys.job(job.id), keys.history(job.id), keys.tasks(job.id), keys.seen(job.id), keys.notes(job.id)]
    shared = [keys.timers(), keys.timer_messages(), keys.retention(), router.keys.revoked]
    indexes = [keys.by_status(before.status), keys.by_status(job.status)]
    return [*own, *shared, *indexes, keys.branches(job.id), keys.branch_answers(job.id), keys.statistics()]


def read_reply(commit: Commit, answer: Sequence[bytes] | RedisError) -> CommitReply:
    """Return the reply to *commit*: the script's, or the error of a server that refused it."""
    if isinstance(answer, RedisError):
        is_permanent = is_wrong_type(answer) and _names_key_of(commit.before.id, str(answer))
        kind = CommitStatus.WRONG_TYPE if is_permanent else CommitStatus.REFUSED
        return CommitReply(kind, commit.causes, str(answer))
    status, *states = answer
    if status == b"OK":  # the usual case
        return CommitReply(CommitStatus.OK)
    if CommitStatus(status.decode()) is CommitStatus.TOO_LARGE:
        size, state = states[0].decode(), commit.before.current_state
        reason = f"state {state!r}: the results of its branches would be {size} bytes of JSON, above MAX_JOB_BYTES"
        return CommitReply(CommitStatus.TOO_LARGE, commit.causes, reason)
    live = tuple(cause for cause, state in zip(commit.causes, states, strict=True) if state == b"live")
    return CommitReply(CommitStatus(status.decode()), live)


def _names_key_of(job_id: str, error: str) -> bool:
    """Return True if the key that a WRONGTYPE *error* names belongs to the job, and not to all jobs or to a queue."""
    return job_id in error.split()[1].split(":")


@dataclass(slots=True)
class _Sent:
    """The streams and payloads of one commit's messages; the bindings of each exchange are checked once."""

    router: Router
    routes: dict[str, Route] = field(default_factory=dict)
    streams: list[str] = field(default_factory=list)
    payloads: list[tuple[Value, Value]] = field(default_factory=list)

    def add(self, message: Outgoing) -> None:
        route = self.router.route(message.exchange, message.routing_key)
        self.routes[route.bindings_key] = route
        payload = self.router.encode(message)
        for queue in route.queues:
            self.streams.append(self.router.stream(queue, message.priority, message.headers))
            self.payloads.append((payload, str(message.headers.get("x-group", ""))))


def _sent(commit: Commit, router: Router, secret: GroupSecret, clock: ServerClock, *, notifies: bool) -> _Sent:
    """Return all messages of *commit*; the one that announces the end of all branches is last."""
    before, step, sent = commit.before, commit.step, _Sent(router)
    for outgoing in step.outgoing:
        sent.add(message_of(step.job, outgoing, secret, version=commit.before.version + 1, clock=clock))
    is_new = (step.job.status, step.job.wait) != (before.status, before.wait)
    if notifies and is_new and step.job.status in (JobStatus.QUARANTINED, JobStatus.WAITING_FOR_HUMAN):
        sent.add(notification(step.job, secret, version=commit.before.version + 1, clock=clock))
    for child in step.children:
        for outgoing in child.outgoing:
            sent.add(message_of(child.job, outgoing, secret, version=1, clock=clock))
    if step.joined is not None:
        sent.add(step_message(step.joined, secret))
    return sent


@dataclass(slots=True)
class _Arguments:
    values: list[Value]

    def add_items(self, items: Sequence[Value]) -> None:
        """Append a list as the script reads it: its length, then the items."""
        self.values.append(len(items))
        self.values += items

    def add_rows(self, rows: Sequence[Sequence[Value]]) -> None:
        """Append a list whose items have several values."""
        self.values.append(len(rows))
        for row in rows:
            self.values += row


def _timers(step: Step, router: Router, secret: GroupSecret) -> list[tuple[str, str | int, str]]:
    """Return the timers of the job and of children that it starts."""
    return [timer_row(each.job.id, timer, router, secret) for each in (step, *step.children) for timer in each.timers]


def _new_branches(commit: Commit) -> Branches | None:
    """Return the fan-out that starts with *commit*."""
    before, after = commit.before.fan_out, commit.step.job.fan_out
    is_new = after is not None and (before is None or before.step != after.step)
    return after if is_new else None


def _branches_to_keep(commit: Commit) -> list[tuple[Value, Value, Value]]:
    """Return the branches whose task is new or has changed."""
    branches = commit.step.job.fan_out
    if branches is None:
        return []
    return [
        (task.branch, orjson.dumps(as_dict(task)), int(bool(branches.first_success or task.output_schema is not None)))
        for task in commit.step.job.tasks.values()
        if commit.before.tasks.get(task.id) != task
    ]


def _child_row(child: Step, init: Dump, indexes: Sequence[str]) -> tuple[Value, ...]:
    job, [entry] = child.job, child.history
    return job.id, job.status, dump_doc(job).text, init.text, dump_entry(entry), len(indexes), len(init.new)
