"""What workers tell of open tasks: who has begun, and how far it is. Kept with the open tasks, and gone with them."""

from __future__ import annotations

from avtomatika.core.job import HistoryEntry
from avtomatika.core.texts import shortened
from avtomatika.schemas.wire import Progress, TaskStarted
from avtomatika.transport import Router
from avtomatika.transport.scripts import Argument, Call

from .entries import dump_entry
from .keys import Keys
from .messages import timer_name
from .scripts import TASK_PROGRESS, TASK_TAKEN


def taken_call(tag: str | None, taken: TaskStarted, *, keys: Keys, router: Router) -> Call:
    """Writes down who has begun, and acknowledges the notice with that *tag*, if there is one."""
    stream, entry = (keys.job(taken.job_id), "") if tag is None else router.parse_tag(tag)
    return Call(
        TASK_TAKEN,
        [
            keys.job(taken.job_id),
            keys.history(taken.job_id),
            keys.tasks(taken.job_id),
            keys.timers(),
            keys.timer_messages(),
            stream,
        ],
        [
            router.consumer_name,
            entry,
            taken.task_id,
            taken.attempt,
            taken.worker_id,
            timer_name(taken.job_id, f"{taken.task_id}:dispatch"),
            timer_name(taken.job_id, f"{taken.task_id}:result"),
            dump_entry(_taken_entry(taken)),
        ],
    )


def progress_call(progress: Progress, *, keys: Keys) -> Call:
    """Writes down how far a task is, unless nobody waits for that attempt any more."""
    args: list[Argument] = [
        progress.task_id,
        progress.attempt,
        repr(float(progress.progress)),
        shortened(progress.message),
    ]
    return Call(TASK_PROGRESS, [keys.tasks(progress.job_id)], args)


def _taken_entry(taken: TaskStarted) -> HistoryEntry:
    return HistoryEntry(
        "task_taken", state=taken.state, task_id=taken.task_id, attempt=taken.attempt, worker_id=taken.worker_id
    )
