"""Waker: wakes a selector from any thread."""

import contextlib
import socket


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
