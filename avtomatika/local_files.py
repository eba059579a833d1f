"""Locks that processes share, temporary folders, and files that are written completely or not at all.

A lock belongs to a descriptor and ends with the process.
"""

import fcntl
import os
import shutil
import tempfile
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from math import inf
from pathlib import Path
from secrets import token_hex
from time import monotonic, sleep

#: Pause between two attempts to acquire a lock.
_RETRY_SECONDS = 0.01
#: Flags that open a folder to lock it, and that open or create a lock file.
FOLDER = os.O_RDONLY | os.O_DIRECTORY
LOCK_FILE = os.O_RDWR | os.O_CREAT


def try_lock(path: str | os.PathLike[str], flags: int = FOLDER, *, timeout_seconds: float = 0.0) -> int | None:
    """Return a descriptor that holds the lock of *path*; None if another one still holds it after *timeout_seconds*.

    Raise OSError if *path* cannot be opened: FileNotFoundError also if it was removed before the lock was acquired.
    """
    descriptor = os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        if not acquire(descriptor, timeout_seconds=timeout_seconds):
            return None
        if not is_at(descriptor, path):
            raise FileNotFoundError(f"{path} was removed or replaced")
        kept, descriptor = descriptor, -1
        return kept
    finally:
        if descriptor >= 0:
            os.close(descriptor)


def acquire(descriptor: int, *, timeout_seconds: float = 0.0) -> bool:
    """Acquire the lock of an open file or folder; return False if another process still holds it at the end."""
    deadline = monotonic() + timeout_seconds
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            if monotonic() >= deadline:
                return False
            sleep(_RETRY_SECONDS)


def is_at(descriptor: int, path: str | os.PathLike[str]) -> bool:
    """Return whether *path* still names the file or folder that *descriptor* was opened for."""
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path, follow_symlinks=False))
    except FileNotFoundError:
        return False


def make_locked(path: Path) -> int:
    """Create a folder and acquire its lock; repeat if another process removes it in between as a leftover."""
    while True:
        path.mkdir(0o700)
        with suppress(FileNotFoundError):
            if (descriptor := try_lock(path, timeout_seconds=inf)) is not None:
                return descriptor


def remove_if_unlocked(path: str, *, timeout_seconds: float = 0.0) -> bool:
    """Remove a folder that a killed process left; return whether it was one."""
    try:
        descriptor = try_lock(path, timeout_seconds=timeout_seconds)
    except OSError:
        return False
    if descriptor is None:
        return False
    try:
        shutil.rmtree(path, ignore_errors=True)
    finally:
        os.close(descriptor)
    return True


class TemporaryFolder:
    """A folder in the system's folder of temporary files, removed by :meth:`remove` or when the process exits.

    Those of killed processes are removed when the next one with the same *prefix* is created.
    """

    def __init__(self, prefix: str) -> None:
        parent = tempfile.gettempdir()
        for entry in os.scandir(parent):
            with suppress(FileNotFoundError):  # another process removes it
                is_ours = entry.is_dir(follow_symlinks=False) and entry.stat().st_uid == os.getuid()
                if entry.name.startswith(prefix) and is_ours:
                    remove_if_unlocked(entry.path)
        self.path = Path(parent, f"{prefix}{token_hex(8)}")
        self.remove = weakref.finalize(self, _remove_own, self.path, make_locked(self.path), os.getpid())


def _remove_own(path: Path, descriptor: int, owner: int) -> None:
    if os.getpid() == owner:  # a forked process has the object, too
        shutil.rmtree(path, ignore_errors=True)
        os.close(descriptor)


@contextmanager
def replacing(path: Path, unfinished: Path) -> Iterator[Path]:
    """Yield *unfinished* to write to, on the same file system, then rename it to *path*; remove it after an error."""
    try:
        yield unfinished
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)


def write_atomically(path: Path, content: bytes, unfinished: Path, *, is_durable: bool = False) -> None:
    """Write a file that only its owner can read, completely or not at all; a durable one also survives a power loss."""
    with replacing(path, unfinished):
        descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with open(descriptor, "wb") as file:
            file.write(content)
            if is_durable:
                file.flush()
                os.fsync(descriptor)
    if is_durable:
        folder = os.open(path.parent, FOLDER | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
