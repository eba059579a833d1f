"""The stored form of a message: a line of JSON with all that kombu says of it, and then its body as it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import orjson

#: Persistent: what kombu's exchanges have unless they are told otherwise.
_DELIVERY_MODE = 2
#: Header with the groups of a message, separated by spaces; the messages of a group can be revoked together.
GROUP_HEADER = "x-group"
#: Header that says what to publish when the message is buried: {"exchange", "key", "body"}.
ON_DEAD_HEADER = "x-on-dead"
#: Header with the milliseconds that a message is kept back, as RabbitMQ's delayed exchange has it.
DELAY_HEADER = "x-delay"
#: Header of Celery's: its worker looks at it, and tells whoever waits for the result that the task has expired.
EXPIRES_HEADER = "expires"


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A message on its way; *body* is JSON text. With *ttl_seconds* it is dropped if it has waited so long."""

    exchange: str
    routing_key: str
    body: str
    priority: int = 0
    headers: Mapping[str, Any] = field(default_factory=dict)
    delay_seconds: float = 0
    ttl_seconds: float | None = None

    @property
    def ttl_ms(self) -> int | None:
        return None if self.ttl_seconds is None else round(self.ttl_seconds * 1000)


class MalformedMessageError(ValueError):
    """A stored message that is not one; the text says why."""


def encode(outgoing: Outgoing) -> str:
    """What a kombu Producer would store for the same message."""
    headers = _dump(dict(outgoing.headers)) if outgoing.headers else "{}"
    tail = _properties(outgoing.exchange, outgoing.routing_key, outgoing.priority)
    return (
        '{"content-encoding":"utf-8","content-type":"application/json",'
        f'"headers":{headers},"properties":{tail}}}\n{outgoing.body}'
    )


def encode_message(message: dict[str, Any], exchange: str, routing_key: str) -> str | bytes:
    """Stored form of a message that ``Channel.prepare_message`` made."""
    message["properties"]["delivery_info"] = {"exchange": exchange, "routing_key": routing_key}
    body = message["body"]
    line = _dump({name: value for name, value in message.items() if name != "body"})
    return f"{line}\n{body}" if isinstance(body, str) else b"%b\n%b" % (line.encode(), body)


def decode(payload: bytes) -> dict[str, Any]:
    """The message in *payload*, its body as bytes. Raises MalformedMessageError for whatever is not one."""
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
