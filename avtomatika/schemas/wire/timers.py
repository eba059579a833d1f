"""Due timers on the wire: a prepared message whose time has come."""

from __future__ import annotations

from dataclasses import dataclass

from avtomatika.schemas.fields import identifier, text

from .body import dump, load_kind, read

_FIELDS = (identifier("exchange"), text("routing_key"), text("body"))


@dataclass(frozen=True, slots=True)
class Due:
    """A message whose time has come: *body* is to be published to *exchange* with *routing_key*."""

    exchange: str
    routing_key: str
    body: str


def dump_due(due: Due) -> str:
    """The body of a timer's message."""
    return dump("due", {"exchange": due.exchange, "routing_key": due.routing_key, "body": due.body})


def load_due(raw: str | bytes) -> Due:
    """The message that a timer sends on."""
    return Due(**read("due", load_kind("due", raw), _FIELDS))
