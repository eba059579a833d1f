"""The server's clock, which alone decides deadlines and retention: clocks of hosts may be wrong."""

from datetime import UTC, datetime
from time import monotonic

from avtomatika.transport import RedisClient

from .server_part import ServerPart

#: Interval of reading the server's clock; in between, the host's monotonic clock advances it.
_ASK_EVERY_SECONDS = 10.0


class ServerClock(ServerPart):
    """Thread-safe."""

    def __init__(self, server: RedisClient) -> None:
        super().__init__(server)
        #: The server's clock in milliseconds, and the monotonic clock at that moment in seconds.
        self._known: tuple[int, float] | None = None

    def now_ms(self) -> int:
        """Milliseconds since the epoch. Raises UnavailableError if the server must be read and does not answer."""
        read = self._known
        if read is None or monotonic() - read[1] >= _ASK_EVERY_SECONDS:
            read = self._known = self._now_ms(), monotonic()
        return read[0] + round((monotonic() - read[1]) * 1000)

    def now(self) -> datetime:
        """Return the time in UTC."""
        return datetime.fromtimestamp(self.now_ms() / 1000, UTC)
