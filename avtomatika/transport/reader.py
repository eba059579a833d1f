"""Taking entries out of queues: the next batch, what nobody renewed, what a fanout brought."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from time import monotonic

from .entries import Entry, read_entries
from .expiry import Expiry
from .fanout import FanoutReader
from .keys import parse_tag
from .maintenance import Maintenance
from .qos import ack_call, by_stream, entry_lists
from .redis_client import RedisClient
from .routing import Router
from .scripts import TAKE, Argument, Call
from .subscriptions import Subscriptions

#: With so many streams a take costs no more than sending acknowledgements does: it is tried without waiting for news.
_FEW = 16


class Reader:
    """Takes from *watched* queues, higher levels first. For one thread."""

    def __init__(
        self, server: RedisClient, router: Router, expiry: Expiry, *, watched: Subscriptions, caretaker: Maintenance
    ) -> None:
        self._server = server
        self._router = router
        self._keys = router.keys
        self._expiry = expiry
        self._watched = watched
        self.caretaker = caretaker
        self._listener = FanoutReader(server, router.keys)
        #: Stream -> an id up to which all of it was given out, to anybody. Empty until that is known of all of them.
        self._seen: dict[str, str] = {}
        #: Streams that have something new; None: any of them may.
        self._news: set[str] | None = None

    def watch(self, queues: Iterable[str]) -> None:
        """Read *queues* from now on."""
        self._watched.replace(queues)
        self._forget_seen()

    # ------------------------------------------------------------ take

    def poll(self, credit: int, acks: Sequence[str]) -> list[Entry]:
        """Send *acks* and take what there is, *credit* at most; never waits.

        Where nothing was left the last time, and no news came since, the server is not asked.
        """
        now = monotonic()
        self.caretaker.tidy(now)
        if credit > 0 and self.caretaker.is_sweep_due(now):
            if self._watched.has_foreign:  # somebody may have put it right
                self._watched.find_foreign()
                self._forget_seen()
            swept = self.caretaker.sweep(now, acks)
            self.look_everywhere()  # whatever may have slipped by is found now
            if swept:
                return swept
            acks = ()
        if acks and len(self._watched.streams) <= _FEW:
            self.look_everywhere()
        if self._news is None or self._news:
            return self._take(credit, acks)
        self._acknowledge(acks)
        return []

    def _take(self, credit: int, acks: Sequence[str]) -> list[Entry]:
        news, self._news = self._news, None
        heard = self._listen(credit, news)
        if news is None:
            streams, queues = self._watched.streams, list(self._watched.traits)
        else:
            streams = [pair for pair in self._watched.streams if pair[0] in news]
            queues = list({queue for _, queue in streams})
        if not queues:
            self._acknowledge(acks)
            return heard
        answer = self._server.run(self._take_call(streams, queues, credit, acks))
        match answer[0]:
            case b"TRAITS":
                if news is None:
                    self._learn([traits.decode() for traits in answer[1:]])
                return heard or self._take(credit, ())
            case b"EMPTY":
                if news is None:
                    self._seen = {self._keys.bell(): answer[1].decode()}
                self._seen |= {stream: last.decode() for (stream, _), last in zip(streams, answer[2:], strict=True)}
                if not heard:
                    self._news = set()
                return heard
        taken = read_entries(streams, answer[1:])
        if answer[0] == b"MORE":
            self._watched.rotate()
        elif self._seen:
            self._seen |= dict(parse_tag(entry.tag) for entry in taken)
            if not heard:
                self._news = set()
        return heard + taken

    def _listen(self, credit: int, news: Collection[str] | None) -> list[Entry]:
        if not self._listener.has_any(news):
            return []
        answers = self._server.run_each(list(self._listener.calls(credit)))
        return [Entry(*fields) for fields in self._listener.read(answers)]

    def _take_call(
        self, streams: Sequence[tuple[str, str]], queues: Sequence[str], credit: int, acks: Sequence[str]
    ) -> Call:
        keys = [self._keys.queues(), self._keys.revoked(), self._keys.bell(), *[stream for stream, _ in streams]]
        args: list[Argument] = [self._router.consumer_name, credit, len(streams), len(queues)]
        args += queues
        args += [self._watched.traits[queue] for queue in queues]
        if acks:
            acknowledged = by_stream(acks)
            keys += acknowledged
            args += entry_lists(acknowledged)
        return Call(TAKE, keys, args)

    def _acknowledge(self, acks: Sequence[str]) -> None:
        if acks:
            self._server.run(ack_call(self._router.consumer_name, acks))

    def _learn(self, traits: list[str]) -> None:
        """Levels, delays or fanouts that are new."""
        self._watched.learn(traits)
        self.caretaker.look_for_delays()
        self._forget_seen()
        self._expiry.use(self.expiring)
        self._listener.attach(self._watched.having("f"))

    def can_go_on_after(self, error: BaseException) -> bool:
        """Whether *error* came from a queue whose key holds something foreign: that queue is left out from now on."""
        can = self._watched.can_go_on_after(error)
        if can:
            self._forget_seen()
        return can

    @property
    def expiring(self) -> list[str]:
        """Queues that go when nobody says any more that they are in use."""
        return self._watched.having("e")

    # ------------------------------------------------------------ wait

    @property
    def places(self) -> dict[str, str]:
        """Streams to wait for, and the last id of each that was seen. Empty: there may be more already."""
        if self._news is None or self._news:
            return {}
        return self._seen | self._listener.positions

    def hear(self, streams: Collection[str]) -> None:
        """*streams* have something new: the next take goes there."""
        if self._keys.bell() in streams:
            self.caretaker.look_for_delays()
            self.look_everywhere()
        elif self._news is not None:
            self._news.update(streams)

    def _forget_seen(self) -> None:
        self._seen = {}
        self.look_everywhere()

    def look_everywhere(self) -> None:
        """Have the next take ask for everything, whatever is known."""
        self._news = None

    @property
    def patience(self) -> float:
        """Seconds until something is to be done by the clock."""
        return self.caretaker.patience
