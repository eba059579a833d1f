"""The sockets of the pool: a waker for its selector, and claims, which say who runs which task.

A child reads a task's number from a socket before it starts the task; the pool reads numbers to take tasks back. The
kernel gives each number to only one of them.
"""

import contextlib
import socket
import struct
from collections.abc import Iterable

_NUMBER = struct.Struct("!I")
#: Task numbers wrap around after this one.
MAX_NUMBER = 2**32 - 1


class Waker:
    """Readable after :meth:`wake` until :meth:`clear`. Has no effect once closed."""

    def __init__(self) -> None:
        self._reading, self._writing = socket.socketpair()
        for end in (self._reading, self._writing):
            end.setblocking(False)

    def fileno(self) -> int:
        return self._reading.fileno()

    def wake(self) -> None:
        with contextlib.suppress(OSError):  # full, which wakes as well, or closed
            self._writing.send(b"\0")

    def clear(self) -> None:
        with contextlib.suppress(OSError):
            self._reading.recv(65_536)

    def close(self) -> None:
        self._reading.close()
        self._writing.close()


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
