"""Small charts: a bar for each value, as one path of an SVG whose width is the number of values."""

from collections.abc import Sequence
from dataclasses import dataclass

HEIGHT = 30.0
#: Width of a bar; the rest of 1 is the gap.
_BAR = 0.8


@dataclass(frozen=True, slots=True)
class Chart:
    """*path* has the bars of *size* values; *last* and *most* are values, *total* is their sum."""

    path: str
    size: int
    last: float
    most: float
    total: float

    @classmethod
    def of(cls, values: Sequence[float | None]) -> "Chart":
        """Draw *values*, from 0 to the largest one; None is a gap.

        >>> Chart.of([None, 2, 1]).path
        'M1 30V0.0h0.8V30zM2 30V15.0h0.8V30z'
        """
        known = [value for value in values if value is not None]
        most = max(known, default=0.0)
        path = "".join(
            f"M{place} {HEIGHT:.0f}V{HEIGHT * (1 - value / most):.1f}h{_BAR}V{HEIGHT:.0f}z"
            for place, value in enumerate(values)
            if value
        )
        return cls(path, len(values), known[-1] if known else 0.0, most, sum(known))
