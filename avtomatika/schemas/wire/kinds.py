"""Message types with several kinds, distinguished by the field ``kind``."""

from collections.abc import Callable, Mapping
from typing import Any, Generic, TypeVar

from avtomatika.core.job import Json
from avtomatika.schemas.fields import Field

from .body import invalid_field, read

T = TypeVar("T")


class MessageKinds(Generic[T]):
    """Maps each kind to its class and fields, which have the same names on the wire; *name* is the type for error
    texts. To add a kind, add a class and an entry."""

    def __init__(self, name: str, known: Mapping[str, tuple[Callable[..., T], tuple[Field, ...]]]) -> None:
        self._name = name
        self._known = known
        self._kind_of = {make: kind for kind, (make, _) in known.items()}

    def values(self, message: T) -> tuple[str, dict[str, Json]]:
        """Return kind and fields of *message*."""
        kind = self._kind_of[type(message)]
        return kind, {name: getattr(message, name) for name, _, _ in self._known[kind][1]}

    def read(self, body: Mapping[str, Any]) -> T:
        """Decode *body*. Raises InvalidMessageError if the kind is unknown or a field is invalid."""
        kind = body.get("kind")
        if not isinstance(kind, str) or kind not in self._known:
            raise invalid_field(self._name, body, "kind", f"one of {', '.join(self._known)}")
        make, fields = self._known[kind]
        return make(**read(kind, body, fields))
