"""Unacknowledged messages of a channel, and acknowledgements not yet sent."""

from collections import deque
from collections.abc import Callable, Iterable
from threading import Event, Lock

from avtomatika.transport.keys import parse_tag
from avtomatika.transport.scripts import ACK, Call

from .message import DeliveredMessage

#: Maximum number of messages per take, whatever the prefetch count, and of acknowledgements per script.
BATCH = 500


class QoS:
    """Replaces kombu's QoS. Any thread may acknowledge; only the consuming thread adds messages."""

    def __init__(self, on_ack: Callable[[], None], prefetch_count: int = 0) -> None:
        self.prefetch_count = prefetch_count
        self.messages: dict[str, DeliveredMessage] = {}
        self.acks: deque[str] = deque()
        self._acks_in_flight: set[str] = set()
        #: Guards moving acknowledgements between collections.
        self._lock = Lock()
        #: Set when a message is acknowledged or released, which frees credit.
        self.credit_freed = Event()
        #: Called when that is set.
        self.on_credit_freed: Callable[[], None] | None = None
        self._on_ack = on_ack

    @property
    def credit(self) -> int:
        """Number of messages that may be taken now."""
        return int(self.can_consume()) if self.is_credit_overridden else self._free_places

    @property
    def is_credit_overridden(self) -> bool:
        """Return whether :meth:`can_consume` has been replaced, as Celery does for ``worker_disable_prefetch``."""
        return "can_consume" in self.__dict__

    @property
    def _free_places(self) -> int:
        return min(self.prefetch_count - len(self.messages), BATCH) if self.prefetch_count else BATCH

    def can_consume(self) -> bool:
        """Return whether one more message may be taken. If it is replaced, messages are taken one at a time."""
        return self._free_places > 0

    def can_consume_max_estimate(self) -> int:
        return max(self.credit, 0)

    def append(self, message: DeliveredMessage, tag: str) -> None:
        self.messages[tag] = message

    def get(self, tag: str) -> DeliveredMessage:
        return self.messages[tag]

    def ack(self, tag: str) -> None:
        """Acknowledge: sent with the next take, or by the lease renewer within 10 ms. Unknown tags are ignored."""
        if tag in self.messages:
            self.acks.append(tag)  # before it is removed below, so that it is always in one of the two
            self.messages.pop(tag, None)
            if not self.credit_freed.is_set():  # set() takes a lock, is_set() does not
                self._signal_credit()
            self._on_ack()

    def release(self, tags: Iterable[str]) -> None:
        """Drop *tags* that another script has acknowledged."""
        for tag in tags:
            self.messages.pop(tag, None)
        self._signal_credit()

    def _signal_credit(self) -> None:
        self.credit_freed.set()
        if self.on_credit_freed is not None:
            self.on_credit_freed()

    def take_acks(self) -> list[str]:
        """Return acknowledgements to send; report them with :meth:`acks_sent` or :meth:`restore_acks`."""
        taken: list[str] = []
        with self._lock:
            while self.acks and len(taken) < BATCH:
                taken.append(self.acks.popleft())
            self._acks_in_flight.update(taken)
        return taken

    def acks_sent(self, tags: list[str]) -> None:
        """Record that acknowledgements have reached the server."""
        with self._lock:
            self._acks_in_flight.difference_update(tags)

    def restore_acks(self, tags: list[str]) -> None:
        """Put back acknowledgements that could not be sent; sending one twice is harmless."""
        with self._lock:
            self.acks.extendleft(reversed(tags))
            self._acks_in_flight.difference_update(tags)

    @property
    def pending_tags(self) -> set[str]:
        """All deliveries that the server may count as pending for us."""
        with self._lock:
            return {*self.messages.copy(), *self.acks.copy(), *self._acks_in_flight}

    def clear(self) -> None:
        """Reset in a forked child: everything belongs to the parent."""
        self.messages.clear()
        self.acks.clear()
        self._acks_in_flight.clear()
        self.credit_freed = Event()
        self._lock = Lock()


def by_stream(tags: Iterable[str]) -> dict[str, list[str]]:
    """Group entry ids by stream key."""
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
    """Flatten the lists of :func:`by_stream` for scripts, each preceded by its length."""
    fields: list[str | int] = []
    for ids in entries.values():
        fields.append(len(ids))
        fields += ids
    return fields


def ack_call(consumer_name: str, tags: Iterable[str]) -> Call:
    """Build the call that acknowledges *tags*, as far as *consumer_name* holds them."""
    entries = by_stream(tags)
    return Call(ACK, list(entries), [consumer_name, *entry_lists(entries)])
