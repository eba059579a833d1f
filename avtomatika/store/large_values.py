"""Large values of a job, stored apart from its record, each in a separate field of the job's hash.

A field is written once and never changes, and its name is never reused. So a step writes only new values and reads only
values that are not cached, however much data the job has.
"""

from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import field
from threading import Lock
from typing import Any

import orjson

from avtomatika.core.frozen import dataclass
from avtomatika.core.job import Json

#: Maximum data of a job, as JSON.
MAX_JOB_BYTES = 8 * 1024 * 1024
#: A record up to this size is stored whole.
_WHOLE_BYTES = 16 * 1024
#: Of a larger record, values from this size on are stored apart.
_LARGE_BYTES = 1024
#: Member of a record with the names, sizes and paths of the values that are stored apart.
_REFERENCES = "large"
#: Prefix of the names of the values that a job is created with; these are never removed.
INITIAL = "data:0"

#: The large values of a job by name, each with its size as JSON.
Values = Mapping[str, tuple[Json, int]]
_NONE: Values = {}


@dataclass(frozen=True, slots=True)
class Dump:
    """A stored record: *text*, its *values* that are stored apart, and which of them are *new*."""

    text: bytes
    values: Values = field(default_factory=dict)
    new: Mapping[str, bytes] = field(default_factory=dict)

    @property
    def size(self) -> int:
        return len(self.text) + sum(size for _, size in self.values.values())


def dump(record: Mapping[str, Json], *, known: Values, prefix: str) -> Dump:
    """Dump *record* without its large values. *known* are stored already; names of new ones start with *prefix*."""
    if not known:  # the usual case
        text = orjson.dumps(record)
        if len(text) <= _WHOLE_BYTES:
            return Dump(text)
    if any(value is None for value, _ in known.values()):
        raise ValueError("the job was read without its large values: a step of it would lose them")
    names = {id(value): name for name, (value, _) in known.items()}
    found, new, own = dict(known), dict[str, bytes](), _with_own_holders(record)
    references = _replace(own, names, found)
    text = orjson.dumps({**own, _REFERENCES: references})
    if len(text) > _WHOLE_BYTES:
        for _, holder, key in _slots(own):
            value = holder[key]
            if id(value) not in names and _may_be_large(value) and len(encoded := orjson.dumps(value)) >= _LARGE_BYTES:
                name = f"{prefix}.{len(new) + 1}"
                names[id(value)], new[name], found[name] = name, encoded, (value, len(encoded))
        references += _replace(own, names, found)
        text = orjson.dumps({**own, _REFERENCES: references})
    used = {str(reference[0]) for reference in references}
    return Dump(text, {name: value for name, value in found.items() if name in used}, new)


class LargeValuesError(Exception):
    """A step has values that are too large for records and messages."""


def check_inline(values: Iterable[str | bytes | int], limit: int) -> None:
    """Raise LargeValuesError if one of *values*, encoded as JSON, has more than *limit* bytes."""
    if any(isinstance(value, bytes) and len(value) > limit for value in values):
        raise LargeValuesError


def is_initial(name: str) -> bool:
    """Return True if the value *name* belongs to the data that its job was created with."""
    return name.startswith(f"{INITIAL}.")


def load_values(names: Sequence[str], stored: Sequence[bytes | None]) -> dict[str, tuple[Json, int]]:
    """Return the values *names* that are *stored*."""
    found = zip(names, stored, strict=True)
    return {name: (orjson.loads(text), len(text)) for name, text in found if text is not None}


def fill(record: Mapping[str, Json], values: Values) -> Values:
    """Insert *values* into *record* and return all it refers to; places of missing values become None."""
    references = record.get(_REFERENCES)
    if references is None:
        return _NONE
    for name, _, *path in references:
        holder: Any = record
        for step in path[:-1]:
            holder = holder[step]
        holder[path[-1]] = values[name][0] if name in values else None
    return {name: values.get(name, (None, size)) for name, size, *_ in references}


def _replace(record: dict[str, Json], names: Mapping[int, str], found: Values) -> list[list[Json]]:
    """Replace all values of *record* that have *names* by None, and return the references to them."""
    references: list[list[Json]] = []
    for path, holder, key in _slots(record):
        name = names.get(id(holder[key]))
        if name is not None:
            references.append([name, found[name][1], *path])
            holder[key] = None
    return references


def _slots(record: dict[str, Json]) -> Iterator[tuple[list[Json], Any, str]]:
    """Yield the places of values that may be large: the path, the container, and the key in it."""
    for name in ("initial_data", "state_history", "result"):
        value = record.get(name)
        if isinstance(value, dict):
            yield from (([name, key], value, key) for key in list(value))
        elif value is not None:
            yield [name], record, name
    for place, task in enumerate(record.get("tasks", ())):
        yield from ((["tasks", place, "params", key], task["params"], key) for key in list(task["params"]))


def _with_own_holders(record: Mapping[str, Json]) -> dict[str, Json]:
    """Return a copy of *record* in which :func:`_slots` can be emptied."""
    own = {name: dict(value) if isinstance(value, Mapping) else value for name, value in record.items()}
    if "tasks" in own:
        own["tasks"] = [{**task, "params": dict(task["params"])} for task in own["tasks"]]
    return own


def _may_be_large(value: Json) -> bool:
    return isinstance(value, dict | list) or (isinstance(value, str) and 4 * len(value) >= _LARGE_BYTES)


class ValueCache:
    """The large values that a process used most recently, up to *max_bytes* of JSON. Thread-safe."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._bytes = 0
        self._values: OrderedDict[tuple[str, str], tuple[Json, int]] = OrderedDict()
        self._lock = Lock()

    def get(self, job_id: str, name: str) -> tuple[Json, int] | None:
        with self._lock:
            value = self._values.get((job_id, name))
            if value is not None:
                self._values.move_to_end((job_id, name))
            return value

    def add(self, job_id: str, values: Values) -> None:
        with self._lock:
            for name, value in values.items():
                if value[1] <= self._max_bytes and (job_id, name) not in self._values:
                    self._values[job_id, name] = value
                    self._bytes += value[1]
            while self._bytes > self._max_bytes:
                self._bytes -= self._values.popitem(last=False)[1][1]
