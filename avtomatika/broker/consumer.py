"""Consuming deliveries from several queues in batches, and acknowledging them."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import field
from threading import Event
from typing import Any, Protocol, TypeAlias, TypeVar

from kombu import Connection, Consumer as KombuConsumer, Queue

from avtomatika.core.frozen import dataclass
from avtomatika.core.plan import Plan
from avtomatika.core.shards import prefix_of, shard_name, shard_prefixes
from avtomatika.transport import Channel, NoRouteError, Outgoing

from .connection import translated
from .requests import failure_reply
from .topology import StepQueues, declare, declare_tasks


class _OfJob(Protocol):
    @property
    def job_id(self) -> str: ...


T = TypeVar("T", bound=_OfJob)
#: Messages to publish and tags to acknowledge.
Settlement: TypeAlias = tuple[Sequence[Outgoing], Sequence[str]]
_JSON = "application/json"
_GROUP_HEADER = "x-group"


@dataclass(frozen=True, slots=True)
class Delivery:
    """A delivered message. *body* is JSON text, *deliveries* includes this one, and *routing_key* is the one it was
    published with."""

    tag: str
    queue: str
    body: bytes
    headers: Mapping[str, Any]
    deliveries: int
    routing_key: str = ""
    properties: Mapping[str, Any] = field(default_factory=dict)

    @property
    def group(self) -> str | None:
        """The group with which the message can be revoked."""
        group = self.headers.get(_GROUP_HEADER)
        return None if group is None else str(group)


class Consumer:
    """Holds at most *prefetch* unacknowledged deliveries of *queues*, from all shards or those with *prefixes*.

    While the broker is unreachable every call raises UnavailableError; calls succeed again when it is back, without
    reconnecting. One thread takes; any thread may acknowledge.
    """

    def __init__(
        self, connection: Connection, queues: Sequence[str], *, prefetch: int, prefixes: Sequence[str] | None = None
    ) -> None:
        self._batch: list[Any] = []
        self._closing = Event()
        self._open(connection, queues, prefetch, prefixes)

    def _open(
        self, connection: Connection, queues: Sequence[str], prefetch: int, prefixes: Sequence[str] | None = None
    ) -> None:
        with translated(connection):
            channel: Channel = connection.channel()
            if prefixes is not None:
                channel.restrict_to(prefixes)
            consumer = KombuConsumer(
                channel,
                queues=[Queue(name, no_declare=True) for name in queues],
                on_message=self._batch.append,
                auto_declare=False,
            )
            channel.basic_qos(prefetch_count=prefetch)
            consumer.consume()
        self._connection, self.channel, self._consumer = connection, channel, consumer

    @property
    def queues(self) -> list[str]:
        """Names of the consumed queues."""
        return [queue.name for queue in self._consumer.queues]

    @property
    def step_queues(self) -> StepQueues:
        """The step queues of all plans on this broker."""
        return StepQueues(self._connection, self.channel)

    def declare(self, plans: Iterable[Plan]) -> None:
        """Declare what *plans* need, as :func:`.topology.declare`."""
        declare(self._connection, plans)
        self.channel.router.forget_routes()

    def declare_tasks(self, task_types: Iterable[str]) -> None:
        """Declare the queues of *task_types*, as :func:`.topology.declare_tasks`."""
        declare_tasks(self._connection, task_types)
        self.channel.router.forget_routes()

    def declare_queues(self, names: Iterable[str]) -> None:
        """Declare queues without bindings."""
        with translated(self._connection):
            self.channel.declare_many(queues=names)

    def take(self, timeout_seconds: float) -> list[Delivery]:
        """Return the next batch, empty on timeout. A redelivered message comes alone."""
        with translated(self._connection):
            if not self._batch:
                try:
                    self._connection.drain_events(timeout=timeout_seconds)
                except TimeoutError:
                    return []
            self._bury_unreadable()
        deliveries = [_delivery(message) for message in self._batch]
        self._batch.clear()
        return deliveries

    def _bury_unreadable(self) -> None:
        for message in list(self._batch):
            if message.content_type != _JSON or message.errors:
                error = f"content type {message.content_type!r}"
                self.dead_letter(_delivery(message), reason="malformed", error=error)
                self._batch.remove(message)

    # ------------------------------------------------------------ answer

    def settle_many(
        self,
        settlements: Sequence[Settlement],
        *,
        on_sent: Callable[[], object] | None = None,
    ) -> list[bool]:
        """Publish the messages and acknowledge the tags of each pair atomically, all in one round trip.

        Returns False for a pair with a tag whose lease is lost; nothing of it was done. *on_sent* is called
        before the replies are read, unless sending failed. Messages for another shard than that of the tags are
        published before.
        """
        with translated(self._connection):
            if len(self.channel.server.prefixes) > 1:
                settlements = self._publish_elsewhere(settlements)
            return self.channel.settle_many(settlements, on_sent=on_sent)

    def _publish_elsewhere(self, settlements: Sequence[Settlement]) -> list[Settlement]:
        """Publish the messages for other shards than that of their tags; return *settlements* without them."""
        left, elsewhere = list[Settlement](), list[Settlement]()
        for messages, tags in settlements:
            others = [each for each in messages if tags and not tags[0].startswith(each.shard)]
            elsewhere += [([each], ()) for each in others]
            left.append(([each for each in messages if each not in others] if others else messages, tags))
        if elsewhere:
            self.channel.settle_many(elsewhere)
        return left

    def shard_of(self, job_id: str) -> str:
        """Return the prefix of the keys of the shard of a job or task, as ``Outgoing.shard`` has it."""
        return prefix_of(job_id, self.channel.server.prefixes)

    def by_shard(self, parts: Iterable[T]) -> dict[str, list[T]]:
        """Return *parts* of jobs by the prefix of the keys of their shard, for ``Outgoing.shard``."""
        found: dict[str, list[T]] = {}
        for part in parts:
            found.setdefault(self.shard_of(part.job_id), []).append(part)
        return found

    def ack(self, tags: Iterable[str]) -> None:
        """Acknowledge: sent with the next take, or within 10 ms."""
        for tag in tags:
            self.channel.basic_ack(tag)

    def release(self, tags: Iterable[str]) -> None:
        """Drop *tags* that another script has acknowledged."""
        self.channel.release(tags)

    def return_unstarted(self, deliveries: Iterable[Delivery]) -> None:
        """Requeue unprocessed deliveries immediately, without counting a delivery."""
        with translated(self._connection):
            self.channel.return_unstarted(delivery.tag for delivery in deliveries)

    def revoke(self, tags: Iterable[str]) -> None:
        """Drop deliveries, whichever consumer holds them."""
        with translated(self._connection):
            self.channel.revoke(tags)

    def dead_letter(self, delivery: Delivery, *, reason: str, error: str = "", notify: bool = True) -> None:
        """Move a delivery to the dead letters; with *notify* inform the job named in its headers. The program that
        waits for a reply gets a failure."""
        with translated(self._connection):
            if (reply := failure_reply(delivery.headers, delivery.properties, error or reason)) is not None:
                with suppress(NoRouteError):  # it is gone
                    self.channel.settle([reply], ())
            self.channel.dead_letter(delivery.tag, reason=reason, error=error, notify=notify)

    @property
    def cancelled(self) -> frozenset[str]:
        """Tags of held deliveries that are revoked or whose lease is lost, as of the last lease renewal."""
        return self.channel.cancelled

    # ------------------------------------------------------------ manage

    def consume_from(self, queues: Iterable[str]) -> None:
        """Consume from exactly these *queues*. Call it from the taking thread."""
        wanted, watched = set(queues), {queue.name for queue in self._consumer.queues}
        for name in wanted - watched:
            self._consumer.add_queue(Queue(name, no_declare=True))
        for name in watched - wanted:
            self._consumer.cancel_by_queue(name)
        self._consumer.consume()

    def move(self, connection: Connection) -> None:
        """Consume the same queues through *connection* from now on. Call it from the taking thread; unacknowledged
        deliveries are redelivered when their leases expire."""
        former = self.channel
        self._open(connection, self.queues, prefetch=1)
        former.close()

    def recorded_prefixes(self) -> tuple[str, ...]:
        """Read the prefixes of the keys of all shards that the installation has recorded at its home."""
        server = self.channel.server
        with translated(self._connection):
            counts = server.execute(("HKEYS", f"{server.prefix}shards"))
        return shard_prefixes(shard_name(server.prefix), max(map(int, counts), default=1))

    def message_count(self, queue: str) -> int:
        """Return the number of messages waiting in *queue*."""
        with translated(self._connection):
            return int(self.channel.queue_declare(queue, passive=True).message_count)

    def set_prefetch(self, prefetch: int) -> None:
        """Hold at most *prefetch* deliveries from now on."""
        self.channel.basic_qos(prefetch_count=prefetch)

    def prefetch_more(self, more: int) -> None:
        """Allow *more* deliveries in addition to those held now."""
        self.set_prefetch(self.channel.held + more)

    def wait(self, seconds: float) -> None:
        """Sleep, or until :meth:`close`."""
        self._closing.wait(seconds)

    def close(self) -> None:
        """Stop consuming. Unacknowledged deliveries are redelivered when their leases expire."""
        self._closing.set()
        self.channel.close()


def _delivery(message: Any) -> Delivery:
    return Delivery(
        message.delivery_tag,
        message.delivery_info["queue"],
        message.body,
        message.headers,
        message.properties["deliveries"],
        message.delivery_info.get("routing_key") or "",
        message.properties,
    )
