"""Taking entries out of queues: the next batch, what nobody renewed, what became due, what a fanout brought."""

from __future__ import annotations

import logging
from collections.abc import Collection, Container, Iterable, Sequence
from math import inf
from time import monotonic
from typing import Any, NamedTuple

from redis.exceptions import ResponseError

from .errors import is_foreign
from .expiry import Expiry
from .held import BATCH, by_stream, entry_lists
from .keys import GROUP, make_tag, parse_tag
from .listener import Listener
from .routing import Router
from .scripts import ACK, CLEAN, DECLARE, DUE, REQUEUE, SWEEP, TAKE, Argument, Call
from .server import Server

logger = logging.getLogger(__name__)

#: How often delays are looked at, at least, where there are any.
_DUE_SECONDS = 1.0
_DUE_BATCH = 500
#: With so many streams a take costs no more than sending acknowledgements does: it is tried without waiting for news.
_FEW = 16
#: How often consumers that are gone are looked for, and how long one must have been silent.
_CLEAN_SECONDS = 600.0
_SILENT_SECONDS = 3600.0


class Entry(NamedTuple):
    """What was taken; *missed* is None unless it came by a fanout, which nobody acknowledges."""

    queue: str
    tag: str
    payload: bytes
    earlier: int
    missed: int | None = None


class Reader:
    """Takes from *queues*, higher levels first. For one thread."""

    def __init__(
        self,
        server: Server,
        router: Router,
        expiry: Expiry,
        *,
        lease_seconds: float,
        sweep_seconds: float,
        max_deliveries: int,
    ) -> None:
        self._server = server
        self._router = router
        self._keys = router.keys
        self._expiry = expiry
        self._lease_ms = round(lease_seconds * 1000)
        self._sweep_seconds = sweep_seconds
        self._max_deliveries = max_deliveries
        self._listener = Listener(server, router.keys)
        #: Queue -> its traits as known, in the order in which they are read.
        self._traits: dict[str, str] = {}
        self._streams: list[tuple[str, str]] = []
        #: Keys of ours that hold something else than a stream.
        self._foreign: set[str] = set()
        self._cursors: dict[str, str] = {}
        #: Stream -> an id up to which all of it was given out, to anybody. Empty until that is known of all of them.
        self._seen: dict[str, str] = {}
        #: Streams that have something new; None: any of them may.
        self._news: set[str] | None = None
        self._sweep_at = self._due_at = 0.0
        self._clean_at = monotonic() + _CLEAN_SECONDS

    def watch(self, queues: Iterable[str]) -> None:
        """Read *queues* from now on."""
        self._traits = dict.fromkeys(queues, "")
        self._forget_seen()
        self._lay_out()

    # ------------------------------------------------------------ take

    def poll(self, credit: int, acks: Sequence[str]) -> list[Entry]:
        """Send *acks* and take what there is, *credit* at most; never waits.

        Where nothing was left the last time, and no news came since, the server is not asked.
        """
        now = monotonic()
        if now >= self._due_at:
            self._move_delayed(now)
        if now >= self._clean_at:
            self._clean_at = now + _CLEAN_SECONDS
            self.clean()
        if now >= self._sweep_at and credit > 0:
            swept = self._sweep(now, acks)
            if swept:
                return swept
            acks = ()
        if acks and len(self._streams) <= _FEW:
            self.look_everywhere()
        if self._news is None or self._news:
            return self._take(credit, acks)
        self._acknowledge(acks)
        return []

    def _take(self, credit: int, acks: Sequence[str]) -> list[Entry]:
        news, self._news = self._news, None
        heard = self._listen(credit, news)
        if news is None:
            streams, queues = self._streams, list(self._traits)
        else:
            streams = [pair for pair in self._streams if pair[0] in news]
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
        taken = _entries(streams, answer[1:])
        self._note_taken(taken, credit, is_all=not heard)
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
        args += [self._traits[queue] for queue in queues]
        if acks:
            acknowledged = by_stream(acks)
            keys += acknowledged
            args += entry_lists(acknowledged)
        return Call(TAKE, keys, args)

    def _note_taken(self, taken: Sequence[Entry], credit: int, *, is_all: bool) -> None:
        """Less than was asked for: nothing is left. But an entry delivered before came alone, whatever is behind it."""
        if len(taken) >= credit:
            self._rotate()
        elif self._seen and not taken[-1].earlier:
            self._seen |= dict(parse_tag(entry.tag) for entry in taken)
            if is_all:
                self._news = set()

    def _acknowledge(self, acks: Sequence[str]) -> None:
        if acks:
            self._server.run(self._ack_call(acks))

    def _ack_call(self, acks: Sequence[str]) -> Call:
        acknowledged = by_stream(acks)
        return Call(ACK, list(acknowledged), [self._router.consumer_name, *entry_lists(acknowledged)])

    def _learn(self, traits: list[str]) -> None:
        """Levels, delays or fanouts that are new; a queue that the server has lost is declared again."""
        found = dict(zip(self._traits, traits, strict=True))
        lost = [queue for queue, known in found.items() if not known]
        if lost:
            keys = [self._keys.exchanges(), self._keys.queues(), self._keys.bell()]
            self._server.run(Call(DECLARE, keys, [0, len(lost), *lost]))
        self._traits = {queue: known or "0" for queue, known in found.items()}
        self._due_at = 0.0
        self._forget_seen()
        self._expiry.use(self.expiring)
        self._listener.attach(queue for queue, known in found.items() if "f" in known)
        self._lay_out()

    def _rotate(self) -> None:
        """Queues that come first on a level take turns."""
        if len(self._traits) > 1:
            first = next(iter(self._traits))
            self._traits[first] = self._traits.pop(first)
            self._lay_out()

    def _lay_out(self) -> None:
        self._streams = [
            (self._keys.stream(queue, level), queue)
            for level in "9876543210"
            for queue, traits in self._traits.items()
            if level in traits and self._keys.stream(queue, level) not in self._foreign
        ]

    def can_go_on_after(self, error: BaseException) -> bool:
        """Whether *error* came from a queue whose key holds something foreign: that queue is left out from now on."""
        if not (isinstance(error, ResponseError) and is_foreign(error)):
            return False
        known = self._foreign
        self._find_foreign()
        return self._foreign != known

    def _find_foreign(self) -> None:
        known, self._foreign = self._foreign, set()
        self._lay_out()
        types = self._server.execute_all([("TYPE", stream) for stream, _ in self._streams])
        for (stream, queue), kind in zip(self._streams, types, strict=True):
            if kind not in (b"stream", b"none"):
                self._foreign.add(stream)
                if stream not in known:
                    logger.error("queue %s is left out: its key %r holds a %s", queue, stream, kind.decode())
        self._forget_seen()
        self._lay_out()

    # ------------------------------------------------------------ by the clock

    def _sweep(self, now: float, acks: Sequence[str]) -> list[Entry]:
        if self._foreign:  # somebody may have put it right
            self._find_foreign()
        streams = [stream for stream, _ in self._streams]
        cursors = [self._cursors.get(stream, "0-0") for stream in streams]
        keys = [self._keys.beat(), self._keys.revoked(), *streams]
        limits = [self._lease_ms, self._max_deliveries]
        sweep = Call(SWEEP, keys, [self._router.consumer_name, *limits, *cursors])
        calls = [self._expiry.expired, sweep]
        *_, expired, answer = self._server.run_each([self._ack_call(acks), *calls] if acks else calls)
        self._expiry.remove(expired)
        self.look_everywhere()  # whatever may have slipped by is found now
        self._cursors = {stream: answer[1 + place].decode() for place, stream in enumerate(streams)}
        self._sweep_at = now if answer[0] else now + self._sweep_seconds
        return _entries(self._streams, answer[1 + len(streams) :])

    def _move_delayed(self, now: float) -> None:
        keys: list[str] = []
        levels: list[str] = []
        for queue, traits in self._traits.items():
            if "d" in traits:
                streams = {level: self._keys.stream(queue, level) for level in traits if level.isdigit()}
                levels.append("".join(level for level, stream in streams.items() if stream not in self._foreign))
                keys += (self._keys.delays(queue), self._keys.delayed(queue))
                keys += (streams[level] for level in levels[-1])
        if not levels:  # until the bell tells of a queue that has delays
            self._due_at = inf
            return
        wait_ms = self._server.run(Call(DUE, keys, [_DUE_BATCH, *levels]))
        self._due_at = now + (min(wait_ms / 1000, _DUE_SECONDS) if wait_ms >= 0 else _DUE_SECONDS)

    def clean(self, leaving: str = "") -> None:
        """Remove consumers that hold nothing: *leaving*, and those that were silent for an hour."""
        streams = [stream for stream, _ in self._streams]
        self._server.run(Call(CLEAN, streams, [leaving, round(_SILENT_SECONDS * 1000)]))

    def hand_back_strays(self, held: Container[str]) -> None:
        """Put back what a lost answer left in our name: what is pending and not *held*. It counts no delivery."""
        name = self._router.consumer_name
        streams = [stream for stream, _ in self._streams]
        commands = [("XPENDING", stream, GROUP, "-", "+", 2 * BATCH, name) for stream in streams]
        found: list[Any] = self._server.pipeline(commands)
        strays = [
            (stream, entry[0].decode())
            for stream, pending in zip(streams, found, strict=True)
            if not isinstance(pending, ResponseError)
            for entry in pending
            if make_tag(stream, entry[0].decode()) not in held
        ]
        if strays:
            self._server.run(
                Call(REQUEUE, [stream for stream, _ in strays], [name, 0, *[entry for _, entry in strays]])
            )

    @property
    def expiring(self) -> list[str]:
        """Queues that go when nobody says any more that they are in use."""
        return [queue for queue, traits in self._traits.copy().items() if "e" in traits]

    # ------------------------------------------------------------ wait

    @property
    def places(self) -> dict[str, str]:
        """Streams to wait for, and the last id of each that was seen. Empty: there may be more already."""
        if self._news is None or self._news:
            return {}
        return self._seen | self._listener.positions

    def hear(self, streams: Collection[str]) -> None:
        """*streams* have something new: the next take goes there."""
        if self._keys.bell() in streams:  # perhaps for a delay that ends before all others
            self._due_at = 0.0
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
        return max(min(self._sweep_at, self._due_at) - monotonic(), 0.0)


def _entries(streams: Sequence[tuple[str, str]], answer: Sequence[Any]) -> list[Entry]:
    """What scripts answer as (place of the stream from 1, id, payload, earlier deliveries)."""
    found = []
    for at in range(0, len(answer), 4):
        stream, queue = streams[answer[at] - 1]
        found.append(Entry(queue, make_tag(stream, answer[at + 1].decode()), answer[at + 2], answer[at + 3]))
    return found
