"""Chunks of streams: what skills write and log while they run, in the messages of ``avt.workers``."""

from collections.abc import Sequence
from dataclasses import field, replace
from typing import NamedTuple

from avtomatika.core.frozen import dataclass
from avtomatika.core.job import job_of
from avtomatika.core.signing import GroupSecret
from avtomatika.schemas.fields import Field, attempt, count, identifier, one_of, or_null, rows, text

#: Maximum size of the data of one chunk, in bytes.
MAX_CHUNK_BYTES = 65_536
#: Size that limits count for each chunk in addition to its data.
CHUNK_OVERHEAD_BYTES = 32


class Chunk(NamedTuple):
    """One chunk. *data* is text: the JSON text of ``json``, base64 of ``bytes``, and the number of chunks that the
    worker dropped of ``dropped``. *level* is the level of a ``log``. ``end`` closes the run."""

    kind: str
    data: str
    level: str | None
    at_ms: int

    @property
    def size(self) -> int:
        """The size that counts for limits."""
        return len(self.data) + CHUNK_OVERHEAD_BYTES


@dataclass(frozen=True, slots=True)
class RunChunks:
    """Chunks of one run of an attempt, each with its number in the run before it.

    *run* is larger for each later run of the same attempt, as after the redelivery of its task.
    """

    job_id: str
    task_id: str
    attempt: int
    ticket: str = field(repr=False)
    run: int
    chunks: Sequence[Sequence[str | int | None]]


@dataclass(frozen=True, slots=True)
class StreamChunks:
    """Chunks that a worker sends; each row of *streams* has the fields of a RunChunks."""

    worker_id: str
    streams: Sequence[Sequence[object]]

    @property
    def runs(self) -> list[RunChunks]:
        return [RunChunks(*row) for row in self.streams]  # type: ignore[arg-type]

    def with_valid_tickets(self, secret: GroupSecret) -> "StreamChunks":
        """Return the part about tasks that the worker received: it carries their tickets."""
        valid = [
            row
            for row, run in zip(self.streams, self.runs, strict=True)
            if job_of(run.task_id) == run.job_id and secret.is_ticket(run.ticket, run.task_id, run.attempt)
        ]
        return replace(self, streams=valid)


#: Fields of a chunk with its number.
CHUNK_FIELDS = (
    count("seq"),
    one_of("kind", "text", "json", "bytes", "log", "dropped", "end"),
    text("data"),
    or_null(text("level")),
    count("at_ms"),
)
STREAM_FIELDS: tuple[Field, ...] = (
    identifier("worker_id"),
    rows(
        "streams",
        identifier("job_id"),
        identifier("task_id"),
        attempt("attempt"),
        text("ticket"),
        count("run"),
        rows("chunks", *CHUNK_FIELDS),
    ),
)
