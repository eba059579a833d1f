"""Stream entries as scripts return them."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from avtomatika.transport.keys import make_tag


class Entry(NamedTuple):
    """An entry that was taken. *missed* is set only for a fanout, whose entries are not acknowledged."""

    queue: str
    tag: str
    payload: bytes
    earlier: int
    missed: int | None = None


def read_entries(streams: Sequence[tuple[str, str]], answer: Sequence[Any]) -> list[Entry]:
    """Read (index of the stream from 1, id, payload, earlier deliveries) tuples of a script's reply."""
    found = []
    for at in range(0, len(answer), 4):
        stream, queue = streams[answer[at] - 1]
        found.append(Entry(queue, make_tag(stream, answer[at + 1].decode()), answer[at + 2], answer[at + 3]))
    return found
