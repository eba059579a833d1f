"""Due timers: prepared messages to publish now."""

from dataclasses import dataclass

from avtomatika.schemas.fields import identifier, text

from .body import dump, load_kind, read

_FIELDS = (identifier("exchange"), text("routing_key"), text("body"))


@dataclass(frozen=True, slots=True)
class DueTimer:
    """A message to publish: *body* to *exchange* with *routing_key*."""

    exchange: str
    routing_key: str
    body: str


def dump_due_timer(due: DueTimer) -> str:
    """Encode a due timer."""
    return dump("due", {"exchange": due.exchange, "routing_key": due.routing_key, "body": due.body})


def load_due_timer(raw: str | bytes) -> DueTimer:
    """Decode a due timer."""
    return DueTimer(**read("due", load_kind("due", raw), _FIELDS))
