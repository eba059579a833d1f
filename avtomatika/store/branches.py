"""Branches of a fan-out, stored apart from their job: their tasks and answers. A branch can finish without its job."""

from collections.abc import Mapping, Sequence
from dataclasses import field
from enum import StrEnum

import orjson

from avtomatika.core.events import Joined, Result
from avtomatika.core.frozen import dataclass
from avtomatika.core.job import HistoryEntry, Job, Json, branch_of, step_of
from avtomatika.core.machine.task_results import branch_answer
from avtomatika.core.signing import GroupSecret
from avtomatika.core.step import SendEvent
from avtomatika.transport import Router
from avtomatika.transport.scripts import Argument, Call

from .entries import dump_entry
from .keys import Keys
from .messages import step_message
from .records import UNREADABLE, load_task, unreadable
from .scripts import FINISH_BRANCH


class BranchStatus(StrEnum):
    OK = "OK"
    LEASE_LOST = "LEASE_LOST"  # another consumer has leased the message
    GONE = "GONE"  # the job does not exist; acknowledged
    TERMINAL = "TERMINAL"  # the job is finished; acknowledged, noted
    STALE = "STALE"  # the branch has ended or the attempt is not current; acknowledged, noted
    REROUTE = "REROUTE"  # the bindings have changed
    ORDINARY = "ORDINARY"  # nothing was written: the machine must handle the result


@dataclass(frozen=True, slots=True)
class FinishedBranch:
    """A branch that succeeded: the delivery of its result, and the routing key of that."""

    tag: str
    routing_key: str
    result: Result

    @property
    def prefix(self) -> str:
        """The prefix of the routing keys of its state."""
        return self.routing_key.rpartition(".")[0]


@dataclass(frozen=True, slots=True)
class BranchQuery:
    """A query for the fan-out of *job*: the tasks of the branches *numbers*, and the *answers* of all branches."""

    job: Job
    numbers: Sequence[int]
    answers: bool

    def commands(self, keys: Keys) -> list[Sequence[str | int]]:
        """Return the commands whose replies :meth:`load` takes."""
        commands: list[Sequence[str | int]] = []
        keys = keys.of(self.job.id)
        if self.numbers:
            commands.append(("HMGET", keys.branches(self.job.id), *self.numbers))
        if self.answers:
            commands.append(("HGETALL", keys.branch_answers(self.job.id)))
        return commands

    def load(self, rows: Sequence[Sequence[bytes | None]]) -> "LoadedBranches":
        """Parse the replies to :meth:`commands`; if that fails, the job is an UnreadableJob."""
        left = list(rows)
        try:
            found = left.pop(0) if self.numbers else []
            tasks = [load_task(orjson.loads(task)) for task in found if task is not None]
            job = self.job.evolve(tasks={task.id: task for task in tasks})
            return LoadedBranches(job, _in_order(self.job, left.pop(0)) if self.answers else {})
        except UNREADABLE as error:
            return LoadedBranches(unreadable(self.job, error))


@dataclass(frozen=True, slots=True)
class LoadedBranches:
    """*job* with the requested tasks; *answers* are its branches' answers by task id."""

    job: Job
    answers: Mapping[str, Json] = field(default_factory=dict)


def branch_call(finished: FinishedBranch, *, keys: Keys, router: Router, secret: GroupSecret, max_bytes: int) -> Call:
    """Return the script call for *finished*; all answers of its fan-out may have *max_bytes*.

    Raises the transport's NoRouteError if the plan of its job has no bindings.
    """
    result = finished.result
    keys = keys.of(result.job_id)
    router = router.of(keys.prefix)
    joined = Joined(result.job_id, step_of(result.task_id))
    message = step_message(SendEvent(f"{finished.prefix}._joined", joined), secret)
    route = router.route(message.exchange, message.routing_key)
    stream, entry = router.parse_tag(finished.tag)
    job_id, task_id, number = result.job_id, result.task_id, branch_of(result.task_id)
    call_keys = [keys.job(job_id), keys.history(job_id), keys.tasks(job_id), keys.notes(job_id), keys.timers()]
    call_keys += [keys.timer_messages(), keys.branches(job_id), keys.branch_answers(job_id), stream]
    call_keys += [route.bindings_key, router.stream(route.queues[0], message.priority)]
    recorded = dump_entry(_entry(result, state=finished.prefix.rpartition(".")[2]))
    args: list[Argument] = [router.consumer_name, entry, result.id, job_id, task_id, result.attempt, number]
    args += [finished.prefix, orjson.dumps(branch_answer(result)), recorded]
    return Call(FINISH_BRANCH, call_keys, [*args, route.version, router.encode(message), max_bytes])


def _entry(result: Result, *, state: str) -> HistoryEntry:
    return HistoryEntry(
        "branch_finished",
        state=state,
        task_id=result.task_id,
        attempt=result.attempt,
        worker_id=result.worker_id,
        duration_ms=result.duration_ms,
        data={"outcome": result.status} if result.data is None else {"outcome": result.status, "data": result.data},
    )


def _in_order(job: Job, row: Sequence[bytes | None]) -> dict[str, Json]:
    """Parse the reply to HGETALL, in the order of dispatch."""
    found = {
        int(number or 0): orjson.loads(answer or b"null") for number, answer in zip(row[::2], row[1::2], strict=True)
    }
    step = 0 if job.fan_out is None else job.fan_out.step
    return {f"{job.id}.{step}.{number}": found[number] for number in sorted(found)}
