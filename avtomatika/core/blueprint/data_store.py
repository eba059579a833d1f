"""Data stores: data that all jobs of a blueprint share.

Values are stored as JSON text, so a read always returns a copy.
"""

import json
from collections.abc import Mapping
from math import isfinite
from typing import Protocol

from avtomatika.core.job import Json
from avtomatika.core.jsonable import as_json
from avtomatika.errors import HandlerError

#: Maximum length of a key, in characters.
LONGEST_KEY = 512


class Data(Protocol):
    """The storage of all data stores; *store* is ``(blueprint, name)``. Thread-safe."""

    def get(self, store: tuple[str, str], key: str) -> str | None:
        """Return the JSON text under *key*, or None."""

    def set(self, store: tuple[str, str], key: str, text: str) -> None:
        """Store *text* under *key*."""

    def incr(self, store: tuple[str, str], key: str, by: str, *, first: str) -> str | None:
        """Add *by* to the number under *key* (*first* if unset) atomically; return None if that is not possible."""


class DataStore:
    """A data store for sync handlers. Unset keys have their initial values."""

    def __init__(self, data: Data, blueprint: str, name: str, initial: Mapping[str, Json]) -> None:
        self._data = data
        self._store = (blueprint, name)
        self._initial = initial

    def get(self, key: str, default: Json = None) -> Json:
        """Return the value under *key*, else its initial value, else *default*."""
        text = self._data.get(self._store, self._checked(key))
        if text is None:
            text = self._initial_text(key)
        return default if text is None else json.loads(text)

    def set(self, key: str, value: Json) -> None:
        """Store *value*, which must be JSON."""
        plain = as_json(value, f"data store {self._store[1]!r}: the value of {key!r}")
        self._data.set(self._store, self._checked(key), as_text(plain))

    def incr(self, key: str, by: float = 1) -> Json:
        """Add *by* atomically to the number under *key* (0 if unset) and return the sum.

        Raise HandlerError if the value is not a number or the sum exceeds 64 bits.
        """
        if isinstance(by, bool) or not isinstance(by, int | float) or not isfinite(by):
            raise HandlerError(f"data store {self._store[1]!r}: incr by must be a number, not {by!r}")
        first = self._initial_text(key) or "0"
        text = self._data.incr(self._store, self._checked(key), as_text(by), first=first)
        if text is None:
            raise HandlerError(
                f"data store {self._store[1]!r}: {key!r} is {self.get(key)!r}, to which {by!r} cannot be added"
            )
        return json.loads(text)

    def _initial_text(self, key: str) -> str | None:
        return as_text(self._initial[key]) if key in self._initial else None

    def _checked(self, key: object) -> str:
        if not isinstance(key, str) or not 0 < len(key) <= LONGEST_KEY:
            raise HandlerError(
                f"data store {self._store[1]!r}: a key must be text of 1 to {LONGEST_KEY} characters, not {key!r}"
            )
        return key


def as_text(value: Json) -> str:
    """Return *value* as it is stored."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
