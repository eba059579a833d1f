"""Placement: chooses workers for tasks with requirements, using the worker registry.

A request without a result is rescheduled without touching its job; only a choice reaches the machine.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from avtomatika.broker import Consumer, Outgoing
from avtomatika.core.events import Event, PlaceTask
from avtomatika.core.machine import placement as machine
from avtomatika.core.placement import reputation
from avtomatika.core.placement.selection import Candidate, NoCandidate
from avtomatika.store import Store, UnreadableJob, WorkerRegistry

from .branches import load_jobs
from .unit_of_work import ReceivedEvent


class Placement:
    """Chooses workers for placement requests of *consumer*. After UnavailableError, all may be repeated.

    It also counts how tasks end, which workers are chosen by.
    """

    def __init__(self, *, consumer: Consumer, store: Store) -> None:
        self._consumer = consumer
        self._store = store
        self._outcomes = _TaskOutcomes(store.registry)

    def flush_outcomes(self) -> None:
        """Write the counted outcomes of tasks to the registry."""
        self._outcomes.flush()

    def choose_workers(self, events: Sequence[ReceivedEvent]) -> list[ReceivedEvent]:
        """Return the events left for the machine, with the choices made."""
        self._outcomes.record(received.event for received in events)
        requests = [(received, received.event) for received in events if isinstance(received.event, PlaceTask)]
        if not requests:
            return list(events)
        self.flush_outcomes()
        by_job: dict[str, list[ReceivedEvent]] = {}
        for received, event in requests:
            by_job.setdefault(event.job_id, []).append(received)
        loaded = load_jobs(by_job, store=self._store)
        jobs = {
            each.job.id: each.job for each in loaded if each is not None and not isinstance(each.job, UnreadableJob)
        }
        takers = self._store.task_workers([(event.job_id, event.task_id) for _, event in requests])
        is_by_files = any(machine.needs_cached_files(jobs.get(event.job_id), event) for _, event in requests)
        fleet = _Fleet(self._store.registry.fleet(with_holdings=is_by_files))
        chosen: dict[str, ReceivedEvent] = {}
        settled: list[tuple[Sequence[Outgoing], Sequence[str]]] = []
        for (received, event), taken_by in zip(requests, takers, strict=True):
            job = jobs.get(event.job_id)
            if job is None:
                continue
            found = machine.look(job, event, taken_by=taken_by, fleet=fleet.members)
            if failed_worker := machine.failed_worker(job, event, found):
                self._outcomes.failed(failed_worker)
            match found:
                case machine.Look.DONE:
                    settled.append(((), [received.delivery.tag]))
                case machine.Look.KEEP:
                    settled.append(([self._rescheduled(received, event)], [received.delivery.tag]))
                case machine.Look.ANY_WORKER:
                    pass  # as received: without a choice
                case Candidate() | NoCandidate():
                    fleet.count(found)
                    chosen[received.delivery.tag] = replace(received, event=replace(event, choice=found))
        self._consumer.settle_many(settled)
        self._store.registry.chosen(fleet.chosen)
        done = {tag for _, tags in settled for tag in tags}
        return [chosen.get(received.delivery.tag, received) for received in events if received.delivery.tag not in done]

    def _rescheduled(self, received: ReceivedEvent, event: PlaceTask) -> Outgoing:
        message: Outgoing = self._store.step_message(received.delivery.routing_key, machine.visited(event))
        return replace(message, delay_seconds=machine.VISIT_SECONDS)


class _Fleet:
    """The workers, with the choices of this batch counted."""

    def __init__(self, members: Sequence[Candidate]) -> None:
        self._members = {member.worker_id: member for member in members}
        self._turn = max((member.last_chosen for member in members), default=0)
        #: Worker ids in the order of choice.
        self.chosen: list[str] = []

    @property
    def members(self) -> list[Candidate]:
        return list(self._members.values())

    def count(self, choice: Candidate | NoCandidate) -> None:
        if isinstance(choice, Candidate):
            self._turn += 1
            self._members[choice.worker_id] = replace(choice, load=choice.load + 1, last_chosen=self._turn)
            self.chosen.append(choice.worker_id)


class _TaskOutcomes:
    """Counts how tasks of workers end, for one thread; written to the registry now and then.

    No commit waits for it. A killed orchestrator loses the counts since the last write; an unavailable registry
    loses nothing.
    """

    def __init__(self, registry: WorkerRegistry) -> None:
        self._registry = registry
        #: Worker -> (tasks that succeeded, tasks that did not).
        self._counts: dict[str, tuple[int, int]] = {}

    def record(self, events: Iterable[Event]) -> None:
        """Count the outcomes in *events*. A redelivered one counts twice, which is harmless: counts decay."""
        for event in events:
            credited = reputation.rating_of(event)
            if credited is not None:
                self._count(*credited)

    def failed(self, worker_id: str) -> None:
        """Count a task that was taken from a worker that is lost or did not start it."""
        self._count(worker_id, False)

    def flush(self) -> None:
        """Write the counts to the registry, if there are any."""
        if self._counts:
            self._registry.record_outcomes(self._counts)
            self._counts = {}

    def _count(self, worker_id: str, is_good: bool) -> None:
        good, bad = self._counts.get(worker_id, (0, 0))
        self._counts[worker_id] = (good + 1, bad) if is_good else (good, bad + 1)
