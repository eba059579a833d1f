"""Taking entries from queues: new ones, ones with expired leases, and fanout entries."""

from collections.abc import Collection, Iterable, Sequence
from time import monotonic

from avtomatika.transport.connection.redis_client import Reading, RedisClient, none_refused
from avtomatika.transport.declaring.expiry import Expiry
from avtomatika.transport.keys import parse_tag
from avtomatika.transport.leases.maintenance import Maintenance
from avtomatika.transport.publishing.routing import Router
from avtomatika.transport.scripts import TAKE, TAKE_IN_TURNS, Argument, Call

from .fanout import FanoutReader
from .message import Entry, read_entries
from .qos import ack_call, by_stream, entry_lists
from .subscriptions import Subscriptions

#: With at most this many streams a take costs no more than sending acknowledgements, so both are done at once.
_FEW_STREAMS = 16


class Reader:
    """Takes from the subscribed queues in one shard, higher priorities first. Not thread-safe."""

    def __init__(
        self,
        server: RedisClient,
        router: Router,
        expiry: Expiry,
        *,
        subscriptions: Subscriptions,
        maintenance: Maintenance,
    ) -> None:
        #: The router of its shard.
        self.router = router
        self._keys = router.keys
        self._expiry = expiry
        self._subscriptions = subscriptions
        self.maintenance = maintenance
        self._fanout_reader = FanoutReader(server, router.keys)
        #: Stream -> id up to which all entries were delivered to some consumer. Empty until known for all streams.
        self._last_seen: dict[str, str] = {}
        #: Streams with new entries; None if any stream may have some.
        self._changed_streams: set[str] | None = None

    def subscribe(self, queues: Iterable[str]) -> None:
        """Read *queues* from now on."""
        self._subscriptions.replace(queues)
        self._forget_last_seen()

    # ------------------------------------------------------------ take

    def poll(self, credit: int, acks: Sequence[str]) -> Reading[list[Entry]]:
        """Send *acks* and take up to *credit* entries without waiting.

        The server is not asked if the last take left nothing and no new entries were reported since.
        """
        now = monotonic()
        self.maintenance.run_due(now)
        if self.maintenance.has_tokens(now):
            self.forget_positions()
        if credit > 0 and self.maintenance.is_reclaim_due(now):
            if self._subscriptions.has_wrong_type:  # the keys may have been repaired
                self._subscriptions.check_types()
                self._forget_last_seen()
            swept = self.maintenance.reclaim(now, acks)
            self.forget_positions()  # entries that were missed are found now
            if swept:
                return swept
            acks = ()
        if acks and len(self._subscriptions.streams) <= _FEW_STREAMS:
            self.forget_positions()
        if self._may_have_entries:
            return (yield from self._take(credit, acks))
        yield from self._acknowledge(acks)
        return []

    @property
    def is_due(self) -> bool:
        """Return whether :meth:`poll` would ask the server for entries."""
        return self._may_have_entries or self.maintenance.seconds_until_due == 0

    @property
    def _may_have_entries(self) -> bool:
        return self._changed_streams is None or bool(self._changed_streams)

    def _take(self, credit: int, acks: Sequence[str]) -> Reading[list[Entry]]:
        changed, self._changed_streams = self._changed_streams, None
        from_fanouts = (yield from self._read_fanouts(credit)) if self._fanout_reader.has_any(changed) else []
        if changed is None:
            streams, queues = self._subscriptions.streams, list(self._subscriptions.traits)
        else:
            queues = list({queue for stream, queue in self._subscriptions.streams if stream in changed})
            in_turns = {queue for queue in queues if "w" in self._subscriptions.traits[queue]}
            pairs = self._subscriptions.streams
            streams = [pair for pair in pairs if pair[0] in changed or pair[1] in in_turns]
        if not queues:
            yield from self._acknowledge(acks)
            return from_fanouts
        [answer] = none_refused((yield [self._take_call(streams, queues, credit, acks)]))
        while answer == [b"MORE"]:  # in a queue in turns, a call looks at a limited number of messages
            [answer] = none_refused((yield [self._take_call(streams, queues, credit, ())]))
        match answer[0]:
            case b"TRAITS":
                if changed is None:
                    self._update_traits([traits.decode() for traits in answer[1:]])
                return from_fanouts or (yield from self._take(credit, ()))
            case b"EMPTY":
                self.maintenance.expect_tokens(answer[1])
                if changed is None:
                    self._last_seen = {self._keys.bell: answer[2].decode()}
                self._last_seen |= {
                    stream: last.decode() for (stream, _), last in zip(streams, answer[3:], strict=True)
                }
                if not from_fanouts:
                    self._changed_streams = set()
                return from_fanouts
        taken = read_entries(streams, answer[1:])
        if answer[0] == b"MORE":
            self._subscriptions.rotate()
        elif self._last_seen:
            self._last_seen |= dict(parse_tag(entry.tag) for entry in taken)
            if not from_fanouts:
                self._changed_streams = set()
        return from_fanouts + taken

    def _read_fanouts(self, credit: int) -> Reading[list[Entry]]:
        answers = none_refused((yield list(self._fanout_reader.calls(credit))))
        return [Entry(*fields) for fields in self._fanout_reader.read(answers)]

    def _take_call(
        self, streams: Sequence[tuple[str, str]], queues: Sequence[str], credit: int, acks: Sequence[str]
    ) -> Call:
        keys = [self._keys.queues, self._keys.revoked, self._keys.bell, *[stream for stream, _ in streams]]
        args: list[Argument] = [self.router.consumer_name, credit, len(streams), len(queues)]
        args += (self.maintenance.aging_ms, *queues)
        args += [self._subscriptions.traits[queue] for queue in queues]
        if acks:
            acknowledged = by_stream(acks)
            keys += acknowledged
            args += entry_lists(acknowledged)
        is_in_turns = any("w" in self._subscriptions.traits[queue] for queue in queues)
        return Call(TAKE_IN_TURNS if is_in_turns else TAKE, keys, args)

    def _acknowledge(self, acks: Sequence[str]) -> Reading[None]:
        if acks:
            none_refused((yield [ack_call(self.router.consumer_name, acks)]))

    def _update_traits(self, traits: list[str]) -> None:
        """Handle new priorities, delays or fanouts of queues."""
        self._subscriptions.update_traits(traits)
        self.maintenance.check_delays()
        self._forget_last_seen()
        self._expiry.touch(self.expiring)
        self._fanout_reader.attach(self._subscriptions.with_trait("f"))

    def exclude_failing(self, error: BaseException) -> bool:
        """Exclude the queues whose keys hold an unexpected type; False if *error* has another cause."""
        can = self._subscriptions.exclude_failing(error)
        if can:
            self._forget_last_seen()
        return can

    @property
    def expiring(self) -> list[str]:
        """Queues that expire unless they are used."""
        return self._subscriptions.with_trait("e")

    # ------------------------------------------------------------ wait

    @property
    def positions(self) -> dict[str, str]:
        """Streams to wait for with the last entry id seen. Empty if messages may be available already."""
        if self._may_have_entries:
            return {}
        return self._last_seen | self._fanout_reader.positions

    def notify(self, streams: Collection[str]) -> None:
        """Record that *streams* have new entries, for the next take."""
        if self._keys.bell in streams:
            self.maintenance.check_delays()
            self.forget_positions()
        elif self._changed_streams is not None:
            self._changed_streams.update(each for each in streams if each.startswith(self._keys.prefix))

    def _forget_last_seen(self) -> None:
        self._last_seen = {}
        self.forget_positions()

    def forget_positions(self) -> None:
        """Make the next take read all streams."""
        self._changed_streams = None
