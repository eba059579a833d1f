"""Explains why a job does not move, from facts about it."""

import json
from collections.abc import Iterator

from avtomatika.core.job import JobStatus
from avtomatika.core.machine.timers import timers_of_job
from avtomatika.core.machine.waits import deciders

from .facts import Facts
from .reason import Explanation, Reason, count, span, times
from .tasks import TaskExplanation
from .waiting import WaitView, waiting_for

#: A plan is not served if no orchestrator has announced it for this time; they do so every few seconds.
_SERVED_WITHIN_MS = 30_000
#: From this share of its memory on, a server refuses new messages.
_FULL = 0.98
#: Maximum number of characters of a result in a text.
_SHOWN = 200


def explain(facts: Facts) -> list[Reason]:
    """Return the reasons, the most important first."""
    return list(_JobExplanation(facts).reasons())


class _JobExplanation(Explanation):
    def reasons(self) -> Iterator[Reason]:
        if self.job.status.is_final:
            ago = span(self.facts.now_ms - self.job.updated_ms)
            yield self.reason("over", f"The job is over: it {_ENDED[self.job.status]} {ago} ago.")
            if (reason := self._ending()) is not None:
                yield reason
            return
        yield from self._server()
        match self.job.status:
            case JobStatus.QUARANTINED:
                yield self._quarantined()
            case JobStatus.WAITING_FOR_WORKER:
                for task in self.job.tasks.values():
                    yield from TaskExplanation(self.facts).reasons(task)
            case JobStatus.WAITING_FOR_PARALLEL:
                yield from self._branches()
            case JobStatus.PENDING | JobStatus.RUNNING:
                yield from self._step()
            case _:
                yield from self._wait()

    # ------------------------------------------------------------ server and plan

    def _server(self) -> Iterator[Reason]:
        share = round(100 * self.facts.memory_share)
        if self.facts.memory_share >= _FULL:
            text = f"The server's memory is {share} % full: it accepts no new work until jobs end."
            yield self.reason("server_full", text, percent=share)
        plan, silent_ms = f"{self.job.blueprint}@{self.job.plan_hash}", self.facts.plan_silent_ms
        if silent_ms is None or silent_ms > _SERVED_WITHIN_MS:
            since = (
                "none has ever announced it" if silent_ms is None else f"it was last announced {span(silent_ms)} ago"
            )
            text = f"No orchestrator serves its plan {plan}: {since}. Start one with this blueprint, or cancel the job."
            yield self.reason("plan_not_served", text, plan=plan, silent_ms=silent_ms)

    # ------------------------------------------------------------ between two states

    def _step(self) -> Iterator[Reason]:
        if earlier := self.facts.earlier:
            text = f"It waits for job {earlier[0]} with the same unique key {self.job.unique_key!r}"
            text += f"; {count(len(earlier) - 1, 'other job')} before it." if len(earlier) > 1 else "."
            yield self.reason("waits_for_unique_key", text, earlier=list(earlier))
            return
        failures = self.job.handler_failures
        armed = [
            self.facts.due_ms[name] for name in timers_of_job(self.job, self.job.status) if name in self.facts.due_ms
        ]
        due_ms = min(armed, default=None)
        state = self.job.current_state
        if failures and due_ms is not None:
            message = (self.job.error or {}).get("message")
            told = f": {message}" if message else ""
            text = f"The handler of {state!r} has failed {times(failures)}{told}. It is retried {self.at(due_ms)}."
            yield self.reason("handler_back_off", text, failures=failures, due_ms=due_ms)
            yield from self.overdue(due_ms)
            return
        if due_ms is not None and self.job.status is JobStatus.PENDING:
            yield self.reason("waits_for_start", f"Its client wants it to start {self.at(due_ms)}.", due_ms=due_ms)
            yield from self.overdue(due_ms)
            return
        text = f"It has waited {self.since()} for an orchestrator to run the handler of {state!r}"
        place = self.facts.places.get(self.job.id)
        if place is not None:
            text += f"; {count(place.waiting, 'message')} in its queue {place.queue!r}"
        yield self.reason("waits_for_orchestrator", f"{text}.", state=state)
        yield from self.paused(place)

    # ------------------------------------------------------------ fan-out and waits

    def _branches(self) -> Iterator[Reason]:
        of, left = self.job.fan_out, self.facts.live_state.branches_left
        if of is None:
            return
        text = f"{left} of {count(of.size, 'branch', 'branches')} have not ended; then {of.aggregator!r} runs."
        if of.sent < of.size:
            text += f" {of.sent} of the tasks have been sent; the others are sent as branches end."
        if of.failed:
            text += f" {of.failed} have failed, and {of.max_failures or 0} may."
        yield self.reason("branches_left", text, total=of.size, sent=of.sent, left=left, failed=of.failed or 0)
        shown: set[tuple[str, str | None]] = set()
        for task in reversed(list(self.job.tasks.values())):  # the last one is most likely to wait
            progress = self.facts.live_state.in_flight.get(task.id)
            holder = None if progress is None else progress.worker_id
            if task.blueprint is not None:
                if (child := self.facts.child) is not None and child.job.id == task.child_id:
                    text = f"One of them is the child job {task.child_id} of {task.blueprint!r}."
                    yield self.reason("waits_for_child", text, child_id=task.child_id)
                    yield from explain(child)
            elif (task.task_type, holder) not in shown:
                shown.add((task.task_type, holder))
                yield from TaskExplanation(self.facts).reasons(task)

    def _wait(self) -> Iterator[Reason]:
        waiting = waiting_for(self.job)
        if waiting is None:
            return
        if self.facts.live_state.decision is not None:
            text = f"It was decided: {self.facts.live_state.decision}. An orchestrator has yet to continue the job."
            yield self.reason("decided", text, decision=self.facts.live_state.decision)
        elif waiting.kind == "approval":
            yield self._asked(waiting)
        elif waiting.kind == "signal":
            text = f"It has waited {self.since()} for the signal {waiting.signal!r}"
            text += "." if waiting.until_ms is None else f"; it must arrive {self.by(waiting.until_ms)}."
            yield self.reason("waits_for_signal", text, signal=waiting.signal, until_ms=waiting.until_ms)
        elif waiting.kind == "timer" and waiting.until_ms is not None:
            text = f"It waits for a timer that expires {self.at(waiting.until_ms)}."
            yield self.reason("waits_for_time", text, until_ms=waiting.until_ms)
        elif waiting.kind == "child":
            text = f"It has waited {self.since()} for its child job {waiting.child_id}."
            yield self.reason("waits_for_child", text, child_id=waiting.child_id)
            yield from self._of_child()
        if waiting.until_ms is not None:
            yield from self.overdue(waiting.until_ms)

    def _asked(self, waiting: WaitView) -> Reason:
        words = list(waiting.decisions or ())
        text = f"It has waited {self.since()} for a decision, requested by {waiting.integration!r}: {waiting.message} "
        text += f"Possible decisions: {', '.join(words)}"
        text += "." if waiting.until_ms is None else f", {self.by(waiting.until_ms)}."
        who = deciders(self.job.wait.details) if self.job.wait is not None else None
        text += f" Only {who} may decide." if who else ""
        return self.reason("waits_for_human", text, decisions=words, until_ms=waiting.until_ms)

    def _of_child(self) -> Iterator[Reason]:
        child = self.facts.child
        if child is None:
            yield self.reason(
                "child_gone", "The child job no longer exists, so its end is never reported. Cancel this job."
            )
        else:
            yield from explain(child)

    def _quarantined(self) -> Reason:
        error = self.job.error or {}
        text = f"It has been quarantined {self.since()}: {error.get('message') or 'no reason was given'}"
        text = f"{text.rstrip('.')}. Fix the cause and retry it, or cancel it."
        return self.reason("quarantined", text, error=error.get("code"))

    def _ending(self) -> Reason | None:
        """Return why the job did not finish; None if it did."""
        job, ending = self.job, self.facts.ending
        if job.status is JobStatus.FINISHED:
            return None
        data = {} if ending is None or ending.data is None else ending.data
        state = job.current_state
        place = "before its first state" if state is None else f"in state {state!r}"
        if job.status is JobStatus.CANCELLED:
            by = data.get("by")
            return self.reason("cancelled_by", f"{by or 'an unknown client'} cancelled it {place}.", by=by, state=state)
        error = job.error or data.get("error") or {}
        code, message = error.get("code"), str(error.get("message") or "").rstrip(".")
        facts = {"state": state, "error": code}
        if code == "DEADLINE_EXCEEDED":
            limit = job.execution_timeout_seconds
            text = f"It did not end within its execution_timeout of {limit} s; it was {place} at that time."
            return self.reason("execution_timeout", text, **facts, execution_timeout=limit)
        if "result" not in data:
            return self.reason("ended_by_error", f"The error {place} was {code}: {message}.", **facts)
        text = f"It reached {state!r}, a state that ends jobs as failed"
        if job.result is not None and job.result != error:
            result = json.dumps(job.result, ensure_ascii=False)
            text += f", with the result {result if len(result) <= _SHOWN else f'{result[:_SHOWN]}...'}"
        text += f". The last error before was {code}: {message}." if error else "."
        return self.reason("failed_by_blueprint", text, **facts)


_ENDED = {
    JobStatus.FINISHED: "finished",
    JobStatus.FAILED: "failed",
    JobStatus.CANCELLED: "was cancelled",
    JobStatus.ERROR: "ended with an error of its blueprint",
}
