"""Records of jobs: JSON in the fields of a hash.

``init`` never changes and is written once; ``doc`` is replaced by every commit.
"""

import reprlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from typing import Any

import orjson

from avtomatika.core.explain.waiting import waiting_for
from avtomatika.core.frozen import dataclass
from avtomatika.core.job import Branches, Job, JobStatus, Json, Parent, Task, WaitRecord
from avtomatika.core.job_request import dump_request, load_request
from avtomatika.core.machine.waits import may_decide
from avtomatika.core.placement.selection import Needs
from avtomatika.core.retry import RetryPolicy
from avtomatika.core.texts import shortened
from avtomatika.errors import UnreadableRecordError

from .large_values import INITIAL, Dump, Values, dump, fill

#: Errors that reading an invalid record may raise.
UNREADABLE = (ValueError, TypeError, LookupError, AttributeError, ArithmeticError)
#: Required types of job fields: handlers and the machine rely on them.
_KINDS: Sequence[tuple[str, Any]] = (
    ("initial_data", dict),
    ("state_history", dict),
    ("labels", dict),
    ("error", dict | None),
    ("blueprint", str),
    ("plan_hash", str),
    ("current_state", str | None),
    ("steps", int),
    ("transitions", int),
)
#: Maximum digits of the numbers of a record: times are milliseconds since the epoch.
_MOST_DIGITS = 16
#: Fields of a job hash in the order that :func:`load_job` takes them; lists do without the last one.
JOB_FIELDS = ("v", "status", "doc", "init", "created", "updated", "signals")


@dataclass(frozen=True, slots=True)
class JobFilter:
    """Which jobs to list, newest first or *oldest_first*; None means any.

    A job must have one of the statuses and all of *labels*, which are (name, value), and be created at or after
    *created_after_ms* and before *created_before_ms*. *text* must be part of the code or the message of its error, or
    of the question of its approval; the case of ASCII letters is ignored. *decider* are the name and the roles of a
    client whom its approval must name. *archived* lists the jobs of the archive too.
    """

    client: str | None = None
    status: str | tuple[str, ...] | None = None
    blueprint: str | None = None
    state: str | None = None
    skill: str | None = None
    labels: tuple[tuple[str, str], ...] = ()
    created_after_ms: int | None = None
    created_before_ms: int | None = None
    text: str | None = None
    decider: tuple[str, ...] = ()
    limit: int = 50
    cursor: str | None = None
    oldest_first: bool = False
    archived: bool = False

    @property
    def statuses(self) -> tuple[str, ...]:
        """The statuses, empty for any."""
        return (self.status,) if isinstance(self.status, str) else self.status or ()

    def matches(self, job: Job) -> bool:
        problem = job.error or {}
        texts = (problem.get("code"), problem.get("message"), job.wait and job.wait.details.get("message"))
        return (
            (self.client is None or job.client == self.client)
            and (not self.statuses or job.status in self.statuses)
            and (self.blueprint is None or job.blueprint == self.blueprint)
            and (self.state is None or job.current_state == self.state)
            and (self.skill is None or job.skill == self.skill)
            and all(job.labels.get(name) == value for name, value in self.labels)
            and (
                not self.decider
                or (job.wait is not None and may_decide(job.wait.details, self.decider[0], self.decider[1:]))
            )
            and (not self.text or any(_contains(each, self.text) for each in texts))
        )


def _contains(value: Json, text: str) -> bool:
    """Compare as the script that lists jobs does: ignoring the case of ASCII letters only."""
    return isinstance(value, str) and text.encode().lower() in value.encode().lower()


def dump_init(job: Job) -> Dump:
    """Dump the fields of *job* that never change; the blueprint is first, as ``list_jobs.lua`` expects."""
    parent = {} if job.parent is None else {"parent": as_dict(job.parent)}
    init = {"blueprint": job.blueprint, "client": job.client, **parent, **dump_request(job)}
    return dump(init, known={}, prefix=INITIAL)


def dump_doc(job: Job, *, version: int = 1) -> Dump:
    """Dump the fields of *job* that the commit of *version* may change; plan and state are first, as ``list_jobs.lua``
    expects."""
    doc: dict[str, Any] = {
        "plan8": job.plan_hash,
        "state": job.current_state,
        "state_history": job.state_history,
        "steps": job.steps,
        "transitions": job.transitions,
    }
    if job.result is not None:
        doc["result"] = job.result
    if job.error is not None:
        doc["error"] = job.error
    if job.rush:
        doc["rush"] = job.rush
    if job.handler_failures:
        doc["handler_failures"] = job.handler_failures
    if job.webhooks:
        doc["webhooks"] = job.webhooks
    if job.fan_out is not None:
        doc["fan_out"] = as_dict(job.fan_out)
    elif job.tasks:
        doc["tasks"] = [as_dict(task) for task in job.tasks.values()]
    if job.kept:
        doc["kept"] = job.kept
    if job.wait is not None:
        doc["wait"] = as_dict(job.wait)
    if job.children:
        doc["children"] = job.children
    if job.earlier_plans:
        doc["earlier_plans"] = job.earlier_plans
    return dump(doc, known=job.large, prefix=f"data:{version}")


def dump_signals(signals: Iterable[Mapping[str, Json]]) -> bytes:
    """Dump signals as the script that keeps them appends them: JSON lines."""
    return b"".join(orjson.dumps(signal) + b"\n" for signal in signals)


@dataclass(frozen=True)
class UnreadableJob(Job):
    """A job whose record this version cannot read: its readable fields, and the *reason*. It makes no steps."""

    reason: str = ""


def load_job(job_id: str, stored: Sequence[bytes | None] | Exception, values: Values | None = None) -> Job | None:
    """Return the job whose hash contains *stored* (in the order of :data:`JOB_FIELDS`), or None if it does not exist.

    *stored* is an error if the key of the job contains another type. Large values are taken from *values*; without
    these their places are None, and ``large`` has only their names. A record that cannot be read becomes an
    :class:`UnreadableJob`, so that it does not affect other jobs.
    """
    if isinstance(stored, Exception):
        return _unreadable_job(job_id, (None,) * len(JOB_FIELDS), str(stored))
    version, status, doc, init, *_ = stored
    if version is None or (status is None and doc is None and init is None):
        return None
    try:
        return _read_job(job_id, stored, values or {})
    except UNREADABLE as error:
        return _unreadable_job(job_id, stored, f"{type(error).__name__}: {error}")


def unreadable(job: Job, error: Exception) -> UnreadableJob:
    """Return *job* as unreadable, because other data stored for it caused *error*."""
    known = {field.name: getattr(job, field.name) for field in fields(Job)}
    return UnreadableJob(**known, reason=shortened(f"{type(error).__name__}: {error}"))


def _read_job(job_id: str, stored: Sequence[bytes | None], values: Values) -> Job:
    version, status, raw_doc, raw_init, created, updated, *signals = stored
    doc = orjson.loads(raw_doc or b"")
    init = orjson.loads(raw_init or b"")
    of_doc, of_init = fill(doc, values), fill(init, values)
    job = Job.of(
        id=job_id,
        blueprint=init["blueprint"],
        plan_hash=doc["plan8"],
        status=JobStatus((status or b"").decode()),
        current_state=doc["state"],
        version=int(version or 0),
        client=init["client"],
        state_history=doc["state_history"],
        result=doc.get("result"),
        error=doc.get("error"),
        tasks={task["id"]: load_task(task) for task in doc.get("tasks", ())},
        fan_out=Branches(**doc["fan_out"]) if "fan_out" in doc else None,
        kept=doc.get("kept", {}),
        wait=WaitRecord(**doc["wait"]) if "wait" in doc else None,
        children=tuple(doc.get("children", ())),
        earlier_plans=tuple(doc.get("earlier_plans", ())),
        steps=doc["steps"],
        transitions=doc["transitions"],
        rush=doc.get("rush", 0),
        handler_failures=doc.get("handler_failures", 0),
        webhooks=doc.get("webhooks", 0),
        signals=tuple(map(orjson.loads, (signals[0] or b"").splitlines())) if signals else (),
        parent=Parent(**init["parent"]) if init.get("parent") else None,
        large={**of_init, **of_doc} if of_doc or of_init else of_doc,
        created_ms=int(created or 0),
        updated_ms=int(updated or 0),
        **load_request(init),
    )
    for name, kind in _KINDS:
        if not isinstance(getattr(job, name), kind):
            raise TypeError(f"{name} is {reprlib.repr(getattr(job, name))}")
    waiting_for(job)
    return job


def _unreadable_job(job_id: str, stored: Sequence[bytes | None], reason: str) -> UnreadableJob:
    """Return a job with the fields of *stored* that can be read."""
    version, status, raw_doc, raw_init, created, updated, *_ = stored
    doc, init = json_object(raw_doc), json_object(raw_init)
    word = (status or b"").decode(errors="replace")
    labels = init.get("labels")
    return UnreadableJob(
        id=job_id,
        blueprint=_text(init.get("blueprint")) or "",
        plan_hash=_text(doc.get("plan8")) or "",
        status=JobStatus(word) if word in set(JobStatus) else JobStatus.QUARANTINED,
        current_state=_text(doc.get("state")),
        version=number(version),
        client=_text(init.get("client")) or "",
        labels={name: value for name, value in labels.items() if _text(value)} if isinstance(labels, dict) else {},
        error={"code": UnreadableRecordError.code.upper(), "message": shortened(reason)},
        created_ms=number(created),
        updated_ms=number(updated),
        reason=shortened(reason),
    )


def json_object(stored: bytes | None) -> dict[str, Any]:
    """Return the JSON object in *stored*, or an empty one."""
    try:
        value = orjson.loads(stored or b"{}")
    except orjson.JSONDecodeError:
        value = None
    return value if isinstance(value, dict) else {}


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def number(stored: bytes | None) -> int:
    """Return the number in *stored*, or 0."""
    text = (stored or b"").decode(errors="replace")
    return int(text) if text.isascii() and text.isdigit() and len(text) < _MOST_DIGITS else 0


def load_indexed(
    status: bytes | None, init: bytes | None
) -> tuple[str, str | None, str | None, str | None, Mapping[str, str], Sequence[str]]:
    """Return the arguments of ``Keys.indexes_of`` for a job, as far as they can be read, to remove it from indexes."""
    try:
        fields = orjson.loads(init or b"{}")
        labels = {str(name): str(value) for name, value in fields.get("labels", {}).items()}
        names = (fields.get(name) for name in ("client", "blueprint", "skill"))
        return (status or b"").decode(), *names, labels, fields.get("origins") or ()
    except (ValueError, AttributeError):
        return (status or b"").decode(errors="replace"), None, None, None, {}, ()


def load_task(fields: Mapping[str, Any]) -> Task:
    """Return the task from its stored *fields*."""
    retry, needs = fields.get("retry"), fields.get("needs")
    if retry is None and needs is None:
        return Task(**fields)
    inner = {
        "retry": None if retry is None else RetryPolicy.of(retry),
        "needs": None if needs is None else Needs(**needs),
    }
    return Task(**{**fields, **inner})


def as_dict(value: Task | Branches | WaitRecord | Parent) -> Mapping[str, Any]:
    """Return the fields of a frozen value by name, without those that are None."""
    found = {name: item for name in value.__dataclass_fields__ if (item := getattr(value, name)) is not None}
    needs = found.get("needs")
    if needs is not None and not needs.refused:  # orchestrators of earlier versions do not know refusals
        found["needs"] = {"strategy": needs.strategy, "requirements": needs.requirements, "max_cost": needs.max_cost}
    return found
