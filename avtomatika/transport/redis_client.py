"""Commands to the server, many in one round trip.

redis-py's own ``execute_command`` costs several times what sending and reading do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from hiredis import pack_command
from redis import Redis
from redis.exceptions import ConnectionError, MasterDownError, NoScriptError, ReadOnlyError, ResponseError

from .connect import SOCKET_TIMEOUT_SECONDS, connect
from .errors import is_wrong_type
from .pool import MAX_CONNECTIONS, Pool
from .scripts import Argument, Call

#: Answers of a server that has become a replica: whoever connects anew may find the primary.
_DEMOTED = (ReadOnlyError, MasterDownError)
#: Commands go to the socket in pieces of about this size.
_PIECE_BYTES = 64 * 1024


class RedisClient:
    """Threads may share it; each command goes out on a connection that nobody else uses meanwhile."""

    def __init__(self, client: Redis, *, max_connections: int = MAX_CONNECTIONS) -> None:
        """*client* says how to connect; the connections are of a pool of our own."""
        seconds = client.connection_pool.connection_kwargs.get("socket_timeout") or SOCKET_TIMEOUT_SECONDS
        self.pool = Pool(client, max_connections=max_connections, wait_seconds=2 * seconds)

    @classmethod
    def connect(cls, url: str, *, max_connections: int = MAX_CONNECTIONS, **options: Any) -> RedisClient:
        """A server with a pool of its own; nothing is sent yet. *options* are those of :func:`client.connect`."""
        client = connect(url, max_connections=max_connections, **options)
        return cls(client, max_connections=max_connections)

    @property
    def connections(self) -> int:
        """Number of open connections."""
        return self.pool.open

    def run(self, call: Call) -> Any:
        """The answer of one script; raises what the server refuses it with."""
        try:
            try:
                return self.execute(call.command)
            except NoScriptError:
                return self.execute(call.command_with_text)
        except ResponseError as error:
            if is_wrong_type(error):
                raise self._explained(call.keys) from error
            raise

    def run_all(self, calls: Sequence[Call], *, on_sent: Callable[[], object] | None = None) -> list[Any]:
        """The answer of each script, or the server's error where it refused that one; one round trip.

        *on_sent* is called while the answers are on their way; not at all where nothing could be sent.
        """
        answers = self.pipeline([call.command for call in calls], on_sent=on_sent)
        unknown = [index for index, answer in enumerate(answers) if isinstance(answer, NoScriptError)]
        if unknown:
            again = self.pipeline([calls[index].command_with_text for index in unknown])
            for index, answer in zip(unknown, again, strict=True):
                answers[index] = answer
        for index, answer in enumerate(answers):
            if isinstance(answer, ResponseError) and is_wrong_type(answer):
                answers[index] = self._explained(calls[index].keys)
        return answers

    def _explained(self, keys: Sequence[str]) -> ResponseError:
        """What lies under *keys*, one of which holds something that is not ours."""
        names = [key for key in dict.fromkeys(keys) if key]
        types = self.pipeline([("TYPE", key) for key in names])
        found = [f"{key} is a {kind.decode()}" for key, kind in zip(names, types, strict=True) if kind != b"none"]
        return ResponseError(f"WRONGTYPE one of these keys holds what is not ours: {', '.join(found)}")

    def run_each(self, calls: Sequence[Call]) -> list[Any]:
        """The answer of each script, in one round trip; raises the first refusal."""
        return _none_refused(self.run_all(calls))

    def execute(self, command: Sequence[Argument]) -> Any:
        """Raw answer to one command."""
        connection = self.pool.acquire()
        try:
            connection.send_packed_command([pack(command)])
            answer = connection.read_response()
        except ResponseError as error:
            self._release(connection, error)
            raise
        except BaseException:
            self.pool.discard(connection)
            raise
        self._release(connection)
        return answer

    def execute_all(self, commands: Sequence[Sequence[Argument]]) -> list[Any]:
        """Raw answers to *commands*, in one round trip; raises the first refusal."""
        answers = self.pipeline(commands)
        for command, answer in zip(commands, answers, strict=True):
            if isinstance(answer, ResponseError) and is_wrong_type(answer):
                raise self._explained([str(command[1])]) from answer
        return _none_refused(answers)

    def pipeline(
        self, commands: Sequence[Sequence[Argument]], *, on_sent: Callable[[], object] | None = None
    ) -> list[Any]:
        """Raw answers to all *commands*; where the server refuses one, its error stands in the list."""
        if not commands:
            return []
        connection = self.pool.acquire()
        answers: list[Any] = []
        try:
            connection.send_packed_command(_packed(commands))
            if on_sent is not None:
                on_sent()
            for _ in commands:
                try:
                    answers.append(connection.read_response())
                except ResponseError as error:
                    answers.append(error)
        except BaseException:
            self.pool.discard(connection)
            raise
        self._release(connection, *[answer for answer in answers if isinstance(answer, ResponseError)])
        return answers

    def info(self, section: str = "default") -> dict[str, str]:
        """Fields of the server's ``INFO`` by name."""
        lines = self.execute(("INFO", section)).decode().splitlines()
        return dict(line.split(":", 1) for line in lines if ":" in line)

    def close(self) -> None:
        """Disconnect; the next command connects again."""
        self.pool.close()

    def _release(self, connection: Any, *refusals: ResponseError) -> None:
        """Give *connection* back. Raises ConnectionError where the server has stopped being the primary."""
        for refusal in refusals:
            if isinstance(refusal, _DEMOTED) or str(refusal).startswith("UNBLOCKED"):
                self.pool.discard(connection)
                raise ConnectionError(f"the server is not the primary any more: {refusal}") from refusal
        self.pool.release(connection)


def _packed(commands: Sequence[Sequence[Argument]]) -> Iterator[bytes]:
    piece = bytearray()
    for command in commands:
        piece += pack(command)
        if len(piece) >= _PIECE_BYTES:
            yield bytes(piece)
            piece.clear()
    if piece:
        yield bytes(piece)


def pack(command: Sequence[Argument]) -> bytes:
    """*command* as it is sent."""
    words: Any = tuple(command)
    packed: bytes = pack_command(words)
    return packed


def _none_refused(answers: list[Any]) -> list[Any]:
    for answer in answers:
        if isinstance(answer, ResponseError):
            raise answer
    return answers
