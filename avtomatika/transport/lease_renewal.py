"""The thread that keeps leases alive and sends acknowledgements that no take has carried off within 10 ms.

On a connection of its own, so that nothing the consumer does can hold it up.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from itertools import chain
from threading import Event, Lock, Thread
from time import monotonic
from typing import Any

from redis.exceptions import RedisError

from .envelope import GROUP_HEADER
from .keys import make_tag
from .presence import Presence
from .qos import BATCH, QoS, ack_call, by_stream, entry_lists
from .redis_client import RedisClient
from .rejecting import requeue_call
from .routing import Router
from .scripts import BEAT, RENEW, Call

logger = logging.getLogger(__name__)

#: An acknowledgement that two looks in a row have seen is sent.
_LOOK_SECONDS = 0.005
#: So many looks without one, and the thread sleeps until it is called or a renewal is due.
_LOOKS = 200
_STOP_SECONDS = 5.0
#: Pause after the server was found away.
_RETRY_SECONDS = 0.5


class LeaseHolder:
    """A channel as the keeper sees it."""

    def __init__(self, router: Router, held: QoS, use_queues: Callable[[RedisClient], None]) -> None:
        self.router = router
        self.held = held
        #: Tells the server that the queues of the channel are in use.
        self.use_queues = use_queues
        self.oldest: str | None = None
        self.lost: set[str] = set()
        #: Lost ones that the log tells of.
        self.told: set[str] = set()
        #: Tags that need no further work: lost ones, and those that are revoked.
        self.cancelled: frozenset[str] = frozenset()
        #: Whether the server has been told that the channel consumes.
        self.is_present = False
        #: When what an abandoned channel holds returns to its queues; None while the channel is in use.
        self.returns_at: float | None = None


class LeaseRenewer:
    """Serves the channels of one transport."""

    def __init__(self, connect: Callable[[Presence], RedisClient], *, lease_seconds: float) -> None:
        self._connect = connect
        self._presence = Presence()
        self._server: RedisClient | None = None
        #: For whoever uses the server: one connection is enough for all.
        self._using = Lock()
        self._lease_seconds = lease_seconds
        self._renew_seconds = lease_seconds / 3
        self._parties: list[LeaseHolder] = []
        self._called = Event()
        self._awake = False
        self._stop = Event()
        self._thread: Thread | None = None
        self._is_retired = False

    def add(self, party: LeaseHolder) -> None:
        party.is_present = False
        self._parties.append(party)

    def remove(self, party: LeaseHolder) -> None:
        """Renew nothing more of *party*. Raises connection errors."""
        if party in self._parties:
            self._parties.remove(party)
        if party.is_present and self._server is not None:
            party.is_present = False
            with self._using:
                self._presence.remove(self._server.pool, _channel(party))

    def start(self, party: LeaseHolder) -> None:
        """*party* begins to consume: from now on the server knows that it is alive. Raises connection errors."""
        with self._using:
            server = self._server = self._server or self._connect(self._presence)
            self._presence.add(server.pool, _channel(party))
        party.is_present = True
        if self._thread is None:
            self._stop = Event()
            self._thread = Thread(target=self._run, args=(server, self._stop), name="avtomatika-keeper", daemon=True)
            self._thread.start()

    def abandon(self, party: LeaseHolder) -> None:
        """The connection of *party* was lost: renew for one more lease, and then return what is not acknowledged."""
        party.returns_at = monotonic() + self._lease_seconds

    def retire(self) -> None:
        """End as soon as no channel holds anything."""
        self._is_retired = True
        self._called.set()

    def call(self) -> None:
        """An acknowledgement waits. Cheap while the thread is awake, which it is as long as they keep coming."""
        if not self._awake:
            self._awake = True
            self._called.set()

    def stop(self) -> None:
        """Renew nothing more."""
        thread, self._thread = self._thread, None
        self._stop.set()
        self._called.set()
        if thread is not None:
            thread.join(timeout=_STOP_SECONDS)
        server, self._server = self._server, None
        if server is not None:
            server.close()

    def forget(self) -> None:
        """In the child of a fork: the thread stayed with the parent."""
        self._thread = None
        self._called = Event()
        self._awake = False
        self._parties.clear()
        self._presence = Presence()
        self._server = None
        self._using = Lock()

    def _run(self, server: RedisClient, stop: Event) -> None:
        renew_at = monotonic() + self._renew_seconds
        looks = 0
        is_away = False
        while not (stop.is_set() or (self._is_retired and not self._parties)):
            try:
                with self._using:
                    looks = 0 if self._send_acks(server) else looks + 1
                    if monotonic() >= renew_at:
                        renew_at = monotonic() + self._renew_seconds
                        self._renew(server)
                        is_away = False
            except Exception as error:  # whatever it is: without this thread every lease would lapse
                if not is_away:
                    logger.warning("leases cannot be renewed, trying on: %s", error)
                is_away = True
                renew_at = monotonic() + min(_RETRY_SECONDS, self._renew_seconds)
                stop.wait(_RETRY_SECONDS / 2)
            self._rest(looks, renew_at)
        if not stop.is_set():
            server.close()

    def _rest(self, looks: int, renew_at: float) -> None:
        if looks < _LOOKS:
            self._called.wait(_LOOK_SECONDS)
        else:
            self._awake = False
            if not any(party.held.acks for party in self._parties):
                self._called.wait(max(renew_at - monotonic(), 0.0))
                self._awake = True
        self._called.clear()

    def _send_acks(self, server: RedisClient) -> bool:
        """Whether any channel has acknowledgements waiting."""
        any_waits = False
        for party in list(self._parties):
            try:
                oldest = party.held.acks[0]
            except IndexError:
                party.oldest = None
                continue
            any_waits = True
            if oldest == party.oldest:
                send_acks(server, party.router, party.held)
            party.oldest = oldest
        return any_waits

    def _renew(self, server: RedisClient) -> None:
        parties = list(self._parties)
        if parties:  # they all have the same keys
            server.run(Call(BEAT, [parties[0].router.keys.beat()], [round(self._lease_seconds * 1000)]))
        for party in parties:
            if party.returns_at is None:
                party.use_queues(server)
            elif not party.held.known:
                self._parties.remove(party)
                continue
            elif monotonic() >= party.returns_at:
                self._return(server, party)
                continue
            tags = list(party.held.messages)
            lost: set[str] = set()
            for first in range(0, len(tags), BATCH):
                entries = by_stream(tags[first : first + BATCH])
                call = Call(RENEW, list(entries), [party.router.consumer_name, *entry_lists(entries)])
                lost |= _tags(list(entries), server.run(call))
            # Once may mean that a script has acknowledged it, and that word of that is on its way.
            still = lost & party.lost
            for tag in (still - party.told) & party.held.messages.keys():
                logger.warning("the lease of %s is lost: somebody else has the message now", tag)
            party.lost, party.told = lost, still
            party.cancelled = frozenset(still | self._revoked(server, party))

    def _return(self, server: RedisClient, party: LeaseHolder) -> None:
        """Return what an abandoned channel holds, without counting a delivery: its consumer may not have begun."""
        tags = list(party.held.messages)
        if tags:
            server.run(requeue_call(party.router.consumer_name, tags, counted=False))
            party.held.release(tags)

    def _revoked(self, server: RedisClient, party: LeaseHolder) -> set[str]:
        """Tags of held messages that are revoked, alone or with their group."""
        revoked = party.router.keys.revoked()
        groups = {
            tag: str(message.headers.get(GROUP_HEADER, "")).split()
            for tag, message in party.held.messages.copy().items()
        }
        if not groups or not server.execute(("EXISTS", revoked)):
            return set()
        names = list({*groups, *chain.from_iterable(groups.values())})
        found: set[str] = set()
        for first in range(0, len(names), BATCH):
            batch = names[first : first + BATCH]
            scores = server.execute(("ZMSCORE", revoked, *batch))
            found |= {name for name, score in zip(batch, scores, strict=True) if score is not None}
        return {tag for tag, names_of in groups.items() if tag in found or not found.isdisjoint(names_of)}


def _channel(party: LeaseHolder) -> str:
    return party.router.keys.presence(party.router.consumer_name)


def _tags(streams: Sequence[str], answer: Sequence[Any]) -> set[str]:
    """What ``renew`` answers, as delivery tags."""
    pairs = zip(answer[::2], answer[1::2], strict=True)
    return {make_tag(streams[place - 1], entry.decode()) for place, entry in pairs}


def send_acks(server: RedisClient, router: Router, held: QoS) -> None:
    """Send the acknowledgements that wait; all of them wait on when the server is away."""
    while tags := held.take_acks():
        try:
            server.run(ack_call(router.consumer_name, tags))
        except RedisError:
            held.put_back(tags)
            raise
        held.sent(tags)
