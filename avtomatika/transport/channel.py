"""The channel: kombu's calls, carried out by the parts of this package."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterable
from queue import Empty
from secrets import token_hex
from typing import Any

from .declarations import Declarations
from .errors import CHANNEL_ERRORS, CONNECTION_ERRORS, CallbackError
from .expiry import Expiry
from .lease_renewal import LeaseHolder, send_acks
from .maintenance import Maintenance
from .message import DeliveredMessage
from .prefetch import PrefetchBuffer
from .publisher import Publisher
from .qos import QoS
from .reader import Reader
from .redis_client import RedisClient
from .rejecting import DeadLetter, Rejecter
from .routing import Router
from .subscriptions import Subscriptions
from .topology import Topology
from .waiting import WaitingChannel

Callback = Callable[[DeliveredMessage], object]


class Channel(WaitingChannel):
    """Takes what is there in batches and delivers it message by message.

    Any thread may publish and answer deliveries; one consumes. Closing returns what is not acknowledged to its queues,
    and counts no delivery. With ``requeue_on_close=False`` it returns only what was never delivered; the rest is no
    longer renewed, and comes again after its lease unless it is acknowledged before.
    """

    Message = DeliveredMessage

    def __init__(self, connection: Any, **kwargs: Any) -> None:
        super().__init__(connection, **kwargs)
        options = self._options = connection.options
        self._server = connection.server
        self._keeper = connection.keeper
        self.router = Router(self._server, prefix=options.prefix, consumer_name=options.consumer_name or new_name())
        self.topology = Topology(self._server, self.router)
        self.expiry = Expiry(self._server, self.topology, self.router.keys, lease_seconds=options.lease_seconds)
        self.declarations = Declarations(self.topology, self.expiry, connection.exchanges)
        self._sender = Publisher(
            self._server,
            self.router,
            max_message_bytes=options.max_message_bytes,
            fanout_length=options.fanout_length,
        )
        self._returns = Rejecter(
            self._server,
            self.router,
            max_dead_letters=options.max_dead_letters,
            dead_letter_seconds=options.dead_letter_seconds,
        )
        self._held = self._qos = QoS(self._keeper.call)
        self._party = LeaseHolder(self.router, self._held, self._use_queues)
        self._keeper.add(self._party)
        self._inbox = self._new_inbox()
        self._getters: dict[str, PrefetchBuffer] = {}
        self._callbacks: dict[str, Callback] = {}
        self._no_ack: set[str] = set()

    # ------------------------------------------------------------ answer deliveries

    def basic_ack(self, delivery_tag: str, multiple: bool = False) -> None:
        self._held.ack(delivery_tag)
        if self.closed:
            send_acks(self._server, self.router, self._held)

    def basic_reject(self, delivery_tag: str, requeue: bool = False) -> None:
        """Put the message back behind the others, or give it to the dead letters."""
        message = self._held.messages.get(delivery_tag)
        if message is None:
            return
        if requeue:
            self._returns.requeue([delivery_tag], counted=True)
            self._held.release([delivery_tag])
        else:
            self.dead_letter(delivery_tag, reason="rejected")

    def dead_letter(self, tag: str, *, reason: str, error: str = "", notify: bool = True) -> None:
        """Give a message to the dead letters, if this channel holds it; *notify* whom it names, if it does."""
        message = self._held.messages.get(tag)
        if message is None:
            return
        queue, deliveries = message.delivery_info["queue"], message.properties["deliveries"]
        self._returns.dead_letter(DeadLetter(tag, queue, reason, deliveries, error, message.headers if notify else {}))
        self._held.release([tag])

    def revoke(self, tags: Iterable[str]) -> None:
        """Have messages dropped when they are next taken, or their leases lapse; held ones become ``cancelled``."""
        self._returns.revoke(list(tags))

    def return_unstarted(self, tags: Iterable[str]) -> None:
        """Put messages back that were never begun with: that counts no delivery."""
        tags = [tag for tag in tags if tag in self._held.messages]
        self._returns.requeue(tags, counted=False)
        self._held.release(tags)

    def release(self, tags: Iterable[str]) -> None:
        """Drop *tags*, which somebody's script has acknowledged: their credit is free. Any thread."""
        self._held.release(tags)

    def basic_recover(self, requeue: bool = False) -> None:
        """Put everything back that is not answered."""
        self._returns.requeue(list(self._held.messages), counted=True)
        self._held.release(list(self._held.messages))

    def basic_qos(self, prefetch_size: int = 0, prefetch_count: int = 0, apply_global: bool = False) -> None:
        self._held.prefetch_count = prefetch_count

    # ------------------------------------------------------------ consume

    def basic_consume(self, queue: str, no_ack: bool, callback: Callback, consumer_tag: str, **_: Any) -> None:
        self._tag_to_queue[consumer_tag] = queue
        self._consumers.add(consumer_tag)
        self._active_queues.append(queue)
        self._callbacks[queue] = callback
        if no_ack:
            self._no_ack.add(queue)
        self._inbox.watch(self._active_queues, no_ack=self._no_ack)

    def basic_cancel(self, consumer_tag: str) -> None:
        if consumer_tag in self._consumers:
            self._consumers.remove(consumer_tag)
            queue = self._tag_to_queue.pop(consumer_tag)
            self._active_queues.remove(queue)
            if queue not in self._active_queues:
                del self._callbacks[queue]
                self._no_ack.discard(queue)
            self._inbox.watch(self._active_queues, no_ack=self._no_ack)

    def basic_get(self, queue: str, no_ack: bool = False, **_: Any) -> DeliveredMessage | None:
        """One message of *queue*, or None. The prefetch count does not matter."""
        inbox = self._getters.get(queue)
        if inbox is None:
            inbox = self._getters[queue] = self._new_inbox()
            inbox.watch([queue])
        if not inbox.ready:
            self._be_present()
            inbox.reader.look_everywhere()
            inbox.fill(1)
        if not inbox.ready:
            return None
        message = inbox.ready.popleft()
        if no_ack:
            self._held.ack(message.delivery_tag)
        return message

    def drain_events(self, timeout: float | None = None, callback: object = None) -> None:
        """Deliver what there is; raises Empty where that is nothing. Only the transport waits, for all channels."""
        self.look_everywhere()
        if not self._get_many(self._active_queues):
            raise Empty()

    def _get_many(self, queues: Iterable[str], timeout: float | None = None) -> int:
        """Deliver a batch; answers how many messages it had."""
        ready = self._inbox.ready
        if not ready and self._held.credit > 0:
            self._be_present()
            self._inbox.fill(self._held.credit)
        delivered = 0
        while ready:  # what a callback that raises leaves here is delivered the next time
            self._deliver(ready.popleft())
            delivered += 1
        return delivered

    def _be_present(self) -> None:
        """Have leases renewed, and the server know that this process is alive, before anything is taken."""
        if not self._party.is_present:
            self._keeper.start(self._party)

    def _deliver(self, message: DeliveredMessage) -> None:
        callback = self._callbacks.get(message.delivery_info["queue"])
        if callback is None:  # cancelled meanwhile
            self.return_unstarted([message.delivery_tag])
            return
        try:
            callback(message)
        except (*CONNECTION_ERRORS, *CHANNEL_ERRORS, OSError, KeyError) as error:
            raise CallbackError(f"the consumer of {message.delivery_info['queue']!r} raised {error!r}") from error

    @property
    def cancelled(self) -> frozenset[str]:
        """Held tags that are revoked, or somebody else's: looked for when the leases are renewed."""
        return self._party.cancelled

    @property
    def lease_seconds(self) -> float:
        """How long a delivery is ours unless that is renewed."""
        return float(self._options.lease_seconds)

    @property
    def held(self) -> int:
        """How many messages are delivered and not yet answered."""
        return len(self._held.messages)

    # ------------------------------------------------------------ end

    def close(self) -> None:
        if self.closed:
            return
        self.closed = True
        try:
            self._keeper.remove(self._party)
            if self._options.requeue_on_close:
                self.return_unstarted(list(self._held.messages))
            else:
                self.return_unstarted([message.delivery_tag for inbox in self._inboxes for message in inbox.ready])
            send_acks(self._server, self.router, self._held)
            for inbox in self._inboxes:
                inbox.reader.caretaker.clean(leaving=self.consumer_name)
        except CONNECTION_ERRORS:
            pass  # they come again after their lease
        finally:
            self._consumers.clear()
            self.connection.forget_channel(self)
            self.connection.close_channel(self)

    def abandon(self) -> None:
        """The connection is lost. What was delivered may still be acknowledged, for a lease; then it returns."""
        if self.closed:
            return
        if not self._options.requeue_on_close:
            self.close()
            return
        self.closed = True
        self._keeper.abandon(self._party)
        for inbox in self._inboxes:
            inbox.ready.clear()
        self._consumers.clear()
        self.connection.close_channel(self)

    def after_fork(self) -> None:
        """In a child: what is held is the parent's, and so is the name."""
        self.router.consumer_name = self._options.consumer_name or new_name()
        self._held.forget()
        for inbox in self._inboxes:
            inbox.ready.clear()
            inbox.reader.look_everywhere()
        self._keeper.add(self._party)

    def _use_queues(self, server: RedisClient) -> None:
        """Keep those of our queues that expire; the keeper tells it to the server in its own way."""
        self.expiry.use([queue for inbox in self._inboxes for queue in inbox.reader.expiring], server)

    @property
    def _inboxes(self) -> list[PrefetchBuffer]:
        return [self._inbox, *self._getters.values()]

    def _new_inbox(self) -> PrefetchBuffer:
        watched = Subscriptions(self._server, self.router.keys, self.declarations.restore)
        caretaker = Maintenance(
            self._server,
            self.router,
            self.expiry,
            watched=watched,
            lease_seconds=self._options.lease_seconds,
            visibility_seconds=self._options.visibility_timeout,
            sweep_seconds=self._options.sweep_interval_seconds,
            max_deliveries=self._options.max_deliveries,
            dead_letter_seconds=self._options.dead_letter_seconds,
        )
        return PrefetchBuffer(
            self,
            reader=Reader(self._server, self.router, self.expiry, watched=watched, caretaker=caretaker),
            held=self._held,
            returns=self._returns,
            max_deliveries=self._options.max_deliveries,
        )


def new_name() -> str:
    """A consumer name that no other channel has, in this process or another."""
    return f"{socket.gethostname()}:{os.getpid()}:{token_hex(4)}"
