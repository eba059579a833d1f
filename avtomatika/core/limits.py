"""Limits of tasks: how many of a skill, blueprint, client or key run at a time, and how many start in a time."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from string import Formatter
from typing import Self

from .job import Job, Json
from .rate_limit import RateLimit

#: Kinds of limits that have a name; the limit of the skill ``encode`` is ``skill:encode``.
KINDS = ("skill", "blueprint", "client", "key")
#: Maximum length of a key, in characters.
LONGEST_KEY = 128
_MOST = 1_000_000
_PLACE = re.compile(r"(initial_data|state_history)((?:\[[^\[\]]+\])+)")


@dataclass(frozen=True, slots=True)
class LimitValues:
    """At most *concurrency* tasks run at a time, and at most *rate* start; at least one of the two is given."""

    concurrency: int | None = None
    rate: RateLimit | None = None

    @classmethod
    def of(cls, concurrency: object = None, rate: object = None) -> Self:
        """Check values from outside; *rate* is text such as ``100/m``. Raises ValueError."""
        if concurrency is None and rate is None:
            raise ValueError("give concurrency, rate, or both")
        if concurrency is not None and (type(concurrency) is not int or not 1 <= concurrency <= _MOST):
            raise ValueError(f"concurrency must be a whole number from 1 to {_MOST}, not {concurrency!r}")
        try:
            return cls(concurrency, None if rate is None else RateLimit.parse(rate))
        except ValueError as error:
            raise ValueError(f"rate {error}") from None

    def given(self) -> dict[str, Json]:
        """Return the values that are given, as :meth:`of` takes them."""
        values = {"concurrency": self.concurrency, "rate": None if self.rate is None else str(self.rate)}
        return {name: value for name, value in values.items() if value is not None}

    def on_wire(self) -> dict[str, int]:
        """Return the values as in messages of tasks."""
        values = {} if self.concurrency is None else {"concurrency": self.concurrency}
        return values if self.rate is None else {**values, "rate": self.rate.count, "per_ms": 1000 * self.rate.seconds}


@dataclass(frozen=True, slots=True)
class KeyTemplate:
    """A text with places for data of a job: ``{initial_data[account]}``, ``{state_history[order][region]}``."""

    text: str

    @classmethod
    def of(cls, text: object, *sources: str) -> Self:
        """Check a template that may name data of *sources*. Raises ValueError."""
        if not isinstance(text, str) or not text:
            raise ValueError(f"must be text such as '{{initial_data[account]}}', not {text!r}")
        for place in _places(text):
            if place is not None and ((found := _PLACE.fullmatch(place)) is None or found[1] not in sources):
                forms = " or ".join(f"{{{source}[name]}}" for source in sources)
                raise ValueError(f"{text!r} may only contain places such as {forms}, not {{{place}}}")
        return cls(text)

    @property
    def names(self) -> list[str]:
        """The names in ``initial_data`` that it reads."""
        found = (_PLACE.fullmatch(place) for place in _places(self.text) if place is not None)
        return [_path(each[2])[0] for each in found if each is not None and each[1] == "initial_data"]

    def render(self, data: Mapping[str, Mapping[str, Json]]) -> str:
        """Return the key for *data*, by source. Raises ValueError if a value is missing or the key is none."""
        parts = []
        for literal, place, _, _ in Formatter().parse(self.text):
            found = None if place is None else _PLACE.fullmatch(place)
            parts.append(literal if found is None else literal + _value(data[found[1]], found[1], _path(found[2])))
        key = "".join(parts)
        if not is_key(key):
            raise ValueError(f"{self.text!r} gives {key[:LONGEST_KEY]!r}, but a key has 1 to 128 printable characters")
        return key


@dataclass(frozen=True, slots=True)
class TaskLimit:
    """A limit of the tasks that have the same *key*, in all jobs and on all workers."""

    key: KeyTemplate
    values: LimitValues

    def key_for(self, job: Job) -> str:
        """Return the key of the tasks of *job*. Raises ValueError."""
        return self.key.render({"initial_data": job.initial_data, "state_history": job.state_history})


def is_key(text: object) -> bool:
    """Return True if *text* can be a key: 1 to 128 printable characters."""
    return isinstance(text, str) and 1 <= len(text) <= LONGEST_KEY and text.isprintable()


def _places(text: str) -> list[str | None]:
    """Return the places of a template, those with a conversion or a format as written. Raises ValueError."""
    return [
        place if place is None or not (form or conversion) else f"{place}!{conversion}:{form}"
        for _, place, form, conversion in Formatter().parse(text)
    ]


def _path(brackets: str) -> list[str]:
    return brackets[1:-1].split("][")


def _value(data: Json, source: str, path: list[str]) -> str:
    for name in path:
        if not isinstance(data, Mapping) or name not in data:
            raise ValueError(f"{source}{''.join(f'[{each}]' for each in path)} does not exist")
        data = data[name]
    if isinstance(data, bool) or not isinstance(data, str | int | float):
        raise ValueError(f"{source}{''.join(f'[{each}]' for each in path)} must be text or a number, not {data!r:.60}")
    return str(data)
