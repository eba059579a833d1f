"""Explains why a job does not move, from facts about it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from avtomatika.core.job import JobStatus, Json, Task
from avtomatika.core.machine.timers import timers_of_job
from avtomatika.core.machine.waits import decisions

from .durations import count, counted, span, times
from .end_cause import cause_of_end
from .facts import AbleWorker, Facts
from .live_state import TaskProgress
from .waiting import WaitView, waiting_for

#: An expired timer should have been handled within this time.
_NOTICED_WITHIN_MS = 5000
#: A plan is not served if no orchestrator has announced it for this time; they do so every few seconds.
_SERVED_WITHIN_MS = 30_000
#: A worker without a heartbeat for this time is not counted; the public SDK sends one every 15 s.
_SILENT_AFTER_MS = 20_000
#: Maximum number of unfit workers that are named.
_SHOWN_UNFIT = 3
#: From this share of its memory on, a server refuses new messages.
_FULL = 0.98


@dataclass(frozen=True, slots=True)
class Reason:
    """*code* is for programs, *text* for people; *job_id* is the job concerned, possibly a child."""

    code: str
    text: str
    job_id: str
    facts: Mapping[str, Json] = field(default_factory=dict)


def explain(facts: Facts) -> list[Reason]:
    """Return the reasons, the most important first."""
    return list(_Explanation(facts).reasons())


class _Explanation:
    def __init__(self, facts: Facts) -> None:
        self._facts = facts
        self._job = facts.job

    def reasons(self) -> Iterator[Reason]:
        if self._job.status.is_final:
            ago = span(self._facts.now_ms - self._job.updated_ms)
            yield self._reason("over", f"The job is over: it {_ENDED[self._job.status]} {ago} ago.")
            yield from self._ending()
            return
        yield from self._server()
        match self._job.status:
            case JobStatus.QUARANTINED:
                yield self._quarantined()
            case JobStatus.WAITING_FOR_WORKER:
                for task in self._job.tasks.values():
                    yield from self._task(task)
            case JobStatus.WAITING_FOR_PARALLEL:
                yield from self._branches()
            case JobStatus.WAITING_FOR_HUMAN | JobStatus.WAITING_FOR_TIMER | JobStatus.WAITING_FOR_CHILD:
                yield from self._pause()
            case _:
                yield from self._step()

    # ------------------------------------------------------------ server and plan

    def _server(self) -> Iterator[Reason]:
        share = round(100 * self._facts.memory_share)
        if self._facts.memory_share >= _FULL:
            text = f"The server's memory is {share} % full: it accepts no new work until jobs end."
            yield self._reason("server_full", text, percent=share)
        plan, silent_ms = f"{self._job.blueprint}@{self._job.plan_hash}", self._facts.plan_silent_ms
        if silent_ms is None or silent_ms > _SERVED_WITHIN_MS:
            since = "no orchestrator ever has" if silent_ms is None else f"the last one did {span(silent_ms)} ago"
            text = f"No orchestrator serves its plan {plan}: {since}. Start one with this blueprint, or cancel the job."
            yield self._reason("plan_not_served", text, plan=plan, silent_ms=silent_ms)

    def _overdue(self, due_ms: int) -> Iterator[Reason]:
        if self._facts.now_ms - due_ms > _NOTICED_WITHIN_MS:
            over = span(self._facts.now_ms - due_ms)
            text = f"That time passed {over} ago: no orchestrator delivers due timers."
            yield self._reason("timer_overdue", text, due_ms=due_ms)

    # ------------------------------------------------------------ between two states

    def _step(self) -> Iterator[Reason]:
        failures = self._job.handler_failures
        armed = [self._facts.due_ms[name] for name in timers_of_job(self._job) if name in self._facts.due_ms]
        due_ms = min(armed, default=None)
        state = self._job.current_state
        if failures and due_ms is not None:
            message = (self._job.error or {}).get("message")
            told = f": {message}" if message else ""
            text = f"The handler of {state!r} has failed {times(failures)}{told}. It is retried {self._at(due_ms)}."
            yield self._reason("handler_back_off", text, failures=failures, due_ms=due_ms)
            yield from self._overdue(due_ms)
            return
        text = f"It waits for an orchestrator to run the handler of {state!r}, {self._since()}"
        place = self._facts.places.get(self._job.id)
        if place is not None:
            text += f": its queue {place.queue!r} has {count(place.waiting, 'message')} waiting"
        yield self._reason("waits_for_orchestrator", f"{text}.", state=state)

    # ------------------------------------------------------------ tasks

    def _task(self, task: Task) -> Iterator[Reason]:
        if not task.is_open:
            yield from self._back_off(task)
            return
        hand = self._facts.live_state.in_flight.get(task.id)
        if hand is not None and hand.worker_id is not None:
            yield from self._taken(task, hand, hand.worker_id)
        else:
            yield from self._queued(task)

    def _back_off(self, task: Task) -> Iterator[Reason]:
        due_ms = self._facts.due_ms.get(f"{task.id}:retry")
        when = "" if due_ms is None else f" {self._at(due_ms)}"
        error = self._job.error or {}
        told = f" The one before failed with {error.get('code')}: {error.get('message')}" if error else ""
        text = f"Attempt {task.attempt} of its task {task.task_type!r} begins{when}.{told}"
        yield self._reason("task_back_off", text, task_id=task.id, attempt=task.attempt, due_ms=due_ms)
        if due_ms is not None:
            yield from self._overdue(due_ms)

    def _taken(self, task: Task, hand: TaskProgress, worker_id: str) -> Iterator[Reason]:
        text = f"Worker {worker_id!r} has its task {task.task_type!r} (attempt {task.attempt})"
        if hand.progress is not None:
            said = f", {hand.message!r}" if hand.message else ""
            text += (
                f"; it told {span(self._facts.now_ms - hand.reported_ms)} ago that it is {hand.progress:.0%} done{said}"
            )
        known = next((worker for worker in self._facts.workers if worker.worker_id == worker_id), None)
        heard = None if known is None else known.silent_ms
        yield self._reason(
            "task_taken", f"{text}.", task_id=task.id, worker_id=worker_id, progress=hand.progress, silent_ms=heard
        )
        if known is not None and known.status == "revoked":
            text = "The worker is revoked: its result does not count. After its lease the task goes to another worker."
            yield self._reason("worker_revoked", text, worker_id=worker_id)
        elif known is not None and known.is_online:
            text = f"The worker was last heard of {span(known.silent_ms)} ago."
            yield self._reason("worker_heard", text, worker_id=worker_id, silent_ms=heard)
        else:
            since = "for minutes" if known is None else f"for {span(known.silent_ms)}"
            text = f"The worker has not been heard of {since}: when its lease is over the task goes to another one."
            yield self._reason("worker_silent", text, worker_id=worker_id, silent_ms=heard)
        yield from self._limit(task, "result", "must be done")

    def _queued(self, task: Task) -> Iterator[Reason]:
        place = self._facts.places.get(task.id)
        text = f"Its task {task.task_type!r} (attempt {task.attempt}) waits for a worker, {self._since()}"
        if place is not None and place.holder is not None:
            text = f"Its task {task.task_type!r} (attempt {task.attempt}) has been handed to {place.holder!r}"
            text += f", whose lease was renewed {span(place.silent_ms)} ago, and which has not begun with it"
        elif place is not None:
            number = "" if place.before is None else f" at place {place.before + 1}"
            text += f"{number} of {place.waiting} in queue {place.queue!r}"
        facts = {} if place is None else {"queue": place.queue, "waiting": place.waiting, "before": place.before}
        yield self._reason("task_queued", f"{text}.", task_id=task.id, **facts)
        yield from self._able(task)
        yield from self._limit(task, "dispatch", "must be taken")

    def _able(self, task: Task) -> Iterator[Reason]:
        able = [worker for worker in self._facts.workers if task.task_type in worker.skills]
        there = [worker for worker in able if worker.is_online and worker.silent_ms <= _SILENT_AFTER_MS]
        if task.worker_id is not None:
            chosen = next((worker for worker in there if worker.worker_id == task.worker_id), None)
            if chosen is None:
                text = f"It was chosen for worker {task.worker_id!r}, which is offline."
                yield self._reason("worker_gone", text, worker_id=task.worker_id)
            else:
                text = f"It was chosen for worker {task.worker_id!r}, which is {chosen.status}."
                yield self._reason("worker_chosen", text, worker_id=task.worker_id)
        elif task.missing is not None:
            yield self._reason("no_worker_fits", f"No worker fits: {task.missing}.", missing=task.missing)
            yield from self._unfit(task.task_type, there)
        elif not there:
            text = f"No worker with the skill {task.task_type!r} is available"
            text += f": {counted(map(_absence, able))}." if able else ". Start one that has it."
            revoked = sum(worker.status == "revoked" for worker in able)
            yield self._reason("no_worker", text, skill=task.task_type, lost=len(able) - revoked, revoked=revoked)
        else:
            verb = "has" if len(there) == 1 else "have"
            statuses = counted(worker.status for worker in there)
            text = f"{count(len(there), 'worker')} {verb} the skill {task.task_type!r}: {statuses}."
            absent = [worker for worker in able if worker not in there]
            if absent:
                text += f" Not available: {counted(map(_absence, absent))}."
            yield self._reason("workers_able", text, skill=task.task_type, workers=len(there))
            yield from self._unfit(task.task_type, there)

    def _unfit(self, skill: str, there: Sequence[AbleWorker]) -> Iterator[Reason]:
        unfit = [(worker.worker_id, worker.unfit) for worker in there if worker.unfit and skill in worker.unfit.skills]
        for worker_id, found in unfit[:_SHOWN_UNFIT]:
            text = f"Worker {worker_id!r} takes no tasks of {skill!r} at present: {found.reason}."
            yield self._reason("worker_unfit", text, skill=skill, worker_id=worker_id)
        if unfit and len(unfit) == len(there):
            text = f"No worker takes tasks of {skill!r} at present. It starts when one can, or with another worker."
            yield self._reason("no_worker_fit", text, skill=skill, workers=len(there))

    def _limit(self, task: Task, which: str, must: str) -> Iterator[Reason]:
        due_ms = self._facts.due_ms.get(f"{task.id}:{which}")
        if due_ms is not None:
            yield self._reason(f"{which}_limit", f"The task {must} {self._by(due_ms)}.", due_ms=due_ms)
            yield from self._overdue(due_ms)

    def _branches(self) -> Iterator[Reason]:
        of, left = self._job.fan_out, self._facts.live_state.branches_left
        if of is None:
            return
        text = f"Of {count(of.size, 'branch', 'branches')} {left} are left; then {of.aggregator!r} follows."
        if of.sent < of.size:
            text += f" {of.sent} of them have been sent, the rest follows."
        yield self._reason("branches_left", text, total=of.size, sent=of.sent, left=left)
        shown: set[tuple[str, str | None]] = set()
        for task in self._job.tasks.values():
            hand = self._facts.live_state.in_flight.get(task.id)
            holder = None if hand is None else hand.worker_id
            if (task.task_type, holder) not in shown:
                shown.add((task.task_type, holder))
                yield from self._task(task)

    # ------------------------------------------------------------ pauses

    def _pause(self) -> Iterator[Reason]:
        waiting = waiting_for(self._job)
        if waiting is None or self._job.pause is None:
            return
        if self._facts.live_state.decision is not None:
            text = f"It was decided, {self._facts.live_state.decision}, and goes on with the next orchestrator's step."
            yield self._reason("decided", text, decision=self._facts.live_state.decision)
        elif waiting.kind == "approval":
            yield self._asked(waiting)
        elif waiting.kind == "timer" and waiting.until_ms is not None:
            text = f"It waits for a time that comes {self._at(waiting.until_ms)}."
            yield self._reason("waits_for_time", text, until_ms=waiting.until_ms)
        elif waiting.kind == "child":
            text = f"It waits for job {waiting.child_id}, {self._since()}."
            yield self._reason("waits_for_child", text, child_id=waiting.child_id)
            yield from self._of_child()
        if waiting.until_ms is not None:
            yield from self._overdue(waiting.until_ms)

    def _asked(self, waiting: WaitView) -> Reason:
        words = decisions(self._job.pause) if self._job.pause is not None else []
        text = f"It has asked by {waiting.integration!r}, {self._since()}: {waiting.message} "
        text += f"The answer is one of {', '.join(words)}"
        text += "." if waiting.until_ms is None else f", {self._by(waiting.until_ms)}."
        return self._reason("waits_for_human", text, decisions=words, until_ms=waiting.until_ms)

    def _of_child(self) -> Iterator[Reason]:
        child = self._facts.child
        if child is None:
            yield self._reason(
                "child_gone", "That job no longer exists, so its end will not be reported. Cancel this one."
            )
        else:
            yield from explain(child)

    def _quarantined(self) -> Reason:
        error = self._job.error or {}
        text = f"It is quarantined, {self._since()}: {error.get('message') or 'no reason was given'}"
        text = f"{text.rstrip('.')}. Fix the cause and retry it, or cancel it."
        return self._reason("quarantined", text, error=error.get("code"))

    def _ending(self) -> Iterator[Reason]:
        cause = cause_of_end(self._job, self._facts.ending)
        if cause is not None:
            yield self._reason(cause.code, cause.text, **cause.facts)

    # ------------------------------------------------------------ words

    def _reason(self, code: str, text: str, **facts: Json) -> Reason:
        return Reason(code, text, self._job.id, facts)

    def _since(self) -> str:
        return f"for {span(self._facts.now_ms - self._job.updated_ms)}"

    def _at(self, then_ms: int) -> str:
        return f"in {span(then_ms - self._facts.now_ms)}" if then_ms > self._facts.now_ms else "at once"

    def _by(self, then_ms: int) -> str:
        left_ms = then_ms - self._facts.now_ms
        return f"within {span(left_ms)}" if left_ms > 0 else "at once"


def _absence(worker: AbleWorker) -> str:
    return worker.status if worker.status in ("revoked", "offline") else "silent"


_ENDED = {
    JobStatus.FINISHED: "finished",
    JobStatus.FAILED: "failed",
    JobStatus.CANCELLED: "was cancelled",
    JobStatus.ERROR: "ended as an error of its blueprint",
}
