"""A maximum number of requests or tasks in a window of time."""

import re
from dataclasses import dataclass
from typing import Self

_SECONDS = {"second": 1, "minute": 60, "hour": 3600, "day": 86_400}
_FORM = re.compile(r"([1-9][0-9]{0,8})/(?:(second|minute|hour|day)|([smhd]))")


@dataclass(frozen=True, slots=True)
class RateLimit:
    """At most *count* requests in each window of *seconds*."""

    count: int
    seconds: int

    @classmethod
    def parse(cls, text: object) -> Self:
        """Read ``600/minute`` or ``600/m``. Raises ValueError with the form."""
        match = _FORM.fullmatch(text) if isinstance(text, str) else None
        if match is None:
            raise ValueError(f"is {text!r}, but must be a number per second, minute, hour or day, as in '600/minute'")
        seconds = next(size for unit, size in _SECONDS.items() if unit.startswith(match[2] or match[3]))
        return cls(int(match[1]), seconds)

    def __str__(self) -> str:
        """Return it in the form that :meth:`parse` reads."""
        return f"{self.count}/{next(unit for unit, size in _SECONDS.items() if size == self.seconds)}"
