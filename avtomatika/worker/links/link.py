"""What every link can do, whatever it speaks."""

from __future__ import annotations

from typing import Protocol


class Link(Protocol):
    def run(self) -> None:
        """Take tasks and send results until :meth:`stop`; then let what is begun end, and hand the rest back."""

    def stop(self) -> None:
        """Take nothing new from now on. For signal handlers: it only says so and returns at once."""
