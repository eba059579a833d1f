"""Records workers' reports on open tasks: who started them, and their progress. Deleted when the task closes."""

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
    """Return the call that records who started a task and acknowledges the notice with *tag*, unless it is None."""
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
    """Return the call that records the progress of a task if that attempt is still open."""
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
