"""Job ids: ``<group>-<ULID>``, so that an id names its orchestrator group and sorts by time."""

import secrets
import threading
import time

#: Crockford's base 32: no I, L, O, U. https://github.com/ulid/spec
_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_PAIRS = [first + second for first in _ALPHABET for second in _ALPHABET]
_lock = threading.Lock()
_last = 0


def new_job_id(group: str) -> str:
    """Return a new id of *group*. The first ten characters of a ULID are the time in ms, the others are random.

    The ids of one process increase, even within a millisecond.
    """
    global _last
    with _lock:
        number = (time.time_ns() // 1_000_000) << 80 | secrets.randbits(80)
        _last = number = max(number, _last + 1)
    return f"{group}-{''.join([_PAIRS[number >> shift & 1023] for shift in range(120, -1, -10)])}"
