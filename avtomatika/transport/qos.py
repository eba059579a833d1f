"""What a channel holds: delivered and not yet answered messages, and acknowledgements that wait to be sent."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from threading import Event, Lock

from .keys import parse_tag
from .message import DeliveredMessage
from .scripts import ACK, Call

#: Most messages one take brings, whatever the prefetch count; also most acknowledgements in one script.
BATCH = 500


class QoS:
    """Any thread may acknowledge; only the consuming one adds. Stands in for kombu's QoS."""

    def __init__(self, on_ack: Callable[[], None], prefetch_count: int = 0) -> None:
        self.prefetch_count = prefetch_count
        self.messages: dict[str, DeliveredMessage] = {}
        self.acks: deque[str] = deque()
        self._in_flight: set[str] = set()
        #: While acknowledgements move from one place to the other nobody may look.
        self._moving = Lock()
        #: Set when a message was answered: there is credit again.
        self.freed = Event()
        #: Called when that is set.
        self.on_freed: Callable[[], None] | None = None
        self._on_ack = on_ack

    @property
    def credit(self) -> int:
        """How many messages may be taken now."""
        return int(self.can_consume()) if self.is_credit_foreign else self._room

    @property
    def is_credit_foreign(self) -> bool:
        """Whether somebody has replaced :meth:`can_consume`, as Celery does for ``worker_disable_prefetch``."""
        return "can_consume" in self.__dict__

    @property
    def _room(self) -> int:
        return min(self.prefetch_count - len(self.messages), BATCH) if self.prefetch_count else BATCH

    def can_consume(self) -> bool:
        """Whether one more message may be taken. Where this is replaced, messages are taken one by one."""
        return self._room > 0

    def can_consume_max_estimate(self) -> int:
        return max(self.credit, 0)

    def append(self, message: DeliveredMessage, tag: str) -> None:
        self.messages[tag] = message

    def get(self, tag: str) -> DeliveredMessage:
        return self.messages[tag]

    def ack(self, tag: str) -> None:
        """Acknowledge; sent with the next take, or by the keeper within 10 ms. What is not held is left alone."""
        if tag in self.messages:
            self.acks.append(tag)  # first: at no moment is it neither here nor there
            self.messages.pop(tag, None)
            if not self.freed.is_set():  # setting takes a lock, looking does not
                self._free()
            self._on_ack()

    def release(self, tags: Iterable[str]) -> None:
        """Drop *tags*: somebody's script has acknowledged them."""
        for tag in tags:
            self.messages.pop(tag, None)
        self._free()

    def _free(self) -> None:
        self.freed.set()
        if self.on_freed is not None:
            self.on_freed()

    def take_acks(self) -> list[str]:
        """Acknowledgements to send now; whoever takes them tells when they are :meth:`sent`, or puts them back."""
        taken: list[str] = []
        with self._moving:
            while self.acks and len(taken) < BATCH:
                taken.append(self.acks.popleft())
            self._in_flight.update(taken)
        return taken

    def sent(self, tags: list[str]) -> None:
        """These acknowledgements have reached the server."""
        with self._moving:
            self._in_flight.difference_update(tags)

    def put_back(self, tags: list[str]) -> None:
        """Acknowledgements that could not be sent; sending one twice does no harm."""
        with self._moving:
            self.acks.extendleft(reversed(tags))
            self._in_flight.difference_update(tags)

    @property
    def known(self) -> set[str]:
        """Every delivery of ours that the server may still count as pending."""
        with self._moving:
            return {*self.messages.copy(), *self.acks.copy(), *self._in_flight}

    def forget(self) -> None:
        """In the child of a fork: all of it is the parent's."""
        self.messages.clear()
        self.acks.clear()
        self._in_flight.clear()
        self.freed = Event()
        self._moving = Lock()


def by_stream(tags: Iterable[str]) -> dict[str, list[str]]:
    """Stream key -> entry ids."""
    found: dict[str, list[str]] = {}
    for tag in tags:
        stream, entry = parse_tag(tag)
        entries = found.get(stream)
        if entries is None:
            found[stream] = [entry]
        else:
            entries.append(entry)
    return found


def entry_lists(entries: dict[str, list[str]]) -> list[str | int]:
    """The lists of :func:`by_stream` as scripts read them, each led by its length."""
    fields: list[str | int] = []
    for ids in entries.values():
        fields.append(len(ids))
        fields += ids
    return fields


def ack_call(consumer_name: str, tags: Iterable[str]) -> Call:
    """The script that acknowledges those of *tags* that *consumer_name* holds."""
    entries = by_stream(tags)
    return Call(ACK, list(entries), [consumer_name, *entry_lists(entries)])
