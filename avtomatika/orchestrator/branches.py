"""Fan-outs as the orchestrator meets them: which results need no job, and what of a fan-out a job's events need."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from avtomatika.broker import Consumer
from avtomatika.core.events import (
    DeadLetter,
    Enter,
    Joined,
    NextBranches,
    PlaceTask,
    Result,
    RetryHandler,
    RetryTask,
    TaskTimeout,
)
from avtomatika.core.job import Job, branch_of, step_of
from avtomatika.core.machine.fan_out import CHUNK
from avtomatika.store import BranchReply, FinishedBranch, LoadedBranches, Store, WantedBranches

from .unit_of_work import ReceivedEvent


def finish_branches(arrivals: Sequence[ReceivedEvent], *, store: Store, intake: Consumer) -> list[ReceivedEvent]:
    """Store results of branches that succeeded, which need no job; answers what is left to decide."""
    finished = [(arrival, branch) for arrival in arrivals if (branch := finished_branch(arrival)) is not None]
    if not finished:
        return list(arrivals)
    settled = set()
    for (arrival, _), reply in zip(finished, store.finish_branches([branch for _, branch in finished]), strict=True):
        if reply is BranchReply.REROUTE:
            intake.channel.forget_routes()
        elif reply is not BranchReply.ORDINARY:
            settled.add(arrival.delivery.tag)
    intake.release(settled)
    return [arrival for arrival in arrivals if arrival.delivery.tag not in settled]


def load_jobs(arrivals: Mapping[str, Sequence[ReceivedEvent]], *, store: Store) -> list[LoadedBranches | None]:
    """The jobs of *arrivals* (by job id), with as much of their fan-outs as these need; None for one that is gone."""
    jobs = store.load_many(list(arrivals))
    wanted = {
        job.id: branches
        for job, of_job in zip(jobs, arrivals.values(), strict=True)
        if job is not None and (branches := _wanted_branches(job, of_job)) is not None
    }
    loaded = dict(zip(wanted, store.load_branches(list(wanted.values())), strict=True)) if wanted else {}
    return [None if job is None else loaded.get(job.id) or LoadedBranches(job) for job in jobs]


def finished_branch(arrival: ReceivedEvent) -> FinishedBranch | None:
    """The branch that *arrival* says has succeeded, or None: then its job must decide."""
    event = arrival.event
    if not isinstance(event, Result) or event.status != "success":
        return None
    is_branch = branch_of(event.task_id) and step_of(event.task_id)
    if not is_branch or not arrival.delivery.routing_key.endswith(".success"):
        return None
    return FinishedBranch(arrival.delivery.tag, arrival.delivery.routing_key, event)


def _wanted_branches(job: Job, arrivals: Iterable[ReceivedEvent]) -> WantedBranches | None:
    """What of the fan-out of *job* must be read for *arrivals*; None where it has none, or they do not need any."""
    if job.fan_out is None:
        return None
    numbers: set[int] = set()
    answers = False
    for event in (arrival.event for arrival in arrivals):
        match event:
            case Result() | RetryTask() | PlaceTask() | TaskTimeout() | DeadLetter():
                if (event.task_id or "").startswith(f"{job.id}.{job.fan_out.step}."):
                    numbers.add(branch_of(str(event.task_id)))
            case NextBranches(sent=sent):
                numbers.update(range(sent + 1, min(sent + CHUNK, job.fan_out.size) + 1))
            case Joined() | Enter() | RetryHandler():
                answers = True
            case _:
                pass
    return WantedBranches(job, sorted(numbers), answers) if numbers or answers else None
