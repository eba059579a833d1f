"""The part of the channel that the transport uses while it waits for messages."""

from collections.abc import Callable, Collection
from threading import Event

from avtomatika.transport.publishing.channel import PublishingChannel

from .prefetch import PrefetchBuffer


class ConsumingChannel(PublishingChannel):
    """Reports whether messages may be taken, and which streams to wait for."""

    _prefetch_buffer: PrefetchBuffer
    _consumers: set[str]

    @property
    def is_consuming(self) -> bool:
        return bool(self._consumers)

    @property
    def has_credit(self) -> bool:
        return bool(self._prefetch_buffer.ready) or self._qos.credit > 0

    @property
    def is_credit_overridden(self) -> bool:
        """Return whether can_consume has been replaced, so that nothing signals when credit is freed."""
        return self._qos.is_credit_overridden

    @property
    def credit_freed(self) -> Event:
        """Set when a message is acknowledged, rejected or requeued."""
        return self._qos.credit_freed

    def on_credit(self, callback: Callable[[], None] | None) -> None:
        """Call *callback* whenever ``credit_freed`` is set."""
        self._qos.on_credit_freed = callback

    @property
    def positions(self) -> dict[str, str]:
        """Streams to wait for with the last entry id seen. Empty if messages may be available already."""
        return self._prefetch_buffer.reader.positions

    def notify(self, streams: Collection[str]) -> None:
        """Record that *streams* have new entries."""
        self._prefetch_buffer.reader.notify(streams)

    def forget_positions(self) -> None:
        """Make the next take read all streams."""
        self._prefetch_buffer.reader.forget_positions()

    def resynchronize(self) -> None:
        """Discard cached state after a reply was lost."""
        self._prefetch_buffer.resynchronize()

    @property
    def seconds_until_due(self) -> float:
        """Seconds until timed work is due."""
        return self._prefetch_buffer.reader.seconds_until_due
