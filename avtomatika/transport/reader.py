"""Taking entries out of queues: the next batch, what nobody renewed, what became due, what a fanout brought."""

from __future__ import annotations

from collections.abc import Container, Iterable, Sequence
from time import monotonic
from typing import Any, NamedTuple

from redis.exceptions import ResponseError

from .held import BATCH, by_stream, entry_lists
from .keys import GROUP, make_tag
from .listener import Listener
from .routing import Router
from .scripts import ACK, CLEAN, DECLARE, DUE, REQUEUE, SWEEP, TAKE, Argument, Call
from .server import Server

#: A sweep this long after the last one tells that the server, or everybody, was away.
DOWNTIME_SECONDS = 10.0
#: How often delays are looked at, at least, where there are any.
_DUE_SECONDS = 1.0
_DUE_BATCH = 500
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
        self, server: Server, router: Router, *, lease_seconds: float, sweep_seconds: float, max_deliveries: int
    ) -> None:
        self._server = server
        self._router = router
        self._keys = router.keys
        self._lease_ms = round(lease_seconds * 1000)
        self._sweep_seconds = sweep_seconds
        self._max_deliveries = max_deliveries
        self._listener = Listener(server, router.keys)
        self._queues: list[str] = []
        self._traits: list[str] = []
        self._streams: list[tuple[str, str]] = []
        self._cursors: dict[str, str] = {}
        self._seen: list[str] = []
        self._sweep_at = self._due_at = 0.0
        self._clean_at = monotonic() + _CLEAN_SECONDS

    def watch(self, queues: Iterable[str]) -> None:
        """Read *queues* from now on."""
        self._queues = list(dict.fromkeys(queues))
        self._traits = [""] * len(self._queues)
        self._lay_out()

    # ------------------------------------------------------------ take

    def poll(self, credit: int, acks: Sequence[str]) -> list[Entry]:
        """Send *acks* and take what there is, *credit* at most; never waits."""
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
        return self._take(credit, acks)

    def _take(self, credit: int, acks: Sequence[str]) -> list[Entry]:
        call = self._take_call(credit, acks)
        if self._listener.places:
            answer, *heard = self._server.run_each([call, *self._listener.calls(credit)])
            entries = [Entry(*fields) for fields in self._listener.read(heard)]
        else:
            answer, entries = self._server.run(call), []
        match answer[0]:
            case b"TRAITS":
                self._learn([traits.decode() for traits in answer[1:]])
                return entries or self._take(credit, ())
            case b"EMPTY":
                seen = [place.decode() for place in answer[1:]]
                if self._seen and self._seen[0] != seen[0]:  # the bell: perhaps for a delay that ends before all others
                    self._due_at = 0.0
                self._seen = seen
            case _:
                streams = self._streams
                for at in range(1, len(answer), 4):
                    stream, queue = streams[answer[at] - 1]
                    entries.append(
                        Entry(queue, make_tag(stream, answer[at + 1].decode()), answer[at + 2], answer[at + 3])
                    )
                if len(entries) >= credit and len(self._queues) > 1:
                    self._rotate()
        return entries

    def _take_call(self, credit: int, acks: Sequence[str]) -> Call:
        keys = [self._keys.queues(), self._keys.revoked(), self._keys.bell(), *[stream for stream, _ in self._streams]]
        args: list[Argument] = [self._router.consumer_name, credit, len(self._streams), len(self._queues)]
        args += self._queues
        args += self._traits
        if acks:
            acknowledged = by_stream(acks)
            keys += acknowledged
            args += entry_lists(acknowledged)
        return Call(TAKE, keys, args)

    def _learn(self, traits: list[str]) -> None:
        """Levels, delays or fanouts that are new; a queue that the server has lost is declared again."""
        lost = [queue for queue, known in zip(self._queues, traits, strict=True) if not known]
        if lost:
            keys = [self._keys.exchanges(), self._keys.queues(), self._keys.bell()]
            self._server.run(Call(DECLARE, keys, [0, len(lost), *lost]))
        self._traits = [known or "0" for known in traits]
        self._due_at = 0.0
        self._listener.attach(queue for queue, known in zip(self._queues, traits, strict=True) if "f" in known)
        self._lay_out()

    def _rotate(self) -> None:
        """Queues that come first on a level take turns."""
        self._queues.append(self._queues.pop(0))
        self._traits.append(self._traits.pop(0))
        self._lay_out()

    def _lay_out(self) -> None:
        self._streams = [
            (self._keys.stream(queue, level), queue)
            for level in "9876543210"
            for queue, traits in zip(self._queues, self._traits, strict=True)
            if level in traits
        ]
        self._seen = []

    # ------------------------------------------------------------ by the clock

    def _sweep(self, now: float, acks: Sequence[str]) -> list[Entry]:
        streams = [stream for stream, _ in self._streams]
        cursors = [self._cursors.get(stream, "0-0") for stream in streams]
        keys = [self._keys.beat(), self._keys.revoked(), *streams]
        limits = [self._lease_ms, round(DOWNTIME_SECONDS * 1000), self._max_deliveries]
        name = self._router.consumer_name
        acknowledged = by_stream(acks)
        calls = [Call(ACK, list(acknowledged), [name, *entry_lists(acknowledged)])] if acks else []
        *_, answer = self._server.run_each([*calls, Call(SWEEP, keys, [name, *limits, *cursors])])
        self._cursors = {stream: answer[1 + place].decode() for place, stream in enumerate(streams)}
        self._sweep_at = now if answer[0] else now + self._sweep_seconds
        swept = []
        for at in range(1 + len(streams), len(answer), 4):
            stream, queue = self._streams[answer[at] - 1]
            swept.append(Entry(queue, make_tag(stream, answer[at + 1].decode()), answer[at + 2], answer[at + 3]))
        return swept

    def _move_delayed(self, now: float) -> None:
        keys: list[str] = []
        levels: list[str] = []
        for queue, traits in zip(self._queues, self._traits, strict=True):
            if "d" in traits:
                levels.append("".join(trait for trait in traits if trait.isdigit()))
                keys += (self._keys.delays(queue), self._keys.delayed(queue))
                keys += (self._keys.stream(queue, level) for level in levels[-1])
        wait_ms = self._server.run(Call(DUE, keys, [_DUE_BATCH, *levels])) if levels else -1
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

    # ------------------------------------------------------------ wait

    @property
    def places(self) -> dict[str, str]:
        """Streams to wait for, and the last id of each that was seen. Empty: look again at once."""
        if not self._seen:
            return {}
        keys = [self._keys.bell(), *[stream for stream, _ in self._streams]]
        return dict(zip(keys, self._seen, strict=True)) | self._listener.positions

    @property
    def patience(self) -> float:
        """Seconds until something is to be done by the clock."""
        return max(min(self._sweep_at, self._due_at) - monotonic(), 0.0)
