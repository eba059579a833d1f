"""Zygote: a process that forks children, forked itself before the worker had threads and connections.

Its children have the user's modules loaded and inherit no locks held by threads. It does nothing else, so its memory
stays shared with the worker. When the worker exits, it kills its children and exits.
"""

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
from dataclasses import dataclass
from time import monotonic, sleep
from typing import NoReturn

from avtomatika import tracing
from avtomatika.errors import PermanentError, TaskError, TransientError
from avtomatika.worker.batch import Call

#: Runs in a child with its ends of two connections; the child exits when it returns.
Work = Callable[[socket.socket, socket.socket], None]

#: A message in either direction: kind, process id, wait status.
_MESSAGE = struct.Struct("!cii")
_FORK, _KILL, _FORKED, _EXITED = b"F", b"K", b"B", b"G"
_PR_SET_PDEATHSIG = 1
#: Time for the last spans of all children of a worker that stops.
_LAST_SPANS_SECONDS = 1.0
#: Increment of a child's ``oom_score_adj``, and its maximum.
_OOM_SCORE, _MAX_OOM_SCORE = 300, 1000


@dataclass(frozen=True, slots=True)
class ProcessExit:
    """Exit of the child *pid*; *status* is from ``waitpid``."""

    pid: int
    status: int

    def __str__(self) -> str:
        code = os.waitstatus_to_exitcode(self.status)
        if code >= 0:
            return f"ended with exit code {code}"
        if -code == signal.SIGKILL:
            return "was killed by SIGKILL (the system may have run out of memory)"
        with contextlib.suppress(ValueError):
            return f"was killed by {signal.Signals(-code).name}"
        return f"was killed by signal {-code}"


def task_error_of(execution: Call, exit_: ProcessExit) -> TaskError:
    """Return the error for a task whose process exited. It is permanent for an isolated task, which has crashed
    before."""
    if execution.stop_reason is not None:
        return TransientError("it did not stop, so its process was killed")
    if execution.is_isolated:
        return PermanentError(f"the process of the skill {exit_}, and earlier deliveries failed as well")
    return TransientError(f"the process of the skill {exit_}")


class ZygoteGoneError(Exception):
    """The zygote was killed, and its children with it."""


class Zygote:
    """The worker's side of the zygote. Not thread-safe."""

    def __init__(self, work: Work) -> None:
        self._work = work
        self.start()

    def start(self) -> None:
        """Fork the zygote, or fork it again. By then there are threads, but a child needs none of their locks."""
        ours, theirs = socket.socketpair()
        sys.stdout.flush()
        sys.stderr.flush()
        self._pid = os.fork()
        if self._pid == 0:
            ours.close()
            _ZygoteProcess(theirs, self._work).serve()
        theirs.close()
        self._control = ours
        self._exits: list[ProcessExit] = []

    def fileno(self) -> int:
        """Readable when a child or the zygote has exited."""
        return self._control.fileno()

    def fork(self, ends: Sequence[socket.socket]) -> int:
        """Fork a child that inherits *ends*, and return its process id. Raises ZygoteGoneError, OSError."""
        try:
            socket.send_fds(self._control, [_MESSAGE.pack(_FORK, 0, 0)], [end.fileno() for end in ends])
            while (message := self._read())[0] != _FORKED:
                self._exits.append(ProcessExit(*message[1:]))
        except ConnectionError:
            raise ZygoteGoneError from None
        _, pid, error = message
        if not pid:
            raise OSError(error, os.strerror(error))
        return pid

    @property
    def has_exits(self) -> bool:
        """True if :meth:`fork` has read exits, for which :meth:`fileno` does not become readable again."""
        return bool(self._exits)

    def kill(self, pid: int) -> None:
        """Kill a child if it is running; its exit is reported by :meth:`exits`."""
        with contextlib.suppress(ConnectionError):
            self._control.sendall(_MESSAGE.pack(_KILL, pid, 0))

    def exits(self) -> list[ProcessExit]:
        """Return the exits since the last call. Raises ZygoteGoneError."""
        while select.select([self._control], [], [], 0)[0]:
            self._exits.append(ProcessExit(*self._read()[1:]))
        exits, self._exits = self._exits, []
        return exits

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
        kind, pid, status = _MESSAGE.unpack(raw)
        return kind, pid, status


class _ZygoteProcess:
    """The zygote's main loop: fork, reap, kill."""

    def __init__(self, control: socket.socket, work: Work) -> None:
        self._control = control
        self._work = work
        self._children: set[int] = set()

    def serve(self) -> NoReturn:
        try:
            gc.freeze()  # so that a child's garbage collector does not write to shared memory
            self._wake_reader, self._wake_writer = os.pipe()
            for end in (self._wake_reader, self._wake_writer):
                os.set_blocking(end, False)
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD):  # the worker handles these signals
                signal.signal(number, _ignore_signal)
            signal.set_wakeup_fd(self._wake_writer, warn_on_full_buffer=False)
            while self._run_once():
                pass
        except ConnectionError:  # the worker has closed the connection while a child exited
            pass
        except BaseException:
            traceback.print_exc()
        finally:
            until = monotonic() + (_LAST_SPANS_SECONDS if tracing.load() else 0.0)
            while self._children and monotonic() < until:  # the worker has closed their connections
                self._children -= {pid for pid in self._children if os.waitpid(pid, os.WNOHANG)[0]}
                sleep(0.01)
            for pid in self._children:
                with contextlib.suppress(OSError):
                    os.kill(pid, signal.SIGKILL)
            os._exit(0)

    def _run_once(self) -> bool:
        """Handle events once; return False to end."""
        readable = select.select([self._control.fileno(), self._wake_reader], [], [])[0]
        if self._wake_reader in readable:
            with contextlib.suppress(BlockingIOError):
                os.read(self._wake_reader, 4096)
            self._reap()
        if self._control.fileno() not in readable:
            return True
        raw, descriptors, _, _ = socket.recv_fds(self._control, _MESSAGE.size, 2, socket.MSG_WAITALL)
        if len(raw) < _MESSAGE.size:
            return False
        kind, pid, _ = _MESSAGE.unpack(raw)
        if kind == _FORK:
            self._fork([socket.socket(fileno=descriptor) for descriptor in descriptors])
        elif pid in self._children:
            os.kill(pid, signal.SIGKILL)
        return True

    def _reap(self) -> None:
        for pid in list(self._children):
            found, status = os.waitpid(pid, os.WNOHANG)
            if found:
                self._children.discard(pid)
                self._control.sendall(_MESSAGE.pack(_EXITED, pid, status))

    def _fork(self, ends: Sequence[socket.socket]) -> None:
        zygote = os.getpid()
        try:
            pid = os.fork()
        except OSError as problem:
            self._control.sendall(_MESSAGE.pack(_FORKED, 0, problem.errno or 1))
            return
        else:
            if pid == 0:
                self._run_child(ends, zygote)
        finally:
            for end in ends:
                end.close()
        self._children.add(pid)
        self._control.sendall(_MESSAGE.pack(_FORKED, pid, 0))

    def _run_child(self, ends: Sequence[socket.socket], zygote: int) -> NoReturn:
        """Run as the child."""
        code = 1
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            _die_with_parent(zygote)
            _raise_oom_score()
            self._control.close()
            os.close(self._wake_reader)
            os.close(self._wake_writer)
            connection, claims = ends
            tracing.start("avtomatika-worker")
            self._work(connection, claims)
            code = 0
        except (EOFError, ConnectionError):  # the worker does not need this child any more
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            with contextlib.suppress(Exception):
                tracing.stop()
                sys.stdout.flush()
                sys.stderr.flush()
            os._exit(code)


def _ignore_signal(number: int, frame: object) -> None:
    """Do nothing. Unlike an ignored signal, a handler is not inherited by programs that a skill starts."""


def _raise_oom_score() -> None:
    """Have the system kill the process of a skill, not the worker, when memory runs out."""
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "r+") as file:
        score = int(file.read())
        file.seek(0)
        file.write(str(min(score + _OOM_SCORE, _MAX_OOM_SCORE)))


def _die_with_parent(parent: int) -> None:
    """Have the system kill the child when the zygote dies, where supported; exit if it is already dead."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)
