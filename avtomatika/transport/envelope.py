"""The stored form of a message: a line of JSON with kombu's properties and headers, then the body unchanged."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import orjson

#: Persistent, the default of kombu's exchanges.
_DELIVERY_MODE = 2
#: Header with the groups of a message, separated by spaces; the messages of a group can be revoked together.
GROUP_HEADER = "x-group"
#: Header with the message to publish when this one is dead-lettered: {"exchange", "key", "body"}.
ON_DEAD_HEADER = "x-on-dead"
#: Header with the delay in milliseconds, as in RabbitMQ's delayed message exchange.
DELAY_HEADER = "x-delay"
#: Header with the fairness key of a message and its limits: {"key", "limits"}, see :mod:`.flow`.
FLOW_HEADER = "x-flow"
#: Celery's header: its worker checks it and marks the task as expired.
EXPIRES_HEADER = "expires"


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A message to publish; *body* is JSON text. It is dropped after waiting *ttl_seconds* in its queue."""

    exchange: str
    routing_key: str
    body: str
    priority: int = 0
    headers: Mapping[str, Any] = field(default_factory=dict)
    delay_seconds: float = 0
    ttl_seconds: float | None = None
    #: Further properties of AMQP, such as ``reply_to`` and ``correlation_id``.
    properties: Mapping[str, Any] | None = None
    #: Prefix of the keys of the shard to publish to, unless tags are acknowledged with it; "" for the home.
    shard: str = ""

    @property
    def ttl_ms(self) -> int | None:
        return None if self.ttl_seconds is None else round(self.ttl_seconds * 1000)


class MalformedMessageError(ValueError):
    """A stored message that cannot be decoded; the text says why."""


def encode(outgoing: Outgoing) -> str:
    """Encode a message as a kombu Producer would."""
    headers = _dump(dict(outgoing.headers)) if outgoing.headers else "{}"
    tail = _properties(outgoing.exchange, outgoing.routing_key, outgoing.priority)
    if outgoing.properties:
        tail = _dump({**orjson.loads(tail), **outgoing.properties})
    return (
        '{"content-encoding":"utf-8","content-type":"application/json",'
        f'"headers":{headers},"properties":{tail}}}\n{outgoing.body}'
    )


def encode_message(message: dict[str, Any], exchange: str, routing_key: str) -> str | bytes:
    """Return the stored form of a message made by ``Channel.prepare_message``."""
    message["properties"]["delivery_info"] = {"exchange": exchange, "routing_key": routing_key}
    body = message["body"]
    line = _dump({name: value for name, value in message.items() if name != "body"})
    return f"{line}\n{body}" if isinstance(body, str) else b"%b\n%b" % (line.encode(), body)


def decode(payload: bytes) -> dict[str, Any]:
    """Decode a stored message, its body as bytes. Raises MalformedMessageError."""
    line, end, body = payload.partition(b"\n")
    if not end:
        raise MalformedMessageError("no body after the first line")
    try:
        message: dict[str, Any] = orjson.loads(line)
        properties = message["properties"]
        if type(properties) is not dict or type(message["headers"]) is not dict:
            raise MalformedMessageError("properties and headers must be objects")
        if type(properties.setdefault("delivery_info", {})) is not dict:
            raise MalformedMessageError("delivery_info must be an object")
    except MalformedMessageError:
        raise
    except (ValueError, KeyError, TypeError) as error:
        raise MalformedMessageError(f"{type(error).__name__}: {error}") from error
    message["body"] = body
    return message


def _dump(value: dict[str, Any]) -> str:
    return orjson.dumps(value, option=orjson.OPT_NON_STR_KEYS).decode()


@lru_cache(maxsize=4096)
def _properties(exchange: str, routing_key: str, priority: int) -> str:
    properties = {
        "delivery_mode": _DELIVERY_MODE,
        "delivery_info": {"exchange": exchange, "routing_key": routing_key},
        "priority": priority,
    }
    return _dump(properties)
