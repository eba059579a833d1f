"""Taking deliveries from several queues, a batch at a time, and answering them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from threading import Event
from typing import Any

from kombu import Connection, Queue
from kombu import Consumer as KombuConsumer

from avtomatika.core.plan import Plan
from avtomatika.transport import Channel, Outgoing

from .connection import translated
from .step_queues import StepQueues
from .topology import declare

_JSON = "application/json"
_GROUP_HEADER = "x-group"


@dataclass(frozen=True, slots=True)
class Delivery:
    """A message that was delivered; *body* is JSON text. *deliveries* counts this one too; *routing_key* is the one
    that it was published with."""

    tag: str
    queue: str
    body: bytes
    headers: Mapping[str, Any]
    deliveries: int
    routing_key: str = ""

    @property
    def group(self) -> str | None:
        """What the message is revoked with."""
        group = self.headers.get(_GROUP_HEADER)
        return None if group is None else str(group)


class Consumer:
    """Holds at most *prefetch* deliveries of *queues* at a time; each is held until it is answered.

    While the broker is away every call raises UnavailableError, and works again once it is back: nothing is to be
    made anew. One thread takes; any may answer.
    """

    def __init__(self, connection: Connection, queues: Sequence[str], *, prefetch: int) -> None:
        self._connection = connection
        self._batch: list[Any] = []
        self._closing = Event()
        with translated(connection):
            self.channel: Channel = connection.channel()
            self._consumer = KombuConsumer(
                self.channel,
                queues=[Queue(name, no_declare=True) for name in queues],
                on_message=self._batch.append,
                auto_declare=False,
            )
            self.set_prefetch(prefetch)
            self._consumer.consume()

    @property
    def queues(self) -> list[str]:
        """What is taken from."""
        return [queue.name for queue in self._consumer.queues]

    @property
    def step_queues(self) -> StepQueues:
        """The step queues of all plans on this broker."""
        return StepQueues(self._connection, self.channel)

    def declare(self, plans: Iterable[Plan]) -> None:
        """Declare what *plans* need, as :func:`declare`."""
        declare(self._connection, plans)
        self.channel.forget_routes()

    def take(self, timeout_seconds: float) -> list[Delivery]:
        """The next batch; empty when nothing came in time. A message that was delivered before comes alone."""
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
                self.channel.dead_letter(message.delivery_tag, reason="malformed", error=error)
                self._batch.remove(message)

    # ------------------------------------------------------------ answer

    def settle_many(
        self,
        settlements: Sequence[tuple[Sequence[Outgoing], Sequence[str]]],
        *,
        on_sent: Callable[[], object] | None = None,
    ) -> list[bool]:
        """Publish the messages of each pair and acknowledge its tags, wholly or not at all; all in one round trip.

        False: a tag of that pair is held no more, and nothing of it was done. *on_sent* is called once, before the
        answers are awaited, for what need not wait for them; not at all where nothing could be sent.
        """
        with translated(self._connection):
            return self.channel.settle_many(settlements, on_sent=on_sent)

    def ack(self, tags: Iterable[str]) -> None:
        """Acknowledge; sent with the next take, or within 10 ms."""
        for tag in tags:
            self.channel.basic_ack(tag)

    def release(self, tags: Iterable[str]) -> None:
        """Drop *tags*: somebody's script has acknowledged them."""
        self.channel.release(tags)

    def return_unstarted(self, deliveries: Iterable[Delivery]) -> None:
        """Put deliveries back at once that nothing was done with: it does not count as one."""
        with translated(self._connection):
            self.channel.return_unstarted(delivery.tag for delivery in deliveries)

    def revoke(self, tags: Iterable[str]) -> None:
        """Have deliveries dropped, whoever holds them or would get them."""
        with translated(self._connection):
            self.channel.revoke(tags)

    def dead_letter(self, delivery: Delivery, *, reason: str, error: str = "", notify: bool = True) -> None:
        """Give a delivery to the dead letters; *notify* the job that it names, if it names one."""
        with translated(self._connection):
            self.channel.dead_letter(delivery.tag, reason=reason, error=error, notify=notify)

    @property
    def cancelled(self) -> frozenset[str]:
        """Tags of what is held, but revoked, or somebody else's by now: as known since the leases were renewed."""
        return self.channel.cancelled

    # ------------------------------------------------------------ manage

    def consume_from(self, queues: Iterable[str]) -> None:
        """Take from *queues*, and only from them, from now on. For the thread that takes."""
        wanted, watched = set(queues), {queue.name for queue in self._consumer.queues}
        for name in wanted - watched:
            self._consumer.add_queue(Queue(name, no_declare=True))
        for name in watched - wanted:
            self._consumer.cancel_by_queue(name)
        self._consumer.consume()

    def message_count(self, queue: str) -> int:
        """How many messages of *queue* nobody has taken."""
        with translated(self._connection):
            return int(self.channel.queue_declare(queue, passive=True).message_count)

    def set_prefetch(self, prefetch: int) -> None:
        """Hold at most so many deliveries from now on."""
        self.channel.basic_qos(prefetch_count=prefetch)

    def prefetch_more(self, more: int) -> None:
        """Hold at most *more* deliveries beside those that are held now."""
        self.set_prefetch(self.channel.held + more)

    def wait(self, seconds: float) -> None:
        """Pause, at most until :meth:`close`."""
        self._closing.wait(seconds)

    def close(self) -> None:
        """Take nothing more. What is held and not answered comes again after its lease."""
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
    )
