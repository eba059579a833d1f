"""The zygote: a process that forks others, forked itself while the worker had no threads and no connections yet.

What it forks has the user's modules loaded already, and none of the locks that threads may hold. It does nothing else,
so its memory is the worker's, shared. Where the worker dies, it kills its children and ends.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import signal
import socket
import struct
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection, Pipe
from typing import NoReturn

#: What a child does with its end of a connection; it ends when that returns.
Work = Callable[["Connection"], None]

#: A message either way: what, process id, wait status.
_MESSAGE = struct.Struct("!cii")
_FORK, _KILL, _BORN, _GONE = b"F", b"K", b"B", b"G"
_PR_SET_PDEATHSIG = 1


class ZygoteGone(Exception):
    """Somebody killed the zygote, and its children with it."""


@dataclass(frozen=True, slots=True)
class Death:
    """How a child ended; *status* as of ``waitpid``."""

    pid: int
    status: int

    def __str__(self) -> str:
        code = os.waitstatus_to_exitcode(self.status)
        if code >= 0:
            return f"ended with exit code {code}"
        with contextlib.suppress(ValueError):
            return f"was killed by {signal.Signals(-code).name}"
        return f"was killed by signal {-code}"


class Zygote:
    """The worker's side of it. For one thread at a time."""

    def __init__(self, work: Work) -> None:
        self._work = work
        self._deaths: list[Death] = []
        self.revive()

    def revive(self) -> None:
        """Begin, or begin again; by then there are threads, but none of their locks is of use to a child."""
        ours, theirs = socket.socketpair()
        sys.stdout.flush()
        sys.stderr.flush()
        self._pid = os.fork()
        if self._pid == 0:
            ours.close()
            _Nest(theirs, self._work).serve()
        theirs.close()
        self._control = ours

    def fileno(self) -> int:
        """Readable when a child has died, or the zygote itself."""
        return self._control.fileno()

    def fork(self) -> tuple[int, Connection]:
        """A new child: its process id, and our end of the connection to it. Raises ZygoteGone, and OSError."""
        ours, theirs = Pipe()
        try:
            with theirs:
                socket.send_fds(self._control, [_MESSAGE.pack(_FORK, 0, 0)], [theirs.fileno()])
            while (message := self._read())[0] != _BORN:
                self._deaths.append(Death(*message[1:]))
        except (ConnectionError, ZygoteGone):
            ours.close()
            raise ZygoteGone from None
        _, pid, error = message
        if not pid:
            ours.close()
            raise OSError(error, os.strerror(error))
        return pid, ours

    def kill(self, pid: int) -> None:
        """Kill a child, if it lives; its death is told as any other."""
        with contextlib.suppress(ConnectionError):
            self._control.sendall(_MESSAGE.pack(_KILL, pid, 0))

    def deaths(self) -> list[Death]:
        """Who has died since the last call. Raises ZygoteGone."""
        while select.select([self._control], [], [], 0)[0]:
            self._deaths.append(Death(*self._read()[1:]))
        deaths, self._deaths = self._deaths, []
        return deaths

    def close(self) -> None:
        """Kill all children."""
        self._control.close()
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self._pid, 0)

    def _read(self) -> tuple[bytes, int, int]:
        raw = self._control.recv(_MESSAGE.size, socket.MSG_WAITALL)
        if len(raw) < _MESSAGE.size:
            self.close()
            raise ZygoteGone
        what, pid, status = _MESSAGE.unpack(raw)
        return what, pid, status


class _Nest:
    """What the zygote does: fork, reap, kill."""

    def __init__(self, control: socket.socket, work: Work) -> None:
        self._control = control
        self._work = work
        self._children: set[int] = set()

    def serve(self) -> NoReturn:
        try:
            self._wakes, self._waked = os.pipe()
            for end in (self._wakes, self._waked):
                os.set_blocking(end, False)
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD):  # what they mean is the worker's affair
                signal.signal(number, _look_up)
            signal.set_wakeup_fd(self._waked, warn_on_full_buffer=False)
            while self._turn():
                pass
        except BaseException:
            traceback.print_exc()
        finally:
            for pid in self._children:
                with contextlib.suppress(OSError):
                    os.kill(pid, signal.SIGKILL)
            os._exit(0)

    def _turn(self) -> bool:
        """Whether to go on."""
        readable = select.select([self._control.fileno(), self._wakes], [], [])[0]
        if self._wakes in readable:
            with contextlib.suppress(BlockingIOError):
                os.read(self._wakes, 4096)
            self._reap()
        if self._control.fileno() not in readable:
            return True
        raw, descriptors, _, _ = socket.recv_fds(self._control, _MESSAGE.size, 1, socket.MSG_WAITALL)
        if len(raw) < _MESSAGE.size:
            return False
        what, pid, _ = _MESSAGE.unpack(raw)
        if what == _FORK:
            self._fork(descriptors[0])
        elif pid in self._children:
            os.kill(pid, signal.SIGKILL)
        return True

    def _reap(self) -> None:
        for pid in list(self._children):
            found, status = os.waitpid(pid, os.WNOHANG)
            if found:
                self._children.discard(pid)
                self._control.sendall(_MESSAGE.pack(_GONE, pid, status))

    def _fork(self, descriptor: int) -> None:
        zygote = os.getpid()
        try:
            pid, error = os.fork(), 0
        except OSError as problem:
            pid, error = 0, problem.errno or 1
            os.close(descriptor)
            self._control.sendall(_MESSAGE.pack(_BORN, pid, error))
            return
        if pid == 0:
            self._live(descriptor, zygote)
        os.close(descriptor)
        self._children.add(pid)
        self._control.sendall(_MESSAGE.pack(_BORN, pid, 0))

    def _live(self, descriptor: int, zygote: int) -> NoReturn:
        """Be a child."""
        code = 1
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            _die_with(zygote)
            self._control.close()
            os.close(self._wakes)
            os.close(self._waked)
            self._work(Connection(descriptor))
            code = 0
        except (EOFError, ConnectionError):  # the worker has no use for it any more
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            with contextlib.suppress(Exception):
                sys.stdout.flush()
                sys.stderr.flush()
            os._exit(code)


def _look_up(number: int, frame: object) -> None:
    """A handler that does nothing; unlike an ignored signal it is not handed down to what a skill starts."""


def _die_with(parent: int) -> None:
    """Where the system can do it, a child does not outlive a zygote that was killed, be it before this moment."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)
