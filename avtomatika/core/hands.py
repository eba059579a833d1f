"""Who has an open task in hand, and how far it is: told while it runs, beside the job, whose version stays."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class InHand:
    """*progress* is from 0 to 1, and None until the worker tells; ``told_ms`` is when it did, by the server's clock."""

    worker_id: str | None = None
    progress: float | None = None
    message: str | None = None
    told_ms: int = 0
