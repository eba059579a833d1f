"""Locks of files and folders that processes share. A lock belongs to a descriptor: it ends with the process."""

from __future__ import annotations

import fcntl
import os
from time import monotonic, sleep

#: Pause between two attempts to get a lock.
_RETRY_SECONDS = 0.01
#: How a folder is opened that is to be locked.
FOLDER = os.O_RDONLY | os.O_DIRECTORY
#: How a lock file is opened, which is created if it does not exist.
LOCK_FILE = os.O_RDWR | os.O_CREAT


def try_lock(path: str | os.PathLike[str], kind: int = FOLDER, *, patience_seconds: float = 0.0) -> int | None:
    """A descriptor that holds the lock of *path*; None if another descriptor holds it for all of *patience_seconds*.

    Raises OSError if *path* cannot be opened: FileNotFoundError also if it was removed before the lock was acquired.
    """
    deadline = monotonic() + patience_seconds
    descriptor = os.open(path, kind | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        while not _is_locked(descriptor):
            if monotonic() >= deadline:
                return None
            sleep(_RETRY_SECONDS)
        if not is_at(descriptor, path):
            raise FileNotFoundError(f"{path} was removed or replaced")
        kept, descriptor = descriptor, -1
        return kept
    finally:
        if descriptor >= 0:
            os.close(descriptor)


def is_at(descriptor: int, path: str | os.PathLike[str]) -> bool:
    """Whether *path* still names the file or folder that *descriptor* was opened for."""
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path, follow_symlinks=False))
    except FileNotFoundError:
        return False


def _is_locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
