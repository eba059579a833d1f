"""Claims: who runs which task. A child reads a task's number from a socket before it starts the task; the pool reads
numbers to take tasks back. The kernel gives each number to only one of them."""

import socket
import struct
from collections.abc import Iterable

_NUMBER = struct.Struct("!I")
#: Task numbers wrap around after this one.
MAX_NUMBER = 2**32 - 1


def offer(claims: socket.socket, numbers: Iterable[int]) -> None:
    """Offer tasks to the child."""
    claims.sendall(b"".join(map(_NUMBER.pack, numbers)))


def claim(claims: socket.socket, *, wait: bool = True) -> int | None:
    """Claim the next task. Return None if the socket is closed or, without *wait*, if no task is offered."""
    try:
        number = claims.recv(_NUMBER.size, 0 if wait else socket.MSG_DONTWAIT)
    except BlockingIOError:
        return None
    return _NUMBER.unpack(number)[0] if number else None
