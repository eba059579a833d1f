"""Keeps what threads leave of memory usable for other threads, where the C library is glibc."""

from __future__ import annotations

import ctypes

#: https://man7.org/linux/man-pages/man3/mallopt.3.html
_M_ARENA_MAX = -8
_ARENAS = 2


def share_heaps() -> None:
    """Have all threads of this process get their memory from few heaps.

    Else each thread that moves files has one of its own, which grows to its largest need and stays so.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_ARENA_MAX, _ARENAS)
