"""Entries as scripts hand them out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from .keys import make_tag


class Entry(NamedTuple):
    """What was taken; *missed* is None unless it came by a fanout, which nobody acknowledges."""

    queue: str
    tag: str
    payload: bytes
    earlier: int
    missed: int | None = None


def read_entries(streams: Sequence[tuple[str, str]], answer: Sequence[Any]) -> list[Entry]:
    """What scripts answer as (place of the stream from 1, id, payload, earlier deliveries)."""
    found = []
    for at in range(0, len(answer), 4):
        stream, queue = streams[answer[at] - 1]
        found.append(Entry(queue, make_tag(stream, answer[at + 1].decode()), answer[at + 2], answer[at + 3]))
    return found
