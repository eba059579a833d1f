"""Publishing, with or without acknowledgements: one script, which writes everything or nothing."""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

from redis.exceptions import ResponseError

from avtomatika.transport import envelope
from avtomatika.transport.connection.redis_client import RedisClient, none_refused
from avtomatika.transport.envelope import Outgoing
from avtomatika.transport.errors import MessageTooLargeError
from avtomatika.transport.keys import parse_tag, prefix_of
from avtomatika.transport.options import Options
from avtomatika.transport.scripts import PUBLISH, PUBLISH_MANY, SETTLE, Argument, Call

from .routing import Route, Router, level_of


class EncodedMessage(NamedTuple):
    """A message in its stored form."""

    exchange: str
    routing_key: str
    priority: int
    payload: str | bytes
    group: str = ""
    delay_ms: int = 0
    #: The message is dropped after waiting this long in its queue.
    ttl_ms: int | None = None
    headers: Mapping[str, Any] = MappingProxyType({})
    #: Prefix of its shard; "" for the home.
    shard: str = ""


class Settlement(NamedTuple):
    """Messages to publish and deliveries to acknowledge atomically."""

    messages: Sequence[EncodedMessage]
    tags: Sequence[str]


class Publisher:
    """Publishes along the routes of *router*. Threads may share it."""

    def __init__(self, server: RedisClient, router: Router, options: Options) -> None:
        self._server = server
        self._router = router
        self._max_message_bytes = options.max_message_bytes
        self._fanout_length = options.fanout_length

    def encode(self, outgoing: Outgoing) -> EncodedMessage:
        """Encode *outgoing* into its stored form."""
        return EncodedMessage(
            outgoing.exchange,
            outgoing.routing_key,
            level_of(outgoing.priority),
            self._router.encode(outgoing),
            str(outgoing.headers.get(envelope.GROUP_HEADER, "")),
            round(outgoing.delay_seconds * 1000),
            outgoing.ttl_ms,
            outgoing.headers,
            outgoing.shard,
        )

    def settle_all(
        self,
        settlements: Sequence[tuple[Sequence[Outgoing], Sequence[str]]],
        *,
        on_sent: Callable[[], object] | None = None,
    ) -> list[tuple[str, ...] | ResponseError]:
        """Encode the messages, then :meth:`settle`."""
        stored = [Settlement([self.encode(each) for each in outgoing], acks) for outgoing, acks in settlements]
        return self.settle(stored, on_sent=on_sent)

    def publish(self, message: EncodedMessage) -> None:
        """Publish one message. Raises NoRouteError, MessageTooLargeError and the server's errors."""
        self._check_size(message.payload)
        if self._router.is_spread:
            self.publish_all([message])
            return
        for _ in self._router.attempts():
            route = self._router.route(message.exchange, message.routing_key)
            if message.delay_ms > 0 or len(route.queues) != 1:
                self.publish_all([message])
                return
            if self._server.run(self._publish_call(message, route)) == b"OK":
                return

    def _publish_call(self, message: EncodedMessage, route: Route) -> Call:
        router, queue = self._router, route.queues[0]
        keys = [router.keys.queues, router.keys.limits, router.stream(queue, message.priority, message.headers)]
        if route.bindings_key:
            keys.append(route.bindings_key)
        ttl = "" if message.ttl_ms is None else message.ttl_ms
        return Call(PUBLISH, keys, [queue, message.priority, message.payload, message.group, ttl, route.version])

    def publish_all(self, messages: Sequence[EncodedMessage]) -> None:
        """Publish all of *messages*, or raise, as :meth:`publish` does, and publish none, in each slot of them."""
        parts: dict[str, list[EncodedMessage]] = {}
        for each in messages if self._router.is_spread else ():
            for router in self._router.targets(each.exchange, each.routing_key):
                prefix = router.keys.prefix
                parts.setdefault(prefix, []).append(each._replace(shard=prefix))
        none_refused(self.settle([Settlement(part, ()) for part in parts.values() or [messages]]))

    def settle(
        self, settlements: Sequence[Settlement], *, on_sent: Callable[[], object] | None = None
    ) -> list[tuple[str, ...] | ResponseError]:
        """Run one script per settlement, all in one round trip.

        Returns for each the tags whose lease is lost (nothing of it was done then), or the server's error.
        *on_sent* is called before the replies are read, unless sending failed. Raises ValueError for a settlement in
        several shards.
        """
        answers: list[Any] = [None] * len(settlements)
        open_ones = list(range(len(settlements)))
        for _ in self._router.attempts():
            calls = [self._call(settlements[index]) for index in open_ones]
            replies = self._server.run_all(calls, on_sent=on_sent)
            on_sent = None
            for index, reply in zip(open_ones, replies, strict=True):
                answers[index] = _read(settlements[index], reply)
            open_ones = [index for index in open_ones if answers[index] is None]
            if not open_ones:
                break
        return answers

    def _call(self, settlement: Settlement) -> Call:
        messages, tags = settlement
        router = self._router_of(settlement)
        versions: dict[str, str] = {}
        streams: list[str] = []
        fields: list[Argument] = []
        for message in messages:
            self._check_size(message.payload)
            route = router.route(message.exchange, message.routing_key)
            if route.bindings_key:
                versions[route.bindings_key] = route.version
            if route.is_fanout:
                streams.append(router.keys.fanout(message.exchange))
                fields += ("", "", message.payload, "", "", "", self._fanout_length)
            ttl = "" if message.ttl_ms is None else message.ttl_ms
            for queue in route.queues:
                if message.delay_ms > 0:
                    streams += router.delay_keys(queue, message.priority, message.headers)
                    fields += (queue, message.priority, message.payload, message.group, message.delay_ms, ttl, "")
                else:
                    streams.append(router.stream(queue, message.priority, message.headers))
                    fields += (queue, message.priority, message.payload, message.group, "", ttl, "")
        acks = [parse_tag(tag) for tag in tags]
        keys = [
            router.keys.queues,
            router.keys.bell,
            router.keys.limits,
            *versions,
            *streams,
            *[stream for stream, _ in acks],
        ]
        args = [router.consumer_name, len(versions), len(fields) // 7, *versions.values(), *fields]
        args += [entry for _, entry in acks]
        return Call(SETTLE if acks and len(messages) <= len(acks) else PUBLISH_MANY, keys, args)

    def _router_of(self, settlement: Settlement) -> Router:
        """Return the router of the shard of the tags; without tags that of the messages."""
        if len(self._server.prefixes) == 1:
            return self._router
        messages, tags = settlement
        found = {prefix_of(tag) for tag in tags} or {each.shard or self._server.prefix for each in messages}
        found |= {each.shard for each in messages if each.shard}
        if len(found) > 1:
            raise ValueError(f"one settlement cannot be in several shards: {sorted(found)}")
        return self._router.of(found.pop() if found else self._server.prefix)

    def _check_size(self, payload: str | bytes) -> None:
        if 4 * len(payload) > self._max_message_bytes:  # shorter texts never exceed the limit in UTF-8
            size = len(payload.encode() if isinstance(payload, str) else payload)
            if size > self._max_message_bytes:
                raise MessageTooLargeError(size, self._max_message_bytes)


def _read(settlement: Settlement, reply: Any) -> tuple[str, ...] | ResponseError | None:
    """Return None for REROUTE: the settlement must be sent again."""
    if isinstance(reply, ResponseError):
        return reply
    if reply[0] == b"REROUTE":
        return None
    return tuple(settlement.tags[place - 1] for place in reply[1:])


class PublishBatch:
    """Implements kombu's ``Producer.batch``: buffers messages and publishes all or none of them."""

    def __init__(self, channel: Any, max_size: int) -> None:
        self.channel = channel
        self.max_size = max_size
        self._waiting: list[EncodedMessage] = []

    def publish(self, message: dict[str, Any], exchange: str, routing_key: str, **_: object) -> None:
        self._waiting.append(encoded_message(message, exchange, routing_key))
        if len(self._waiting) >= self.max_size:
            self.flush()

    def flush(self) -> None:
        """Publish the buffered messages. If that fails they are discarded: the caller knows which messages they
        were."""
        waiting, self._waiting = self._waiting, []
        if waiting:
            self.channel.publish_all(waiting)

    def discard(self) -> None:
        self._waiting.clear()

    def close(self) -> None:
        self._waiting.clear()


def encoded_message(message: dict[str, Any], exchange: str, routing_key: str) -> EncodedMessage:
    """Convert a message made by ``Channel.prepare_message`` to its stored form."""
    headers = message["headers"]
    expiration = message["properties"].get("expiration")
    if headers and headers.get(envelope.EXPIRES_HEADER):
        expiration = None
    return EncodedMessage(
        exchange,
        routing_key,
        level_of(message["properties"].get("priority")),
        envelope.encode_message(message, exchange, routing_key),
        str(headers.get(envelope.GROUP_HEADER, "")) if headers else "",
        int(headers.get(envelope.DELAY_HEADER, 0)) if headers else 0,
        None if expiration is None else max(int(expiration), 0),
        headers or {},
    )
