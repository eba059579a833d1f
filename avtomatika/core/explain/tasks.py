"""The reasons why a task has not ended."""

from collections.abc import Iterator, Sequence

from avtomatika.core.job import Task
from avtomatika.core.plan import CELERY

from .facts import AbleWorker, StoppedBy, TaskProgress
from .reason import Explanation, Reason, count, counted, span

#: A worker without a heartbeat for this time is not counted; the public SDK sends one every 15 s.
_SILENT_AFTER_MS = 20_000
#: Maximum number of unfit workers that are named.
_SHOWN_UNFIT = 3


class TaskExplanation(Explanation):
    def reasons(self, task: Task) -> Iterator[Reason]:
        if not task.is_open:
            yield from self._back_off(task)
            return
        progress = self.facts.live_state.in_flight.get(task.id)
        if progress is not None and progress.worker_id is not None:
            yield from self._taken(task, progress, progress.worker_id)
        else:
            yield from self._queued(task)

    def _back_off(self, task: Task) -> Iterator[Reason]:
        due_ms = self.facts.due_ms.get(f"{task.id}:retry")
        when = "" if due_ms is None else f" {self.at(due_ms)}"
        error = self.job.error or {}
        told = f" The previous attempt failed with {error.get('code')}: {error.get('message')}" if error else ""
        text = f"Attempt {task.attempt} of its task {task.task_type!r} begins{when}.{told}"
        yield self.reason("task_back_off", text, task_id=task.id, attempt=task.attempt, due_ms=due_ms)
        if due_ms is not None:
            yield from self.overdue(due_ms)

    def _taken(self, task: Task, progress: TaskProgress, worker_id: str) -> Iterator[Reason]:
        text = f"Worker {worker_id!r} runs its task {task.task_type!r} (attempt {task.attempt})"
        if progress.progress is not None:
            said = f", {progress.message!r}" if progress.message else ""
            text += (
                f"; {span(self.facts.now_ms - progress.reported_ms)} ago it reported {progress.progress:.0%} done{said}"
            )
        known = next((worker for worker in self.facts.workers if worker.worker_id == worker_id), None)
        heard = None if known is None else known.silent_ms
        yield self.reason(
            "task_taken", f"{text}.", task_id=task.id, worker_id=worker_id, progress=progress.progress, silent_ms=heard
        )
        if known is not None and known.status == "revoked":
            text = "The worker is revoked: its result will be ignored. The task is requeued when its lease expires."
            yield self.reason("worker_revoked", text, worker_id=worker_id)
        elif known is not None and known.is_online:
            text = f"The worker's last heartbeat was {span(known.silent_ms)} ago."
            yield self.reason("worker_heard", text, worker_id=worker_id, silent_ms=heard)
        elif known is not None or worker_id != CELERY:
            since = "for minutes" if known is None else f"for {span(known.silent_ms)}"
            text = f"The worker has sent no heartbeat {since}: the task is requeued when its lease expires."
            yield self.reason("worker_silent", text, worker_id=worker_id, silent_ms=heard)
        yield from self._limit(task, "result", "must end")

    def _queued(self, task: Task) -> Iterator[Reason]:
        place = self.facts.places.get(task.id)
        text = f"Its task {task.task_type!r} (attempt {task.attempt}) has waited {self.since()} for a worker"
        if place is not None and place.holder is not None:
            text = f"Its task {task.task_type!r} (attempt {task.attempt}) is leased by {place.holder!r}"
            text += f", which renewed the lease {span(place.silent_ms)} ago but has not started the task"
        elif place is not None:
            number = "," if place.before is None else f", at place {place.before + 1}"
            text += f"{'' if place.limit else f'{number} of {place.waiting}'} in queue {place.queue!r}"
            text += ", from which clients are served in turns" if place.in_turns else ""
        facts = {} if place is None else {"queue": place.queue, "waiting": place.waiting, "before": place.before}
        yield self.reason("task_queued", f"{text}.", task_id=task.id, **facts)
        yield from self.paused(place)
        if place is not None and place.limit is not None and place.holder is None:
            yield self._stopped(place.limit, place.before or 0)
        yield from self._able(task)
        yield from self._limit(task, "dispatch", "must be started")

    def _stopped(self, limit: StoppedBy, before: int) -> Reason:
        kind, _, name = limit.name.partition(":")
        subject = "fan-out" if kind == "fan-out" else f"{kind} {name!r}"
        if limit.paused_ms is not None:
            return self.paused_by("limit_paused", f"The {subject}", limit.paused_ms, limit.paused_by, limit=limit.name)
        values, seconds = limit.values, (before + 1) * limit.seconds_each
        parts = [f"{limit.running} of {values.concurrency} running" if values.concurrency else ""]
        ending = {1: "st", 2: "nd", 3: "rd"}.get(0 if (before + 1) // 10 % 10 == 1 else (before + 1) % 10, "th")
        parts += [f"at most {values.rate}" if values.rate else "", f"{before + 1}{ending} in line"]
        parts += [f"about {span(max(round(1000 * seconds), 1000))}" if seconds else ""]
        text = f"It waits for the limit of the {subject}: {', '.join(filter(None, parts))}."
        facts = {"limit": limit.name, **values.on_wire(), "running": limit.running, "before": before}
        return self.reason("limit_reached", text, **facts, seconds=seconds or None, jobs=list(limit.job_ids))

    def _able(self, task: Task) -> Iterator[Reason]:
        able = [worker for worker in self.facts.workers if task.task_type in worker.skills]
        there = [worker for worker in able if worker.is_online and worker.silent_ms <= _SILENT_AFTER_MS]
        if task.worker_id is not None:
            chosen = next((worker for worker in there if worker.worker_id == task.worker_id), None)
            if chosen is None:
                text = f"It is assigned to worker {task.worker_id!r}, which is offline."
                yield self.reason("worker_gone", text, worker_id=task.worker_id)
            else:
                text = f"It is assigned to worker {task.worker_id!r}, which is {chosen.status}."
                yield self.reason("worker_chosen", text, worker_id=task.worker_id)
        elif task.missing is not None:
            yield self.reason("no_worker_fits", f"No worker fits: {task.missing}.", missing=task.missing)
            yield from self._unfit(task.task_type, there)
        elif not there:
            text = unavailable(task.task_type, [worker.status for worker in able])
            revoked = sum(worker.status == "revoked" for worker in able)
            yield self.reason("no_worker", text, skill=task.task_type, lost=len(able) - revoked, revoked=revoked)
        else:
            verb = "has" if len(there) == 1 else "have"
            statuses = counted(worker.status for worker in there)
            text = f"{count(len(there), 'worker')} {verb} the skill {task.task_type!r}: {statuses}."
            absent = [worker for worker in able if worker not in there]
            if absent:
                text += f" Not available: {counted(_absence(worker.status) for worker in absent)}."
            yield self.reason("workers_able", text, skill=task.task_type, workers=len(there))
            yield from self._unfit(task.task_type, there)

    def _unfit(self, skill: str, there: Sequence[AbleWorker]) -> Iterator[Reason]:
        unfit = [(worker.worker_id, worker.unfit) for worker in there if worker.unfit and skill in worker.unfit.skills]
        for worker_id, found in unfit[:_SHOWN_UNFIT]:
            text = f"Worker {worker_id!r} takes no tasks of {skill!r} at present: {found.reason}."
            yield self.reason("worker_unfit", text, skill=skill, worker_id=worker_id)
        if unfit and len(unfit) == len(there):
            text = f"No worker takes tasks of {skill!r} at present. Start another one, or wait."
            yield self.reason("no_worker_fit", text, skill=skill, workers=len(there))

    def _limit(self, task: Task, which: str, must: str) -> Iterator[Reason]:
        due_ms = self.facts.due_ms.get(f"{task.id}:{which}")
        if due_ms is not None:
            yield self.reason(f"{which}_limit", f"The task {must} {self.by(due_ms)}.", due_ms=due_ms)
            yield from self.overdue(due_ms)


def unavailable(skill: str, statuses: Sequence[str]) -> str:
    """Return the sentence for a skill whose workers all have one of these *statuses*."""
    text = f"No worker with the skill {skill!r} is available"
    return f"{text}: {counted(map(_absence, statuses))}." if statuses else f"{text}. Start one that has it."


def _absence(status: str) -> str:
    return status if status in ("revoked", "offline", "draining") else "silent"
