"""The part of the channel that the transport asks while it waits for messages."""

from __future__ import annotations

from collections.abc import Callable, Collection
from threading import Event

from .prefetch import PrefetchBuffer
from .publishing import PublishingChannel


class WaitingChannel(PublishingChannel):
    """Knows whether something may be taken, and where news of it would come."""

    _inbox: PrefetchBuffer
    _consumers: set[str]

    @property
    def is_consuming(self) -> bool:
        return bool(self._consumers)

    @property
    def has_credit(self) -> bool:
        return bool(self._inbox.ready) or self._held.credit > 0

    @property
    def is_credit_foreign(self) -> bool:
        """Whether somebody else decides on credit, without telling when there is some."""
        return self._held.is_credit_foreign

    @property
    def credit_freed(self) -> Event:
        """Set whenever a message is acknowledged, rejected or returned."""
        return self._held.freed

    def on_credit(self, callback: Callable[[], None] | None) -> None:
        """Have *callback* called whenever ``credit_freed`` is set."""
        self._held.on_freed = callback

    @property
    def places(self) -> dict[str, str]:
        """Streams to wait for, and the last id of each that was seen. Empty: there may be more already."""
        return self._inbox.reader.places

    def hear(self, streams: Collection[str]) -> None:
        """*streams* have something new."""
        self._inbox.reader.hear(streams)

    def look_everywhere(self) -> None:
        """Have the next take ask for everything, whatever is known."""
        self._inbox.reader.look_everywhere()

    def doubt(self) -> None:
        """An answer was lost: believe nothing of what is known of the server."""
        self._inbox.doubt()

    @property
    def patience(self) -> float:
        """Seconds until something is to be done by the clock."""
        return self._inbox.reader.patience
