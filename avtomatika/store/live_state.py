"""The live state of open tasks: who started them, and their progress. It is deleted when the task closes.

The state of a job is read in one round trip; a fan-out of any size costs one number.
"""

from collections.abc import Sequence
from typing import Any

from avtomatika.core.explain.facts import LiveState, TaskProgress
from avtomatika.core.job import HistoryEntry, Job
from avtomatika.core.texts import shortened
from avtomatika.schemas.wire import Progress, TaskStarted
from avtomatika.transport import Router
from avtomatika.transport.scripts import Argument, Call

from .entries import dump_entry
from .keys import Keys
from .messages import timer_name
from .scripts import TASK_PROGRESS, TASK_TAKEN

#: Suffixes of the fields of an open task, after its id.
_OF_TASK = ("", "/worker", "/progress")


def taken_call(tag: str | None, taken: TaskStarted, *, keys: Keys, router: Router) -> Call:
    """Return the call that records who started a task and acknowledges the notice with *tag*, unless it is None."""
    keys = keys.of(taken.job_id)
    stream, entry = (keys.job(taken.job_id), "") if tag is None else router.parse_tag(tag)
    job_id, task_id = taken.job_id, taken.task_id
    own, timers = [keys.job(job_id), keys.history(job_id), keys.tasks(job_id)], [keys.timers(), keys.timer_messages()]
    names = [timer_name(job_id, f"{task_id}:{each}") for each in ("dispatch", "result")]
    recorded = HistoryEntry("task_taken", taken.state, task_id, taken.attempt, taken.worker_id)
    args: list[Argument] = [router.consumer_name, entry, task_id, taken.attempt, taken.worker_id, *names]
    return Call(TASK_TAKEN, [*own, *timers, stream], [*args, dump_entry(recorded)])


def progress_call(progress: Progress, *, keys: Keys) -> Call:
    """Return the call that records the progress of a task if that attempt is still open."""
    share, message = repr(float(progress.progress)), shortened(progress.message)
    return Call(
        TASK_PROGRESS,
        [keys.of(progress.job_id).tasks(progress.job_id)],
        [progress.task_id, progress.attempt, share, message],
    )


def commands(job: Job, keys: Keys) -> list[Sequence[str]]:
    """Return the commands whose replies :func:`read` takes."""
    wanted: list[Sequence[str]] = []
    keys = keys.of(job.id)
    if job.tasks:
        wanted.append(
            ("HMGET", keys.tasks(job.id), *(f"{task_id}{each}" for task_id in job.tasks for each in _OF_TASK))
        )
    if job.fan_out is not None:
        wanted.append(("HGET", keys.branches(job.id), "left"))
    if job.wait is not None:
        wanted.append(("HGET", keys.job(job.id), "decided"))
    return wanted


def read(job: Job, replies: Sequence[Any]) -> LiveState:
    """Return the live state from the replies to :func:`commands`."""
    left = iter(replies)
    in_flight = _in_flight(job, next(left)) if job.tasks else {}
    branches_left = None if job.fan_out is None else int(next(left) or 0)
    decision = None if job.wait is None else _decision(job.wait.token, next(left))
    return LiveState(in_flight, branches_left, decision)


def _in_flight(job: Job, row: Sequence[bytes | None]) -> dict[str, TaskProgress]:
    """Return the progress of the open tasks that a worker has started or reported on."""
    found = ((task_id, _progress(*row[3 * place : 3 * place + 3])) for place, task_id in enumerate(job.tasks))
    return {task_id: progress for task_id, progress in found if progress is not None}


def _progress(attempt: bytes | None, worker: bytes | None, report: bytes | None) -> TaskProgress | None:
    worker_id = None if worker is None else worker.decode()
    if attempt is not None and report is not None and report.startswith(attempt + b" "):
        _, reported_ms, share, message = report.decode().split(" ", 3)
        return TaskProgress(worker_id, float(share), message, int(reported_ms))
    return None if worker_id is None else TaskProgress(worker_id)


def _decision(token: str, decided: bytes | None) -> str | None:
    of, _, words = (decided or b"").decode().partition(" ")
    return words if of == token else None
