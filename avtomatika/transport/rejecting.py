"""What becomes of a delivery that is not acknowledged: back into its queue, or to the dead letters."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from . import envelope
from .envelope import Outgoing
from .errors import NoRouteError
from .keys import parse_tag
from .redis_client import RedisClient
from .routing import Route, Router
from .scripts import BURY, REQUEUE, Argument, Call

logger = logging.getLogger(__name__)

#: How often the bindings may change under a burial before it goes on without telling anybody.
_REROUTES = 5
#: So long a revoked message is looked out for.
_REVOKED_SECONDS = 24 * 3600


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A delivery to bury. The header ``x-on-dead`` names whom to tell: {"exchange", "key", "body"}."""

    tag: str
    queue: str
    reason: str
    deliveries: int
    error: str = ""
    headers: Mapping[str, Any] = field(default_factory=dict)

    def notice(self) -> Outgoing | None:
        """What is published with the burial."""
        match self.headers.get(envelope.ON_DEAD_HEADER):
            case {"exchange": str(exchange), "key": str(key), "body": str(body)}:
                headers = {"x-death-reason": self.reason, "x-deliveries": self.deliveries}
                return Outgoing(exchange, key, body, headers=headers)
            case None:
                return None
            case wish:
                logger.error("a header %s that is none: %r", envelope.ON_DEAD_HEADER, wish)
                return None


class Rejecter:
    """Gives up what a channel holds. Threads may share it."""

    def __init__(
        self, server: RedisClient, router: Router, *, max_dead_letters: int, dead_letter_seconds: float
    ) -> None:
        self._server = server
        self._router = router
        self._max_dead_letters = max_dead_letters
        self._dead_letter_ms = round(dead_letter_seconds * 1000)

    def requeue(self, tags: Sequence[str], *, counted: bool) -> None:
        """Put messages back behind the others. *counted*: this delivery counts among those that end in a burial."""
        if tags:
            self._server.run(requeue_call(self._router.consumer_name, tags, counted=counted))

    def revoke(self, tags: Sequence[str]) -> None:
        """Have messages dropped for a day, wherever they are."""
        if tags:
            seconds, _ = self._server.execute(("TIME",))
            until_ms = (int(seconds) + _REVOKED_SECONDS) * 1000
            members = [part for tag in tags for part in (until_ms, tag)]
            self._server.execute(("ZADD", self._router.keys.revoked(), *members))

    def dead_letter(self, letter: DeadLetter) -> None:
        """Move a message to its queue's dead letters, and tell whom it names. One held no more stays where it is."""
        logger.warning(
            "queue %s: %s is a dead letter after %d deliveries: %s %s",
            letter.queue,
            letter.tag,
            letter.deliveries,
            letter.reason,
            letter.error,
        )
        notice = letter.notice()
        for _ in range(_REROUTES):
            if notice is None:
                break
            try:
                route = self._router.route(notice.exchange, notice.routing_key)
            except NoRouteError as error:
                letter = replace(letter, error=f"{letter.error} {error}".strip())
                break
            if self._bury(letter, self._call(letter, notice, route)):
                return
            self._router.forget_routes()
        self._bury(letter, self._call(letter))

    def _bury(self, letter: DeadLetter, call: Call) -> bool:
        """Whether it is done; False if the notice must be routed again."""
        answer = self._server.run(call)
        if answer == b"FULL":
            logger.warning(
                "queue %s has %d dead letters: the oldest were removed", letter.queue, self._max_dead_letters
            )
        return bool(answer != b"REROUTE")

    def _call(self, letter: DeadLetter, notice: Outgoing | None = None, route: Route | None = None) -> Call:
        stream, entry = parse_tag(letter.tag)
        names = self._router.keys
        keys = [stream, names.dead(letter.queue), names.queues(), names.dead_queues()]
        args: list[Argument] = [self._router.consumer_name, entry]
        args += (letter.reason, letter.deliveries, letter.error, letter.queue)
        args += (self._max_dead_letters, self._dead_letter_ms)
        if notice and route:
            keys.append(route.bindings_key or names.queues())  # every key must be one that users may read
            args += (route.version, self._router.encode(notice))
            for queue in route.queues:
                keys.append(self._router.stream(queue, notice.priority))
                args += (queue, notice.priority)
        return Call(BURY, keys, args)


def requeue_call(consumer_name: str, tags: Sequence[str], *, counted: bool) -> Call:
    """The script that puts back those of *tags* that *consumer_name* holds."""
    entries = [parse_tag(tag) for tag in tags]
    args: list[Argument] = [consumer_name, int(counted), *[entry for _, entry in entries]]
    return Call(REQUEUE, [stream for stream, _ in entries], args)
