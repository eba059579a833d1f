"""How long to wait for somebody who is away."""

from __future__ import annotations

import random

_FIRST_SECONDS = 0.5
_LONGEST_SECONDS = 30.0
#: So many doublings lead from the first to the longest.
_DOUBLINGS = 6


def pause_seconds(failures: int) -> float:
    """Pause after so many *failures* in a row (from 1): full jitter, so that not all come back at the same moment."""
    longest = min(_FIRST_SECONDS * 2.0 ** min(failures - 1, _DOUBLINGS), _LONGEST_SECONDS)
    return random.uniform(0, longest)  # noqa: S311 - not a secret
