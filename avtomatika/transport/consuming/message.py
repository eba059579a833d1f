"""A delivered message: kombu's, with a faster constructor."""

import sys
from typing import Any

from kombu.compression import decompress
from kombu.message import Message


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
