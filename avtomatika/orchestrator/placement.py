"""Placing: tasks that ask something of their workers are looked at when it is time, beside the registry.

What changes nothing comes back later without touching its job; only a choice goes on to the machine.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from avtomatika.broker import Consumer, Outgoing
from avtomatika.core.events import PlaceTask
from avtomatika.core.machine import placement as placing
from avtomatika.core.placement.selection import Candidate, NoCandidate
from avtomatika.store import Store, UnreadableJob

from .branches import load_jobs
from .outcomes import Outcomes
from .unit_of_work import ReceivedEvent


class Placement:
    """Looks at what *intake* brings of them. Where it raises UnavailableError, all may be looked at again.

    How tasks end is counted in passing: by that workers are chosen, too.
    """

    def __init__(self, *, intake: Consumer, store: Store) -> None:
        self._intake = intake
        self._store = store
        self._outcomes = Outcomes(store.registry)

    def write_outcomes(self) -> None:
        """Have the registry know how tasks ended."""
        self._outcomes.write_down()

    def look(self, arrivals: Sequence[ReceivedEvent]) -> list[ReceivedEvent]:
        """What of *arrivals* is left for the machine, with the choices made."""
        self._outcomes.note(arrival.event for arrival in arrivals)
        asked = [(arrival, arrival.event) for arrival in arrivals if isinstance(arrival.event, PlaceTask)]
        if not asked:
            return list(arrivals)
        self.write_outcomes()
        by_job: dict[str, list[ReceivedEvent]] = {}
        for arrival, event in asked:
            by_job.setdefault(event.job_id, []).append(arrival)
        loaded = load_jobs(by_job, store=self._store)
        jobs = {
            each.job.id: each.job for each in loaded if each is not None and not isinstance(each.job, UnreadableJob)
        }
        takers = self._store.takers([(event.job_id, event.task_id) for _, event in asked])
        is_by_files = any(placing.wants_holdings(jobs.get(event.job_id), event) for _, event in asked)
        fleet = _Fleet(self._store.registry.fleet(with_holdings=is_by_files))
        chosen: dict[str, ReceivedEvent] = {}
        settled: list[tuple[Sequence[Outgoing], Sequence[str]]] = []
        for (arrival, event), taken_by in zip(asked, takers, strict=True):
            job = jobs.get(event.job_id)
            if job is None:
                continue
            found = placing.look(job, event, taken_by=taken_by, fleet=fleet.members)
            if failed_by := placing.failed_by(job, event, found):
                self._outcomes.failed(failed_by)
            match found:
                case placing.Done():
                    settled.append(((), [arrival.delivery.tag]))
                case placing.Keep():
                    settled.append(([self._later(arrival, event)], [arrival.delivery.tag]))
                case placing.AnyWorker():
                    pass  # as the event came: without a choice
                case Candidate() | NoCandidate():
                    fleet.count(found)
                    chosen[arrival.delivery.tag] = replace(arrival, event=replace(event, choice=found))
        self._intake.settle_many(settled)
        self._store.registry.chosen(fleet.chosen)
        done = {tag for _, tags in settled for tag in tags}
        return [chosen.get(arrival.delivery.tag, arrival) for arrival in arrivals if arrival.delivery.tag not in done]

    def _later(self, arrival: ReceivedEvent, event: PlaceTask) -> Outgoing:
        message: Outgoing = self._store.step_message(arrival.delivery.routing_key, placing.visited(event))
        return replace(message, delay_seconds=placing.VISIT_SECONDS)


class _Fleet:
    """The members as they will be once all choices of this moment are carried out."""

    def __init__(self, members: Sequence[Candidate]) -> None:
        self._members = {member.worker_id: member for member in members}
        self._turn = max((member.turn for member in members), default=0)
        #: Ids in the order in which they were chosen.
        self.chosen: list[str] = []

    @property
    def members(self) -> list[Candidate]:
        return list(self._members.values())

    def count(self, choice: Candidate | NoCandidate) -> None:
        if isinstance(choice, Candidate):
            self._turn += 1
            self._members[choice.worker_id] = replace(choice, load=choice.load + 1, turn=self._turn)
            self.chosen.append(choice.worker_id)
