"""From entries to messages: takes up to the credit, and sorts out what cannot be delivered."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Any

from . import envelope
from .entries import Entry
from .envelope import MalformedMessageError
from .message import DeliveredMessage
from .qos import QoS
from .reader import Reader
from .rejecting import DeadLetter, Rejecter


class PrefetchBuffer:
    """What one reader takes for a channel: messages, which are held, and wait in ``ready`` until they are delivered."""

    def __init__(self, channel: Any, *, reader: Reader, held: QoS, returns: Rejecter, max_deliveries: int) -> None:
        self.reader = reader
        self.ready: deque[DeliveredMessage] = deque()
        self._channel = channel
        self._held = held
        self._returns = returns
        self._max_deliveries = max_deliveries
        #: Queues whose messages are acknowledged as they come.
        self._no_ack: frozenset[str] = frozenset()
        #: The server may count messages as ours that we do not know.
        self._has_strays = False

    def watch(self, queues: Iterable[str], *, no_ack: Iterable[str] = ()) -> None:
        """Read *queues* from now on."""
        self._no_ack = frozenset(no_ack)
        self.reader.watch(queues)

    def fill(self, credit: int) -> None:
        """Take what there is, *credit* at most, and send the acknowledgements that wait."""
        acks = self._held.take_acks()
        try:
            if self._has_strays:
                self.reader.caretaker.requeue_orphans(self._held.known)
                self._has_strays = False
            entries = self.reader.poll(credit, acks)
            self._held.sent(acks)
            acks = []
            for entry in entries:
                self._receive(entry)
        except BaseException as error:
            self.doubt()
            self._held.put_back(acks)
            if not self.reader.can_go_on_after(error):
                raise

    def doubt(self) -> None:
        """An answer was lost: the server may count messages as ours that we do not know, and have others."""
        self._has_strays = True
        self.reader.look_everywhere()

    def _receive(self, entry: Entry) -> None:
        if entry.tag in self._held.messages:  # our own lease had lapsed while we were at it: it is still ours
            return
        try:
            stored = envelope.decode(entry.payload)
        except MalformedMessageError as error:
            self._returns.dead_letter(DeadLetter(entry.tag, entry.queue, "malformed", entry.earlier, str(error)))
            return
        if entry.earlier >= self._max_deliveries:
            letter = DeadLetter(entry.tag, entry.queue, "max_deliveries", entry.earlier, headers=stored["headers"])
            self._returns.dead_letter(letter)
            return
        message = DeliveredMessage(
            stored, self._channel, tag=entry.tag, queue=entry.queue, deliveries=entry.earlier + 1
        )
        if entry.missed is None:
            self._held.append(message, entry.tag)
            if entry.queue in self._no_ack:
                self._held.ack(entry.tag)
        elif entry.missed:
            message.properties["missed"] = entry.missed
        self.ready.append(message)
