"""Commands to the server: many in one round trip, on connections that stay checked out while they are in use.

redis-py's own ``execute_command`` costs several times what sending and reading do; here a connection goes straight from
hand to hand.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from time import monotonic
from typing import Any

from hiredis import pack_command
from redis import Redis
from redis.exceptions import ConnectionError, MasterDownError, NoScriptError, ReadOnlyError, ResponseError

from .errors import is_foreign
from .scripts import Argument, Call

#: A connection that rested longer may have been closed by the other side: look before it is used.
_FRESH_SECONDS = 1.0
#: Answers of a server that has become a replica: whoever connects anew may find the primary.
_DEMOTED = (ReadOnlyError, MasterDownError)
#: Commands go to the socket in pieces of about this size.
_PIECE_BYTES = 64 * 1024


class Server:
    """Threads may share it; each command goes out on a connection that nobody else uses meanwhile."""

    def __init__(self, client: Redis) -> None:
        self.client = client
        self._pool = client.connection_pool
        self._resting: deque[tuple[Any, float]] = deque()
        self._pid = os.getpid()

    def run(self, call: Call) -> Any:
        """The answer of one script; raises what the server refuses it with."""
        try:
            try:
                return self.execute(call.command)
            except NoScriptError:
                self.execute(("SCRIPT", "LOAD", call.script.text))
                return self.execute(call.command)
        except ResponseError as error:
            if is_foreign(error):
                raise self._explained(call.keys) from error
            raise

    def run_all(self, calls: Sequence[Call], *, when_sent: Callable[[], object] | None = None) -> list[Any]:
        """The answer of each script, or the server's error where it refused that one; one round trip.

        *when_sent* is called while the answers are on their way; not at all where nothing could be sent.
        """
        answers = self.pipeline([call.command for call in calls], when_sent=when_sent)
        unknown = [index for index, answer in enumerate(answers) if isinstance(answer, NoScriptError)]
        if unknown:
            scripts = {calls[index].script for index in unknown}
            self.pipeline([("SCRIPT", "LOAD", script.text) for script in scripts])
            for index, answer in zip(unknown, self.pipeline([calls[index].command for index in unknown]), strict=True):
                answers[index] = answer
        for index, answer in enumerate(answers):
            if isinstance(answer, ResponseError) and is_foreign(answer):
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
        connection = self._acquire()
        try:
            connection.send_packed_command([_pack(command)])
            answer = connection.read_response()
        except ResponseError as error:
            self._rest(connection, error)
            raise
        except BaseException:
            self._discard(connection)
            raise
        self._rest(connection)
        return answer

    def execute_all(self, commands: Sequence[Sequence[Argument]]) -> list[Any]:
        """Raw answers to *commands*, in one round trip; raises the first refusal."""
        answers = self.pipeline(commands)
        for command, answer in zip(commands, answers, strict=True):
            if isinstance(answer, ResponseError) and is_foreign(answer):
                raise self._explained([str(command[1])]) from answer
        return _none_refused(answers)

    def pipeline(
        self, commands: Sequence[Sequence[Argument]], *, when_sent: Callable[[], object] | None = None
    ) -> list[Any]:
        """Raw answers to all *commands*; where the server refuses one, its error stands in the list."""
        if not commands:
            return []
        connection = self._acquire()
        answers: list[Any] = []
        try:
            connection.send_packed_command(_packed(commands))
            if when_sent is not None:
                when_sent()
            for _ in commands:
                try:
                    answers.append(connection.read_response())
                except ResponseError as error:
                    answers.append(error)
        except BaseException:
            self._discard(connection)
            raise
        self._rest(connection, *[answer for answer in answers if isinstance(answer, ResponseError)])
        return answers

    def close(self) -> None:
        """Disconnect; the next command connects again."""
        while self._resting:
            self._discard(self._resting.pop()[0])
        self.client.close()

    def _acquire(self) -> Any:
        if self._pid != os.getpid():  # a fork: these sockets are the parent's
            self._resting, self._pid = deque(), os.getpid()
        try:
            connection, since = self._resting.pop()
        except IndexError:
            return self._pool.get_connection()
        if monotonic() - since > _FRESH_SECONDS:
            self._pool.release(connection)
            return self._pool.get_connection()
        return connection

    def _rest(self, connection: Any, *refusals: ResponseError) -> None:
        """Keep *connection* for the next. Raises ConnectionError where the server has stopped being the primary."""
        for refusal in refusals:
            if isinstance(refusal, _DEMOTED) or str(refusal).startswith("UNBLOCKED"):
                self._discard(connection)
                raise ConnectionError(f"the server is not the primary any more: {refusal}") from refusal
        self._resting.append((connection, monotonic()))

    def _discard(self, connection: Any) -> None:
        connection.disconnect()
        self._pool.release(connection)


def _packed(commands: Sequence[Sequence[Argument]]) -> Iterator[bytes]:
    piece = bytearray()
    for command in commands:
        piece += _pack(command)
        if len(piece) >= _PIECE_BYTES:
            yield bytes(piece)
            piece.clear()
    if piece:
        yield bytes(piece)


def _pack(command: Sequence[Argument]) -> bytes:
    words: Any = tuple(command)
    packed: bytes = pack_command(words)
    return packed


def _none_refused(answers: list[Any]) -> list[Any]:
    for answer in answers:
        if isinstance(answer, ResponseError):
            raise answer
    return answers
