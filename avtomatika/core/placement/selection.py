"""Chooses a worker: the requirements of a task, the candidates, and the strategies. Pure."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import field
from enum import StrEnum
from math import inf
from typing import Any, Self

from avtomatika.core.frozen import dataclass

#: As in ``job``, which imports this module.
Json = Any


class Strategy(StrEnum):
    ROUND_ROBIN = "round_robin"  # the worker that was chosen least recently
    LEAST_CONNECTIONS = "least_connections"  # the worker with the fewest tasks
    CHEAPEST = "cheapest"  # the lowest cost of the skill
    BEST_VALUE = "best_value"  # the lowest cost, weighed with how busy it is and how its last tasks ended
    NEARBY = "nearby"  # a worker that has files of the task cached, else any; not for handlers


@dataclass(frozen=True, slots=True)
class Needs:
    """Requirements of a task on its worker; *requirements* correspond to ``Worker(resources=...)``.

    *refused* are workers that could not run it, by id: True for a possibly temporary fault of the worker, False if it
    refused this task.
    """

    strategy: Strategy = Strategy.LEAST_CONNECTIONS
    requirements: Mapping[str, Json] = field(default_factory=dict)
    max_cost: float | None = None
    refused: Mapping[str, bool] = field(default_factory=dict)

    @property
    def is_preference(self) -> bool:
        """True if any worker may take the task when none fits."""
        return self.strategy == Strategy.NEARBY


#: The default of a task that names files.
NEARBY = Needs(Strategy.NEARBY)


@dataclass(frozen=True, slots=True)
class Unfit:
    """The reason why a worker takes no tasks of *skills* at present."""

    reason: str
    skills: frozenset[str]

    @classmethod
    def of(cls, beat: Mapping[str, Any]) -> Self | None:
        """Return the value from a heartbeat."""
        said = beat.get("unfit")
        return None if said is None else cls(str(said["reason"]), frozenset(map(str, said["skills"])))


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A worker that can be chosen.

    *load* is the number of its tasks, *last_chosen* a counter (0: never chosen), *cached_files* digests of its local
    files, *reputation* as in ``reputation``. *unfit* says why it cannot run some of its skills.
    """

    worker_id: str
    skills: frozenset[str]
    properties: Mapping[str, Json] = field(default_factory=dict)
    devices: Sequence[Mapping[str, Json]] = ()
    costs: Mapping[str, float] = field(default_factory=dict)
    slots: int = 1
    load: int = 0
    last_chosen: int = 0
    is_standby: bool = False
    cached_files: frozenset[str] = frozenset()
    reputation: float = 1.0
    unfit: Unfit | None = None

    def is_unfit_for(self, skill: str) -> bool:
        return self.unfit is not None and skill in self.unfit.skills


@dataclass(frozen=True, slots=True)
class NoCandidate:
    """No worker fits; *missing* says what is missing. *is_final* if every worker has refused the task."""

    missing: str
    is_final: bool = False


def choose(needs: Needs, skill: str, fleet: Iterable[Candidate]) -> Candidate | NoCandidate:
    """Return the worker in *fleet* for a task of *skill*.

    >>> choose(Needs(), "encode", [Candidate(worker_id="w-1", skills=frozenset({"encode"}), load=1)]).worker_id
    'w-1'
    >>> choose(Needs(max_cost=1), "encode", [])
    NoCandidate(missing="no worker with the skill 'encode' is online", is_final=False)
    """
    able = [worker for worker in fleet if skill in worker.skills]
    if not able:
        return NoCandidate(f"no worker with the skill {skill!r} is online")
    faults = {worker.worker_id: tuple(_faults(needs, skill, worker)) for worker in able}
    fitting = [worker for worker in able if not faults[worker.worker_id]]
    if not fitting:
        there = [worker for worker in able if not worker.is_standby]
        is_final = bool(there) and all(needs.refused.get(worker.worker_id) is False for worker in there)
        return NoCandidate(_missing(skill, faults), is_final=is_final)
    rank = _RANKS[needs.strategy]
    return min(fitting, key=lambda worker: (rank(worker, skill, fitting), worker.last_chosen, worker.worker_id))


def nearest(files: frozenset[str], skill: str, fleet: Iterable[Candidate]) -> Candidate | None:
    """Return the free worker with the most of *files* cached, or None.

    >>> nearest(frozenset({"a"}), "encode", [Candidate(worker_id="w-1", skills=frozenset({"encode"}), load=1)]) is None
    True
    """
    free = [
        worker
        for worker in fleet
        if skill in worker.skills
        and not worker.is_standby
        and not worker.is_unfit_for(skill)
        and worker.load < worker.slots
        and worker.cached_files & files
    ]
    return min(
        free,
        key=lambda worker: (-len(worker.cached_files & files), worker.load, worker.last_chosen, worker.worker_id),
        default=None,
    )


def _faults(needs: Needs, skill: str, worker: Candidate) -> Iterable[str]:
    """Yield the reasons why *worker* cannot be chosen, in the same words for all workers."""
    if worker.is_standby:
        yield "is a standby"
    if worker.unfit is not None and skill in worker.unfit.skills:
        yield f"is unfit: {worker.unfit.reason}"
    if worker.worker_id in needs.refused:
        yield "has refused the task"
    for name, wanted in needs.requirements.items():
        if not _has(worker, name, wanted):
            yield f"lacks {name}={wanted!r}"
    if needs.max_cost is not None:
        cost = worker.costs.get(skill)
        if cost is None:
            yield "does not say what it costs"
        elif cost > needs.max_cost:
            yield f"costs more than {needs.max_cost:g}"


def _missing(skill: str, faults: Mapping[str, Sequence[str]]) -> str:
    """Return every reason with its number of workers, the rarest first, as it is the easiest to fix."""
    counts: dict[str, int] = {}
    for fault in (fault for of_member in faults.values() for fault in of_member):
        counts[fault] = counts.get(fault, 0) + 1
    told = ", ".join(f"{fault} ({count})" for fault, count in sorted(counts.items(), key=lambda each: each[1]))
    return f"none of {len(faults)} with the skill {skill!r} fits: {told}"


# ---------------------------------------------------------------- requirements


def _has(worker: Candidate, name: str, wanted: Json) -> bool:
    """Check a property, or devices: all of ``devices``, or those of type *name*."""
    if name == "devices" and isinstance(wanted, list | tuple):
        return _has_devices(worker.devices, wanted)
    if name in worker.properties:
        return _is_enough(worker.properties[name], wanted)
    of_type = [device for device in worker.devices if device.get("type") == name]
    if isinstance(wanted, Mapping):
        return _has_devices(of_type, [wanted])
    if isinstance(wanted, bool):
        return bool(of_type) is wanted
    return isinstance(wanted, int) and len(of_type) >= wanted


def _has_devices(devices: Sequence[Mapping[str, Json]], wanted: Sequence[Any]) -> bool:
    """Return True if there is a separate device for each one *wanted*; the most specific are assigned first."""
    left = list(devices)
    for properties in sorted(wanted, key=len, reverse=True):
        found = next((device for device in left if _is_device(device, properties)), None)
        if found is None:
            return False
        left.remove(found)
    return True


def _is_device(device: Mapping[str, Json], wanted: Mapping[str, Json]) -> bool:
    return all(_is_enough(device.get(name), value) for name, value in wanted.items())


def _is_enough(there: Json, wanted: Json) -> bool:
    """Numbers must be at least as large, anything else equal."""
    if _is_number(there) and _is_number(wanted):
        return bool(there >= wanted)
    return bool(there == wanted)


def _is_number(value: Json) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


# ---------------------------------------------------------------- strategies

#: Lower bound of a reputation, so that cost and load still count.
_LEAST_REPUTATION = 0.01


def _by_value(worker: Candidate, skill: str, fitting: Sequence[Candidate]) -> float:
    """Cost per successful task, times the expected wait; a worker without a cost counts as the most expensive."""
    known = [other.costs[skill] for other in fitting if skill in other.costs]
    cost = worker.costs.get(skill, max(known, default=1.0))
    return cost * (1 + worker.load / worker.slots) / max(worker.reputation, _LEAST_REPUTATION)


_RANKS: Mapping[Strategy, Callable[[Candidate, str, Sequence[Candidate]], float]] = {
    Strategy.ROUND_ROBIN: lambda worker, skill, fitting: worker.last_chosen,
    Strategy.LEAST_CONNECTIONS: lambda worker, skill, fitting: worker.load,
    Strategy.CHEAPEST: lambda worker, skill, fitting: worker.costs.get(skill, inf),  # those without a cost last
    Strategy.BEST_VALUE: _by_value,
}
#: The strategies for handlers.
STRATEGIES = tuple(_RANKS)
