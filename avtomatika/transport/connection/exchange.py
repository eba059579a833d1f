"""One round trip with a server, or with several nodes of a cluster at once."""

from collections.abc import Callable, Generator, Iterator, Sequence
from typing import Any, TypeAlias

from hiredis import pack_command
from redis.exceptions import AskError, ClusterDownError, ConnectionError, ReadOnlyError, ResponseError, TryAgainError

from avtomatika.transport.scripts import Argument

from .pool import Pool

#: The commands for one server.
Part: TypeAlias = tuple[Pool, Sequence[Sequence[Argument]]]

#: Errors of a server that has become a replica, or does not own the slot of the keys (MOVED is an AskError): a new
#: connection may find the one that does.
_REDIRECTIONS = (ReadOnlyError, AskError, TryAgainError, ClusterDownError)
#: How other such errors start: of a blocked command, and of a script while its slot moves.
_UNBLOCKED = ("UNBLOCKED", "Script attempted to access a non local key")
#: Approximate size of each write to the socket.
_PIECE_BYTES = 64 * 1024


def exchange(
    pool: Pool, commands: Sequence[Sequence[Argument]], on_sent: Callable[[], object] | None = None
) -> list[Any]:
    """Return the raw replies to *commands*, or the server's errors. Raises ConnectionError."""
    connection = pool.acquire()
    try:
        connection.send_packed_command(_packed(commands))
        if on_sent is not None:
            on_sent()
        answers, refusals = _read(connection, len(commands))
    except BaseException:
        pool.fail(connection)
        raise
    release(pool, connection, refusals)
    return answers


def exchange_all(parts: Sequence[Part], on_sent: Callable[[], object] | None = None) -> list[list[Any]]:
    """The same with several servers. All commands are sent before any reply is read.

    Raises ConnectionError if any server fails; others may have run their commands.
    """
    exchanges = [_steps(pool, commands) for pool, commands in parts]
    try:
        for step in (*exchanges, *exchanges):  # a connection to each server, before anything is sent
            next(step)
        if on_sent is not None:
            on_sent()
        return [next(step) for step in exchanges]
    finally:
        for step in exchanges:
            step.close()


def _steps(pool: Pool, commands: Sequence[Sequence[Argument]]) -> Generator[Any, None, None]:
    """Open a connection, then send *commands*, then yield the replies."""
    connection = pool.acquire()
    try:
        yield
        connection.send_packed_command(_packed(commands))
        yield
        answers, refusals = _read(connection, len(commands))
    except GeneratorExit:  # another server failed
        pool.discard(connection)
        raise
    except BaseException:
        pool.fail(connection)
        raise
    release(pool, connection, refusals)
    yield answers


def _read(connection: Any, count: int) -> tuple[list[Any], list[ResponseError]]:
    answers: list[Any] = []
    refusals: list[ResponseError] = []
    for _ in range(count):
        try:
            answers.append(connection.read_response())
        except ResponseError as error:
            answers.append(error)
            refusals.append(error)
    return answers, refusals


def release(pool: Pool, connection: Any, refusals: Sequence[ResponseError]) -> None:
    """Release *connection*. Raises ConnectionError if the server stopped being the primary of the keys."""
    for refusal in refusals:
        if isinstance(refusal, _REDIRECTIONS) or str(refusal).startswith(_UNBLOCKED):
            pool.fail(connection, refusal)
            pool.close()
            raise ConnectionError(f"the server is not the primary of these keys any more: {refusal}") from refusal
    pool.release(connection)


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
    """Encode *command* for the socket."""
    words: Any = tuple(command)
    packed: bytes = pack_command(words)
    return packed
