"""Due timers and replies: prepared messages to publish now."""

from collections.abc import Mapping

from avtomatika.core.frozen import dataclass
from avtomatika.core.job import Json
from avtomatika.schemas.fields import json_object, or_null, text

from .body import dump, load_kind, read

_FIELDS = (text("exchange"), text("routing_key"), text("body"), or_null(json_object("properties")))


@dataclass(frozen=True, slots=True)
class DueTimer:
    """A message to publish: *body* to *exchange* with *routing_key*, and with *properties* of AMQP if it is a reply."""

    exchange: str
    routing_key: str
    body: str
    properties: Mapping[str, Json] | None = None


def dump_due_timer(due: DueTimer) -> str:
    """Encode a due timer."""
    values = {"exchange": due.exchange, "routing_key": due.routing_key, "body": due.body}
    return dump("due", values if due.properties is None else {**values, "properties": due.properties})


def load_due_timer(raw: str | bytes) -> DueTimer:
    """Decode a due timer."""
    return DueTimer(**read("due", load_kind("due", raw), _FIELDS))
