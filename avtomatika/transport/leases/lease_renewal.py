"""A thread that renews leases and sends acknowledgements that no take has carried within 10 ms.

It uses its own connection, so that the consumer cannot delay it.
"""

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from threading import Event, Lock, Thread
from time import monotonic
from typing import Any

from redis.exceptions import RedisError

from avtomatika.transport.connection.pool import Pool
from avtomatika.transport.connection.redis_client import RedisClient
from avtomatika.transport.consuming.dead_letters import requeue_call
from avtomatika.transport.consuming.qos import BATCH, QoS, ack_call, by_stream, entry_lists
from avtomatika.transport.envelope import GROUP_HEADER
from avtomatika.transport.keys import Keys, make_tag
from avtomatika.transport.publishing.routing import Router
from avtomatika.transport.scripts import RENEW, SEND_HEARTBEAT, Call

from . import count_leases
from .liveness import Liveness

logger = logging.getLogger(__name__)

#: An acknowledgement seen by two consecutive polls is sent.
_POLL_SECONDS = 0.005
#: After this many idle polls the thread sleeps until it is woken or a renewal is due.
_POLLS = 200
_STOP_SECONDS = 5.0
#: Pause after the server was unreachable.
_RETRY_SECONDS = 0.5


class LeaseHolder:
    """The renewer's view of a channel."""

    def __init__(self, router: Router, qos: QoS, touch_queues: Callable[[RedisClient], None]) -> None:
        self.router = router
        #: Those of the shards that the channel consumes from.
        self.shards = router.shards
        self.qos = qos
        #: Marks the channel's expiring queues as used.
        self.touch_queues = touch_queues
        self.oldest_ack: str | None = None
        self.lost: set[str] = set()
        #: Lost tags that were logged.
        self.logged: set[str] = set()
        #: Tags whose processing should stop: lost or revoked.
        self.cancelled: frozenset[str] = frozenset()
        #: True if the channel consumes and its leases are renewed.
        self.is_renewing = False
        #: When messages of an abandoned channel are requeued; None while the channel is in use.
        self.requeue_at: float | None = None


class LeaseRenewer:
    """Serves all channels of one transport."""

    def __init__(self, connect: Callable[[Liveness], RedisClient], *, lease_seconds: float) -> None:
        self._connect = connect
        self._liveness = Liveness()
        self._server: RedisClient | None = None
        #: Guards the client: one connection serves all channels.
        self._lock = Lock()
        self._lease_seconds = lease_seconds
        self._renew_seconds = lease_seconds / 3
        self._holders: list[LeaseHolder] = []
        self._woken = Event()
        self._awake = False
        self._stop = Event()
        self._thread: Thread | None = None
        self._stops_when_idle = False

    def add(self, holder: LeaseHolder) -> None:
        holder.is_renewing = False
        self._holders.append(holder)

    def remove(self, holder: LeaseHolder) -> None:
        """Stop renewing leases of *holder*. Raises connection errors."""
        if holder in self._holders:
            self._holders.remove(holder)
        if holder.is_renewing and self._server is not None:
            holder.is_renewing = False
            with self._lock:
                self._liveness.remove(*_presence(self._server, holder))

    def start(self, holder: LeaseHolder) -> None:
        """Start renewing leases of *holder* and mark its process as alive. Raises connection errors."""
        with self._lock:
            server = self._server = self._server or self._connect(self._liveness)
            self._liveness.add(*_presence(server, holder))
        holder.is_renewing = True
        if self._thread is None:
            self._stop = Event()
            self._thread = Thread(
                target=self._run, args=(server, self._stop), name="avtomatika-lease_renewer", daemon=True
            )
            self._thread.start()

    def abandon(self, holder: LeaseHolder) -> None:
        """Renew leases of *holder*, whose connection is lost, for one more lease, then requeue what is not
        acknowledged."""
        holder.requeue_at = monotonic() + self._lease_seconds

    def stop_when_idle(self) -> None:
        """Stop as soon as no channel holds any message."""
        self._stops_when_idle = True
        self._woken.set()

    def wake(self) -> None:
        """Signal that an acknowledgement is waiting. Cheap under load, when the thread is awake."""
        if not self._awake:
            self._awake = True
            self._woken.set()

    def stop(self) -> None:
        """Stop renewing leases."""
        thread, self._thread = self._thread, None
        self._stop.set()
        self._woken.set()
        if thread is not None:
            thread.join(timeout=_STOP_SECONDS)
        server, self._server = self._server, None
        if server is not None:
            server.close()

    def forget(self) -> None:
        """Reset in a forked child: the thread stays with the parent."""
        self._thread = None
        self._woken = Event()
        self._awake = False
        self._holders.clear()
        self._liveness = Liveness()
        self._server = None
        self._lock = Lock()

    def _run(self, server: RedisClient, stop: Event) -> None:
        renew_at = monotonic() + self._renew_seconds
        polls = 0
        is_away = False
        while not (stop.is_set() or (self._stops_when_idle and not self._holders)):
            try:
                with self._lock:
                    if monotonic() >= renew_at:
                        renew_at = monotonic() + self._renew_seconds
                        self._renew(server)
                        is_away = False
                    polls = 0 if self._send_acks(server) else polls + 1
            except Exception as error:  # any error: if this thread died every lease would expire
                if not is_away:
                    logger.warning("cannot renew leases, retrying: %s", error)
                is_away = True
                renew_at = min(renew_at, monotonic() + _RETRY_SECONDS)
                stop.wait(_RETRY_SECONDS / 2)
            self._wait(polls, renew_at)
        if not stop.is_set():
            server.close()

    def _wait(self, polls: int, renew_at: float) -> None:
        if polls < _POLLS:
            self._woken.wait(_POLL_SECONDS)
        else:
            self._awake = False
            if not any(holder.qos.acks for holder in self._holders):
                self._woken.wait(max(renew_at - monotonic(), 0.0))
                self._awake = True
        self._woken.clear()

    def _send_acks(self, server: RedisClient) -> bool:
        """Return whether any channel has acknowledgements waiting."""
        any_waits = False
        for holder in list(self._holders):
            try:
                oldest_ack = holder.qos.acks[0]
            except IndexError:
                holder.oldest_ack = None
                continue
            any_waits = True
            if oldest_ack == holder.oldest_ack:
                send_acks(server, holder.router, holder.qos)
            holder.oldest_ack = oldest_ack
        return any_waits

    def _renew(self, server: RedisClient) -> None:
        holders = list(self._holders)
        shards: dict[str, list[tuple[LeaseHolder, list[str]]]] = {}
        for holder in holders:
            held = holder.router.split(list(holder.qos.messages))
            for router in {*holder.shards, *held}:
                shards.setdefault(router.keys.prefix, []).append((holder, held.get(router, [])))
        lost: dict[LeaseHolder, set[str]] = {holder: set() for holder in holders}
        failures: dict[Pool | None, RedisError] = {}
        for prefix, parts in shards.items():  # a node of a cluster that fails does not hold up leases at others
            pool = None
            try:
                if (pool := server.pool_of(prefix)) not in failures:
                    for holder, tags in self._renew_shard(server, prefix, parts):
                        lost[holder].update(tags)
            except RedisError as error:
                failures[pool] = error
        for holder in holders:
            # One report may be caused by a script that has acknowledged it and whose reply is not read yet.
            still = lost[holder] & holder.lost
            for tag in (still - holder.logged) & holder.qos.messages.keys():
                count_leases("lost", 1)
                logger.warning("lost the lease of %s: another consumer has the message", tag)
            holder.lost, holder.logged = lost[holder], still
            holder.cancelled = frozenset(still | holder.cancelled & holder.qos.messages.keys())
        for failure in failures.values():
            raise failure
        for holder in holders:
            if holder.requeue_at is None:
                holder.touch_queues(server)
            elif not holder.qos.pending_tags:
                self._holders.remove(holder)
            elif monotonic() >= holder.requeue_at:
                self._requeue(server, holder)
            holder.cancelled = frozenset(holder.logged | self._revoked(server, holder))

    def _renew_shard(
        self, server: RedisClient, prefix: str, parts: Sequence[tuple[LeaseHolder, list[str]]]
    ) -> Iterator[tuple[LeaseHolder, set[str]]]:
        """Send a heartbeat and renew leases; yield tags whose lease is lost."""
        server.run(Call(SEND_HEARTBEAT, [Keys(prefix).beat], [round(self._lease_seconds * 1000)]))
        for holder, tags in parts:
            for first in range(0, len(tags), BATCH):
                entries = by_stream(tags[first : first + BATCH])
                call = Call(RENEW, list(entries), [holder.router.consumer_name, *entry_lists(entries)])
                lost = _tags(list(entries), server.run(call))
                count_leases("renewed", len(tags[first : first + BATCH]) - len(lost))
                yield holder, lost

    def _requeue(self, server: RedisClient, holder: LeaseHolder) -> None:
        """Requeue the messages of an abandoned channel without counting a delivery: they may be unprocessed."""
        for router, tags in holder.router.split(list(holder.qos.messages)).items():
            server.run(requeue_call(router.consumer_name, tags, counted=False))
            holder.qos.release(tags)

    def _revoked(self, server: RedisClient, holder: LeaseHolder) -> set[str]:
        """Return tags of held messages that are revoked individually or with their group."""
        messages = holder.qos.messages.copy()
        revoked: set[str] = set()
        for router, tags in holder.router.split(messages).items():
            key = router.keys.revoked
            if not server.execute(("EXISTS", key)):
                continue
            groups = {tag: str(messages[tag].headers.get(GROUP_HEADER, "")).split() for tag in tags}
            names = list({*groups, *chain.from_iterable(groups.values())})
            found: set[str] = set()
            for first in range(0, len(names), BATCH):
                batch = names[first : first + BATCH]
                scores = server.execute(("ZMSCORE", key, *batch))
                found |= {name for name, score in zip(batch, scores, strict=True) if score is not None}
            revoked |= {tag for tag, names_of in groups.items() if tag in found or not found.isdisjoint(names_of)}
        return revoked


def _presence(server: RedisClient, holder: LeaseHolder) -> tuple[Iterable[Pool], list[str]]:
    """Return the servers that know whether *holder* is connected, and the channels that tell them."""
    pools = dict.fromkeys(server.pool_of(router.keys.prefix) for router in holder.shards)
    return pools, [router.keys.presence(router.consumer_name) for router in holder.shards]


def _tags(streams: Sequence[str], answer: Sequence[Any]) -> set[str]:
    """Convert the reply of ``renew`` to delivery tags."""
    pairs = zip(answer[::2], answer[1::2], strict=True)
    return {make_tag(streams[place - 1], entry.decode()) for place, entry in pairs}


def send_acks(server: RedisClient, router: Router, qos: QoS) -> None:
    """Send waiting acknowledgements; keep them if the server is unreachable."""
    while tags := qos.take_acks():
        try:
            server.run_each([ack_call(router.consumer_name, each) for each in router.split(tags).values()])
        except RedisError:
            qos.restore_acks(tags)
            raise
        qos.acks_sent(tags)
