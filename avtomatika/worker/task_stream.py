"""The stream of one attempt of a task: what a skill sends while it runs, and its log records."""

import logging
from base64 import b64encode
from collections.abc import Callable
from contextvars import ContextVar
from time import time_ns

import orjson

from avtomatika.core.jsonable import as_json
from avtomatika.schemas.wire import MAX_CHUNK_BYTES, Chunk

#: Sends chunks of the task that runs in this thread or coroutine.
current_sender: ContextVar[Callable[[Chunk], None] | None] = ContextVar("current_sender", default=None)

#: Number of characters that certainly fit into a chunk.
_MAX_LOG_CHARACTERS = MAX_CHUNK_BYTES // 4
_LEVELS = logging.getLevelNamesMapping()


class TaskStream:
    """Sends text, bytes, JSON values and log lines. Thread-safe; no method blocks."""

    __slots__ = ("_send",)

    def __init__(self, send: Callable[[Chunk], None]) -> None:
        self._send = send

    def write(self, chunk: object) -> None:
        """Send text, bytes or a JSON value, of at most 64 KiB. Raises ValueError if it is larger, and HandlerError for
        a value that JSON cannot represent."""
        match chunk:
            case str():
                kind, data = "text", encodable(chunk)
            case bytes() | bytearray() | memoryview():
                kind, data = "bytes", b64encode(chunk).decode()
            case _:
                kind, data = "json", orjson.dumps(as_json(chunk, "chunk")).decode()
        size = len(data) if data.isascii() else len(data.encode())
        if size > MAX_CHUNK_BYTES:
            raise ValueError(f"a chunk of a stream has {size} bytes, but may have at most {MAX_CHUNK_BYTES}")
        self._send(Chunk(kind, data, None, _now_ms()))

    def log(self, message: object, level: str = "INFO") -> None:
        """Send a log line of *level*. Raises ValueError unless *level* is the name of a logging level."""
        if level not in _LEVELS:
            raise ValueError(f"level is {level!r}, but must be one of {', '.join(_LEVELS)}")
        self._send(_log_line(str(message), level))


class StreamLogHandler(logging.Handler):
    """Sends log records of running skills to the streams of their tasks; other records are ignored."""

    def emit(self, record: logging.LogRecord) -> None:
        send = current_sender.get()
        if send is None:
            return
        try:
            send(_log_line(self.format(record), record.levelname))
        except Exception:
            self.handleError(record)


def capture_logs(level: str) -> None:
    """Send records of *level* and above that are logged inside a skill to the stream of its task."""
    logging.getLogger().addHandler(StreamLogHandler(level))


def _log_line(text: str, level: str) -> Chunk:
    """Return a log line, shortened if it is long."""
    return Chunk("log", encodable(text[:_MAX_LOG_CHARACTERS]), level, _now_ms())


def encodable(text: str) -> str:
    """Replace lone surrogates, which UTF-8 cannot encode."""
    return text if text.isascii() else text.encode(errors="replace").decode()


def _now_ms() -> int:
    return time_ns() // 1_000_000
