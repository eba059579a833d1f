"""Sends commands and scripts, many per round trip.

redis-py's ``execute_command`` costs several times as much as sending and reading.
"""

from collections.abc import Callable, Generator, Mapping, Sequence
from copy import copy
from functools import partial
from itertools import chain, islice
from typing import Any, Self, TypeAlias, TypeVar, cast

from redis import Redis
from redis.exceptions import ConnectionError, NoScriptError, ResponseError

from avtomatika.transport.errors import is_wrong_type
from avtomatika.transport.keys import PREFIX, prefix_of
from avtomatika.transport.scripts import Argument, Call

from .addresses import split_parameters
from .cluster import Cluster, NodePools
from .connect import find_server
from .exchange import exchange, exchange_all, pack, release
from .pool import MAX_CONNECTIONS, Pool

T = TypeVar("T")
Command: TypeAlias = Sequence[Argument] | Call
#: Yields the commands of one round trip, receives their raw replies (or the server's errors), and returns a value.
Reading: TypeAlias = Generator[Sequence[Command], Any, T]

#: Parameter of a URL, and how long to wait for replicas, in milliseconds.
WAIT, _WAIT_MS = "wait_replicas", 2000
#: How an error of a command starts that does not name the key of an unexpected type; those of scripts do.
_UNNAMED_KEY = "WRONGTYPE Operation"


class RedisClient:
    """Threads may share it; each command uses a connection exclusively."""

    def __init__(
        self,
        server: Redis | Cluster,
        *,
        max_connections: int = MAX_CONNECTIONS,
        prefixes: Sequence[str] = (PREFIX,),
        wait_replicas: int = 0,
    ) -> None:
        """Use *server* as connection factory, with separate pools. All keys start with one of *prefixes*.

        On a cluster each command is sent to the node that owns its first key, or else those of :attr:`prefix`. Scripts
        that write raise ConnectionError unless *wait_replicas* replicas confirm that they have the writes.
        """
        make_pool = partial(Pool, max_connections=max_connections)
        self._pools = NodePools(server, make_pool) if isinstance(server, Cluster) else make_pool(server)
        self._wait_replicas = wait_replicas
        #: The prefixes of the keys of each shard; the first is that of the home shard.
        self.prefixes = tuple(prefixes)

    @classmethod
    def connect(
        cls, url: str, *, max_connections: int = MAX_CONNECTIONS, prefixes: Sequence[str] = (PREFIX,), **options: Any
    ) -> Self:
        """Return a client with pools of its own, of *max_connections* a node; sends nothing yet. *options* are those of
        :func:`.connect.find_server`; the parameter ``wait_replicas`` of *url* is the constructor's."""
        url, waits = split_parameters(url, WAIT.__eq__)
        server = find_server(url, max_connections=max_connections, prefixes=prefixes, **options)
        replicas = _read_count(waits.get(WAIT, "0"))
        return cls(server, max_connections=max_connections, prefixes=prefixes, wait_replicas=replicas)

    @property
    def prefix(self) -> str:
        """The first of the prefixes."""
        return self.prefixes[0]

    def at(self, prefix: str) -> Self:
        """Return this client, on the same connections, for the keys of one shard."""
        if self.prefixes == (prefix,):
            return self
        other = copy(self)
        other.prefixes = (prefix,)
        return other

    def pool_of(self, prefix: str) -> Pool:
        """Return the pool of connections to the server that has the keys with *prefix* now."""
        return self._pools if isinstance(self._pools, Pool) else self._pools.find((), prefix)

    def by_slot(self, values: Mapping[str, T]) -> dict[str, dict[str, T]]:
        """Group *values*, key -> value, by what one command may have keys of: a prefix on a cluster, or else all."""
        if isinstance(self._pools, Pool) or len(self.prefixes) == 1:
            return {self.prefix: dict(values)}
        found: dict[str, dict[str, T]] = {}
        for key, value in values.items():
            found.setdefault(prefix_of(key), {})[key] = value
        return found

    @property
    def connections(self) -> int:
        """Number of open connections."""
        return self._pools.open

    def run(self, call: Call) -> Any:
        """Run one script and return its reply. Raises the server's errors."""
        if self._wait_replicas and call.script.writes:
            return self.run_each([call])[0]
        try:
            try:
                return self.execute(call.command)
            except NoScriptError:
                return self.execute(call.command_with_text)
        except ResponseError as error:
            if str(error).startswith(_UNNAMED_KEY):
                raise self._explained(call.keys) from error
            raise

    def run_all(self, calls: Sequence[Command], *, on_sent: Callable[[], object] | None = None) -> list[Any]:
        """Run scripts and commands in one round trip; return each reply, or the server's error.

        *on_sent* is called before the replies are read, unless sending failed.
        """
        commands = [call.command if isinstance(call, Call) else call for call in calls]
        writes = any(isinstance(call, Call) and call.script.writes for call in calls)
        waits = self._wait_replicas if writes else 0
        answers = self.pipeline(commands, on_sent=on_sent, wait_replicas=waits)
        refused = {index: calls[index] for index, answer in enumerate(answers) if isinstance(answer, ResponseError)}
        scripts = {index: call for index, call in refused.items() if isinstance(call, Call)}
        unknown = [index for index in scripts if isinstance(answers[index], NoScriptError)]
        again = self.pipeline([scripts[index].command_with_text for index in unknown], wait_replicas=waits)
        for index, answer in zip(unknown, again, strict=True):
            answers[index] = answer
        for index, call in scripts.items():
            if str(answers[index]).startswith(_UNNAMED_KEY):
                answers[index] = self._explained(call.keys)
        return answers

    def _explained(self, keys: Sequence[str]) -> ResponseError:
        """Build an error that lists the types of *keys*, one of which is unexpected."""
        names = [key for key in dict.fromkeys(keys) if key]
        types = self.pipeline([("TYPE", key) for key in names])
        found = [f"{key} is a {kind.decode()}" for key, kind in zip(names, types, strict=True) if kind != b"none"]
        return ResponseError(f"WRONGTYPE one of these keys holds an unexpected type: {', '.join(found)}")

    def run_each(self, calls: Sequence[Call]) -> list[Any]:
        """Run scripts in one round trip; raise the first error."""
        return none_refused(self.run_all(calls))

    def execute(self, command: Sequence[Argument]) -> Any:
        """Send one command and return the raw reply."""
        pool = self._pools if isinstance(self._pools, Pool) else self._pools.find(command, self.prefix)
        connection = pool.acquire()
        try:
            connection.send_packed_command([pack(command)])
            answer = connection.read_response()
        except ResponseError as error:
            release(pool, connection, [error])
            raise
        except BaseException:
            pool.fail(connection)
            raise
        pool.release(connection)
        return answer

    def execute_all(self, commands: Sequence[Sequence[Argument]]) -> list[Any]:
        """Send *commands* in one round trip and return the raw replies; raise the first error."""
        answers = self.pipeline(commands)
        for command, answer in zip(commands, answers, strict=True):
            if isinstance(answer, ResponseError) and is_wrong_type(answer):
                raise self._explained([str(command[1])]) from answer
        return none_refused(answers)

    def pipeline(
        self,
        commands: Sequence[Sequence[Argument]],
        *,
        on_sent: Callable[[], object] | None = None,
        wait_replicas: int = 0,
    ) -> list[Any]:
        """Send *commands* in one round trip; return each raw reply, or the server's error.

        On a cluster this is one round trip to all nodes at once; if one fails, the commands of others may have run.
        Raises ConnectionError, after they ran, unless *wait_replicas* replicas have their writes within 2 seconds.
        """
        if not commands:
            return []
        waits = [("WAIT", wait_replicas, _WAIT_MS)] if wait_replicas else ()
        places: Mapping[Pool, Sequence[int]]
        places = {self._pools: ()} if isinstance(self._pools, Pool) else self._pools.split(commands, self.prefix)
        if len(places) == 1:
            [pool] = places
            answers = exchange(pool, [*commands, *waits] if waits else commands, on_sent)
            confirmed = [answers.pop()] if waits else []
        else:
            parts = [(pool, [*[commands[place] for place in some], *waits]) for pool, some in places.items()]
            found = exchange_all(parts, on_sent)
            confirmed = [each.pop() for each in found] if waits else []
            answers = [None] * len(commands)
            for place, answer in zip(chain(*places.values()), chain(*found), strict=True):
                answers[place] = answer
        if waits and (least := min(none_refused(confirmed))) < wait_replicas:
            raise ConnectionError(f"{least} of {wait_replicas} replicas confirmed what was written")
        return answers

    def read_together(self, *readings: Reading[T]) -> list[T]:
        """Return the values of *readings*. Each round trip sends the next commands of all of them."""
        is_single = len(readings) == 1
        reading: Reading[Any] = readings[0] if is_single else together(*readings)
        replies = None
        while True:
            try:
                replies = self.run_all(reading.send(replies))
            except StopIteration as end:
                return [end.value] if is_single else cast("list[T]", end.value)

    def info(self, section: str = "default") -> dict[str, str]:
        """Return the fields of the server's ``INFO`` by name."""
        return info_fields(self.execute(("INFO", section)))

    def close(self) -> None:
        """Disconnect; the next command connects again."""
        self._pools.close()


def _read_count(text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise ValueError(f"{WAIT} in a URL must be a number of replicas, not {text!r}")
    return int(text)


def together(*readings: Reading[T]) -> Reading[list[T]]:
    """Return one reading of the values of *readings*, in as many round trips as the longest of them takes."""
    values: dict[int, T] = {}
    replies: dict[int, Any] = dict.fromkeys(range(len(readings)))
    while replies:
        wanted = {}
        for place, received in replies.items():
            try:
                wanted[place] = readings[place].send(received)
            except StopIteration as end:
                values[place] = end.value
        if not wanted:
            break
        answers = iter((yield list(chain(*wanted.values()))))
        replies = {place: list(islice(answers, len(commands))) for place, commands in wanted.items()}
    return [values[place] for place in range(len(readings))]


def as_dict(answer: Any) -> dict[bytes, Any]:
    """Normalize a map answered by RESP2 or RESP3."""
    return answer if isinstance(answer, dict) else dict(zip(answer[::2], answer[1::2], strict=True))


def info_fields(answer: bytes) -> dict[str, str]:
    """Return the fields of the reply to ``INFO`` by name."""
    return dict(line.split(":", 1) for line in answer.decode().splitlines() if ":" in line)


def none_refused(answers: list[Any]) -> list[Any]:
    """Return *answers*; raise the first error among them."""
    for answer in answers:
        if isinstance(answer, ResponseError):
            raise answer
    return answers
