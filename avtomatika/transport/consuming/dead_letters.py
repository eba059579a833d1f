"""Rejected deliveries: requeued, dead-lettered or revoked."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from avtomatika.transport import envelope
from avtomatika.transport.connection.redis_client import RedisClient
from avtomatika.transport.envelope import Outgoing
from avtomatika.transport.errors import NoRouteError, RerouteError
from avtomatika.transport.keys import parse_tag
from avtomatika.transport.options import Options
from avtomatika.transport.publishing.routing import Route, Router
from avtomatika.transport.scripts import DEAD_LETTER, REQUEUE, Argument, Call

logger = logging.getLogger(__name__)

#: Revocations are kept for this long.
_REVOKED_SECONDS = 24 * 3600


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A delivery to dead-letter. Its header ``x-on-dead`` names a message to publish: {"exchange", "key", "body"}."""

    tag: str
    queue: str
    reason: str
    deliveries: int
    error: str = ""
    headers: Mapping[str, Any] = field(default_factory=dict)

    def notification(self) -> Outgoing | None:
        """Return the message to publish with it."""
        match self.headers.get(envelope.ON_DEAD_HEADER):
            case {"exchange": str(exchange), "key": str(key), "body": str(body)}:
                headers = {"x-death-reason": self.reason, "x-deliveries": self.deliveries}
                return Outgoing(exchange, key, body, headers=headers)
            case None:
                return None
            case other:
                logger.error("invalid header %s: %r", envelope.ON_DEAD_HEADER, other)
                return None


class Rejecter:
    """Rejects messages that a channel holds. Threads may share it."""

    def __init__(self, server: RedisClient, router: Router, options: Options) -> None:
        self._server = server
        self._router = router
        self._max_dead_letters = options.max_dead_letters
        self._dead_letter_ms = round(options.dead_letter_seconds * 1000)

    def requeue(self, tags: Sequence[str], *, counted: bool) -> None:
        """Move messages to the tail of their queues. *counted*: this delivery counts towards
        ``max_deliveries``."""
        name, shards = self._router.consumer_name, self._router.split(tags)
        self._server.run_each([requeue_call(name, each, counted=counted) for each in shards.values()])

    def revoke(self, tags: Sequence[str]) -> None:
        """Drop messages, or those of groups, wherever they are, for a day."""
        if tags:
            seconds, _ = self._server.execute(("TIME",))
            until_ms = (int(seconds) + _REVOKED_SECONDS) * 1000
            members = [part for tag in tags for part in (until_ms, tag)]
            self._server.execute_all([("ZADD", each.keys.revoked, *members) for each in self._router.shards])

    def dead_letter(self, letter: DeadLetter) -> None:
        """Move a message to its queue's dead letters and publish its notification; no-op if its lease is lost."""
        logger.warning(
            "queue %s: %s is a dead letter after %d deliveries: %s %s",
            letter.queue,
            letter.tag,
            letter.deliveries,
            letter.reason,
            letter.error,
        )
        router = self._router.of_tag(letter.tag)
        if (notification := letter.notification()) is not None:
            try:
                for _ in router.attempts():
                    route = router.route(notification.exchange, notification.routing_key)
                    if self._move(letter, self._call(router, letter, notification, route)):
                        return
            except (NoRouteError, RerouteError) as error:
                letter = replace(letter, error=f"{letter.error} {error}".strip())
        self._move(letter, self._call(router, letter))

    def _move(self, letter: DeadLetter, call: Call) -> bool:
        """Return False if the notification must be routed again."""
        answer = self._server.run(call)
        if answer == b"FULL":
            logger.warning(
                "queue %s has %d dead letters: the oldest were removed", letter.queue, self._max_dead_letters
            )
        return bool(answer != b"REROUTE")

    def _call(
        self, router: Router, letter: DeadLetter, notification: Outgoing | None = None, route: Route | None = None
    ) -> Call:
        stream, entry = parse_tag(letter.tag)
        names = router.keys
        keys = [stream, names.dead(letter.queue), names.queues, names.dead_queues]
        args: list[Argument] = [router.consumer_name, entry]
        args += (letter.reason, letter.deliveries, letter.error, letter.queue)
        args += (self._max_dead_letters, self._dead_letter_ms)
        if notification and route:
            keys.append(route.bindings_key or names.queues)  # a key that every user may read
            args += (route.version, router.encode(notification))
            for queue in route.queues:
                keys.append(router.stream(queue, notification.priority))
                args += (queue, notification.priority)
        return Call(DEAD_LETTER, keys, args)


def requeue_call(consumer_name: str, tags: Sequence[str], *, counted: bool) -> Call:
    """Build the call that requeues *tags*, as far as *consumer_name* holds them."""
    entries = [parse_tag(tag) for tag in tags]
    args: list[Argument] = [consumer_name, int(counted), *[entry for _, entry in entries]]
    return Call(REQUEUE, [stream for stream, _ in entries], args)
