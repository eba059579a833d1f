"""Publishing, alone or together with acknowledgements: one script, which writes everything or nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from redis.exceptions import ResponseError

from . import envelope
from .envelope import Outgoing
from .errors import MessageTooLargeError
from .keys import parse_tag
from .redis_client import RedisClient
from .routing import Route, Router, level_of
from .scripts import PUBLISH, PUBLISH_MANY, SETTLE, Argument, Call

#: How often the bindings may change under a message before we call it trouble.
_REROUTES = 20
_RESTLESS = "REROUTE: the bindings keep changing; nothing was sent"


class EncodedMessage(NamedTuple):
    """A message in its stored form."""

    exchange: str
    routing_key: str
    priority: int
    payload: str | bytes
    group: str = ""
    delay_ms: int = 0
    #: It is dropped if it has waited so long in its queue.
    ttl_ms: int | None = None


class Settlement(NamedTuple):
    """Messages to publish and deliveries to acknowledge, together."""

    parcels: Sequence[EncodedMessage]
    tags: Sequence[str]


class Publisher:
    """Publishes by the routes of *router*. Threads may share it."""

    def __init__(self, server: RedisClient, router: Router, *, max_message_bytes: int, fanout_length: int) -> None:
        self._server = server
        self._router = router
        self._max_message_bytes = max_message_bytes
        self._fanout_length = fanout_length

    def parcel(self, outgoing: Outgoing) -> EncodedMessage:
        """*outgoing* in its stored form."""
        return EncodedMessage(
            outgoing.exchange,
            outgoing.routing_key,
            level_of(outgoing.priority),
            self._router.encode(outgoing),
            str(outgoing.headers.get(envelope.GROUP_HEADER, "")),
            round(outgoing.delay_seconds * 1000),
            outgoing.ttl_ms,
        )

    def settle_all(
        self,
        settlements: Sequence[tuple[Sequence[Outgoing], Sequence[str]]],
        *,
        on_sent: Callable[[], object] | None = None,
    ) -> list[tuple[str, ...] | ResponseError]:
        """:meth:`settle` for messages that are not in their stored form yet."""
        stored = [Settlement([self.parcel(each) for each in outgoing], acks) for outgoing, acks in settlements]
        return self.settle(stored, on_sent=on_sent)

    def publish(self, parcel: EncodedMessage) -> None:
        """Send one message. Raises NoRouteError, MessageTooLargeError and what the server refuses."""
        self._check_size(parcel.payload)
        for _ in range(_REROUTES):
            route = self._router.route(parcel.exchange, parcel.routing_key)
            if parcel.delay_ms > 0 or len(route.queues) != 1:
                return self.publish_all([parcel])
            if self._server.run(self._publish_call(parcel, route)) == b"OK":
                return None
            self._router.forget_routes()
        raise ResponseError(_RESTLESS)

    def _publish_call(self, parcel: EncodedMessage, route: Route) -> Call:
        router, queue = self._router, route.queues[0]
        keys = [router.keys.queues(), router.keys.limits(), router.stream(queue, parcel.priority)]
        if route.bindings_key:
            keys.append(route.bindings_key)
        ttl = "" if parcel.ttl_ms is None else parcel.ttl_ms
        return Call(PUBLISH, keys, [queue, parcel.priority, parcel.payload, parcel.group, ttl, route.version])

    def publish_all(self, parcels: Sequence[EncodedMessage]) -> None:
        """Send all of *parcels* or, raising, none. Raises as :meth:`publish` does."""
        [answer] = self.settle([Settlement(parcels, ())])
        if isinstance(answer, ResponseError):
            raise answer

    def settle(
        self, settlements: Sequence[Settlement], *, on_sent: Callable[[], object] | None = None
    ) -> list[tuple[str, ...] | ResponseError]:
        """Each settlement as a script of its own, all in one round trip.

        Answers for each the tags that are held no more, and then nothing of it was done; or the server's refusal.
        *on_sent* is called once, before the answers are awaited; not at all where nothing could be sent.
        """
        answers: list[Any] = [None] * len(settlements)
        open_ones = list(range(len(settlements)))
        for _ in range(_REROUTES):
            calls = [self._call(settlements[index]) for index in open_ones]
            replies = self._server.run_all(calls, on_sent=on_sent)
            on_sent = None
            for index, reply in zip(open_ones, replies, strict=True):
                answers[index] = _read(settlements[index], reply)
            open_ones = [index for index in open_ones if answers[index] is None]
            if not open_ones:
                return answers
            self._router.forget_routes()
        raise ResponseError(_RESTLESS)

    def _call(self, settlement: Settlement) -> Call:
        parcels, tags = settlement
        router = self._router
        versions: dict[str, str] = {}
        streams: list[str] = []
        fields: list[Argument] = []
        for parcel in parcels:
            self._check_size(parcel.payload)
            route = router.route(parcel.exchange, parcel.routing_key)
            if route.bindings_key:
                versions[route.bindings_key] = route.version
            if route.is_fanout:
                streams.append(router.keys.fanout(parcel.exchange))
                fields += ("", "", parcel.payload, "", "", "", self._fanout_length)
            ttl = "" if parcel.ttl_ms is None else parcel.ttl_ms
            for queue in route.queues:
                if parcel.delay_ms > 0:
                    streams += router.delay_keys(queue, parcel.priority)
                    fields += (queue, parcel.priority, parcel.payload, parcel.group, parcel.delay_ms, ttl, "")
                else:
                    streams.append(router.stream(queue, parcel.priority))
                    fields += (queue, parcel.priority, parcel.payload, parcel.group, "", ttl, "")
        acks = [parse_tag(tag) for tag in tags]
        keys = [
            router.keys.queues(),
            router.keys.bell(),
            router.keys.limits(),
            *versions,
            *streams,
            *[stream for stream, _ in acks],
        ]
        args = [router.consumer_name, len(versions), len(fields) // 7, *versions.values(), *fields]
        args += [entry for _, entry in acks]
        return Call(SETTLE if acks and len(parcels) <= len(acks) else PUBLISH_MANY, keys, args)

    def _check_size(self, payload: str | bytes) -> None:
        if 4 * len(payload) > self._max_message_bytes:  # below that no text is too long
            size = len(payload.encode() if isinstance(payload, str) else payload)
            if size > self._max_message_bytes:
                raise MessageTooLargeError(size, self._max_message_bytes)


def _read(settlement: Settlement, reply: Any) -> tuple[str, ...] | ResponseError | None:
    """None for a REROUTE: it must be sent again."""
    if isinstance(reply, ResponseError):
        return reply
    if reply[0] == b"REROUTE":
        return None
    return tuple(settlement.tags[place - 1] for place in reply[1:])


class PublishBatch:
    """A batch of kombu's ``Producer.batch``: messages wait here and go out together, all or none of those that wait."""

    def __init__(self, channel: Any, max_size: int) -> None:
        self.channel = channel
        self.max_size = max_size
        self._waiting: list[EncodedMessage] = []

    def publish(self, message: dict[str, Any], exchange: str, routing_key: str, **_: object) -> None:
        self._waiting.append(encoded_message(message, exchange, routing_key))
        if len(self._waiting) >= self.max_size:
            self.flush()

    def flush(self) -> None:
        """Send what waits. When it raises, what waited is given up: the caller knows which messages these were."""
        waiting, self._waiting = self._waiting, []
        if waiting:
            self.channel.publish_all(waiting)

    def discard(self) -> None:
        self._waiting.clear()

    def close(self) -> None:
        self._waiting.clear()


def encoded_message(message: dict[str, Any], exchange: str, routing_key: str) -> EncodedMessage:
    """A message that ``Channel.prepare_message`` made, in its stored form."""
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
    )
