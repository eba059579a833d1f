"""Limits the memory arenas of glibc, so that threads reuse the memory that others freed."""

import ctypes

#: https://man7.org/linux/man-pages/man3/mallopt.3.html
_M_ARENA_MAX = -8
_ARENAS = 2


def share_heaps() -> None:
    """Limit the arenas of this process to two.

    Otherwise each thread that transfers files has its own, which grows to the largest need and never shrinks.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_ARENA_MAX, _ARENAS)
