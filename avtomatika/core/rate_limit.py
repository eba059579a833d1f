"""A maximum number of requests in a window of time."""

import re
from dataclasses import dataclass
from typing import Self

_FORM = re.compile(r"([1-9][0-9]{0,8})/(second|minute|hour|day)")
_SECONDS = {"second": 1, "minute": 60, "hour": 3600, "day": 86_400}


@dataclass(frozen=True, slots=True)
class RateLimit:
    """At most *count* requests in each window of *seconds*."""

    count: int
    seconds: int

    @classmethod
    def parse(cls, text: object) -> Self:
        """Read ``600/minute``. Raises ValueError with the form."""
        match = _FORM.fullmatch(text) if isinstance(text, str) else None
        if match is None:
            raise ValueError(f"is {text!r}, but must be a number per second, minute, hour or day, as in '600/minute'")
        return cls(int(match[1]), _SECONDS[match[2]])
