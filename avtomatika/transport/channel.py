"""kombu's channel: delegates to the packages for declaring, publishing, consuming and leases."""

import os
import socket
from collections.abc import Callable, Iterable, Sequence
from queue import Empty
from secrets import token_hex
from typing import Any

from .connection.redis_client import RedisClient
from .consuming.dead_letters import DeadLetter, Rejecter
from .consuming.message import DeliveredMessage
from .consuming.prefetch import PrefetchBuffer
from .consuming.qos import QoS
from .consuming.reader import Reader
from .consuming.subscriptions import Subscriptions
from .declaring.channel import Declarations
from .declaring.expiry import Expiry
from .declaring.topology import Topology
from .errors import CHANNEL_ERRORS, CONNECTION_ERRORS, CallbackError
from .leases.lease_renewal import LeaseHolder, send_acks
from .leases.maintenance import Maintenance
from .publishing.channel import PublishingChannel
from .publishing.publisher import Publisher
from .publishing.routing import Router

Callback = Callable[[DeliveredMessage], object]


class Channel(PublishingChannel):
    """Takes messages in batches and delivers them one by one.

    Any thread may publish, acknowledge and reject; one thread consumes. Closing requeues unacknowledged messages
    without counting a delivery. With ``requeue_on_close=False`` only messages that were never delivered are
    requeued; the leases of the others are no longer renewed, so they are redelivered when they expire unless they
    are acknowledged first.
    """

    Message = DeliveredMessage

    def __init__(self, connection: Any, **kwargs: Any) -> None:
        super().__init__(connection, **kwargs)
        options = self._options = connection.options
        #: For callers that run their own scripts.
        self.server = connection.server
        self._lease_renewer = connection.lease_renewer
        name = options.consumer_name or new_name()
        self.router = Router(self.server, consumer_name=name, is_spread=options.spread > 1)
        self.topology = Topology(self.server, self.router)
        self.expiry = Expiry(self.server, self.topology, self.router, options)
        self.declarations = Declarations(self.topology, self.expiry, connection.exchanges)
        self._publisher = Publisher(self.server, self.router, options)
        self._rejecter = Rejecter(self.server, self.router, options)
        self._qos = QoS(self._lease_renewer.wake)
        self._lease_holder = LeaseHolder(self.router, self._qos, self._touch_queues)
        self._lease_renewer.add(self._lease_holder)
        #: What the transport waits for.
        self.prefetch_buffer = self._new_prefetch_buffer()
        self._get_buffers: dict[str, PrefetchBuffer] = {}
        self._callbacks: dict[str, Callback] = {}
        self._no_ack: set[str] = set()

    # ------------------------------------------------------------ answer deliveries

    def basic_ack(self, delivery_tag: str, multiple: bool = False) -> None:
        self._qos.ack(delivery_tag)
        if self.closed:
            send_acks(self.server, self.router, self._qos)

    def basic_reject(self, delivery_tag: str, requeue: bool = False) -> None:
        """Move the message to the tail of its queue or to the dead letters."""
        message = self._qos.messages.get(delivery_tag)
        if message is None:
            return
        if requeue:
            self._rejecter.requeue([delivery_tag], counted=True)
            self._qos.release([delivery_tag])
        else:
            self.dead_letter(delivery_tag, reason="rejected")

    def dead_letter(self, tag: str, *, reason: str, error: str = "", notify: bool = True) -> None:
        """Move a message that this channel holds to the dead letters; with *notify* publish its ``x-on-dead``
        message."""
        message = self._qos.messages.get(tag)
        if message is None:
            return
        queue, deliveries = message.delivery_info["queue"], message.properties["deliveries"]
        self._rejecter.dead_letter(DeadLetter(tag, queue, reason, deliveries, error, message.headers if notify else {}))
        self._qos.release([tag])

    def revoke(self, tags: Iterable[str]) -> None:
        """Drop messages when they are next taken or their leases expire; unacknowledged ones appear in
        ``cancelled``."""
        self._rejecter.revoke(list(tags))

    def return_unstarted(self, tags: Iterable[str]) -> None:
        """Requeue messages that were not processed, without counting a delivery."""
        tags = [tag for tag in tags if tag in self._qos.messages]
        self._rejecter.requeue(tags, counted=False)
        self._qos.release(tags)

    def release(self, tags: Iterable[str]) -> None:
        """Drop *tags* that another script has acknowledged, which frees their prefetch credit. Any thread may
        call it."""
        self._qos.release(tags)

    def basic_recover(self, requeue: bool = False) -> None:
        """Requeue all unacknowledged messages."""
        self._rejecter.requeue(list(self._qos.messages), counted=True)
        self._qos.release(list(self._qos.messages))

    def basic_qos(self, prefetch_size: int = 0, prefetch_count: int = 0, apply_global: bool = False) -> None:
        self._qos.prefetch_count = prefetch_count

    # ------------------------------------------------------------ consume

    def restrict_to(self, prefixes: Sequence[str]) -> None:
        """Consume only from the shards with these prefixes. Call it before consuming."""
        self._lease_holder.shards = [self.router.of(prefix) for prefix in prefixes]
        self.prefetch_buffer = self._new_prefetch_buffer()

    def basic_consume(self, queue: str, no_ack: bool, callback: Callback, consumer_tag: str, **_: Any) -> None:
        self._tag_to_queue[consumer_tag] = queue
        self._consumers.add(consumer_tag)
        self._active_queues.append(queue)
        self._callbacks[queue] = callback
        if no_ack:
            self._no_ack.add(queue)
        self.prefetch_buffer.subscribe(self._active_queues, no_ack=self._no_ack)

    def basic_cancel(self, consumer_tag: str) -> None:
        if consumer_tag in self._consumers:
            self._consumers.remove(consumer_tag)
            queue = self._tag_to_queue.pop(consumer_tag)
            self._active_queues.remove(queue)
            if queue not in self._active_queues:
                del self._callbacks[queue]
                self._no_ack.discard(queue)
            self.prefetch_buffer.subscribe(self._active_queues, no_ack=self._no_ack)

    def basic_get(self, queue: str, no_ack: bool = False, **_: Any) -> DeliveredMessage | None:
        """Return one message of *queue*, or None. Ignores the prefetch count."""
        buffer = self._get_buffers.get(queue)
        if buffer is None:
            buffer = self._get_buffers[queue] = self._new_prefetch_buffer()
            buffer.subscribe([queue])
        if not buffer.ready:
            self._start_lease_renewal()
            buffer.forget_positions()
            buffer.fill(1)
        if not buffer.ready:
            return None
        message = buffer.ready.popleft()
        if no_ack:
            self._qos.ack(message.delivery_tag)
        return message

    def drain_events(self, timeout: float | None = None, callback: object = None) -> None:
        """Deliver available messages; raise Empty if the queues are empty. Does not wait: the transport waits for all
        channels."""
        self.prefetch_buffer.forget_positions()
        if not self._get_many(self._active_queues):
            raise Empty()

    def _get_many(self, queues: Iterable[str], timeout: float | None = None) -> int:
        """Deliver a batch and return its size."""
        ready = self.prefetch_buffer.ready
        if not ready and self._qos.credit > 0:
            self._start_lease_renewal()
            self.prefetch_buffer.fill(self._qos.credit)
        delivered = 0
        while ready:  # after a callback raises, the others are delivered next time
            self._deliver(ready.popleft())
            delivered += 1
        return delivered

    def _start_lease_renewal(self) -> None:
        """Before messages are taken, start renewing leases and tell the server that this process is alive."""
        if not self._lease_holder.is_renewing:
            self._lease_renewer.start(self._lease_holder)

    def _deliver(self, message: DeliveredMessage) -> None:
        callback = self._callbacks.get(message.delivery_info["queue"])
        if callback is None:  # cancelled in the meantime
            self.return_unstarted([message.delivery_tag])
            return
        try:
            callback(message)
        except (*CONNECTION_ERRORS, *CHANNEL_ERRORS, OSError, KeyError) as error:
            raise CallbackError(f"the consumer of {message.delivery_info['queue']!r} raised {error!r}") from error

    @property
    def cancelled(self) -> frozenset[str]:
        """Tags of unacknowledged messages that are revoked or whose lease is lost, as of the last lease
        renewal."""
        return self._lease_holder.cancelled

    @property
    def lease_seconds(self) -> float:
        """Duration of a lease unless it is renewed."""
        return float(self._options.lease_seconds)

    @property
    def is_consuming(self) -> bool:
        return bool(self._consumers)

    @property
    def has_credit(self) -> bool:
        """Return whether messages may be delivered."""
        return bool(self.prefetch_buffer.ready) or self._qos.credit > 0

    @property
    def held(self) -> int:
        """Number of unacknowledged messages."""
        return len(self._qos.messages)

    # ------------------------------------------------------------ end

    def close(self) -> None:
        if self.closed:
            return
        self.closed = True
        try:
            self._lease_renewer.remove(self._lease_holder)
            undelivered = [message.delivery_tag for buffer in self._prefetch_buffers for message in buffer.ready]
            self.return_unstarted(list(self._qos.messages) if self._options.requeue_on_close else undelivered)
            send_acks(self.server, self.router, self._qos)
            for reader in self._readers:
                reader.maintenance.clean_up(leaving=self.router.consumer_name)
        except CONNECTION_ERRORS:
            pass  # they are redelivered when their leases expire
        finally:
            self._consumers.clear()
            self.connection.forget_channel(self)
            self.connection.close_channel(self)

    def abandon(self) -> None:
        """Close after the connection was lost. Delivered messages may be acknowledged for one more lease; then they are
        requeued."""
        if self.closed:
            return
        if not self._options.requeue_on_close:
            self.close()
            return
        self.closed = True
        self._lease_renewer.abandon(self._lease_holder)
        for buffer in self._prefetch_buffers:
            buffer.ready.clear()
        self._consumers.clear()
        self.connection.close_channel(self)

    def after_fork(self) -> None:
        """Reset in a forked child: the messages and the consumer name belong to the parent."""
        self.router.rename(self._options.consumer_name or new_name())
        self._qos.clear()
        for buffer in self._prefetch_buffers:
            buffer.ready.clear()
            buffer.forget_positions()
        self._lease_renewer.add(self._lease_holder)

    def _touch_queues(self, server: RedisClient) -> None:
        """Keep our expiring queues alive; *server* is the lease renewer's own connection."""
        self.expiry.touch(dict.fromkeys(queue for reader in self._readers for queue in reader.expiring), server)

    @property
    def _prefetch_buffers(self) -> list[PrefetchBuffer]:
        return [self.prefetch_buffer, *self._get_buffers.values()]

    @property
    def _readers(self) -> list[Reader]:
        return [reader for buffer in self._prefetch_buffers for reader in buffer.readers]

    def _new_prefetch_buffer(self) -> PrefetchBuffer:
        readers = [self._new_reader(router) for router in self._lease_holder.shards]
        return PrefetchBuffer(self, self.server, readers, self._rejecter, max_deliveries=self._options.max_deliveries)

    def _new_reader(self, router: Router) -> Reader:
        """Return a reader of one shard."""
        expiry = Expiry(self.server, Topology(self.server, router), router, self._options)
        subscriptions = Subscriptions(self.server, router.keys, self.declarations.restore)
        maintenance = Maintenance(self.server, router, expiry, subscriptions, self._options)
        return Reader(self.server, router, expiry, subscriptions=subscriptions, maintenance=maintenance)


def new_name() -> str:
    """Return a consumer name that is unique across channels and processes."""
    return f"{socket.gethostname()}:{os.getpid()}:{token_hex(4)}"
