"""Messages between the pool and a child: JSON with a length prefix over a stream socket."""

import socket
import struct
from collections.abc import Iterable, Sequence
from dataclasses import astuple, dataclass, fields
from operator import attrgetter
from typing import Any

import orjson

from avtomatika.core.events import Result
from avtomatika.schemas.wire import Chunk, Progress, TaskMessage
from avtomatika.worker.result import StopReason

_LENGTH = struct.Struct("!I")
_CHUNK_BYTES = 65_536
_TASK_NAMES, _RESULT_NAMES = ([each.name for each in fields(kind)] for kind in (TaskMessage, Result))
_TASK_FIELDS, _OUTCOMES = attrgetter(*_TASK_NAMES), _TASK_NAMES.index("outcomes")
_RESULT_FIELDS, _DATA = attrgetter(*_RESULT_NAMES), _RESULT_NAMES.index("data")
#: Separates a result from its data; JSON never contains this byte.
_BEFORE_DATA = b"\0"


@dataclass(frozen=True, slots=True)
class ChildTask:
    """A task for a child with its *number*, or the tasks of a batch; files go below *payload_dir*."""

    number: int
    tasks: Sequence[TaskMessage]
    payload_dir: str
    limit_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class StopRequest:
    """A request to stop the task *number*; *index* tells those of a batch apart."""

    number: int
    stop_reason: StopReason
    index: int = 0


@dataclass(frozen=True, slots=True)
class ChildChunk:
    """A chunk of the running task."""

    chunk: Chunk
    index: int = 0


@dataclass(frozen=True, slots=True)
class ChildResult:
    """The result of a task that took *seconds*; *memory_bytes* is the memory of the process, 0 if not limited.

    *encoded* are the data of the result as JSON, if they were encoded. *transferred* are its files.
    """

    result: Result
    seconds: float
    memory_bytes: int = 0
    encoded: bytes | None = None
    transferred: Sequence[tuple[str, int]] = ()
    index: int = 0


#: Messages of both directions.
Message = ChildTask | StopRequest | Progress | ChildChunk | ChildResult


def encode(message: Message) -> bytes:
    """Raises TypeError for a result that JSON cannot represent."""
    match message:
        case ChildTask(number, tasks, payload_dir, limit_seconds):
            text = orjson.dumps(("order", number, [*map(_TASK_FIELDS, tasks)], payload_dir, limit_seconds))
        case StopRequest(number, stop_reason, index):
            text = orjson.dumps(("stop", number, stop_reason, index))
        case ChildResult(result, seconds, memory_bytes, encoded, transferred, index):
            fields = list(_RESULT_FIELDS(result))
            fields[_DATA] = result.data if encoded is None else None
            text = orjson.dumps(("ended", fields, seconds, memory_bytes, transferred, index))
            text += b"" if encoded is None else _BEFORE_DATA + encoded
        case ChildChunk(chunk, index):
            text = orjson.dumps(("chunk", index, *chunk))
        case Progress():
            text = orjson.dumps(("progress", *astuple(message)))
    return _LENGTH.pack(len(text)) + text


def decode(text: bytes) -> Message:
    head, is_split, data = text.partition(_BEFORE_DATA)
    kind, *values = orjson.loads(head)
    match kind:
        case "order":
            number, tasks, payload_dir, limit_seconds = values
            for fields in tasks:
                fields[_OUTCOMES] = tuple(fields[_OUTCOMES])
            return ChildTask(number, [TaskMessage(*fields) for fields in tasks], payload_dir, limit_seconds)
        case "stop":
            return StopRequest(values[0], StopReason(values[1]), values[2])
        case "ended":
            fields, seconds, memory_bytes, transferred, index = values
            if is_split:
                fields[_DATA] = orjson.loads(data)
            return ChildResult(Result(*fields), seconds, memory_bytes, data if is_split else None, transferred, index)
        case "chunk":
            return ChildChunk(Chunk(*values[1:]), values[0])
        case _:
            return Progress(*values)


class Messages:
    """Reads messages from *connection*."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._buffer = bytearray()

    def read(self, *, wait: bool) -> list[Message]:
        """Return complete messages; with *wait*, block until some data arrives. Raises EOFError when closed."""
        try:
            chunk = self._connection.recv(_CHUNK_BYTES, 0 if wait else socket.MSG_DONTWAIT)
        except BlockingIOError:
            return []
        if not chunk:
            raise EOFError
        self._buffer += chunk
        return [decode(text) for text in self._texts()]

    def _texts(self) -> list[bytes]:
        texts, at, size = [], 0, len(self._buffer)
        while size - at >= _LENGTH.size:
            start = at + _LENGTH.size
            end = start + _LENGTH.unpack_from(self._buffer, at)[0]
            if end > size:
                break
            texts.append(bytes(self._buffer[start:end]))
            at = end
        del self._buffer[:at]
        return texts


def send(connection: socket.socket, messages: Iterable[Any]) -> None:
    connection.sendall(b"".join(map(encode, messages)))
