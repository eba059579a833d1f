"""The server's clock, which alone decides deadlines and retention: clocks of hosts may be wrong."""

from datetime import UTC, datetime
from time import monotonic

from avtomatika.transport import RedisClient

from .scripts import read_all

#: Interval of reading the server's clock; in between, the host's monotonic clock advances it.
_ASK_EVERY_SECONDS = 10.0


class ServerClock:
    """Thread-safe."""

    def __init__(self, server: RedisClient) -> None:
        self._server = server
        #: The server's clock in milliseconds, and the monotonic clock at that moment in seconds.
        self._read: tuple[int, float] | None = None

    def now_ms(self) -> int:
        """Milliseconds since the epoch. Raises UnavailableError if the server must be read and does not answer."""
        read = self._read
        if read is None or monotonic() - read[1] >= _ASK_EVERY_SECONDS:
            [(seconds, microseconds)] = read_all(self._server, [("TIME",)])
            read = self._read = int(seconds) * 1000 + int(microseconds) // 1000, monotonic()
        return read[0] + round((monotonic() - read[1]) * 1000)

    def now(self) -> datetime:
        """Return the time in UTC."""
        return datetime.fromtimestamp(self.now_ms() / 1000, UTC)
