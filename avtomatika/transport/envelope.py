"""The stored form of a message: kombu's own, as compact JSON with the body as text in it."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from json.encoder import encode_basestring
from typing import Any

_dump = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), check_circular=False).encode
_scan = json.JSONDecoder().raw_decode
#: Persistent: what kombu's exchanges have unless they are told otherwise.
_DELIVERY_MODE = 2
#: Header whose messages can be dropped together.
GROUP_HEADER = "x-group"
#: Header that says what to publish when the message is buried: {"exchange", "key", "body"}.
ON_DEAD_HEADER = "x-on-dead"
#: Header with the milliseconds that a message is kept back, as RabbitMQ's delayed exchange has it.
DELAY_HEADER = "x-delay"


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A message on its way; *body* is JSON text."""

    exchange: str
    routing_key: str
    body: str
    priority: int = 0
    headers: Mapping[str, Any] = field(default_factory=dict)
    delay_seconds: float = 0


class Malformed(ValueError):
    """A stored message that is not one; the text says why."""


def encode(outgoing: Outgoing) -> str:
    """What a kombu Producer would store for the same message."""
    headers = _dump(dict(outgoing.headers)) if outgoing.headers else "{}"
    tail = _properties(outgoing.exchange, outgoing.routing_key, outgoing.priority)
    return (
        f'{{"body":{encode_basestring(outgoing.body)},"content-encoding":"utf-8",'
        f'"content-type":"application/json","headers":{headers},{tail}'
    )


def encode_message(message: dict[str, Any], exchange: str, routing_key: str) -> str:
    """Stored form of a message that ``Channel.prepare_message`` made. Bodies that are no text are kept as base64."""
    properties = message["properties"]
    body = message["body"]
    encoding = "utf-8"
    if isinstance(body, bytes | bytearray | memoryview):
        try:
            body = bytes(body).decode()
        except UnicodeDecodeError:
            body, encoding = base64.b64encode(bytes(body)).decode(), "base64"
    properties["delivery_info"] = {"exchange": exchange, "routing_key": routing_key}
    properties["body_encoding"] = encoding
    return _dump(message | {"body": body})


def decode(payload: bytes) -> dict[str, Any]:
    """The message in *payload*, its body as bytes. Raises Malformed for whatever is not one."""
    try:
        text = payload.decode()
        message, end = _scan(text, 0)
        if end != len(text):
            raise Malformed("more than one JSON value")
        properties, headers, body = message["properties"], message["headers"], message["body"]
        if type(properties) is not dict or type(headers) is not dict or type(body) is not str:
            raise Malformed("properties and headers must be objects, and the body text")
        message["body"] = _body_bytes(body, properties.get("body_encoding"))
        if type(properties.setdefault("delivery_info", {})) is not dict:
            raise Malformed("delivery_info must be an object")
    except Malformed:
        raise
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise Malformed(f"{type(error).__name__}: {error}") from error
    return message  # type: ignore[no-any-return]


def _body_bytes(body: str, encoding: object) -> bytes:
    if encoding == "utf-8" or encoding is None:
        return body.encode()
    if encoding == "base64":
        return base64.b64decode(body, validate=True)
    raise Malformed(f"unknown body_encoding {encoding!r}")


@lru_cache(maxsize=4096)
def _properties(exchange: str, routing_key: str, priority: int) -> str:
    """The end of the stored form, from the properties on."""
    properties = {
        "delivery_mode": _DELIVERY_MODE,
        "delivery_info": {"exchange": exchange, "routing_key": routing_key},
        "priority": priority,
        "body_encoding": "utf-8",
    }
    return f'"properties":{_dump(properties)}}}'
