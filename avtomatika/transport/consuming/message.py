"""A delivered message: kombu's, with a faster constructor."""

import sys
from collections.abc import Sequence
from typing import Any, NamedTuple

from kombu.compression import decompress
from kombu.message import Message

from avtomatika.transport.keys import make_tag


class Entry(NamedTuple):
    """An entry that was taken. *missed* is set only for a fanout, whose entries are not acknowledged."""

    queue: str
    tag: str
    payload: bytes
    earlier: int
    missed: int | None = None


def read_entries(streams: Sequence[tuple[str, str]], answer: Sequence[Any]) -> list[Entry]:
    """Read (index of the stream from 1, id, payload, earlier deliveries) tuples of a script's reply."""
    found = []
    for at in range(0, len(answer), 4):
        stream, queue = streams[answer[at] - 1]
        found.append(Entry(queue, make_tag(stream, answer[at + 1].decode()), answer[at + 2], answer[at + 3]))
    return found


class DeliveredMessage(Message):
    """``properties["deliveries"]`` counts deliveries including this one.

    ``delivery_info["queue"]`` is the queue it was taken from; ``properties["missed"]``, set on the first message
    after a gap in a fanout, is the number of messages that were trimmed before they were read.
    """

    def __init__(self, stored: dict[str, Any], channel: Any, *, tag: str, queue: str, deliveries: int) -> None:
        properties = stored["properties"]
        properties["delivery_tag"] = tag
        properties["deliveries"] = deliveries
        info = properties["delivery_info"]
        info["queue"] = queue
        info["redelivered"] = deliveries > 1
        self.channel = channel
        self.delivery_tag = tag
        self.content_type = stored.get("content-type")
        self.content_encoding = stored.get("content-encoding")
        self.delivery_info = info
        self.headers = stored["headers"]
        self.properties = properties
        self.body = stored["body"]
        self.accept = None
        self.errors: list[Any] = []
        self._decoded_cache = None
        self._state = "RECEIVED"
        if "compression" in self.headers:
            self._decompress(self.headers["compression"])

    def _decompress(self, method: str) -> None:
        try:
            self.body = decompress(self.body, method)
        except Exception:  # kombu passes any error to the consumer's on_decode_error
            self.errors.append(sys.exc_info())
