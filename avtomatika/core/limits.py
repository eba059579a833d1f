"""Limits of tasks: how many of a skill, blueprint, client or key run at a time, and how many start in a time."""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Self

from avtomatika.errors import InvalidRequestError

from .job_request import Json
from .names import is_name
from .rate_limit import RateLimit

#: Kinds of limits that have a name; the limit of the skill ``encode`` is ``skill:encode``.
KINDS = ("skill", "blueprint", "client", "key")
_MOST = 1_000_000
_PLACE = re.compile(r"\{(initial_data|state_history)((?:\[[^][{}]+\])+)\}")


@dataclass(frozen=True, slots=True)
class LimitValues:
    """At most *concurrency* tasks run at a time, and at most *rate* start; at least one of the two is given."""

    concurrency: int | None = None
    rate: RateLimit | None = None

    @classmethod
    def of(cls, concurrency: object = None, rate: object = None) -> Self:
        """Check values from outside; *rate* is text such as ``100/m``. Raises InvalidRequestError by field."""
        if concurrency is None and rate is None:
            raise _refusal("concurrency", "or rate must be given")
        if concurrency is not None and (type(concurrency) is not int or not 1 <= concurrency <= _MOST):
            raise _refusal("concurrency", f"must be a whole number from 1 to {_MOST}, not {concurrency!r}")
        try:
            return cls(concurrency, None if rate is None else RateLimit.parse(rate))
        except ValueError as error:
            raise _refusal("rate", str(error)) from None

    def on_wire(self) -> dict[str, int]:
        """Return the values as in messages of tasks."""
        values = {} if self.concurrency is None else {"concurrency": self.concurrency}
        return values if self.rate is None else {**values, "rate": self.rate.count, "per_ms": 1000 * self.rate.seconds}


@dataclass(frozen=True, slots=True)
class KeyTemplate:
    """A text with places for data of a job: ``{initial_data[account]}``, ``{state_history[order][region]}``."""

    text: str

    @classmethod
    def of(cls, text: object, *sources: str, fields: Collection[str] = ()) -> Self:
        """Check a template that may name data of *sources*, and only *fields* of ``initial_data`` if there are some.
        Raises InvalidRequestError."""
        places = [*_PLACE.finditer(text)] if isinstance(text, str) else []
        rest = _PLACE.sub("", text) if isinstance(text, str) else "{"
        if not text or {*rest} & {*"{}"} or any(place[1] not in sources for place in places):
            raise _refusal("key", f"must be text with places such as {{{sources[-1]}[account]}}, not {text!r}")
        for place in places:
            name = _path(place)[0]
            if fields and place[1] == "initial_data" and name not in fields:
                raise _refusal("key", f"{text!r} names {name!r}, but the input has {', '.join(fields)}")
        return cls(str(text))

    def render(self, data: Mapping[str, Json]) -> str:
        """Return the key for *data* of a job, by source. Raises InvalidRequestError if they give none."""
        key = _PLACE.sub(lambda place: _value(place, data[place[1]]), self.text)
        if not is_key(key):
            raise _refusal("key", f"{self.text!r} is {key[:128]!r}, but must have 1 to 128 printable characters")
        return key


def limit_name(kind: str, name: str) -> str:
    """Return the name of a limit, such as ``skill:encode``. Raises InvalidRequestError."""
    if not (is_key(name) if kind == "key" else is_name(name)):
        raise _refusal("name", f"of a {kind} cannot be {name!r:.150}")
    return f"{kind}:{name}"


def is_key(text: object) -> bool:
    """Return True if *text* can be a key: 1 to 128 printable characters."""
    return isinstance(text, str) and 1 <= len(text) <= 128 and text.isprintable()


def _path(place: re.Match[str]) -> list[str]:
    return place[2][1:-1].split("][")


def _value(place: re.Match[str], value: Json) -> str:
    for name in _path(place):
        value = value.get(name) if isinstance(value, Mapping) else None
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise _refusal(place[1], f"{place[2]} must be text or a number, not {value!r:.60}")
    return str(value)


def _refusal(field: str, message: str) -> InvalidRequestError:
    separator = "" if message.startswith("[") else " "
    return InvalidRequestError(f"{field}{separator}{message}", fields={field: [message]})
