"""How long to wait before the next try. Pure: the jitter is drawn from a name, not from a die."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from hashlib import sha256


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Exponential back-off: *base_seconds*, doubled a try, up to *cap_seconds*.

    ``max_retries=3`` is four attempts. *jitter* is the greatest share of a delay that is taken off again, so that what
    failed together does not come back together.
    """

    max_retries: int = 3
    base_seconds: float = 1
    cap_seconds: float = 300
    jitter: float = 0.5

    def delay_after(self, attempt: int, *, name: str = "") -> timedelta | None:
        """Time to wait after the failed *attempt* (from 1) of *name*, or None to give up.

        >>> RetryPolicy(max_retries=3, jitter=0).delay_after(3)
        datetime.timedelta(seconds=4)
        >>> RetryPolicy(max_retries=3).delay_after(4) is None
        True
        """
        if attempt > self.max_retries:
            return None
        doublings = min(attempt - 1, 64)
        delay_seconds = min(self.cap_seconds, self.base_seconds * 2**doublings)
        return timedelta(seconds=delay_seconds * (1 - self.jitter * _draw(f"{name}#{attempt}")))


def _draw(name: str) -> float:
    """A number in [0, 1) that is always the same for *name*, and spread evenly over names."""
    return int.from_bytes(sha256(name.encode()).digest()[:6], "big") / 2**48
