"""Records of published and received messages that survive kill -9.

Consumers write a line before acknowledging, in one write to a file opened for appending; producers record a number only
after publish has returned.
"""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic


class Diary:
    """The record of one process."""

    def __init__(self, path: str) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def note(self, number: int) -> None:
        os.write(self._file, b"%d\n" % number)


@dataclass
class Ledger:
    """*confirmed* maps numbers to the time at which their publish returned (monotonic seconds)."""

    path: Path
    confirmed: dict[int, float] = field(default_factory=dict)

    def confirm(self, number: int) -> None:
        self.confirmed[number] = monotonic()

    @property
    def seen(self) -> Counter[int]:
        if not self.path.exists():
            return Counter()
        return Counter(int(line) for line in self.path.read_bytes().split())

    @property
    def repeats(self) -> int:
        """Count deliveries beyond the first of each message."""
        seen = self.seen
        return seen.total() - len(seen)

    def lost(self, left: set[int]) -> list[int]:
        """Confirmed, never received, and not *left* on the server."""
        return sorted(self.confirmed.keys() - self.seen.keys() - left)
