"""How long to wait before the next try. Pure: the jitter is drawn from a name, not from a die."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import timedelta
from hashlib import sha256
from typing import Any

from .times import SECONDS, Duration, in_seconds, is_seconds

#: The code of a failure that another attempt may mend, and of one that gives none.
TRANSIENT = "TRANSIENT_ERROR"


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Exponential back-off: *base_seconds*, doubled a try, up to *cap_seconds*.

    ``max_retries=3`` is four attempts. *jitter* is the greatest share of a delay that is taken off again, so that what
    failed together does not come back together. *by_code* are policies for failures with a code of their own, time-outs
    too; all other codes but ``TRANSIENT_ERROR`` are for good. Raises ValueError for what is no policy.
    """

    max_retries: int = 3
    base_seconds: Duration = 1
    cap_seconds: Duration = 300
    jitter: float = 0.5
    by_code: Mapping[str, RetryPolicy] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not isinstance(self.max_retries, int) or isinstance(self.max_retries, bool) or self.max_retries < 0:
            raise ValueError(f"max_retries must be a whole number from 0, not {self.max_retries!r}")
        for name, value in (("base_seconds", self.base_seconds), ("cap_seconds", self.cap_seconds)):
            object.__setattr__(self, name, in_seconds(value))
            if not is_seconds(getattr(self, name)):
                raise ValueError(f"{name} must be {SECONDS}, not {value!r}")
        if in_seconds(self.cap_seconds) < in_seconds(self.base_seconds):
            raise ValueError(f"cap_seconds={self.cap_seconds} must not be less than base_seconds={self.base_seconds}")
        if not isinstance(self.jitter, int | float) or isinstance(self.jitter, bool) or not 0 <= self.jitter <= 1:
            raise ValueError(f"jitter must be a number from 0 to 1, not {self.jitter!r}")
        for code, policy in self.by_code.items():
            if not isinstance(code, str) or not isinstance(policy, RetryPolicy) or policy.by_code:
                raise ValueError(
                    f"by_code must map codes to policies without codes of their own, not {code!r}: {policy!r}"
                )

    @classmethod
    def of(cls, stored: Mapping[str, Any]) -> RetryPolicy:
        """The policy whose fields *stored* holds as JSON."""
        by_code = {code: cls.of(policy) for code, policy in stored["by_code"].items()}
        return cls(**{**{each.name: stored[each.name] for each in fields(cls)}, "by_code": by_code})

    @property
    def backs_off_as_usual(self) -> bool:
        """Whether nothing but the number of tries differs from the policy that holds where nobody sets one."""
        own = (self.base_seconds, self.cap_seconds, self.jitter, self.by_code)
        return own == (_USUAL.base_seconds, _USUAL.cap_seconds, _USUAL.jitter, _USUAL.by_code)

    def for_code(self, code: object) -> RetryPolicy | None:
        """The policy for a failure with *code*; None where no other attempt is made.

        >>> RetryPolicy(by_code={"BUSY": RetryPolicy(base_seconds=60)}).for_code("BUSY").base_seconds
        60
        """
        found = self.by_code.get(str(code))
        return self if found is None and code == TRANSIENT else found

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
        delay_seconds = min(in_seconds(self.cap_seconds), in_seconds(self.base_seconds) * 2**doublings)
        return timedelta(seconds=delay_seconds * (1 - self.jitter * _draw(f"{name}#{attempt}")))


def _draw(name: str) -> float:
    """A number in [0, 1) that is always the same for *name*, and spread evenly over names."""
    return int.from_bytes(sha256(name.encode()).digest()[:6], "big") / 2**48


_USUAL = RetryPolicy()
