"""The prefetch buffer: takes entries up to the credit, decodes them, and dead-letters what cannot be delivered."""

from collections import deque
from collections.abc import Iterable
from typing import Any

from avtomatika.transport import envelope
from avtomatika.transport.envelope import MalformedMessageError

from .dead_letters import DeadLetter, Rejecter
from .message import DeliveredMessage, Entry
from .qos import QoS
from .reader import Reader


class PrefetchBuffer:
    """Messages of one reader that are leased to a channel; they wait in ``ready`` until they are delivered."""

    def __init__(self, channel: Any, *, reader: Reader, qos: QoS, rejecter: Rejecter, max_deliveries: int) -> None:
        self.reader = reader
        self.ready: deque[DeliveredMessage] = deque()
        self._channel = channel
        self._qos = qos
        self._rejecter = rejecter
        self._max_deliveries = max_deliveries
        #: Queues whose messages are acknowledged on receipt.
        self._no_ack: frozenset[str] = frozenset()
        #: The server may have leased messages to us that we never saw.
        self._has_orphans = False

    def subscribe(self, queues: Iterable[str], *, no_ack: Iterable[str] = ()) -> None:
        """Read *queues* from now on."""
        self._no_ack = frozenset(no_ack)
        self.reader.subscribe(queues)

    def fill(self, credit: int) -> None:
        """Take up to *credit* messages and send pending acknowledgements."""
        acks = self._qos.take_acks()
        try:
            if self._has_orphans:
                self.reader.maintenance.requeue_orphans(self._qos.pending_tags)
                self._has_orphans = False
            entries = self.reader.poll(credit, acks)
            self._qos.acks_sent(acks)
            acks = []
            for entry in entries:
                self._receive(entry)
        except BaseException as error:
            self.resynchronize()
            self._qos.restore_acks(acks)
            if not self.reader.exclude_failing(error):
                raise

    def resynchronize(self) -> None:
        """Resynchronize before the next take: a reply was lost, so the server may have leased messages to us
        that we never saw."""
        self._has_orphans = True
        self.reader.forget_positions()

    def _receive(self, entry: Entry) -> None:
        if entry.tag in self._qos.messages:  # our own expired lease was reclaimed by us
            return
        try:
            stored = envelope.decode(entry.payload)
        except MalformedMessageError as error:
            self._rejecter.dead_letter(DeadLetter(entry.tag, entry.queue, "malformed", entry.earlier, str(error)))
            return
        if entry.earlier >= self._max_deliveries:
            letter = DeadLetter(entry.tag, entry.queue, "max_deliveries", entry.earlier, headers=stored["headers"])
            self._rejecter.dead_letter(letter)
            return
        message = DeliveredMessage(
            stored, self._channel, tag=entry.tag, queue=entry.queue, deliveries=entry.earlier + 1
        )
        if entry.missed is None:
            self._qos.append(message, entry.tag)
            if entry.queue in self._no_ack:
                self._qos.ack(entry.tag)
        elif entry.missed:
            message.properties["missed"] = entry.missed
        self.ready.append(message)
