"""The zygote: a process that forks others, forked itself while the worker had no threads and no connections yet.

What it forks has the user's modules loaded already, and none of the locks that threads may hold. It does nothing else,
so its memory is the worker's, shared. Where the worker dies, it kills its children and ends.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
import select
import signal
import socket
import struct
import sys
import traceback
from collections.abc import Callable, Sequence
from typing import NoReturn

from .deaths import Death

#: What a child does with its ends of two connections; it ends when that returns.
Work = Callable[[socket.socket, socket.socket], None]

#: A message either way: what, process id, wait status.
_MESSAGE = struct.Struct("!cii")
_FORK, _KILL, _BORN, _GONE = b"F", b"K", b"B", b"G"
_PR_SET_PDEATHSIG = 1
#: What is added to the ``oom_score_adj`` of a child, and how high that may be.
_OOM_SCORE, _MAX_OOM_SCORE = 300, 1000


class ZygoteGoneError(Exception):
    """Somebody killed the zygote, and its children with it."""


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

    def fork(self, ends: Sequence[socket.socket]) -> int:
        """The process id of a new child, which has *ends* of connections, too. Raises ZygoteGoneError, and OSError."""
        try:
            socket.send_fds(self._control, [_MESSAGE.pack(_FORK, 0, 0)], [end.fileno() for end in ends])
            while (message := self._read())[0] != _BORN:
                self._deaths.append(Death(*message[1:]))
        except ConnectionError:
            raise ZygoteGoneError from None
        _, pid, error = message
        if not pid:
            raise OSError(error, os.strerror(error))
        return pid

    def kill(self, pid: int) -> None:
        """Kill a child, if it lives; its death is told as any other."""
        with contextlib.suppress(ConnectionError):
            self._control.sendall(_MESSAGE.pack(_KILL, pid, 0))

    def deaths(self) -> list[Death]:
        """Who has died since the last call. Raises ZygoteGoneError."""
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
            raise ZygoteGoneError
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
            gc.freeze()  # the collector of a child writes to no memory that it shares
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
        raw, descriptors, _, _ = socket.recv_fds(self._control, _MESSAGE.size, 2, socket.MSG_WAITALL)
        if len(raw) < _MESSAGE.size:
            return False
        what, pid, _ = _MESSAGE.unpack(raw)
        if what == _FORK:
            self._fork([socket.socket(fileno=descriptor) for descriptor in descriptors])
        elif pid in self._children:
            os.kill(pid, signal.SIGKILL)
        return True

    def _reap(self) -> None:
        for pid in list(self._children):
            found, status = os.waitpid(pid, os.WNOHANG)
            if found:
                self._children.discard(pid)
                self._control.sendall(_MESSAGE.pack(_GONE, pid, status))

    def _fork(self, ends: Sequence[socket.socket]) -> None:
        zygote = os.getpid()
        try:
            pid = os.fork()
        except OSError as problem:
            self._control.sendall(_MESSAGE.pack(_BORN, 0, problem.errno or 1))
            return
        else:
            if pid == 0:
                self._live(ends, zygote)
        finally:
            for end in ends:
                end.close()
        self._children.add(pid)
        self._control.sendall(_MESSAGE.pack(_BORN, pid, 0))

    def _live(self, ends: Sequence[socket.socket], zygote: int) -> NoReturn:
        """Be a child."""
        code = 1
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            _die_with(zygote)
            _prefer_to_be_killed()
            self._control.close()
            os.close(self._wakes)
            os.close(self._waked)
            connection, claims = ends
            self._work(connection, claims)
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


def _prefer_to_be_killed() -> None:
    """When memory runs out the system kills the process of a skill, and not the worker with all its tasks."""
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "r+") as file:
        score = int(file.read())
        file.seek(0)
        file.write(str(min(score + _OOM_SCORE, _MAX_OOM_SCORE)))


def _die_with(parent: int) -> None:
    """Where the system can do it, a child does not outlive a zygote that was killed, be it before this moment."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)
