"""Fan-outs in the orchestrator: results that need no job, child jobs to cancel, and the branches to load for a job's
events."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

from avtomatika.broker import Consumer, Delivery, Outgoing
from avtomatika.core import events as core
from avtomatika.core.job import Job, branch_of, step_of
from avtomatika.core.machine.fan_out import next_numbers
from avtomatika.store import BranchQuery, BranchStatus, FinishedBranch, LoadedBranches, Store

from .step_counts import StepCounts
from .unit_of_work import ReceivedEvent

#: Children of one fan-out that are cancelled in one round trip.
_CANCELLED_AT_ONCE = 100


def finish_branches(
    events: Sequence[ReceivedEvent], *, store: Store, consumer: Consumer, counts: StepCounts
) -> list[ReceivedEvent]:
    """Store results of branches that succeeded, which need no job. Return the events left to decide."""
    finished = [(received, branch) for received in events if (branch := finished_branch(received)) is not None]
    if not finished:
        return list(events)
    settled = set()
    replies = store.finish_branches([branch for _, branch in finished])
    for (received, branch), (reply, skill) in zip(finished, replies, strict=True):
        if reply is BranchStatus.OK:
            counts.result(branch.result, skill)
        if reply is BranchStatus.REROUTE:
            consumer.channel.router.forget_routes()
        elif reply is not BranchStatus.ORDINARY:
            settled.add(received.delivery.tag)
    consumer.release(settled)
    return [received for received in events if received.delivery.tag not in settled]


def cancel_children(
    events: Sequence[ReceivedEvent],
    *,
    store: Store,
    consumer: Consumer,
    forward: Callable[[Sequence[tuple[Delivery, Outgoing]]], None],
) -> list[ReceivedEvent]:
    """Cancel the open child jobs of fan-outs that their jobs have left, some at a time. Return the other events."""
    others: list[ReceivedEvent] = []
    for received in events:
        event, delivery = received.event, received.delivery
        if not isinstance(event, core.CancelChildren):
            others.append(received)
            continue
        first, end = event.first, min(event.first + _CANCELLED_AT_ONCE, event.last + 1)
        found = store.load_many([f"{event.job_id}-{event.step}-{number}" for number in range(first, end)])
        store.signal_each([job for job in found if job and not job.status.is_final], "cancel", by=f"job {event.job_id}")
        if end <= event.last:
            rest = replace(event, first=end)
            forward([(delivery, store.step_message(delivery.routing_key, rest))])
        else:
            store.ignore([(delivery.tag, event.job_id, None)])
            consumer.release([delivery.tag])
    return others


def load_jobs(events: Mapping[str, Sequence[ReceivedEvent]], *, store: Store) -> list[LoadedBranches | None]:
    """Load the jobs of *events* (by job id), each with the branches that its events need; None for a missing job."""
    jobs = store.load_many(list(events))
    wanted = {
        job.id: branches
        for job, job_events in zip(jobs, events.values(), strict=True)
        if job is not None and (branches := _wanted_branches(job, job_events)) is not None
    }
    loaded = dict(zip(wanted, store.load_branches(list(wanted.values())), strict=True)) if wanted else {}
    return [None if job is None else loaded.get(job.id) or LoadedBranches(job) for job in jobs]


def finished_branch(received: ReceivedEvent) -> FinishedBranch | None:
    """Return the branch that *received* reports as succeeded, or None if its job must decide."""
    event = received.event
    if not isinstance(event, core.Result) or event.status != "success":
        return None
    is_branch = branch_of(event.task_id) and step_of(event.task_id)
    if not is_branch or not received.delivery.routing_key.endswith(".success"):
        return None
    return FinishedBranch(received.delivery.tag, received.delivery.routing_key, event)


def _wanted_branches(job: Job, events: Iterable[ReceivedEvent]) -> BranchQuery | None:
    """Return the branches of *job* to load for *events*, or None if they need none."""
    if job.fan_out is None:
        return None
    numbers: set[int] = set()
    answers = False
    for event in (received.event for received in events):
        match event:
            case core.Result() | core.RetryTask() | core.PlaceTask() | core.TaskTimeout() | core.DeadLetter():
                if (event.task_id or "").startswith(f"{job.id}.{job.fan_out.step}."):
                    numbers.add(branch_of(str(event.task_id)))
            case core.NextBranches():
                numbers.update(next_numbers(job.fan_out))
            case core.Joined() | core.Enter() | core.RetryHandler():
                answers = True
            case _:
                pass
    return BranchQuery(job, sorted(numbers), answers) if numbers or answers else None
