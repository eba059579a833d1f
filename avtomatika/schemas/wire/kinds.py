"""Kinds: messages of one sort that are told apart by a word."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Generic, TypeVar

from avtomatika.core.job import Json
from avtomatika.schemas.fields import Field

from .body import bad, read

T = TypeVar("T")


class Kinds(Generic[T]):
    """Of each kind its class and its fields, which are called the same on the wire and in the class; *name* is what
    readers call the sort. A new kind is a class, and a line where its Kinds are made.
    """

    def __init__(self, name: str, known: Mapping[str, tuple[Callable[..., T], tuple[Field, ...]]]) -> None:
        self._name = name
        self._known = known
        self._kind_of = {make: kind for kind, (make, _) in known.items()}

    def values(self, message: T) -> tuple[str, dict[str, Json]]:
        """Kind and fields of *message*."""
        kind = self._kind_of[type(message)]
        return kind, {name: getattr(message, name) for name, _, _ in self._known[kind][1]}

    def read(self, body: Mapping[str, Any]) -> T:
        """The message in *body*; raises InvalidMessageError where it is of no kind that is known, or its fields do
        not fit."""
        kind = body.get("kind")
        if not isinstance(kind, str) or kind not in self._known:
            raise bad(self._name, body, "kind", f"one of {', '.join(self._known)}")
        make, fields = self._known[kind]
        return make(**read(kind, body, fields))
