"""Retry policies: the delay before the next attempt. Pure: the jitter is derived from a name."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import timedelta
from hashlib import sha256
from typing import Any, Self

from .times import SECONDS, Duration, in_seconds, is_seconds

#: The code of a failure that may succeed when retried; the default for failures without a code.
TRANSIENT = "TRANSIENT_ERROR"


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Exponential back-off: *delay* before the first retry, doubled for each further one, up to *max_delay* (seconds or
    timedeltas).

    ``max_retries=3`` means four attempts. *jitter* is the largest share of a delay that is subtracted, so that
    simultaneous failures are not retried simultaneously. *by_code* has policies for error codes, including timeouts;
    all other codes except ``TRANSIENT_ERROR`` are not retried. Raise ValueError for invalid values.
    """

    max_retries: int = 3
    delay: Duration = 1
    max_delay: Duration = 300
    jitter: float = 0.5
    by_code: "Mapping[str, RetryPolicy]" = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not isinstance(self.max_retries, int) or isinstance(self.max_retries, bool) or self.max_retries < 0:
            raise ValueError(f"max_retries must be a whole number of at least 0, not {self.max_retries!r}")
        for name, value in (("delay", self.delay), ("max_delay", self.max_delay)):
            object.__setattr__(self, name, in_seconds(value))
            if not is_seconds(getattr(self, name)):
                raise ValueError(f"{name} must be {SECONDS}, not {value!r}")
        if in_seconds(self.max_delay) < in_seconds(self.delay):
            raise ValueError(f"max_delay={self.max_delay} must be at least delay={self.delay}")
        if not isinstance(self.jitter, int | float) or isinstance(self.jitter, bool) or not 0 <= self.jitter <= 1:
            raise ValueError(f"jitter must be a number from 0 to 1, not {self.jitter!r}")
        for code, policy in self.by_code.items():
            if not isinstance(code, str) or not isinstance(policy, RetryPolicy) or policy.by_code:
                raise ValueError(f"by_code must map codes to policies without by_code, not {code!r}: {policy!r}")

    @classmethod
    def of(cls, stored: Mapping[str, Any]) -> Self:
        """Return the policy whose fields are in *stored*, as JSON."""
        by_code = {code: cls.of(policy) for code, policy in stored["by_code"].items()}
        return cls(**{**{each.name: stored[each.name] for each in fields(cls)}, "by_code": by_code})

    @property
    def backs_off_as_usual(self) -> bool:
        """True if at most the number of retries differs from the default policy."""
        own = (self.delay, self.max_delay, self.jitter, self.by_code)
        return own == (_USUAL.delay, _USUAL.max_delay, _USUAL.jitter, _USUAL.by_code)

    def for_code(self, code: object) -> "RetryPolicy | None":
        """Return the policy for a failure with *code*; None if it is not retried.

        >>> RetryPolicy(by_code={"BUSY": RetryPolicy(delay=60)}).for_code("BUSY").delay
        60
        """
        found = self.by_code.get(str(code))
        return self if found is None and code == TRANSIENT else found

    def delay_after(self, attempt: int, *, name: str = "") -> timedelta | None:
        """Return the delay after the failed *attempt* (from 1) of *name*, or None if there is no further attempt.

        >>> RetryPolicy(max_retries=3, jitter=0).delay_after(3)
        datetime.timedelta(seconds=4)
        >>> RetryPolicy(max_retries=3).delay_after(4) is None
        True
        """
        if attempt > self.max_retries:
            return None
        doublings = min(attempt - 1, 64)
        delay_seconds = min(in_seconds(self.max_delay), in_seconds(self.delay) * 2**doublings)
        return timedelta(seconds=delay_seconds * (1 - self.jitter * _draw(f"{name}#{attempt}")))


def _draw(name: str) -> float:
    """Return a number in [0, 1) that is constant for *name* and uniform over names."""
    return int.from_bytes(sha256(name.encode()).digest()[:6], "big") / 2**48


_USUAL = RetryPolicy()
