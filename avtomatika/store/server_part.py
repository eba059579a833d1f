"""Base of the store's classes that work on one server."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from time import monotonic
from typing import Any, Self, TypeAlias, TypeVar, cast

from redis.exceptions import RedisError

from avtomatika import transport
from avtomatika.errors import AvtomatikaError, NoRouteError
from avtomatika.transport import Command, Reading, RedisClient, Router, none_refused
from avtomatika.transport.errors import is_wrong_type
from avtomatika.transport.keys import PREFIX
from avtomatika.transport.scripts import Call

from .keys import Keys
from .records import JOB_FIELDS
from .scripts import server_errors, unavailable

T = TypeVar("T")
R = TypeVar("R")
#: The fields of a job, in the order of JOB_FIELDS; if its key has another type, the error.
JobRow: TypeAlias = Sequence[bytes | None] | RedisError

#: Interval of reading the server's clock; in between, the host's monotonic clock advances it.
_ASK_EVERY_SECONDS = 10.0


class ServerPart:
    """Runs scripts and commands on one server, each method in one round trip.

    They raise UnavailableError if the server is unreachable (it may have run them) or rejects them.
    """

    def __init__(self, server: RedisClient) -> None:
        self._server = server
        self._keys = Keys(*server.prefixes)

    @classmethod
    def connect(cls, url: str, *, prefixes: Sequence[str] = (PREFIX,), **options: Any) -> Self:
        """Return an instance with separate connections; nothing is sent yet. *options* are the constructor's."""
        return cls(RedisClient.connect(url, prefixes=prefixes), **options)

    def close(self) -> None:
        """Disconnect; the next call connects again."""
        self._server.close()

    def _run(self, call: Call) -> Any:
        """Run one script."""
        with server_errors():
            return self._server.run(call)

    def _run_all(self, calls: Sequence[Command]) -> list[Any]:
        """Run scripts and commands; return the reply of each, or the server's error if it rejected that one."""
        with server_errors():
            return self._server.run_all(calls) if calls else []

    def _run_routed(
        self, router: Router, items: Sequence[T], make: Callable[[T], Call], read: Callable[[T, Any], R]
    ) -> list[R | AvtomatikaError]:
        """Run the script that *make* routes for each item; if bindings have changed since, it is routed again.

        Returns what *read* returns for each reply, or the error of *make* (NoRouteError if no queue is bound) or of the
        server.
        """
        results: list[Any] = [None] * len(items)
        left: Sequence[int] = range(len(items))
        with server_errors():
            for _ in router.attempts():
                calls, rerouted = dict[int, Call](), list[int]()
                for place in left:
                    try:
                        calls[place] = make(items[place])
                    except transport.NoRouteError as error:
                        results[place] = NoRouteError(error.exchange, error.routing_key)
                    except AvtomatikaError as error:
                        results[place] = error
                wanted, run = list(calls.values()), self._server.run  # cheaper for one script than run_all
                replies = [run(call) for call in wanted] if len(wanted) == 1 else self._server.run_all(wanted)
                for place, reply in zip(calls, replies, strict=True):
                    if isinstance(reply, RedisError):
                        results[place] = unavailable(reply)
                    elif b"REROUTE" in (reply, reply[0]):
                        rerouted.append(place)
                    else:
                        results[place] = read(items[place], reply)
                left = rerouted
                if not left:
                    break
        return results

    def _read(self, commands: Sequence[Sequence[str | int]]) -> list[Any]:
        """Return the raw replies to *commands*."""
        with server_errors():
            return self._server.execute_all(commands) if commands else []

    def read_together(self, *readings: Reading[T]) -> list[T]:
        """Return the values of *readings*, in as many round trips as the longest of them takes."""
        with server_errors():
            return self._server.read_together(*readings)

    def _read_rows(self, job_ids: Sequence[str], fields: Sequence[str] = JOB_FIELDS) -> Reading[list[JobRow]]:
        """Read *fields* of jobs."""
        return (
            yield from self._read_each([("HMGET", self._keys.of(job_id).job(job_id), *fields) for job_id in job_ids])
        )

    def _read_each(self, commands: Sequence[Sequence[str | int]]) -> Reading[list[Any]]:
        """Read the replies to *commands*, or the error of a key that contains another type."""
        rows: list[Any] = yield commands
        for row in rows:
            if isinstance(row, RedisError) and not is_wrong_type(row):
                raise row
        return rows

    def _now_ms(self) -> int:
        """Read the server's clock, in ms since the epoch."""
        return self.read_together(self._read_clock())[0]

    def _read_clock(self) -> Reading[int]:
        return milliseconds(*none_refused((yield [("TIME",)])))


def checked(results: Sequence[R | AvtomatikaError]) -> list[R]:
    """Return *results*, or raise the first error among them."""
    for result in results:
        if isinstance(result, AvtomatikaError):
            raise result
    return cast("list[R]", results)


def milliseconds(clock: Sequence[bytes]) -> int:
    """Return the time in the reply to ``TIME``, in ms since the epoch."""
    seconds, microseconds = clock
    return int(seconds) * 1000 + int(microseconds) // 1000


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
