"""The prefetch buffer: takes entries up to the credit, decodes them, and dead-letters what cannot be delivered."""

from collections import deque
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import chain
from typing import Any

from avtomatika.transport import envelope
from avtomatika.transport.connection.redis_client import Reading, RedisClient, none_refused
from avtomatika.transport.envelope import MalformedMessageError
from avtomatika.transport.publishing.routing import Router

from .dead_letters import DeadLetter, Rejecter
from .message import DeliveredMessage, Entry
from .qos import QoS, ack_call
from .reader import Reader

#: A shard is asked for at least this many messages as far as there is credit: batches of one shard cost less.
_SHARE = 16


class PrefetchBuffer:
    """Messages of some readers, one of each shard, that are leased to a channel; they wait in ``ready`` until they are
    delivered."""

    def __init__(
        self, channel: Any, server: RedisClient, readers: Sequence[Reader], rejecter: Rejecter, *, max_deliveries: int
    ) -> None:
        self._all_readers = list(readers)
        #: Those of shards with queues; the one that was asked last is the last.
        self.readers = self._all_readers
        self.ready: deque[DeliveredMessage] = deque()
        self._channel = channel
        self._server = server
        self._qos: QoS = channel.qos
        self._rejecter = rejecter
        #: The last take found a message that was delivered before, and there may be more.
        self._is_careful = False
        self._max_deliveries = max_deliveries
        #: Queues whose messages are acknowledged on receipt.
        self._no_ack: frozenset[str] = frozenset()
        #: The server may have leased messages to us that we never saw.
        self._has_orphans = False

    def subscribe(self, queues: Iterable[str], *, no_ack: Iterable[str] = ()) -> None:
        """Read *queues* from now on."""
        self._no_ack = frozenset(no_ack)
        names, router = list(queues), self._channel.router
        own = {each: [name for name in names if each.router in router.places(name)] for each in self._all_readers}
        for reader, some in own.items():
            reader.subscribe(some)
        self.readers = [reader for reader, some in own.items() if some] or self._all_readers

    def fill(self, credit: int) -> None:
        """Take up to *credit* messages and send pending acknowledgements."""
        acks = self._qos.take_acks()
        try:
            if self._has_orphans:
                held = self._qos.pending_tags
                for reader in self.readers:
                    reader.maintenance.requeue_orphans(held)
                self._has_orphans = False
            entries = self._poll(credit, acks)
            self._qos.acks_sent(acks)
            acks = []
            for entry in entries:
                self._receive(entry)
        except BaseException as error:
            self.resynchronize()
            self._qos.restore_acks(acks)
            if not any(reader.exclude_failing(error) for reader in self.readers):
                raise

    def _poll(self, credit: int, acks: Sequence[str]) -> list[Entry]:
        """Take up to *credit* from the shards with news, least recently asked first, in as few round trips as
        possible."""
        if len(self._server.prefixes) == 1:
            [entries] = self._server.read_together(self.readers[0].poll(credit, acks))
            return entries
        acks_of = self._channel.router.split(acks)
        waiting = [reader for reader in self.readers if reader.is_due]
        waiting = waiting or [reader for reader in self.readers if reader.router in acks_of]
        found: list[Entry] = []
        was_careful, self._is_careful = self._is_careful, False
        most = 1 if was_careful else max(1, credit // _SHARE)
        while (waiting or acks_of) and len(found) < credit and not (found and (was_careful or self._is_careful)):
            room = credit - len(found)
            asked, waiting = waiting[: min(most, room)], waiting[min(most, room) :]
            most = most if was_careful else room  # the others are asked at once
            self.readers.sort(key=set(asked).__contains__)
            shares = [room * (place + 1) // len(asked) - room * place // len(asked) for place in range(len(asked))]
            polls = [each.poll(share, acks_of.pop(each.router, ())) for each, share in zip(asked, shares, strict=True)]
            taken = self._server.read_together(*polls, *([_acknowledge(acks_of)] if acks_of else ()))
            acks_of = {}
            found = self._separated([*found, *chain(*taken)])
            waiting += [each for each, share, some in zip(asked, shares, taken, strict=False) if len(some) >= share]
        return found

    def _separated(self, found: list[Entry]) -> list[Entry]:
        """Keep only one of *found* if it was delivered before, so that a crash counts only against it; requeue the
        others."""
        most, held = self._max_deliveries, self._qos.messages
        fresh = [each for each in found if each.missed is None and each.earlier < most and each.tag not in held]
        first = next((each for each in fresh if each.earlier > 0), None)
        self._is_careful = first is not None
        others = {each.tag for each in fresh if first is not None and each is not first}
        self._rejecter.requeue(list(others), counted=False)
        return [each for each in found if each.tag not in others]

    def resynchronize(self) -> None:
        """Resynchronize before the next take: a reply was lost, so the server may have leased messages to us
        that we never saw."""
        self._has_orphans = True
        self.forget_positions()

    # ------------------------------------------------------------ wait

    @property
    def positions(self) -> dict[str, str]:
        """Streams to wait for with the last entry id seen. Empty if messages may be available already."""
        found = [reader.positions for reader in self.readers]
        return {stream: entry for each in found for stream, entry in each.items()} if all(found) else {}

    @property
    def seconds_until_due(self) -> float:
        """Seconds until timed work is due."""
        return min(reader.maintenance.seconds_until_due for reader in self.readers)

    def notify(self, streams: Collection[str]) -> None:
        """Record that *streams* have new entries, for the next take."""
        for reader in self.readers:
            reader.notify(streams)

    def forget_positions(self) -> None:
        """Make the next take read all streams."""
        for reader in self.readers:
            reader.forget_positions()

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


def _acknowledge(acks: Mapping[Router, Sequence[str]]) -> Reading[list[Entry]]:
    none_refused((yield [ack_call(router.consumer_name, tags) for router, tags in acks.items()]))
    return []
