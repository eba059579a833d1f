"""Claims: which orders a child may begin with. A child reads the number of an order before it begins; the pool reads
numbers, too, to take orders back. Only one of them gets each: the system sees to that.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterable

_NUMBER = struct.Struct("!I")
#: Numbers of orders begin again after this one.
MAX_NUMBER = 2**32 - 1


def offer(claims: socket.socket, numbers: Iterable[int]) -> None:
    """Let the other end claim orders."""
    claims.sendall(b"".join(map(_NUMBER.pack, numbers)))


def claim(claims: socket.socket, *, wait: bool = True) -> int | None:
    """The next order to begin with; None when there is none any more, or, unless we *wait*, none now."""
    try:
        number = claims.recv(_NUMBER.size, 0 if wait else socket.MSG_DONTWAIT)
    except BlockingIOError:
        return None
    return _NUMBER.unpack(number)[0] if number else None
