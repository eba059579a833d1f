"""Dumps and loads history entries and notes: items of Redis lists."""

from collections.abc import Sequence
from typing import Any

import orjson

from avtomatika.core.job import HistoryEntry, RecordedEntry

from .records import json_object, number

#: The type of an entry that cannot be read.
UNREADABLE_ENTRY = "unreadable_entry"
_OPTIONAL_ENTRY_FIELDS = ("state", "task_id", "attempt", "worker_id", "duration_ms", "data")
_ENTRY_FIELDS: Sequence[tuple[str, type]] = (
    ("event_type", str),
    ("state", str),
    ("task_id", str),
    ("attempt", int),
    ("worker_id", str),
    ("duration_ms", int),
    ("data", dict),
)


def dump_entry(entry: HistoryEntry) -> bytes:
    """Return *entry* as JSON, without the version and time that the script adds, and the seq that is its position."""
    fields: dict[str, Any] = {"event_type": entry.event_type}
    for name in _OPTIONAL_ENTRY_FIELDS:
        value = getattr(entry, name)
        if value is not None:
            fields[name] = value
    return orjson.dumps(fields)


def load_entry(seq: int, stored: bytes) -> RecordedEntry:
    """Return the entry at position *seq* (from 1) of a history, without fields that are unknown or of a wrong type."""
    version, timestamp_ms, text = (*stored.split(b" ", 2), b"", b"")[:3]
    found = json_object(text)
    known = {name: found[name] for name, kind in _ENTRY_FIELDS if isinstance(found.get(name), kind)}
    entry = HistoryEntry(**{"event_type": UNREADABLE_ENTRY, **known})
    return RecordedEntry(seq=seq, version=number(version), timestamp_ms=number(timestamp_ms), entry=entry)


def load_note(stored: bytes) -> dict[str, Any]:
    """Return a note with its time as ``timestamp_ms``."""
    timestamp_ms, _, text = stored.partition(b" ")
    return {**json_object(text), "timestamp_ms": number(timestamp_ms)}
