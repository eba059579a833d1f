"""Waiting for new entries without blocking: XREAD returns when a stream has some, or times out."""

from collections.abc import Callable, Mapping, Sequence
from math import inf
from selectors import EVENT_READ, DefaultSelector
from time import monotonic

from redis.exceptions import ConnectionError, ResponseError

from avtomatika.transport.connection.exchange import pack
from avtomatika.transport.connection.pool import Pool
from avtomatika.transport.connection.redis_client import RedisClient
from avtomatika.transport.errors import CONNECTION_ERRORS, is_wrong_type
from avtomatika.transport.keys import is_after
from avtomatika.transport.scripts import Argument


class BlockingReads:
    """Reads of streams, one for each slot of a cluster, since a command has keys of one slot, and otherwise one for
    all. *opened* and *closing* are called with each read that has a connection of its own."""

    def __init__(
        self,
        server: RedisClient,
        timeout_seconds: float,
        *,
        opened: Callable[["BlockingRead"], object],
        closing: Callable[["BlockingRead"], object],
    ) -> None:
        self._server = server
        self._timeout_seconds = timeout_seconds
        self._opened = opened
        self._closing = closing
        #: Prefix of the keys -> read.
        self._reads: dict[str, BlockingRead] = {}

    def begin(self, positions: Mapping[str, str]) -> None:
        """Read entries after *positions*, stream -> id, unless these streams are being read. Raises ConnectionError if
        a read is overdue."""
        for prefix, some in self._server.by_slot(positions).items():
            read = self._reads.get(prefix)
            if read is not None and read.streams and read.streams != some.keys():  # it would miss new streams
                self._close(prefix)
                read = None
            if read is None:
                read = self._reads[prefix] = BlockingRead(self._server.pool_of(prefix), self._timeout_seconds)
                self._opened(read)
            if not read.streams:
                read.begin(some)

    def finish(self, read: "BlockingRead", positions: Mapping[str, str]) -> set[str]:
        """Return the streams with entries after *positions*. Raises ConnectionError if *read* failed."""
        [prefix] = [prefix for prefix, each in self._reads.items() if each is read]
        if not read.streams:  # the server has closed an idle connection
            self._close(prefix)
            return set()
        try:
            news = read.finish()
        except CONNECTION_ERRORS as error:
            self._close(prefix, error)
            raise
        return {stream for stream, entry in news.items() if is_after(entry, positions.get(stream, "0-0"))}

    def check(self) -> None:
        """Raise ConnectionError for an overdue read."""
        for prefix, read in self._reads.items():
            if monotonic() > read.deadline:
                error = ConnectionError("the server does not answer")
                self._close(prefix, error)
                raise error

    def close(self) -> None:
        for prefix in list(self._reads):
            self._close(prefix)

    def _close(self, prefix: str, error: Exception | None = None) -> None:
        read = self._reads.pop(prefix)
        self._closing(read)
        read.close(error)


class SlotWait:
    """Waits for new entries of streams in several slots of a cluster."""

    def __init__(self, server: RedisClient, timeout_seconds: float) -> None:
        selector = self._selector = DefaultSelector()
        self._reads = BlockingReads(
            server,
            timeout_seconds,
            opened=lambda read: selector.register(read.fileno, EVENT_READ, read),
            closing=lambda read: selector.unregister(read.fileno),
        )

    def wait(self, positions: Mapping[str, str], seconds: float) -> set[str]:
        """Return the streams that receive entries after *positions* within *seconds*; it may return earlier."""
        self._reads.begin(positions)
        found: set[str] = set()
        for key, _ in self._selector.select(seconds):
            found |= self._reads.finish(key.data, positions)
        self._reads.check()
        return found

    def close(self) -> None:
        self._reads.close()
        self._selector.close()


class BlockingRead:
    """A connection for XREAD."""

    def __init__(self, pool: Pool, timeout_seconds: float) -> None:
        self._timeout_seconds = timeout_seconds
        self._block_ms = max(round(timeout_seconds * 500), 1)
        self._pool = pool
        self._connection = pool.acquire()
        self.fileno: int = self._connection._sock.fileno()
        #: Streams of the current read; empty between reads.
        self.streams: frozenset[str] = frozenset()
        self.deadline = inf

    def begin(self, positions: Mapping[str, str]) -> None:
        words: Sequence[Argument] = (
            "XREAD",
            "COUNT",
            1,
            "BLOCK",
            self._block_ms,
            "STREAMS",
            *positions,
            *positions.values(),
        )
        self._connection.send_packed_command([pack(words)], check_health=False)
        self.streams = frozenset(positions)
        self.deadline = monotonic() + self._block_ms / 1000 + self._timeout_seconds

    def finish(self) -> dict[str, str]:
        """Return each stream's first new entry id, or "" for all streams if one of their keys holds an
        unexpected type."""
        streams, self.streams, self.deadline = self.streams, frozenset(), inf
        try:
            answer = self._connection.read_response()
        except ResponseError as error:
            if is_wrong_type(error):
                return dict.fromkeys(streams, "")
            raise ConnectionError(f"the server has ended a read: {error}") from error
        news = answer.items() if isinstance(answer, dict) else answer or ()
        return {stream.decode(): entries[0][0].decode() for stream, entries in news}

    def close(self, error: Exception | None = None) -> None:
        """Close the connection; *error* is that of a failed read."""
        if error is None:
            self._pool.discard(self._connection)
        else:
            refusal = error.__cause__
            self._pool.fail(self._connection, refusal if isinstance(refusal, ResponseError) else None)
